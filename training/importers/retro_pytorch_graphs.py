"""The three graphs of docs/model-format.md for a model of `retro-pytorch`, with what is peculiar to it:

- There are 8 heads, whatever the constructor was told.
- Learned absolute positions are added to the decoder's tokens, before they are projected to its width.
- Rotary positions turn the first 32 dimensions of a head only.
- In CCA the first query of a chunk stands at position 126 and all others at 0, where they turn nothing: the original
  pads its table of positions with zeros when it shifts it.
- CCA has a learned key and value beside the neighbours' that are always attended. So the encoder has slots of its own,
  and neighbours that are all padding are not retrieval off.
"""

import numpy as np
from onnx import TensorProto

from training.graph import Graph, Weights
from training.importers.retro_pytorch_source import CHUNK, HEADS, RETRIEVED, Source
from training.onnx_parts import FLOAT, attend, cache_inputs, cached_attention, cross_names, linear, mask_bias, rotary, split_heads

# The learned key and masked ones after it: bit by bit, a row's result is that in a batch only where slots come in fours,
# and vectors are up to 16 numbers long.
OWN_SLOTS = 16
LAYER_NORM_EPSILON = 1e-5
# Of the root mean square, which is no smaller: added to the mean square it is the same in float32 down to 3e-5.
RMS_CLAMP = 1e-8


class Part(Graph):
    """A graph whose parameters have the checkpoint's names."""

    def __init__(self, name: str, weights: Weights, source: Source):
        super().__init__(name, weights)
        self.source, self.head = source, source.shape.head_size
        self.inner = HEADS * self.head

    def parameter(self, name: str) -> str:
        return self.weight(name, self.source[name])

    def linear(self, x: str, name: str, scale: float = 1.0) -> str:
        product = linear(self, x, name, self.source[f"{name}.weight"] * np.float32(scale))
        return self.add("Add", [product, self.parameter(f"{name}.bias")]) if f"{name}.bias" in self.source else product

    def query(self, x: str, name: str) -> str:
        return self.linear(x, f"{name}.to_q", self.head**-0.5)

    def norm(self, x: str, name: str) -> str:
        if f"{name}.gamma" not in self.source:
            parameters = [self.parameter(f"{name}.{part}") for part in ("weight", "bias")]
            return self.add("LayerNormalization", [x, *parameters], axis=-1, epsilon=LAYER_NORM_EPSILON)
        gamma = self.parameter(f"{name}.gamma")
        normed = self.add("SimplifiedLayerNormalization", [x, gamma], axis=-1, epsilon=RMS_CLAMP**2, stash_type=1)
        if f"{name}.weight" not in self.source:
            return normed
        gate = self.add("Sigmoid", [self.add("Mul", [x, self.parameter(f"{name}.weight")])])
        return self.add("Mul", [normed, gate])

    def rotary_tables(self, stack: str) -> list[str]:
        cos, sin = self.source.rotary_tables(stack)
        return [self.weight(f"{stack}.rotary.cos", cos), self.weight(f"{stack}.rotary.sin", sin)]

    def rotated(self, x: str, positions: str, tables: list[str]) -> str:
        return rotary(self, x, positions, tables, num_heads=HEADS, rotary_embedding_dim=self.source.shape.rotary_size)

    def feed_forward(self, x: str, layer: str) -> str:
        inner = self.linear(self.norm(x, f"{layer}.2.norm"), f"{layer}.2.fn.ff.0")
        return self.add("Add", [x, self.linear(self.add("Gelu", [inner]), f"{layer}.2.fn.ff.3")])

    def cached_attention(self, x: str, layer: str, cache: int, tables: list[str]) -> str:
        matrices = [self.source[f"{layer}.0.fn.{part}.weight"] for part in ("to_q", "to_k", "to_v")]
        packed = linear(self, self.norm(x, f"{layer}.0.norm"), f"{layer}.0.fn.to_qkv", *matrices)
        mixed = cached_attention(self, packed, layer, HEADS, cache, tables)
        return self.add("Add", [x, self.linear(mixed, f"{layer}.0.fn.to_out")])


def lower(source: Source, weights: Weights) -> Graph:
    shape, graph = source.shape, Part("lower", weights, source)
    graph.input("tokens", TensorProto.INT64, ["rows", "step"])
    graph.output("hidden", FLOAT, ["rows", "step", shape.hidden_size])
    cache_inputs(graph, shape.lower_layers, HEADS, shape.head_size)
    tables = graph.rotary_tables("decoder")
    x = graph.add("Gather", [graph.parameter("token_emb.weight"), "tokens"])
    x = graph.add("Add", [x, graph.add("Gather", [graph.parameter("pos_emb.weight"), positions(graph)])])
    if "to_decoder_model_dim.weight" in source:
        x = graph.linear(x, "to_decoder_model_dim")
    for number in range(shape.lower_layers):
        x = graph.cached_attention(x, f"decoder.layers.{number}", number, tables)
        if number + 1 < shape.lower_layers:
            x = graph.feed_forward(x, f"decoder.layers.{number}")
    graph.add("Identity", [x], outputs=["hidden"])
    return graph


def positions(graph: Graph) -> str:
    """Of the step's tokens, int64 [B, S]. Rows of a first step are padded at the right, so they all begin at 0."""
    step = graph.add("Shape", ["tokens"], start=1, end=2)
    length = graph.add("Add", [graph.add("Cast", ["seqlens_k"], to=TensorProto.INT64), graph.constant(1)])
    begin = graph.add("Max", [graph.add("Sub", [length, step]), graph.constant(0)])
    places = graph.add("Range", [graph.constant(0), graph.add("Squeeze", [step]), graph.constant(1)])
    return graph.add("Add", [graph.add("Unsqueeze", [begin, graph.constant([1])]), places])


def encoder(source: Source, weights: Weights) -> Graph:
    shape, graph = source.shape, Part("encoder", weights, source)
    d, inner = shape.head_size, HEADS * shape.head_size
    graph.input("neighbour_tokens", TensorProto.INT64, ["chunks", "neighbours", RETRIEVED])
    graph.input("chunk_hidden", FLOAT, ["chunks", CHUNK, shape.hidden_size])
    graph.input("chunk_mask", FLOAT, ["chunks", CHUNK])
    for name in cross_names(len(shape.cca_layers)):
        graph.output(name, FLOAT, ["chunks", HEADS, "cross_tokens", d])
    graph.output("cross_mask", FLOAT, ["chunks", "cross_tokens"])

    tables, origin = graph.rotary_tables("encoder"), graph.constant([0])
    chunks = graph.add("Shape", ["chunk_hidden"], start=0, end=1)
    tokens = graph.add("Reshape", ["neighbour_tokens", graph.constant([-1, RETRIEVED])])
    real = graph.add("Not", [graph.add("Equal", [tokens, graph.constant(shape.pad_token)])])
    mask = graph.add("Cast", [real], to=FLOAT)  # [C*K, R]
    bias, chunk_bias = mask_bias(graph, mask), mask_bias(graph, "chunk_mask")
    heads = graph.constant([0, 0, HEADS, d])
    along = graph.add("Concat", [chunks, graph.constant([-1, HEADS, d])], axis=0)
    x = graph.add("Gather", [graph.parameter("token_emb.weight"), tokens])
    for number in range(shape.encoder_layers):
        layer = f"encoder.layers.{number}"
        normed = graph.norm(x, f"{layer}.0.norm")
        query = graph.rotated(graph.query(normed, f"{layer}.0.fn"), origin, tables)
        key = graph.rotated(graph.linear(normed, f"{layer}.0.fn.to_k"), origin, tables)
        value = graph.linear(normed, f"{layer}.0.fn.to_v")
        mixed = attend(graph, *(split_heads(graph, part, heads) for part in (query, key, value)), bias, inner)
        x = graph.add("Add", [x, graph.linear(mixed, f"{layer}.0.fn.to_out")])
        if number + 1 in shape.encoder_cross_layers:
            query = graph.rotated(graph.query(graph.norm(x, f"{layer}.1.norm"), f"{layer}.1.fn"), origin, tables)
            key = graph.rotated(graph.linear("chunk_hidden", f"{layer}.1.fn.to_k"), origin, tables)
            value = graph.linear("chunk_hidden", f"{layer}.1.fn.to_v")
            # A chunk's keys are shared by its K neighbours, laid along the query axis: [C, H, K*R, D].
            parts = split_heads(graph, query, along), split_heads(graph, key, heads), split_heads(graph, value, heads)
            read = graph.linear(attend(graph, *parts, chunk_bias, inner), f"{layer}.1.fn.to_out")
            x = graph.add("Add", [x, graph.add("Reshape", [read, graph.constant([-1, RETRIEVED, shape.encoder_size])])])
        x = graph.feed_forward(x, layer)
    x = graph.linear(graph.norm(x, "encoder.norm_out"), "encoder.project_out")

    own = np.zeros((1, OWN_SLOTS), np.float32)
    own[0, 0] = 1
    own_mask = graph.add("Expand", [graph.constant(own, np.float32), graph.add("Concat", [chunks, graph.constant([OWN_SLOTS])], axis=0)])
    mask = graph.add("Reshape", [mask, graph.add("Concat", [chunks, graph.constant([-1])], axis=0)])
    graph.add("Concat", [own_mask, mask], outputs=["cross_mask"], axis=1)
    # The CCA keys' positions are the decoder's, in whose layers they stand.
    tables = graph.rotary_tables("decoder")
    everywhere = graph.add("Concat", [chunks, graph.constant([HEADS, OWN_SLOTS, d])], axis=0)
    for which, number in enumerate(shape.cca_layers):
        name = f"decoder.layers.{number - 1}.1.fn.cross_attn"
        key = graph.rotated(graph.linear(x, f"{name}.to_k"), origin, tables)
        for part, slots in (("key", key), ("value", graph.linear(x, f"{name}.to_v"))):
            learned = np.zeros((1, HEADS, OWN_SLOTS, d), np.float32)
            learned[0, :, 0] = source[f"{name}.null_{part[0]}"].reshape(HEADS, d)
            learned = graph.add("Expand", [graph.weight(f"{name}.null_{part[0]}", learned), everywhere])
            graph.add("Concat", [learned, split_heads(graph, slots, along)], outputs=[f"cross_{part}_{which}"], axis=2)
    return graph


def upper(source: Source, weights: Weights) -> Graph:
    shape, graph = source.shape, Part("upper", weights, source)
    d = shape.head_size
    graph.input("hidden", FLOAT, ["rows", "step", shape.hidden_size])
    cache_inputs(graph, shape.layers - shape.lower_layers, HEADS, d)
    for name in cross_names(len(shape.cca_layers)):
        graph.input(name, FLOAT, ["rows", HEADS, "cross_tokens", d])
    graph.input("cross_mask", FLOAT, ["rows", "cross_tokens"])
    graph.input("cross_position", TensorProto.INT64, ["rows", "step"])
    graph.input("logits_from", TensorProto.INT64, [1])
    graph.output("logits", FLOAT, ["rows", "logit_step", shape.vocabulary])

    tables = graph.rotary_tables("decoder")
    bias = mask_bias(graph, "cross_mask")
    first = graph.add("Cast", [graph.add("Equal", ["cross_position", graph.constant(0)])], to=TensorProto.INT64)
    position = graph.add("Mul", [first, graph.constant(2 * CHUNK - 2)])
    # The first slot is attended wherever any is; where none is, the projection's bias must not be added either.
    attends = graph.add("Slice", ["cross_mask", graph.constant([0]), graph.constant([1]), graph.constant([1])])
    attends = graph.add("Unsqueeze", [attends, graph.constant([2])])
    heads = graph.constant([0, 0, HEADS, d])

    def cca(x: str, number: int) -> str:
        layer, which = f"decoder.layers.{number - 1}.1", shape.cca_layers.index(number)
        query = graph.query(graph.norm(x, f"{layer}.norm"), f"{layer}.fn.cross_attn")
        query = graph.rotated(split_heads(graph, query, heads), position, tables)
        read = attend(graph, query, f"cross_key_{which}", f"cross_value_{which}", bias, HEADS * d)
        read = graph.linear(read, f"{layer}.fn.cross_attn.to_out")
        return graph.add("Add", [x, graph.add("Mul", [read, attends])])

    x = graph.feed_forward(cca("hidden", shape.lower_layers), f"decoder.layers.{shape.lower_layers - 1}")
    for number in range(shape.lower_layers + 1, shape.layers + 1):
        x = graph.cached_attention(x, f"decoder.layers.{number - 1}", number - 1 - shape.lower_layers, tables)
        if number in shape.cca_layers:
            x = cca(x, number)
        x = graph.feed_forward(x, f"decoder.layers.{number - 1}")
    wanted = graph.add("Slice", [x, "logits_from", graph.constant([2**31 - 1]), graph.constant([1])])
    product = linear(graph, graph.norm(wanted, "decoder.norm_out"), "to_logits", source["to_logits.weight"])
    graph.add("Add", [product, graph.parameter("to_logits.bias")], outputs=["logits"])
    return graph


def build(source: Source) -> list[Graph]:
    weights = Weights()
    return [part(source, weights) for part in (lower, encoder, upper)]
