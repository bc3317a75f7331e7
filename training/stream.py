"""The token stream: all documents of a split in one uint16 file, one after another, with their bounds.

A document's tokens are followed by one end-of-text token, which belongs to no document's bounds: a neighbour never
holds it, as a database entry never does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.files import replacing
from training.tokenizer import END_OF_TEXT


@dataclass
class TokenStream:
    """`tokens` uint16 [n]; `starts`, `ends` int64 [documents], half-open bounds in `tokens`."""

    tokens: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    @staticmethod
    def open(folder: Path, split: str) -> "TokenStream":
        bounds = np.load(folder / f"{split}.bounds.npy")
        # Read into memory: the streams used here are some tens of MB, and random reads are the only kind.
        tokens = np.fromfile(folder / f"{split}.tokens", dtype=np.uint16)
        return TokenStream(tokens, bounds[:, 0].copy(), bounds[:, 1].copy())

    @staticmethod
    def from_documents(documents: Sequence[Sequence[int]]) -> "TokenStream":
        tokens, bounds, place = [], [], 0
        end_of_text = np.asarray([END_OF_TEXT], np.uint16)
        for document in documents:
            tokens += [np.asarray(document, np.uint16), end_of_text]
            bounds.append((place, place + len(document)))
            place += len(document) + 1
        array = np.asarray(bounds, np.int64)
        return TokenStream(np.concatenate(tokens), array[:, 0].copy(), array[:, 1].copy())

    def save(self, folder: Path, split: str) -> None:
        with replacing(folder / f"{split}.tokens") as path:
            self.tokens.tofile(path)
        with replacing(folder / f"{split}.bounds.npy") as path, open(path, "wb") as file:
            np.save(file, np.stack([self.starts, self.ends], axis=1))

    def document_of(self, places: np.ndarray) -> np.ndarray:
        """The document that holds each place; a separator counts to the document before it."""
        return np.searchsorted(self.starts, places, side="right") - 1

    def beginnings(self, length: int) -> np.ndarray:
        """Places from which `length` tokens can be read, int64 [n]: the beginnings of the documents that are so long, or, where
        none is, every `length`-th place of the stream."""
        starts = self.starts[self.ends - self.starts >= length]
        return starts if len(starts) else np.arange(0, len(self.tokens) - length + 1, length)

    def windows(self, starts: np.ndarray, ends: np.ndarray, length: int) -> np.ndarray:
        """Tokens `[start, min(end, start + length))` right-padded with 0: int64 [..., length]."""
        places = starts[..., None] + np.arange(length)
        inside = places < ends[..., None]
        return np.where(inside, self.tokens[np.minimum(places, len(self.tokens) - 1)], 0).astype(np.int64)
