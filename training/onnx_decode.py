"""Cached decode with the exported graphs in ONNX Runtime: the protocol of docs/model-format.md, for one sequence.

It is the check of an export, written from the contract and not from the model's code.
"""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

FLOAT_ACTIVATIONS = 1  # MatMulNBits: no number is rounded that a plain product would not round


class OnnxRetro:
    """The three graphs of one variant of a model folder.

    With `float_activations`, products with quantised matrices are computed in floating point, on the same files.
    """

    def __init__(self, folder: Path, variant: str = "fp32", float_activations: bool = False, threads: int = 2):
        self.manifest = json.loads((folder / "retro.json").read_text())
        chosen = self.manifest["variants"][variant]
        self.kind = np.dtype(chosen["data_type"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as in __init__.py
        graphs = folder / chosen["folder"]
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(graphs))

        def load(name: str) -> onnxruntime.InferenceSession:
            graph = onnx.load(graphs / f"{name}.onnx", load_external_data=False)
            for node in graph.graph.node:
                for attribute in node.attribute:
                    if attribute.name == "accuracy_level" and float_activations:
                        attribute.i = FLOAT_ACTIVATIONS
            return onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])

        self.lower, self.encoder, self.upper = map(load, ("lower", "encoder", "upper"))

    def caches(self, layers: int) -> list[np.ndarray]:
        own = self.manifest["self_attention"]
        shape = (1, own["kv_heads"], self.manifest["context"], own["head_size"])
        return [np.zeros(shape, self.kind) for _ in range(2 * layers)]


class Sequence:
    """One sequence in decode: its caches, the hidden states of its open chunk, and E of the last complete chunk.

    With `shared`, `present_*` is bound to the memory of `past_*`, as a server does; else the caches are copied.
    """

    def __init__(self, model: OnnxRetro, first_chunk: int, neighbours: np.ndarray | None, shared: bool = True):
        self.model, self.first_chunk, self.neighbours, self.shared = model, first_chunk, neighbours, shared
        own = model.manifest["self_attention"]
        self.past = {"lower": model.caches(own["lower_layers"]), "upper": model.caches(own["upper_layers"])}
        self.length = 0
        self.hidden = np.zeros((0, model.manifest["hidden_size"]), model.kind)  # of all tokens, for the encoder
        self.cross = self.no_neighbours()

    def no_neighbours(self) -> dict[str, np.ndarray]:
        cross = self.model.manifest["cross_attention"]
        empty = np.zeros((1, cross["heads"], 1, cross["head_size"]), self.model.kind)
        return dict.fromkeys(self.cross_names(), empty) | {"cross_mask": np.zeros((1, 1), self.model.kind)}

    def cross_names(self) -> list[str]:
        layers = self.model.manifest["cross_attention"]["layers"]
        return [f"cross_{part}_{i}" for i in range(layers) for part in ("key", "value")]

    def run(self, part: str, output: str, inputs: dict[str, np.ndarray]) -> np.ndarray:
        session = getattr(self.model, part)
        past = self.past[part]
        names = [f"{kind}_{i}" for i in range(len(past) // 2) for kind in ("key", "value")]
        if not self.shared:
            inputs = inputs | {f"past_{name}": array for name, array in zip(names, past, strict=True)}
            result, *self.past[part] = session.run([output, *(f"present_{name}" for name in names)], inputs)
            return result
        binding = session.io_binding()
        for name, array in inputs.items():
            binding.bind_cpu_input(name, array)
        binding.bind_output(output, "cpu")  # first: outputs come back in the order of binding
        for name, array in zip(names, past, strict=True):
            for bind, side in ((binding.bind_input, "past"), (binding.bind_output, "present")):
                bind(f"{side}_{name}", "cpu", 0, self.model.kind.type, array.shape, array.ctypes.data)
        session.run_with_iobinding(binding)
        return binding.get_outputs()[0].numpy()

    def step(self, tokens: np.ndarray) -> np.ndarray:
        """Logits [S, V] for `tokens` int64 [S], all of which attend the same chunk."""
        m = self.model.manifest["chunk_length"]
        place = self.length + np.arange(len(tokens)) + m - self.first_chunk
        assert len({(p - m + 1) // m for p in place if p >= m - 1} | ({-1} if place[0] < m - 1 else set())) == 1
        self.length += len(tokens)
        lengths = {
            "seqlens_k": np.asarray([self.length - 1], np.int32),
            "total_sequence_length": np.asarray(self.length, np.int32),
        }
        hidden = self.run("lower", "hidden", lengths | {"tokens": tokens[None].astype(np.int64)})
        self.hidden = np.concatenate([self.hidden, hidden[0]])
        if place[0] % m == m - 1:  # the last token of a chunk opens the window that attends this chunk's neighbours
            self.encode(int(place[0]) // m)
        position = {"cross_position": ((place - m + 1) % m)[None], "logits_from": np.zeros(1, np.int64)}
        return self.run("upper", "logits", lengths | self.cross | position | {"hidden": hidden})[0]

    def encode(self, chunk: int) -> None:
        m = self.model.manifest["chunk_length"]
        if self.neighbours is None:
            return
        end = m * (chunk + 1) - m + self.first_chunk
        begin = max(0, end - m)
        rows = np.zeros((1, m, self.hidden.shape[1]), self.model.kind)
        rows[0, m - (end - begin) :] = self.hidden[begin:end]
        mask = np.zeros((1, m), self.model.kind)
        mask[0, m - (end - begin) :] = 1
        inputs = {"neighbour_tokens": self.neighbours[None, chunk], "chunk_hidden": rows, "chunk_mask": mask}
        names = [*self.cross_names(), "cross_mask"]
        self.cross = dict(zip(names, self.model.encoder.run(names, inputs), strict=True))

    def slices(self, begin: int, end: int) -> list[tuple[int, int]]:
        """`begin..end` cut where the attended chunk changes: before the last token of each chunk."""
        m = self.model.manifest["chunk_length"]
        cuts = [i for i in range(begin + 1, end) if (i + m - self.first_chunk) % m == m - 1]
        return list(zip([begin, *cuts], [*cuts, end], strict=True))

    def logits(self, tokens: np.ndarray, prefill: int) -> np.ndarray:
        """Logits [n, V]: the first `prefill` tokens in slices, the others one by one."""
        parts = self.slices(0, prefill) if prefill else []
        parts += [(i, i + 1) for i in range(prefill, len(tokens))]
        return np.concatenate([self.step(tokens[begin:end]) for begin, end in parts])
