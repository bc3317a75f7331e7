"""The three graphs of docs/model-format.md, made from the PyTorch model by hand.

Hand-made rather than traced: the inputs' names and shapes are a contract, and self-attention has to be the one operator
that updates a preallocated cache in place.
"""

from onnx import TensorProto

from training.graph import Graph, Weights
from training.model import DecoderLayer, Retro
from training.onnx_parts import (
    FLOAT,
    array,
    attend,
    cache_inputs,
    cross_names,
    feed_forward,
    head_norm,
    linear,
    mask_bias,
    rms_norm,
    rope_caches,
    rotary,
    scaled_query,
    self_attention,
    split_heads,
)


def attention_block(graph: Graph, x: str, number: int, layer: DecoderLayer, cache: int, caches: list[str]) -> str:
    normed = rms_norm(graph, x, f"layer_{number}.attention_norm", layer.attention_norm)
    return graph.add("Add", [x, self_attention(graph, normed, f"layer_{number}.attention", layer.attention, cache, caches)])


def feed_forward_block(graph: Graph, x: str, name: str, layer) -> str:
    normed = rms_norm(graph, x, f"{name}.feed_forward_norm", layer.feed_forward_norm)
    return graph.add("Add", [x, feed_forward(graph, normed, f"{name}.feed_forward", layer.feed_forward)])


def lower(model: Retro, weights: Weights) -> Graph:
    config, graph = model.config, Graph("lower", weights)
    graph.input("tokens", TensorProto.INT64, ["rows", "step"])
    graph.output("hidden", FLOAT, ["rows", "step", config.hidden_size])
    cache_inputs(graph, config.lower_layers, config.heads, config.head_size)
    caches = rope_caches(graph, config.context, config.head_size, config.rope_base)
    x = graph.add("Gather", [graph.weight("embedding", array(model.embedding.weight)), "tokens"])
    for number in range(1, config.lower_layers + 1):
        layer = model.layers[number - 1]
        x = attention_block(graph, x, number, layer, number - 1, caches)
        if number < config.lower_layers:
            x = feed_forward_block(graph, x, f"layer_{number}", layer)
    graph.add("Identity", [x], outputs=["hidden"])
    return graph


def encoder(model: Retro, weights: Weights) -> Graph:
    config, graph, module = model.config, Graph("encoder", weights), model.encoder
    length, size, d, m = config.retrieved_length, config.encoder_size, config.head_size, config.chunk_length
    graph.input("neighbour_tokens", TensorProto.INT64, ["chunks", "neighbours", length])
    graph.input("chunk_hidden", FLOAT, ["chunks", m, config.hidden_size])
    graph.input("chunk_mask", FLOAT, ["chunks", m])
    # K and T are left open: a request may ask for another number of neighbours than the model was trained with.
    for name in cross_names(len(config.cca_layers)):
        graph.output(name, FLOAT, ["chunks", config.heads, "cross_tokens", d])
    graph.output("cross_mask", FLOAT, ["chunks", "cross_tokens"])

    caches = rope_caches(graph, config.context, d, config.rope_base)
    origin = graph.constant([0])
    chunks = graph.add("Shape", ["chunk_hidden"], start=0, end=1)
    tokens = graph.add("Reshape", ["neighbour_tokens", graph.constant([-1, length])])
    real = graph.add("Not", [graph.add("Equal", [tokens, graph.constant(0)])])
    mask = graph.add("Cast", [real], to=FLOAT)  # [C*K, R]
    rows_of_chunk = graph.add("Concat", [chunks, graph.constant([-1])], axis=0)
    graph.add("Reshape", [mask, rows_of_chunk], outputs=["cross_mask"])

    embedded = graph.add("Gather", [graph.weight("embedding", array(model.embedding.weight)), tokens])
    embedded = graph.add("Mul", [embedded, graph.add("Unsqueeze", [mask, graph.constant([2])])])
    x = linear(graph, embedded, "encoder.token", module.token)
    for by, name in enumerate(("previous", "before_previous"), start=1):
        projected = linear(graph, embedded, f"encoder.{name}", getattr(module, name))
        x = graph.add("Add", [x, graph.add("Pad", [projected, graph.constant([0, by, 0, 0, -by, 0])])])

    bias = mask_bias(graph, mask)
    chunk = rms_norm(graph, "chunk_hidden", "encoder.chunk_norm", module.chunk_norm)
    chunk_bias = mask_bias(graph, "chunk_mask")
    heads = graph.constant([0, 0, config.encoder_heads, d])
    for number, layer in enumerate(module.layers, start=1):
        name = f"encoder.layer_{number}"
        normed = rms_norm(graph, x, f"{name}.attention_norm", layer.attention_norm)
        own = layer.attention
        query = rotary(graph, linear(graph, normed, f"{name}.attention.query", scaled_query(own)), origin, caches)
        key = rotary(graph, linear(graph, normed, f"{name}.attention.key", own.key), origin, caches)
        value = linear(graph, normed, f"{name}.attention.value", own.value)
        parts = [split_heads(graph, part, heads) for part in (query, key, value)]
        mixed = attend(graph, *parts, bias, size)
        x = graph.add("Add", [x, linear(graph, mixed, f"{name}.attention.output", own.output)])
        if layer.cross is not None:
            normed = rms_norm(graph, x, f"{name}.cross_norm", layer.cross_norm)
            query = rotary(graph, linear(graph, normed, f"{name}.cross.query", scaled_query(layer.cross)), origin, caches)
            key = rotary(graph, linear(graph, chunk, f"{name}.cross.key", layer.cross.key), origin, caches)
            value = linear(graph, chunk, f"{name}.cross.value", layer.cross.value)
            # A chunk's keys are shared by its K neighbours, laid along the query axis: [C, H, K*R, D].
            along = graph.add("Concat", [chunks, graph.constant([-1, config.encoder_heads, d])], axis=0)
            query = split_heads(graph, query, along)
            key, value = split_heads(graph, key, heads), split_heads(graph, value, heads)
            read = attend(graph, query, key, value, chunk_bias, size)
            read = linear(graph, read, f"{name}.cross.output", layer.cross.output)
            x = graph.add("Add", [x, graph.add("Reshape", [read, graph.constant([-1, length, size])])])
        x = feed_forward_block(graph, x, name, layer)
    x = rms_norm(graph, x, "encoder.final_norm", module.final_norm)

    along = graph.add("Concat", [chunks, graph.constant([-1, config.heads, d])], axis=0)
    for which, number in enumerate(config.cca_layers):
        cca, name = model.layers[number - 1].cca, f"layer_{number}.cca"
        key = graph.add("Reshape", [linear(graph, x, f"{name}.key", cca.key), graph.constant([0, 0, config.heads, d])])
        key = head_norm(graph, key, f"{name}.key_norm", cca.key_norm)
        key = rotary(graph, graph.add("Reshape", [key, graph.constant([0, 0, config.heads * d])]), origin, caches)
        copied = linear(graph, embedded, f"{name}.copy", model.layers[number - 1].copy)
        value = graph.add("Add", [linear(graph, x, f"{name}.value", cca.value), copied])
        for part, output in ((key, f"cross_key_{which}"), (value, f"cross_value_{which}")):
            graph.add("Transpose", [graph.add("Reshape", [part, along])], outputs=[output], perm=[0, 2, 1, 3])
    return graph


def upper(model: Retro, weights: Weights) -> Graph:
    config, graph = model.config, Graph("upper", weights)
    d = config.head_size
    graph.input("hidden", FLOAT, ["rows", "step", config.hidden_size])
    cache_inputs(graph, config.layers - config.lower_layers, config.heads, d)
    for name in cross_names(len(config.cca_layers)):
        graph.input(name, FLOAT, ["rows", config.heads, "cross_tokens", d])
    graph.input("cross_mask", FLOAT, ["rows", "cross_tokens"])
    graph.input("cross_position", TensorProto.INT64, ["rows", "step"])
    graph.input("logits_from", TensorProto.INT64, [1])
    graph.output("logits", FLOAT, ["rows", "logit_step", config.vocabulary])

    caches = rope_caches(graph, config.context, d, config.rope_base)
    bias = mask_bias(graph, "cross_mask")
    position = graph.add("Add", ["cross_position", graph.constant(config.chunk_length - 1)])
    heads = graph.constant([0, 0, config.heads, d])

    def cca_block(x: str, number: int) -> str:
        layer, name = model.layers[number - 1], f"layer_{number}.cca"
        which = config.cca_layers.index(number)
        normed = rms_norm(graph, x, f"layer_{number}.cca_norm", layer.cca_norm)
        query = linear(graph, normed, f"{name}.query", layer.cca.query)
        query = head_norm(graph, graph.add("Reshape", [query, heads]), f"{name}.query_norm", layer.cca.query_norm, d**-0.5)
        query = rotary(graph, graph.add("Transpose", [query], perm=[0, 2, 1, 3]), position, caches)
        sharpness = array(layer.cca.sharpness())
        sink = graph.weight(f"{name}.sink.bias", array(layer.sink.bias) * sharpness)
        sink = graph.add("Add", [linear(graph, normed, f"{name}.sink", array(layer.sink.weight) * sharpness), sink])
        read = attend(graph, query, f"cross_key_{which}", f"cross_value_{which}", bias, config.heads * d, sink)
        return graph.add("Add", [x, linear(graph, read, f"{name}.output", layer.cca.output)])

    x = feed_forward_block(graph, cca_block("hidden", config.lower_layers), f"layer_{config.lower_layers}", model.layers[config.lower_layers - 1])
    for number in range(config.lower_layers + 1, config.layers + 1):
        layer = model.layers[number - 1]
        x = attention_block(graph, x, number, layer, number - 1 - config.lower_layers, caches)
        if number in config.cca_layers:
            x = cca_block(x, number)
        x = feed_forward_block(graph, x, f"layer_{number}", layer)
    wanted = graph.add("Slice", [x, "logits_from", graph.constant([2**31 - 1]), graph.constant([1])])
    normed = rms_norm(graph, wanted, "final_norm", model.final_norm)
    table = graph.add("Transpose", [graph.weight("embedding", array(model.embedding.weight))], perm=[1, 0])
    graph.add("MatMul", [normed, table], outputs=["logits"])
    return graph


def build(model: Retro) -> tuple[list[Graph], Weights]:
    weights = Weights()
    return [part(model, weights) for part in (lower, encoder, upper)], weights
