"""The PyTorch model of a model folder: the weights of its graphs, put back where training/onnx_graphs.py took them from."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import torch

from training.config import Config
from training.graph import WEIGHTS_FILE
from training.model import Retro

GRAPHS = ("lower", "encoder", "upper")
# The name of a joined matrix, and its parts in order.
JOINED = {"query_key_value": ("query", "key", "value"), "gate_up": ("gate", "up")}


def load(folder: Path) -> Retro:
    """Raises where the folder's graphs are not those that training.export writes."""
    manifest = json.loads((folder / "retro.json").read_text())
    sizes = ("vocabulary", "hidden_size", "layers", "context", "chunk_length", "neighbours", "neighbour_length", "continuation_length")
    arrays = tensors(folder)
    gate = arrays.get("encoder.relevance.token")
    known = {name: manifest[name] for name in sizes} | {"relevance_rank": 0 if gate is None else gate.shape[1]}
    model = Retro(Config(**known, cca_layers=tuple(manifest["cca_layers"])))
    state = {name: torch.from_numpy(parameter(name, arrays, model.config).copy()) for name in model.state_dict()}
    model.load_state_dict(state)
    return model.eval()


def tensors(folder: Path) -> dict[str, np.ndarray]:
    """The graphs' float32 tensors by name."""
    raw = np.memmap(folder / WEIGHTS_FILE, np.uint8, "r")
    found = {}
    for graph in GRAPHS:
        for tensor in onnx.load(folder / f"{graph}.onnx", load_external_data=False).graph.initializer:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                place = {entry.key: entry.value for entry in tensor.external_data}
                offset, length = int(place["offset"]), int(place["length"])
                found[tensor.name] = raw[offset : offset + length].view(np.float32).reshape(tensor.dims)
    return found


def parameter(name: str, arrays: dict[str, np.ndarray], config: Config) -> np.ndarray:
    """One parameter of the module tree, for instance `layers.2.cca.query.weight`."""
    place = re.sub(r"layers\.(\d+)", lambda match: f"layer_{int(match[1]) + 1}", name)
    if name == "embedding.weight":
        return arrays["embedding"]
    if place in arrays:
        return arrays[place]  # a norm, or a bias
    module, matrix = place.removesuffix(".weight").rsplit(".", 1)
    if f"{module}.{matrix}" in arrays:
        array = arrays[f"{module}.{matrix}"].T
        # The export put 1/sqrt(D) into every query matrix but those of the cached self-attention.
        return array * np.float32(config.head_size**0.5) if matrix == "query" else array
    for joined, parts in JOINED.items():
        if matrix in parts and f"{module}.{joined}" in arrays:
            return np.split(arrays[f"{module}.{joined}"].T, len(parts))[parts.index(matrix)]
    raise KeyError(f"the graphs have no tensor for {name}")
