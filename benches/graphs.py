"""The graphs of a model folder in ONNX Runtime, without the server: a whole sequence at once, by docs/model-format.md."""

import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

from benches import shape

FIXED_SIZE = 1  # of what a graph leaves open, where there is one row and nothing is attended


def options(threads: int) -> ort.SessionOptions:
    """As the server sets them."""
    chosen = ort.SessionOptions()
    chosen.intra_op_num_threads = threads
    chosen.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return chosen


class Graph:
    """One session. `seconds` is the time in its runs; `caches` are updated in place."""

    def __init__(self, file: Path, chosen: ort.SessionOptions, context: int):
        self.session = ort.InferenceSession(str(file), chosen, providers=["CPUExecutionProvider"])
        self.inputs = {value.name: value for value in self.session.get_inputs()}
        self.seconds = 0.0
        self.caches = {}
        for name in self.inputs:
            if name.startswith("past_"):
                self.caches[name.removeprefix("past_")] = ort.OrtValue.ortvalue_from_numpy(self.empty(name, {"context": context}))
        present = {f"present_{name}" for name in self.caches}
        self.outputs = [value.name for value in self.session.get_outputs() if value.name not in present]

    def empty(self, name: str, sizes: dict[str, int]) -> np.ndarray:
        value = self.inputs[name]
        kind = {"tensor(float)": np.float32, "tensor(float16)": np.float16}[value.type]
        return np.zeros([sizes.get(size, FIXED_SIZE) if isinstance(size, str) else size for size in value.shape], kind)

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        binding = self.session.io_binding()
        for name, array in inputs.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(array))
        for name in self.outputs:
            binding.bind_output(name, "cpu")
        for name, cache in self.caches.items():
            binding.bind_ortvalue_input(f"past_{name}", cache)
            binding.bind_ortvalue_output(f"present_{name}", cache)
        begin = time.perf_counter()
        self.session.run_with_iobinding(binding)
        self.seconds += time.perf_counter() - begin
        found = binding.get_outputs()[: len(self.outputs)]
        return dict(zip(self.outputs, (value.numpy() for value in found), strict=True))


class Graphs:
    def __init__(self, folder: Path, variant: str, chosen: ort.SessionOptions):
        self.manifest = shape.manifest(folder)
        place = folder / self.manifest["variants"][variant]["folder"]
        parts = ("lower", "encoder", "upper")
        context = self.manifest["context"]
        self.lower, self.encoder, self.upper = (Graph(place / f"{part}.onnx", chosen, context) for part in parts)
        self.cross = self.encoder.outputs  # what `upper` reads of the encoder has the same names there
        self.unread = {name: self.upper.empty(name, {}) for name in self.cross}

    def random_neighbours(self, rng: np.random.Generator, chunks: int, neighbours: int) -> np.ndarray:
        about = self.manifest
        length = about["neighbour_length"] + about["continuation_length"]
        reserved = max(about["pad_token"], about["end_of_text_token"]) + 1
        return rng.integers(reserved, about["vocabulary"], (chunks, neighbours, length))

    def pass_over(self, tokens: np.ndarray, first_chunk: int, neighbours: np.ndarray) -> np.ndarray:
        """Logits of the last token: `lower` once, `encoder` once, `upper` for each run of tokens that read the same chunk.

        `neighbours` int64 [chunks, K, R] are those of the chunks on the grid that begins with `first_chunk` tokens.
        """
        m, n = self.manifest["chunk_length"], len(tokens)
        hidden = self.lower.run({"tokens": tokens[None], **lengths(n)})["hidden"]
        shift = m - first_chunk
        complete = (n + shift) // m
        read = {}
        if complete:
            rows = np.zeros((complete, m, hidden.shape[-1]), hidden.dtype)
            mask = np.ones((complete, m), hidden.dtype)
            mask[0, :shift] = 0
            rows.reshape(-1, hidden.shape[-1])[shift:] = hidden[0, : complete * m - shift]
            given = {"neighbour_tokens": neighbours[:complete], "chunk_hidden": rows, "chunk_mask": mask}
            read = self.encoder.run(given)
        logits = None
        for begin, end in spans(n, first_chunk, m):
            place = begin + shift
            chunk = (place - m + 1) // m
            cross = {name: array[chunk : chunk + 1] for name, array in read.items()} if chunk >= 0 else self.unread
            positions = np.arange(place - m + 1, place - m + 1 + end - begin)[None] % m
            from_last = np.asarray([end - begin - (end == n)], np.int64)
            given = {"hidden": hidden[:, begin:end], "cross_position": positions, "logits_from": from_last}
            logits = self.upper.run({**given, **cross, **lengths(end)})["logits"]
        return logits[0, -1]


def spans(n: int, first_chunk: int, m: int) -> list[tuple[int, int]]:
    """`0..n` cut where the chunk that is read changes: before the last token of each chunk."""
    cuts = [at for at in range(1, n) if (at + m - first_chunk) % m == m - 1]
    return list(zip([0, *cuts], [*cuts, n], strict=True))


def lengths(total: int) -> dict[str, np.ndarray]:
    return {"seqlens_k": np.asarray([total - 1], np.int32), "total_sequence_length": np.asarray(total, np.int32)}
