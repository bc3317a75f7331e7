"""The token stream: all documents of a split in one uint16 file, one after another, with their bounds.

A document's tokens are followed by one end-of-text token, which belongs to no document's bounds: a neighbour never
holds it, as a database entry never does.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

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
    def from_documents(documents: list[list[int]]) -> "TokenStream":
        tokens, bounds, place = [], [], 0
        for document in documents:
            tokens += [np.asarray(document, np.uint16), np.asarray([END_OF_TEXT], np.uint16)]
            bounds.append((place, place + len(document)))
            place += len(document) + 1
        array = np.asarray(bounds, np.int64)
        return TokenStream(np.concatenate(tokens), array[:, 0].copy(), array[:, 1].copy())

    def save(self, folder: Path, split: str) -> None:
        self.tokens.tofile(folder / f"{split}.tokens")
        np.save(folder / f"{split}.bounds.npy", np.stack([self.starts, self.ends], axis=1))

    def document_of(self, places: np.ndarray) -> np.ndarray:
        """The document that holds each place; a separator counts to the document before it."""
        return np.searchsorted(self.starts, places, side="right") - 1

    def windows(self, starts: np.ndarray, ends: np.ndarray, length: int) -> np.ndarray:
        """Tokens `[start, min(end, start + length))` right-padded with 0: int64 [..., length]."""
        places = starts[..., None] + np.arange(length)
        inside = places < ends[..., None]
        return np.where(inside, self.tokens[np.minimum(places, len(self.tokens) - 1)], 0).astype(np.int64)
