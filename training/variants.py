"""The variants of a model folder: the float32 graphs of training/onnx_graphs.py, rewritten for other formats of numbers."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import NodeProto, TensorProto, helper

from training import graph as graphs_file
from training.graph import Graph, Weights
from training.onnx_parts import MICROSOFT
from training.quantise import BLOCK, quantise

QUANTISED, SCALES = ".quantised", ".scales"
# Activations are quantised too, block by block, and products summed as integers: what is fast on a processor.
INTEGER_ACTIVATIONS = 4


@dataclass(frozen=True)
class Variant:
    """`data_type` is that of activations and caches."""

    data_type: str
    weights: str


VARIANTS = {
    "fp32": Variant("float32", "float32"),
    "int8": Variant("float32", "int8"),
    "int4": Variant("float32", "int4"),
    "fp16": Variant("float16", "float16"),
}
BITS = {"int8": 8, "int4": 4}


def save(float32: list[Graph], variant: Variant, folder: Path) -> None:
    """Writes the variant's graphs and weights."""
    weights, rewritten = Weights(), []
    for source in float32:
        graph = Graph(source.name, weights)
        if variant.weights in BITS:
            Quantiser(source, graph, BITS[variant.weights]).rewrite()
        elif variant.data_type == "float16":
            halve(source, graph)
        else:
            graph = source
        rewritten.append(graph)
    graphs_file.save(rewritten, folder)


class Quantiser:
    """Products with a matrix, and look-ups in one, become operators on blocks of integers; all else is as it was."""

    def __init__(self, source: Graph, graph: Graph, bits: int):
        self.source, self.graph, self.bits = source, graph, bits

    def rewrite(self) -> None:
        source, graph = self.source, self.graph
        graph.inputs, graph.outputs, graph.constants = source.inputs, source.outputs, source.constants
        turned: dict[str, str] = {}  # a matrix that a node turns round, by that node's output
        for node in source.nodes:
            matrix = node.input[-1] if node.op_type == "MatMul" else node.input[0]
            if node.op_type == "Transpose" and matrix in source.tensors:
                turned[node.output[0]] = matrix
            elif node.op_type == "MatMul" and matrix in turned:
                self.product(node, turned[matrix], source.tensors[turned[matrix]])
            elif node.op_type == "MatMul" and matrix in source.tensors:
                self.product(node, matrix, source.tensors[matrix].T)
            elif node.op_type == "Gather" and matrix in source.tensors:
                self.look_up(node, matrix)
            else:
                for name in node.input:
                    if name in source.tensors:
                        graph.weight(name, source.tensors[name])
                graph.nodes.append(node)

    def product(self, node: NodeProto, name: str, matrix: np.ndarray) -> None:
        """node.input[0] times the transpose of `matrix` [N, K]."""
        n, k = matrix.shape
        stored, scales = quantise(matrix, self.bits)
        inputs = [node.input[0], self.graph.weight(name + QUANTISED, stored), self.graph.weight(name + SCALES, scales)]
        sizes = {"N": n, "K": k, "bits": self.bits, "block_size": BLOCK, "accuracy_level": INTEGER_ACTIVATIONS}
        self.graph.add("MatMulNBits", inputs, outputs=list(node.output), domain=MICROSOFT, **sizes)

    def look_up(self, node: NodeProto, name: str) -> None:
        table = self.source.tensors[name]
        if table.shape[1] % BLOCK:
            # This operator takes rows to be whole numbers of blocks.
            self.graph.weight(name, table)
            self.graph.nodes.append(node)
            return
        # The bytes are those of the product with the table, where there is one.
        stored, scales = quantise(table, self.bits)
        table = self.graph.weight(name + QUANTISED, stored.reshape(len(stored), -1))
        inputs = [table, node.input[1], self.graph.weight(name + SCALES, scales)]
        kind = {"bits": self.bits, "block_size": BLOCK, "gather_axis": 0, "quantize_axis": 1}
        self.graph.add("GatherBlockQuantized", inputs, outputs=list(node.output), domain=MICROSOFT, **kind)


def halve(source: Graph, graph: Graph) -> None:
    """All float32 numbers become float16, but for the logits, which a sampler wants in float32."""
    # The largest number of a graph is the score of what is masked, far beyond float16; any that a softmax takes to 0 will do.
    largest = np.float32(1e4)

    def half(array: np.ndarray) -> np.ndarray:
        return np.clip(array, -largest, largest).astype(np.float16) if array.dtype == np.float32 else array

    graph.tensors = {name: half(array) for name, array in source.tensors.items()}
    graph.constants = {name: half(array) for name, array in source.constants.items()}
    for values, halved in ((source.inputs, graph.inputs), (source.outputs, graph.outputs)):
        for value in values:
            copied = type(value).FromString(value.SerializeToString())
            if copied.type.tensor_type.elem_type == TensorProto.FLOAT and copied.name != "logits":
                copied.type.tensor_type.elem_type = TensorProto.FLOAT16
            halved.append(copied)
    for node in source.nodes:
        copied = NodeProto.FromString(node.SerializeToString())
        if copied.op_type == "Cast" and helper.get_node_attr_value(copied, "to") == TensorProto.FLOAT:
            del copied.attribute[:]
            copied.attribute.append(helper.make_attribute("to", TensorProto.FLOAT16))
        wide = "logits" in copied.output
        if wide:
            copied.output[:] = ["logits_float16"]
        graph.nodes.append(copied)
        if wide:
            graph.add("Cast", ["logits_float16"], outputs=["logits"], to=TensorProto.FLOAT)
