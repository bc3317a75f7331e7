"""retro-pytorch's own `TrainingWrapper.generate`: no cache, the whole sequence for every token. Greedy, on random weights.

The retriever answers at once with the same two neighbours, so that only the model is timed.
"""

import sys
import time
import types
from importlib import metadata
from pathlib import Path

for index_package in ("faiss", "autofaiss"):
    sys.modules[index_package] = types.ModuleType(index_package)
sys.modules["autofaiss"].build_index = None

import torch
from retro_pytorch import RETRO, TrainingWrapper, training

training.EOS_ID = -1  # never stop early
CHUNK = 64


class Peer:
    """`prompt` and `neighbours` are tokens: those that every completion begins with, and those of every chunk [K, R]."""

    def __init__(self, threads: int, seed: int, shape: dict, prompt: list, neighbours: list, checkpoint: str):
        torch.set_num_threads(threads)
        torch.manual_seed(seed)
        self.prompt = torch.tensor([prompt])
        # The class is always of 8 heads, whatever it is told.
        arguments = {
            "num_tokens": shape["vocabulary"],
            "max_seq_len": shape["context"],
            "chunk_size": CHUNK,
            "pad_id": 0,
            "enc_dim": shape["hidden_size"],
            "enc_depth": 2,
            "enc_cross_attn_layers": (1,),
            "dec_dim": shape["hidden_size"],
            "dec_depth": shape["layers"],
            "dec_cross_attn_layers": tuple(shape["cca_layers"]),
            "dim_head": shape["head_size"],
        }
        self.model = RETRO(**arguments).eval()
        torch.save({"state_dict": self.model.state_dict(), "arguments": arguments}, Path(checkpoint))
        self.wrapper = TrainingWrapper.__new__(TrainingWrapper)
        torch.nn.Module.__init__(self.wrapper)
        self.wrapper.retro, self.wrapper.chunk_size = self.model, CHUNK
        found = torch.tensor(neighbours)
        self.wrapper.fetch_knn_chunks_fn = lambda chunks: found.expand(len(chunks), *found.shape)
        self.about = {
            "version": metadata.version("retro-pytorch"),
            "torch": torch.__version__,
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "arguments": arguments,
        }

    def measure(self, context: int, tell: bool = False) -> dict:
        """From the prompt until `context` tokens stand; with `tell`, also which."""
        self.wrapper.max_seq_len = context - 1  # it adds one token more
        begin = time.perf_counter()
        out = self.wrapper.generate(self.prompt, filter_thres=1.0, temperature=1.0)
        seconds = time.perf_counter() - begin
        told = {"told": out[0].tolist()} if tell else {}
        return {"tokens": out.shape[1] - self.prompt.shape[1], "seconds": seconds} | told
