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
from training.model_folder import GRAPHS
from training.quantise import dequantise
from training.variants import QUANTISED, SCALES

# The name of a joined matrix, and its parts in order.
JOINED = {"query_key_value": ("query", "key", "value"), "gate_up": ("gate", "up")}


def load(folder: Path, variant: str = "fp32") -> Retro:
    """The weights of `variant`, dequantised. Raises where its graphs are not those that training.export writes."""
    manifest = json.loads((folder / "retro.json").read_text())
    arrays = tensors(folder / manifest["variants"][variant]["folder"])
    model = Retro(config_of(manifest, arrays))
    state = {name: torch.from_numpy(parameter(name, arrays, model.config).copy()) for name in model.state_dict()}
    model.load_state_dict(state)
    return model.eval()


def config_of(manifest: dict, arrays: dict[str, np.ndarray]) -> Config:
    sizes = ("vocabulary", "hidden_size", "layers", "context", "chunk_length", "neighbours", "neighbour_length", "continuation_length")
    attention = manifest["self_attention"]
    return Config(
        **{name: manifest[name] for name in sizes},
        cca_layers=tuple(manifest["cca_layers"]),
        heads=attention["kv_heads"],
        head_size=attention["head_size"],
        feed_forward=len(arrays["layer_1.feed_forward.down"]),
        encoder_size=len(arrays["encoder.final_norm.weight"]),
        encoder_layers=sum(re.fullmatch(r"encoder\.layer_\d+\.attention\.query", name) is not None for name in arrays),
        encoder_heads=arrays["encoder.layer_1.attention.query"].shape[1] // attention["head_size"],
        encoder_feed_forward=len(arrays["encoder.layer_1.feed_forward.down"]),
    )


def tensors(folder: Path) -> dict[str, np.ndarray]:
    """The graphs' external tensors by name, as float32."""
    raw = np.memmap(folder / WEIGHTS_FILE, np.uint8, "r")
    found = {}
    for name in GRAPHS:
        graph = onnx.load(folder / f"{name}.onnx", load_external_data=False).graph
        stored = {}
        for tensor in graph.initializer:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                place = {entry.key: entry.value for entry in tensor.external_data}
                offset, length = int(place["offset"]), int(place["length"])
                kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
                stored[tensor.name] = raw[offset : offset + length].view(kind).reshape(tensor.dims)
        for node in graph.node:
            if node.op_type == "MatMulNBits":
                matrix = node.input[1].removesuffix(QUANTISED)
                sizes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
                array = dequantise(stored[node.input[1]], stored[node.input[2]], sizes["bits"], sizes["K"])
                found[matrix] = array if matrix == "embedding" else array.T
        found |= {name: array.astype(np.float32) for name, array in stored.items() if not name.endswith((QUANTISED, SCALES))}
    return found


def parameter(name: str, arrays: dict[str, np.ndarray], config: Config) -> np.ndarray:
    """One parameter of the module tree, for instance `layers.2.cca.query.weight`."""
    if name == "embedding.weight":
        return arrays["embedding"]
    place = re.sub(r"layers\.(\d+)", lambda match: f"layer_{int(match[1]) + 1}", name)
    place = re.sub(r"\.(sink|copy)\.", r".cca.\1.", place)
    if place in arrays:  # a norm, or a bias
        return arrays[place] / folded(place, arrays, config)
    module, matrix = place.removesuffix(".weight").rsplit(".", 1)
    if f"{module}.{matrix}" in arrays:
        return arrays[f"{module}.{matrix}"].T / folded(place, arrays, config)
    for joined, parts in JOINED.items():
        if matrix in parts and f"{module}.{joined}" in arrays:
            return np.split(arrays[f"{module}.{joined}"].T, len(parts))[parts.index(matrix)]
    raise KeyError(f"the graphs have no tensor for {name}")


def folded(place: str, arrays: dict[str, np.ndarray], config: Config) -> np.float32:
    """What the export has multiplied a tensor by, to save a node."""
    if place.endswith("cca.query_norm.weight") or re.fullmatch(r"encoder\..*\.query\.weight", place):
        return np.float32(config.head_size**-0.5)
    if ".cca.sink." in place:
        cca = place[: place.index(".sink.")]
        query, key = (arrays[f"{cca}.{norm}.weight"] for norm in ("query_norm", "key_norm"))
        return (query * key).mean() * np.float32(config.head_size)  # Attention.sharpness, of the query norm as it is stored
    return np.float32(1)
