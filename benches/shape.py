"""Sizes of a model folder that its manifest does not say, read from its graphs."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx

LOOK_UPS = {"Gather", "GatherBlockQuantized"}


@dataclass(frozen=True)
class Shape:
    """Of a decoder. `context` is the longest sequence."""

    vocabulary: int
    hidden_size: int
    layers: int
    heads: int
    head_size: int
    feed_forward: int
    cca_layers: tuple[int, ...]
    context: int

    def to_dict(self) -> dict:
        return asdict(self)


def manifest(folder: Path) -> dict:
    return json.loads((folder / "retro.json").read_text())


def graph(folder: Path, variant: str, name: str) -> onnx.ModelProto:
    place = folder / manifest(folder)["variants"][variant]["folder"]
    return onnx.load(place / f"{name}.onnx", load_external_data=False)


def matrices(model: onnx.ModelProto) -> list[tuple[int, int]]:
    """(K, N) of each product with a stored matrix that takes K numbers to N."""
    stored = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if node.op_type == "MatMulNBits":
            sizes = {attribute.name: attribute.i for attribute in node.attribute}
            found.append((sizes["K"], sizes["N"]))
        elif node.op_type == "MatMul" and node.input[1] in stored:
            found.append(tuple(stored[node.input[1]]))
    return found


def decoder(folder: Path, variant: str = "fp32") -> Shape:
    about = manifest(folder)
    width, attention = about["hidden_size"], about["self_attention"]
    # The widest that comes back to the hidden size; attention's own output is `heads * head_size` wide.
    into = [k for k, n in matrices(graph(folder, variant, "lower")) if n == width]
    return Shape(
        vocabulary=about["vocabulary"],
        hidden_size=width,
        layers=about["layers"],
        heads=attention["kv_heads"],
        head_size=attention["head_size"],
        feed_forward=max(into),
        cca_layers=tuple(about["cca_layers"]),
        context=about["context"],
    )


def decode_bytes(folder: Path, variant: str) -> int:
    """Bytes of weights that one token reads in decode: all that `lower` and `upper` use, but for tables that are only looked up in."""
    read: dict[str, int] = {}
    for name in ("lower", "upper"):
        model = graph(folder, variant, name)
        used = {tensor for node in model.graph.node if node.op_type not in LOOK_UPS for tensor in node.input}
        for tensor in model.graph.initializer:
            if tensor.name in used:
                kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
                # By name: the graphs share their weights.
                read[tensor.name] = int(np.prod(tensor.dims)) * kind.itemsize
    return sum(read.values())
