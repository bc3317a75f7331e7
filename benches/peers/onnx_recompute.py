"""The same graphs in ONNX Runtime from Python, without caches: the whole sequence for every token.

Against a peer without caches it shows what the runtime gains, against the server what the caches gain.
"""

import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

from benches.graphs import Graphs, options


class Peer:
    """`prompt` and `neighbours` are tokens: those that every completion begins with, and those of every chunk [K, R]."""

    def __init__(self, threads: int, seed: int, folder: str, variant: str, prompt: list, neighbours: list):
        self.prompt, self.neighbours = np.asarray(prompt, np.int64), np.asarray(neighbours, np.int64)
        self.graphs = Graphs(Path(folder), variant, options(threads))
        self.about = {"onnxruntime": ort.__version__}

    def measure(self, context: int, tell: bool = False) -> dict:
        """From the prompt until `context` tokens stand, on the grid that begins with the first; with `tell`, also which."""
        chunk, given = self.graphs.manifest["chunk_length"], len(self.prompt)
        found = np.broadcast_to(self.neighbours, (context // chunk, *self.neighbours.shape))
        tokens = np.empty(context, np.int64)
        tokens[:given] = self.prompt
        begin = time.perf_counter()
        for at in range(given, context):
            tokens[at] = self.graphs.pass_over(tokens[:at], chunk, found).argmax()
        seconds = time.perf_counter() - begin
        return {"tokens": context - given, "seconds": seconds} | ({"told": tokens.tolist()} if tell else {})
