"""The model's parts as ONNX nodes. Shapes as in layers.py; every function returns the name of its result."""

import numpy as np
from onnx import TensorProto

from training.graph import Graph
from training.layers import MASKED, Attention, FeedForward, RMSNorm, rope_tables

MICROSOFT = "com.microsoft"
FLOAT = TensorProto.FLOAT


def array(parameter) -> np.ndarray:
    return parameter.detach().float().cpu().numpy()


def rms_norm(graph: Graph, x: str, name: str, module: RMSNorm) -> str:
    weight = graph.weight(f"{name}.weight", array(module.weight))
    # An operator of ONNX Runtime in the standard domain; the standard RMSNormalization came with opset 23.
    return graph.add("SimplifiedLayerNormalization", [x, weight], axis=-1, epsilon=module.epsilon, stash_type=1)


def linear(graph: Graph, x: str, name: str, *matrices) -> str:
    """x W^T for the matrices laid side by side: one product for several projections of the same input."""
    joined = np.concatenate([m if isinstance(m, np.ndarray) else array(m.weight) for m in matrices])
    return graph.add("MatMul", [x, graph.weight(name, joined.T)])


def feed_forward(graph: Graph, x: str, name: str, module: FeedForward) -> str:
    both = linear(graph, x, f"{name}.gate_up", module.gate, module.up)
    gate, up = graph.add("Split", [both], outputs=2, axis=-1, num_outputs=2)
    activated = graph.add("Mul", [graph.add("Mul", [gate, graph.add("Sigmoid", [gate])]), up])
    return linear(graph, activated, f"{name}.down", module.down)


def rope_caches(graph: Graph, rows: int, head_size: int, base: float) -> list[str]:
    cos, sin = rope_tables(rows, head_size, base)
    return [graph.weight(f"rope_{rows}.cos", cos.numpy()), graph.weight(f"rope_{rows}.sin", sin.numpy())]


def rotary(graph: Graph, x: str, positions: str, caches: list[str], **partial: int) -> str:
    """x [B, S, H*D] or [B, H, S, D]; positions int64 [B, S], or [1]: the first position of every row."""
    return graph.add("RotaryEmbedding", [x, positions, *caches], domain=MICROSOFT, interleaved=0, **partial)


def cached_attention(graph: Graph, packed: str, name: str, heads: int, cache: int, caches: list[str]) -> str:
    """Causal, of queries, keys and values side by side, onto the key/value cache number `cache` of this graph.

    Only so much of a head is rotated as the rotary tables `caches` have columns for.
    """
    inputs = [packed, "", "", f"past_key_{cache}", f"past_value_{cache}"]
    outputs = [f"{name}_mixed", f"present_key_{cache}", f"present_value_{cache}"]
    graph.add(
        "GroupQueryAttention",
        [*inputs, "seqlens_k", "total_sequence_length", *caches],
        outputs=outputs,
        domain=MICROSOFT,
        do_rotary=1,
        rotary_interleaved=0,
        num_heads=heads,
        kv_num_heads=heads,
    )
    return outputs[0]


def self_attention(graph: Graph, x: str, name: str, module: Attention, cache: int, caches: list[str]) -> str:
    packed = linear(graph, x, f"{name}.query_key_value", module.query, module.key, module.value)
    mixed = cached_attention(graph, packed, name, module.heads, cache, caches)
    return linear(graph, mixed, f"{name}.output", module.output)


def scaled_query(module: Attention) -> np.ndarray:
    """The query matrix with 1/sqrt(D) in it, which saves a node."""
    weight = array(module.query.weight)
    return weight * (weight.shape[0] // module.heads) ** -0.5


def head_norm(graph: Graph, x: str, name: str, module: RMSNorm, scale: float = 1.0) -> str:
    """RMSNorm over each head of x [B, S, H, D], times `scale`."""
    weight = graph.weight(f"{name}.weight", array(module.weight) * scale)
    return graph.add("SimplifiedLayerNormalization", [x, weight], axis=-1, epsilon=module.epsilon, stash_type=1)


def split_heads(graph: Graph, x: str, shape: str) -> str:
    """x -> [B, H, S, D], `shape` naming [B, S, H, D]."""
    return graph.add("Transpose", [graph.add("Reshape", [x, shape])], perm=[0, 2, 1, 3])


def attend(graph: Graph, query: str, key: str, value: str, bias: str, width: int, sink: str | None = None) -> str:
    """softmax(query key^T + bias) value, heads merged: [B, S, width]. query is scaled already.

    `sink` [B, S, H]: the score of one more key for each query and head, whose value is 0. It stands first: a softmax sums
    its columns in vectors, so a column's place must not depend on how many masked ones follow.
    """
    scores = graph.add("MatMul", [query, graph.add("Transpose", [key], perm=[0, 1, 3, 2])])
    scores = graph.add("Add", [scores, bias])
    if sink is None:
        shares = graph.add("Softmax", [scores], axis=-1)
    else:
        column = graph.add("Unsqueeze", [graph.add("Transpose", [sink], perm=[0, 2, 1]), graph.constant([3])])
        shares = graph.add("Softmax", [graph.add("Concat", [column, scores], axis=-1)], axis=-1)
        shares = graph.add("Slice", [shares, graph.constant([1]), graph.constant([2**31 - 1]), graph.constant([3])])
    mixed = graph.add("Transpose", [graph.add("MatMul", [shares, value])], perm=[0, 2, 1, 3])
    return graph.add("Reshape", [mixed, graph.constant([0, 0, width])])


def mask_bias(graph: Graph, mask: str) -> str:
    """float [B, keys], 1 or 0 -> score bias [B, 1, 1, keys]."""
    scaled = graph.add("Mul", [graph.add("Sub", [mask, graph.constant(1.0, np.float32)]), graph.constant(-MASKED, np.float32)])
    return graph.add("Unsqueeze", [scaled, graph.constant([1, 2])])


def cross_names(layers: int) -> list[str]:
    """What `encoder` gives and `upper` takes, beside the mask."""
    return [f"cross_{part}_{i}" for i in range(layers) for part in ("key", "value")]


def cache_inputs(graph: Graph, layers: int, heads: int, head_size: int) -> None:
    """The inputs and outputs of cached self-attention."""
    graph.input("seqlens_k", TensorProto.INT32, ["rows"])
    graph.input("total_sequence_length", TensorProto.INT32, [])
    shape = ["rows", heads, "context", head_size]
    for i in range(layers):
        for part in ("key", "value"):
            graph.input(f"past_{part}_{i}", FLOAT, shape)
            graph.output(f"present_{part}_{i}", FLOAT, shape)
