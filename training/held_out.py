"""Held-out losses: the beginnings of documents that were not trained on, with five kinds of neighbours."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from training.model import Retro
from training.neighbour_table import NeighbourTable
from training.sampler import CHUNK, MAX_SHIFT, RETRIEVED, covering_ranges, random_ranges
from training.stream import TokenStream

KINDS = ["none", "random", "retrieved", "covering", "covering_shifted"]
HELD_OUT_ROWS = 64  # sequences with known neighbours
HELD_OUT_CHUNKS = 8


def held_out_starts(stream: TokenStream) -> np.ndarray:
    """Starts of the held-out sequences: the beginnings of documents long enough, int64 [rows]."""
    long_enough = stream.ends - stream.starts > HELD_OUT_CHUNKS * CHUNK
    return stream.starts[long_enough][:HELD_OUT_ROWS]


class HeldOut:
    """`rows` sequences of 512 tokens on the paper's grid (first chunk full)."""

    def __init__(self, work: Path, rows: int, seed: int = 7):
        self.work = work
        self.valid, self.train = TokenStream.open(work, "valid"), TokenStream.open(work, "train")
        rng = np.random.default_rng(seed)
        begin = held_out_starts(self.valid)[:rows]
        rows, length = len(begin), HELD_OUT_CHUNKS * CHUNK
        self.tokens = torch.from_numpy(self.valid.tokens[begin[:, None] + np.arange(length + 1)].astype(np.int64))
        self.first_chunk = torch.full((rows,), CHUNK)
        grid = begin[:, None] + CHUNK * np.arange(HELD_OUT_CHUNKS)
        document = self.valid.document_of(grid)
        random = random_ranges(self.train, rng, np.full((rows, HELD_OUT_CHUNKS, 2), -1))
        self.neighbours = {"none": None, "random": self.train.windows(*random, RETRIEVED)}
        for kind, shift in [("covering", 0), ("covering_shifted", MAX_SHIFT)]:
            full = np.full(rows, CHUNK)
            cover = covering_ranges(self.valid, grid, document, full, begin, shift, rng)
            mixed = self.neighbours["random"].copy()
            mixed[:, :, 0] = self.valid.windows(*cover, RETRIEVED)
            self.neighbours[kind] = mixed

    def load_retrieved(self) -> None:
        """The nearest chunks of the training database, once training.neighbours has found them."""
        path = self.work / "valid.neighbours.npz"
        if "retrieved" not in self.neighbours and path.exists():
            table = NeighbourTable.open(self.work / "train.neighbours.npz")
            nearest = np.load(path)["nearest"][: len(self.tokens) * HELD_OUT_CHUNKS, :2]
            windows = self.train.windows(*table.ranges(nearest.astype(np.int64)), RETRIEVED)
            self.neighbours["retrieved"] = windows.reshape(len(self.tokens), HELD_OUT_CHUNKS, 2, RETRIEVED)

    @torch.no_grad()
    def losses(self, model: Retro, autocast: bool = True, batch: int = 8) -> dict[str, float]:
        """Mean negative log-likelihood a token, nats, over all positions, for each kind of neighbours at hand."""
        self.load_retrieved()
        result = {}
        for kind in KINDS:
            if kind not in self.neighbours:
                continue
            total = 0.0
            for at in range(0, len(self.tokens), batch):
                rows = slice(at, at + batch)
                given = self.neighbours[kind]
                given = None if given is None else torch.from_numpy(given[rows])
                with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                    logits = model(self.tokens[rows, :-1], self.first_chunk[rows], given)
                loss = F.cross_entropy(logits.float().flatten(0, 1), self.tokens[rows, 1:].flatten(), reduction="sum")
                total += loss.item()
            result[kind] = total / self.tokens[:, 1:].numel()
        return result
