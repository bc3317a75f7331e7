"""The nearest neighbours that training.neighbours found, looked up by a place in the stream."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.stream import TokenStream

CHUNK = 64


@dataclass
class NeighbourTable:
    """`first` int64 [documents + 1]: first chunk id of each document; `starts`, `ends` int64 [chunks]; `nearest` [chunks, 4]."""

    first: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    nearest: np.ndarray

    @staticmethod
    def open(path: Path) -> "NeighbourTable":
        file = np.load(path)
        return NeighbourTable(file["document_first"], file["starts"], file["ends"], file["nearest"])

    def ranges(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bounds in the training stream of chunks `ids` with their continuations; empty where the id is -1."""
        start = self.starts[ids]
        return start, np.where(ids < 0, start, self.ends[ids])

    def lookup(self, stream: TokenStream, places: np.ndarray, document: np.ndarray, rng: np.random.Generator):
        """Two of the four nearest of the database chunk that holds each place, int64 [..., 2] bounds; empty if unknown.

        The grid of a sequence is not that of the database; the chunk around the middle of a grid chunk is close enough.
        """
        inside = (document < len(self.first) - 1) & (places >= stream.starts[document]) & (places < stream.ends[document])
        known = np.where(inside, document, 0)
        ids = np.where(inside, self.first[known] + (places - stream.starts[known]) // CHUNK, 0)
        two = rng.permuted(np.broadcast_to(np.arange(4), (*places.shape, 4)), axis=-1)[..., :2]
        two = np.sort(two, axis=-1)  # nearest first, as in serving
        chosen = np.take_along_axis(self.nearest[ids], two, axis=-1)
        return self.ranges(np.where(inside[..., None], chosen, -1))
