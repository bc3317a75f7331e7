"""A small builder of ONNX graphs whose weights lie in one external data file, shared by several graphs."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

OPSET = 21
ALIGNMENT = 4096  # of a tensor in the external file, so that it can be mapped into memory
WEIGHTS_FILE = "weights.bin"


class Weights:
    """The external data file. Equal names are the same bytes, whichever graph they stand in and under whatever shape."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.places: dict[str, tuple[int, int]] = {}

    def place(self, name: str, array: np.ndarray) -> tuple[int, int]:
        if name not in self.places:
            self.data += bytes(-len(self.data) % ALIGNMENT)
            self.places[name] = (len(self.data), array.nbytes)
            self.data += array.tobytes()
        offset, length = self.places[name]
        assert length == array.nbytes, name
        return offset, length


class Graph:
    """Nodes are added in order; an added node's output name is returned."""

    def __init__(self, name: str, weights: Weights):
        self.name, self.weights = name, weights
        self.nodes, self.inputs, self.outputs = [], [], []
        self.tensors: dict[str, np.ndarray] = {}  # in the external file
        self.constants: dict[str, np.ndarray] = {}  # in the graph file

    def input(self, name: str, kind: int, shape: list) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, name: str, kind: int, shape: list) -> None:
        self.outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def weight(self, name: str, array: np.ndarray) -> str:
        """A tensor in the external file."""
        self.tensors[name] = np.ascontiguousarray(array)
        return name

    def constant(self, values, kind: type = np.int64) -> str:
        """A small tensor inside the graph file."""
        array = np.asarray(values, kind)
        name = f"constant_{array.dtype}_{'x'.join(map(str, array.shape))}_{'_'.join(map(str, array.reshape(-1)))}"
        self.constants[name] = array
        return name

    def add(self, operator: str, inputs: list[str], outputs: int | list[str] = 1, domain: str = "", **attributes):
        """One node. `outputs` is a count (names are made) or names; a single output is returned as a string."""
        number = f"{operator}_{len(self.nodes)}"
        names = [f"{number}_{i}" for i in range(outputs)] if isinstance(outputs, int) else outputs
        self.nodes.append(helper.make_node(operator, inputs, names, name=number, domain=domain, **attributes))
        return names[0] if len(names) == 1 else names

    def external(self, name: str, array: np.ndarray) -> TensorProto:
        offset, length = self.weights.place(name, array)
        tensor = TensorProto(name=name, data_type=helper.np_dtype_to_tensor_dtype(array.dtype), dims=array.shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in [("location", WEIGHTS_FILE), ("offset", str(offset)), ("length", str(length))]:
            tensor.external_data.add(key=key, value=value)
        return tensor

    def save(self, folder: Path) -> None:
        initializers = [self.external(name, array) for name, array in self.tensors.items()]
        initializers += [onnx.numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, initializers)
        imports = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=imports, producer_name="retro training.export")
        model.ir_version = 10
        (folder / f"{self.name}.onnx").write_bytes(model.SerializeToString())


def save(graphs: list[Graph], folder: Path) -> None:
    """Graphs that share one external file, and the file."""
    for graph in graphs:
        graph.save(folder)
    (folder / WEIGHTS_FILE).write_bytes(graphs[0].weights.data)
