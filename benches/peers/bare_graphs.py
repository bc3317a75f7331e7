"""The bare runs of the graphs that a prompt needs, one after another, and the arithmetic in them."""

import json
import tempfile
import time
from math import prod
from pathlib import Path

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

from benches.graphs import Graphs, options


class Peer:
    """`texts` are files; BERT reads their first chunks."""

    def __init__(self, threads: int, seed: int, folder: str, variant: str, embedder: str, texts: list[str]):
        self.rng = np.random.default_rng(seed)
        self.folder, self.variant, self.threads = Path(folder), variant, threads
        self.graphs = Graphs(self.folder, variant, options(threads))
        self.bert = ort.InferenceSession(str(Path(embedder) / "model.onnx"), options(threads), providers=["CPUExecutionProvider"])
        self.bert_tokenizer = Tokenizer.from_file(str(Path(embedder) / "tokenizer.json"))
        self.tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        self.tokens = [token for text in texts for token in self.tokenizer.encode(Path(text).read_text()).ids]
        self.about = {"onnxruntime": ort.__version__}

    def measure(self, prompt: int, neighbours: int, count: bool = False) -> dict:
        """Seconds of BERT over the prompt's complete chunks, `lower`, `encoder` and `upper`, on the grid that ends with the prompt.

        With `count`, the operations in the three graphs instead.
        """
        m = self.graphs.manifest["chunk_length"]
        first_chunk = (prompt - 1) % m + 1
        tokens = np.asarray([self.tokens[at % len(self.tokens)] for at in range(prompt)], np.int64)
        found = self.graphs.random_neighbours(self.rng, -(-prompt // m), neighbours)
        if count:
            return {"operations": self.operations(tokens, first_chunk, found)}
        parts = {name: getattr(self.graphs, name) for name in ("lower", "encoder", "upper")}
        for part in parts.values():
            part.seconds = 0.0
        self.graphs.pass_over(tokens, first_chunk, found)
        cuts = range(first_chunk, prompt + 1, m)
        seconds = self.embed([tokens[max(0, cut - m) : cut].tolist() for cut in cuts])
        return {"bert": seconds} | {name: part.seconds for name, part in parts.items()}

    def embed(self, chunks: list[list[int]]) -> float:
        encoded = [self.bert_tokenizer.encode(self.tokenizer.decode(chunk)).ids for chunk in chunks]
        ids = np.zeros((len(encoded), max(map(len, encoded))), np.int64)
        for row, one in zip(ids, encoded, strict=True):
            row[: len(one)] = one
        inputs = {"input_ids": ids, "attention_mask": (np.arange(ids.shape[1]) < [[len(one)] for one in encoded]).astype(np.int64)}
        begin = time.perf_counter()
        self.bert.run(None, inputs)
        return time.perf_counter() - begin

    def operations(self, tokens: np.ndarray, first_chunk: int, found: np.ndarray) -> int:
        """Multiplications and additions: of products as ONNX Runtime's profile of the unchanged graphs shows their shapes, and of
        self-attention by its formula, since its cache hides how much it reads."""
        with tempfile.TemporaryDirectory() as place:
            chosen = options(self.threads)
            chosen.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            chosen.enable_profiling, chosen.profile_file_prefix = True, f"{place}/profile"
            graphs = Graphs(self.folder, self.variant, chosen)
            graphs.pass_over(tokens, first_chunk, found)
            parts = (graphs.lower, graphs.encoder, graphs.upper)
            counted = sum(products(Path(part.session.end_profiling())) for part in parts)
        own = graphs.manifest["self_attention"]
        layers, width = own["lower_layers"] + own["upper_layers"], own["kv_heads"] * own["head_size"]
        return counted + layers * 2 * width * len(tokens) * (len(tokens) + 1)


def products(profile: Path) -> int:
    total = 0
    for event in json.loads(profile.read_text()):
        about = event.get("args", {})
        kind, inputs = about.get("op_name"), shapes(about.get("input_type_shape", []))
        output = (shapes(about.get("output_type_shape", [])) or [[]])[0]
        if kind in ("MatMul", "MatMulNBits", "Gemm"):
            total += 2 * inputs[0][-1] * prod(output)
        elif kind == "MultiHeadAttention":
            # Keys are [rows, tokens, width] or [rows, heads, tokens, head size].
            total += 4 * prod(inputs[0]) * inputs[1][-2]
    return total


def shapes(values: list[dict[str, list[int]]]) -> list[list[int]]:
    """Of a profile's list of one type and shape each."""
    return [sizes for value in values for sizes in value.values()]
