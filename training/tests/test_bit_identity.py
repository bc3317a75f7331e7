"""What may not change a single bit of a row in a step of one token: a batch joins rows by it.

A step of several tokens is not among it: a row of one and a row of many take different products.
"""

from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest

from training.onnx_decode import OnnxRetro
from training.tests.test_export import export

IMPORTED = Path("tests/fixtures/retro-pytorch/tiny")
ROWS = 16
LENGTHS = np.array([1, 2, 17, 63, 64, 65, 100, 127, 128, 129, 200, 255, 256, 257, 383, 384])  # with the step's token
T = 256


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    export(folder, ["fp32", "int8"])
    return folder


@pytest.fixture(params=["fp32", "int8", "imported"])
def opened(folder, request):
    """Opens a variant, or a model with a slot of its own, with so many threads."""
    return partial(OnnxRetro, IMPORTED) if request.param == "imported" else partial(OnnxRetro, folder, request.param)


@pytest.fixture(params=[1, 2], ids="{}-threads".format)
def graphs(opened, request):
    return opened(threads=request.param)


@cache
def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def cross(graphs: OnnxRetro, tokens: int) -> dict[str, np.ndarray]:
    """Encoded neighbours for every row, one slot in five masked."""
    shape = graphs.manifest["cross_attention"]
    names = [f"cross_{part}_{i}" for i in range(shape["layers"]) for part in ("key", "value")]
    mask = (np.random.default_rng(1).random((ROWS, tokens)) < 0.8).astype(np.float32)
    mask[:, 0] = 1
    arrays = {name: normal(seed, ROWS, shape["heads"], tokens, shape["head_size"]) for seed, name in enumerate(names)}
    return arrays | {"cross_mask": mask}


def padded(given: dict[str, np.ndarray], tokens: int) -> dict[str, np.ndarray]:
    """With masked slots at the end, which hold any numbers."""
    more = tokens - given["cross_mask"].shape[1]
    result = {
        name: np.concatenate([array, normal(2, *array.shape[:2], more, array.shape[3])], axis=2)
        for name, array in given.items()
        if name != "cross_mask"
    }
    return result | {"cross_mask": np.pad(given["cross_mask"], [(0, 0), (0, more)])}


def run(session, output: str, inputs: dict[str, np.ndarray], layers: int, rows: slice, own: dict) -> tuple[np.ndarray, ...]:
    """The output, and each row's new entries of the caches, which hold random tokens and are updated in place."""
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_cpu_input(name, array)
    binding.bind_output(output, "cpu")
    caches = {}
    for number, name in enumerate(f"{part}_{i}" for i in range(layers) for part in ("key", "value")):
        caches[name] = normal(number, ROWS, own["kv_heads"], own["context"], own["head_size"])[rows].copy()
        for bind, side in ((binding.bind_input, "past"), (binding.bind_output, "present")):
            bind(f"{side}_{name}", "cpu", 0, np.float32, caches[name].shape, caches[name].ctypes.data)
    session.run_with_iobinding(binding)
    at = inputs["seqlens_k"]
    written = [cache[np.arange(len(at)), :, at].reshape(len(at), -1) for cache in caches.values()]
    return binding.get_outputs()[0].numpy().copy(), np.concatenate(written, axis=1)


def step(graphs: OnnxRetro, given: dict[str, np.ndarray], rows: slice) -> np.ndarray:
    """Of one token for each of `rows`, [rows, ...]: the logits, hidden state and new entries of the caches, all in one."""
    own = graphs.manifest["self_attention"] | {"context": graphs.manifest["context"]}
    lengths = np.minimum(LENGTHS[rows], own["context"])
    counts = {"seqlens_k": (lengths - 1).astype(np.int32), "total_sequence_length": np.asarray(lengths.max(), np.int32)}
    tokens = np.arange(2, 2 + ROWS)[rows, None]
    hidden, lower = run(graphs.lower, "hidden", counts | {"tokens": tokens}, own["lower_layers"], rows, own)
    inputs = counts | {name: np.ascontiguousarray(array[rows]) for name, array in given.items()} | {"hidden": hidden}
    inputs |= {"cross_position": np.arange(ROWS)[rows, None] * 4, "logits_from": np.zeros(1, np.int64)}
    logits, upper = run(graphs.upper, "logits", inputs, own["upper_layers"], rows, own)
    return np.concatenate([logits[:, 0], hidden[:, 0], lower, upper], axis=1)


def one_by_one(graphs: OnnxRetro, given: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([step(graphs, given, slice(row, row + 1)) for row in range(ROWS)])


def test_a_row_is_the_same_in_any_batch(graphs):
    given = cross(graphs, T)
    alone = one_by_one(graphs, given)
    for batch in (2, 3, 4, 8, 16):
        for begin in range(0, ROWS - batch + 1, batch):
            rows = slice(begin, begin + batch)
            assert np.array_equal(step(graphs, given, rows), alone[rows]), (batch, begin)


def test_the_number_of_threads_does_not_matter(opened):
    steps = []
    for threads in (1, 2, 3):
        graphs = opened(threads=threads)
        steps.append(step(graphs, cross(graphs, T), slice(0, ROWS)))
    assert np.array_equal(steps[0], steps[1]) and np.array_equal(steps[0], steps[2])


@pytest.mark.parametrize("tokens", [4, 128, T])
def test_masked_slots_at_the_end_change_nothing(graphs, tokens):
    given, rows = cross(graphs, tokens), slice(0, ROWS)
    expected = step(graphs, given, rows)
    for longer in (tokens + 4, tokens + 12, 512, 2048):
        assert np.array_equal(step(graphs, padded(given, longer), rows), expected), longer


def test_any_number_of_masked_slots_is_retrieval_off(graphs):
    nothing = cross(graphs, 1)
    nothing["cross_mask"][:] = 0
    rows = slice(0, ROWS)
    off = step(graphs, nothing, rows)
    for longer in (2, 128, T, 512, 2048):
        assert np.array_equal(step(graphs, padded(nothing, longer), rows), off), longer
    assert not (step(graphs, cross(graphs, T), rows) == off).all(axis=1).any()


def test_a_chunk_is_encoded_the_same_beside_others(graphs):
    rng = np.random.default_rng(3)
    inputs = {
        "neighbour_tokens": rng.integers(2, graphs.manifest["vocabulary"], (3, 2, 128)),
        "chunk_hidden": normal(4, 3, 64, graphs.manifest["hidden_size"]),
        "chunk_mask": np.ones((3, 64), np.float32),
    }
    together = graphs.encoder.run(None, inputs)
    for chunk in range(3):
        alone = graphs.encoder.run(None, {name: array[chunk : chunk + 1] for name, array in inputs.items()})
        for one, other in zip(alone, together, strict=True):
            assert np.array_equal(one[0], other[chunk])
