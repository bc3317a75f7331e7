"""What the machine can do at most: reading memory, and products of large matrices."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from benches.graphs import options

ROWS = 512
SIZES = (1024, 2048)  # of square matrices, of which the faster counts
BLOCK = 64  # numbers with one scale, as training/ stores them
INTEGER_ACTIVATIONS = 4


class Peer:
    def __init__(self, threads: int, seed: int):
        self.threads, self.rng = threads, np.random.default_rng(seed)
        self.pool = ThreadPoolExecutor(threads)
        self.sessions: dict[tuple[str, int], ort.InferenceSession] = {}
        self.about = {"numpy": np.__version__, "onnxruntime": ort.__version__}

    def measure(self, what: str, **request) -> dict:
        return self.bandwidth(**request) if what == "bandwidth" else self.products(**request)

    def bandwidth(self, bytes: int, seconds: float) -> dict:
        """Bytes a second, the best of as many turns as fit in `seconds`: by a sum and by a largest value (which read), and by a copy
        (which reads and writes). Every thread has its own part of the buffer."""
        count = bytes // 4 // self.threads
        parts = [np.ones(count, np.float32) for _ in range(self.threads)]
        copies = [np.empty_like(part) for part in parts]
        ways = {
            "sum": (lambda at: parts[at].sum(), 1),
            "max": (lambda at: parts[at].max(), 1),
            "copy": (lambda at: np.copyto(copies[at], parts[at]), 2),
        }
        found = {}
        for name, (work, times) in ways.items():
            quickest = best(lambda work=work: list(self.pool.map(work, range(self.threads))), seconds / len(ways))
            found[name] = times * 4 * count * self.threads / quickest
        return found

    def products(self, weights: str, seconds: float) -> dict:
        """Operations a second in a product of ROWS rows with a matrix."""
        found = {}
        for size in SIZES:
            if (weights, size) not in self.sessions:
                self.sessions[weights, size] = self.product(weights, size)
            session = self.sessions[weights, size]
            rows = {"x": self.rng.standard_normal((ROWS, size)).astype(np.float32)}
            found[str(size)] = 2 * ROWS * size * size / best(lambda s=session, r=rows: s.run(None, r), seconds / len(SIZES))
        return found

    def product(self, weights: str, size: int) -> ort.InferenceSession:
        if weights == "fp32":
            stored = {"w": self.rng.standard_normal((size, size)).astype(np.float32)}
            node = helper.make_node("MatMul", ["x", "w"], ["y"])
        else:
            blocks = size // BLOCK
            stored = {
                "w": self.rng.integers(0, 256, (size, blocks, BLOCK), np.uint8),
                "s": self.rng.random(size * blocks).astype(np.float32),
            }
            sizes = {"N": size, "K": size, "bits": 8, "block_size": BLOCK, "accuracy_level": INTEGER_ACTIVATIONS}
            node = helper.make_node("MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft", **sizes)
        x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", size]) for name in "xy")
        graph = helper.make_graph([node], "product", [x], [y], [numpy_helper.from_array(array, name) for name, array in stored.items()])
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        return ort.InferenceSession(model.SerializeToString(), options(self.threads), providers=["CPUExecutionProvider"])


def best(work, seconds: float) -> float:
    """The shortest of repeated runs, the first of which does not count."""
    work()
    quickest, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end or quickest == float("inf"):
        begin = time.perf_counter()
        work()
        quickest = min(quickest, time.perf_counter() - begin)
    return quickest
