#!/usr/bin/env python3
"""Turn a sentence-transformers folder (BERT, mean pooling) into an ONNX embedder.

    build_embedder.py FOLDER OUT [--name NAME]

FOLDER holds config.json, model.safetensors and tokenizer.json (or vocab.txt).
OUT gets model.onnx, tokenizer.json and, last of all, embedder.json, each written
under a temporary name and renamed. The same input gives the same bytes on every
machine, so set-up can hold the result to a known sha256.

The graph takes input_ids and attention_mask (int64 [batch, sequence]) and gives
`embedding` (float32 [batch, hidden]): the mean over the masked output vectors,
L2-normalised. It uses ONNX Runtime's fused operators (domain com.microsoft).

Only Python's standard library is used, so nothing has to be installed to build
it: the few protobuf messages of ONNX that are needed are written by hand below.
"""

import argparse
import hashlib
import json
import math
import os
import struct
import sys
from array import array
from operator import add, mul
from pathlib import Path


def fail(message):
    sys.exit(f"build_embedder: {message}")


# --- protobuf and ONNX, as much as is needed ---------------------------------
# Field numbers are those of onnx.proto.

FLOAT, INT32, INT64 = 1, 6, 7  # TensorProto.DataType


def varint(n):
    out = bytearray()
    n &= (1 << 64) - 1
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def integer(field, n):
    return varint(field << 3) + varint(n)


def data(field, value):
    if isinstance(value, str):
        value = value.encode()
    return b"".join((varint(field << 3 | 2), varint(len(value)), value))


def attribute(name, value):
    head = data(1, name)
    if isinstance(value, float):
        return head + varint(2 << 3 | 5) + struct.pack("<f", value) + integer(20, 1)
    if isinstance(value, int):
        return head + integer(3, value) + integer(20, 2)
    return head + b"".join(integer(8, n) for n in value) + integer(20, 7)


def value_info(name, element, shape):
    dims = b"".join(data(1, data(2, d) if isinstance(d, str) else integer(1, d)) for d in shape)
    return data(1, name) + data(2, data(1, integer(1, element) + data(2, dims)))


class Graph:
    def __init__(self):
        self.nodes = []
        self.initializers = []

    def tensor(self, name, element, shape, raw):
        dims = b"".join(integer(1, d) for d in shape)
        self.initializers.append(dims + integer(2, element) + data(8, name) + data(9, raw))
        return name

    def node(self, op, inputs, output, domain="", **attributes):
        outputs = output if isinstance(output, list) else [output]
        message = b"".join(data(1, i) for i in inputs) + b"".join(data(2, o) for o in outputs)
        message += data(3, outputs[0]) + data(4, op)
        message += b"".join(data(5, attribute(k, v)) for k, v in attributes.items())
        if domain:
            message += data(7, domain)
        self.nodes.append(message)
        return output

    def fused(self, op, inputs, output, **attributes):
        return self.node(op, inputs, output, domain="com.microsoft", **attributes)

    def model(self, inputs, outputs):
        graph = b"".join(
            [data(1, n) for n in self.nodes]
            + [data(2, "embedder")]
            + [data(5, i) for i in self.initializers]
            + [data(11, i) for i in inputs]
            + [data(12, o) for o in outputs]
        )
        opsets = data(8, integer(2, 17)) + data(8, data(1, "com.microsoft") + integer(2, 1))
        model = integer(1, 8) + data(2, "build_embedder") + opsets + data(7, graph)
        if len(model) >= 1 << 31:
            fail("the graph is over 2 GiB, the limit of an ONNX file")
        return model


# --- weights -----------------------------------------------------------------


class Safetensors:
    """float32 little-endian tensors of a safetensors file."""

    def __init__(self, path):
        self.file = open(path, "rb")
        (length,) = struct.unpack("<Q", self.file.read(8))
        header = json.loads(self.file.read(length))
        self.base = 8 + length
        header.pop("__metadata__", None)
        # BertModel, or a model with a head, whose names begin with "bert.".
        self.entries = {k[5:] if k.startswith("bert.") else k: v for k, v in header.items()}

    def get(self, name, *shape):
        if name not in self.entries:
            fail(f"model.safetensors has no tensor {name}: not a BERT of the usual layout")
        entry = self.entries[name]
        if entry["shape"] != list(shape):
            fail(f"{name} has shape {entry['shape']}, config.json says {list(shape)}")
        start, end = entry["data_offsets"]
        self.file.seek(self.base + start)
        raw = self.file.read(end - start)
        if len(raw) != end - start:
            fail("model.safetensors is cut short")
        if entry["dtype"] == "F32":
            return raw
        if entry["dtype"] == "F16":
            count = len(raw) // 2
            return struct.pack(f"<{count}f", *struct.unpack(f"<{count}e", raw))
        if entry["dtype"] == "BF16":  # the upper half of a float32
            out = bytearray(2 * len(raw))
            out[2::4], out[3::4] = raw[0::2], raw[1::2]
            return bytes(out)
        fail(f"{name} has data type {entry['dtype']}; F32, F16 and BF16 are understood")


def transpose(raw, columns):
    """[rows, columns] -> [columns, rows]: torch keeps a Linear as [out, in]."""
    flat = array("f", raw)
    out = array("f")
    for column in range(columns):
        out.extend(flat[column::columns])
    return out.tobytes()


def bias_without(shift, raw, bias):
    """The bias of a Linear of weights `raw` whose input carries `shift` on top: bias - weights x shift."""
    flat, columns = array("f", raw), len(shift)
    rows = (flat[start : start + columns] for start in range(0, len(flat), columns))
    # Products of two float32 are exact as doubles and fsum rounds once: the same on every machine.
    return array("f", [value - math.fsum(map(mul, row, shift)) for value, row in zip(bias, rows)])


# --- the graph ---------------------------------------------------------------


def build_graph(config, weights):
    """The BERT, put together for the kernels of ONNX Runtime's CPU provider.

    Tokens are rows of one matrix wherever they do not look at each other, so that a Gemm
    adds what skips a half of a layer. An Add in its place could be fused with the
    LayerNormalization that follows, into SkipLayerNormalization, whose kernel takes eight
    times as long as LayerNormalization's (1.31.1).

    The last bias of each half is in the shift of the LayerNormalization before that half.
    What else reads the norm's output has its own bias lessened by what the shift brings.
    """
    hidden = config["hidden_size"]
    inner = config["intermediate_size"]
    layers = config["num_hidden_layers"]
    epsilon = float(config["layer_norm_eps"])
    g = Graph()

    def floats(name, *shape):
        return array("f", weights.get(name, *shape))

    def constant(name, values, *shape):
        return g.tensor(name, FLOAT, shape, values.tobytes())

    def integers(name, values, *shape):
        return g.tensor(name, INT64, shape, struct.pack(f"<{len(values)}q", *values))

    def linear(x, name, raw, columns, plus, out):
        """x times the Linear whose weights are `raw`, plus a vector or a matrix."""
        w = g.tensor(f"{name}.weight", FLOAT, (columns, len(raw) // 4 // columns), transpose(raw, columns))
        return g.node("Gemm", [x, w, plus], out)

    def norm(x, source, carried, out):
        """The LayerNorm `source`; its output carries the vector `carried` on top."""
        shift = floats(f"{source}.bias", hidden)
        if carried:
            shift = array("f", map(add, shift, carried))
        scale = constant(f"{source}.weight", floats(f"{source}.weight", hidden), hidden)
        return g.node("LayerNormalization", [x, scale, constant(f"{source}.bias", shift, hidden)], out, axis=-1, epsilon=epsilon)

    names = [f"encoder.layer.{i}" for i in range(layers)]
    attention_bias = [floats(f"{layer}.attention.output.dense.bias", hidden) for layer in names]
    output_bias = [floats(f"{layer}.output.dense.bias", hidden) for layer in names]

    # Every token is of type 0, so that row is added to the position table once, here.
    positions = config["max_position_embeddings"]
    table = floats("embeddings.position_embeddings.weight", positions, hidden)
    types = floats("embeddings.token_type_embeddings.weight", config["type_vocab_size"], hidden)
    for column in range(hidden):
        kind = types[column]
        table[column::hidden] = array("f", [x + kind for x in table[column::hidden]])
    constant("positions", table, positions, hidden)
    vocabulary = config["vocab_size"]
    constant("words", floats("embeddings.word_embeddings.weight", vocabulary, hidden), vocabulary, hidden)

    integers("index_0", [0])
    integers("zero", [0], 1)
    integers("one", [1], 1)
    integers("width", [hidden], 1)
    integers("as_rows", [-1, hidden], 2)
    g.node("Shape", ["input_ids"], "texts_and_tokens")
    g.node("Concat", ["texts_and_tokens", "width"], "as_texts", axis=0)
    g.node("Shape", ["input_ids"], "tokens", start=1, end=2)
    g.node("Cast", ["attention_mask"], "mask", to=INT32)

    g.node("Gather", ["words", "input_ids"], "word")
    g.node("Slice", ["positions", "zero", "tokens", "zero"], "position")
    g.node("Add", ["word", "position"], "embedded")
    g.node("Reshape", ["embedded", "as_rows"], "embedded_rows")
    x = norm("embedded_rows", "embeddings.LayerNorm", attention_bias[0], "normed")

    for i, layer in enumerate(names):
        parts = [f"{layer}.attention.self.{part}" for part in ("query", "key", "value")]
        raw = b"".join(weights.get(f"{part}.weight", hidden, hidden) for part in parts)
        bias = array("f", b"".join(weights.get(f"{part}.bias", hidden) for part in parts))
        bias = bias_without(attention_bias[i], raw, bias)
        w = g.tensor(f"{layer}.qkv.weight", FLOAT, (hidden, 3 * hidden), transpose(raw, hidden))
        g.node("Reshape", [x, "as_texts"], f"{layer}.texts")
        g.fused(
            "Attention",
            [f"{layer}.texts", w, constant(f"{layer}.qkv.bias", bias, 3 * hidden), "mask"],
            f"{layer}.attended",
            num_heads=config["num_attention_heads"],
        )
        g.node("Reshape", [f"{layer}.attended", "as_rows"], f"{layer}.attended_rows")
        part = f"{layer}.attention.output"
        raw = weights.get(f"{part}.dense.weight", hidden, hidden)
        linear(f"{layer}.attended_rows", part, raw, hidden, x, f"{part}.sum")
        x = norm(f"{part}.sum", f"{part}.LayerNorm", output_bias[i], f"{layer}.middle")

        part = f"{layer}.intermediate"
        raw = weights.get(f"{part}.dense.weight", inner, hidden)
        bias = bias_without(output_bias[i], raw, floats(f"{part}.dense.bias", inner))
        linear(x, part, raw, hidden, constant(f"{part}.bias", bias, inner), f"{part}.sum")
        g.fused("Gelu", [f"{part}.sum"], f"{part}.gelu")
        part = f"{layer}.output"
        raw = weights.get(f"{part}.dense.weight", hidden, inner)
        linear(f"{layer}.intermediate.gelu", part, raw, inner, x, f"{part}.sum")
        following = attention_bias[i + 1] if i + 1 < layers else None
        x = norm(f"{part}.sum", f"{part}.LayerNorm", following, f"{layer}.out")

    # The mean and the sum differ by a factor that normalising takes away. The mask stands
    # there twice: a product of one row has a kernel of its own, whose rounding depends on
    # the padding, and a text would not have the same vector alone and in a batch.
    g.node("Reshape", [x, "as_texts"], "out")
    g.node("Cast", ["attention_mask"], "weight", to=FLOAT)
    g.node("Unsqueeze", ["weight", "one"], "weight_row")
    g.node("Concat", ["weight_row", "weight_row"], "weight_rows", axis=1)
    g.node("MatMul", ["weight_rows", "out"], "sum_rows")
    g.node("Gather", ["sum_rows", "index_0"], "sum", axis=1)
    g.node("LpNormalization", ["sum"], "embedding", axis=1, p=2)
    return g.model(
        [value_info(n, INT64, ("batch", "sequence")) for n in ("input_ids", "attention_mask")],
        [value_info("embedding", FLOAT, ("batch", hidden))],
    )


# --- the tokenizer -----------------------------------------------------------


def wordpiece(vocabulary, settings):
    """tokenizer.json for the vocab.txt of an original BERT."""
    ids = {token: i for i, token in enumerate(vocabulary)}
    special = {k: settings.get(f"{k}_token", f"[{k.upper()}]") for k in ("pad", "unk", "cls", "sep", "mask")}
    for token in special.values():
        if token not in ids:
            fail(f"vocab.txt has no {token}")
    cls, sep = special["cls"], special["sep"]

    def piece(token, kind):
        return {"SpecialToken": {"id": token, "type_id": kind}}

    def sequence(name, kind):
        return {"Sequence": {"id": name, "type_id": kind}}

    single = [piece(cls, 0), sequence("A", 0), piece(sep, 0)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": ids[token],
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for token in sorted(special.values(), key=ids.get)
        ],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": settings.get("tokenize_chinese_chars", True),
            "strip_accents": settings.get("strip_accents"),
            "lowercase": settings.get("do_lower_case", True),
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, sequence("B", 1), piece(sep, 1)],
            "special_tokens": {t: {"id": t, "ids": [ids[t]], "tokens": [t]} for t in (cls, sep)},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": special["unk"],
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": ids,
        },
    }


def token_text(value):
    return value["content"] if isinstance(value, dict) else value


def build_tokenizer(folder, config):
    """The tokenizer without padding and truncation, and the id of its padding token."""
    settings = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        settings.update(read_json(folder / name, {}))
    settings = {k: token_text(v) if k.endswith("_token") else v for k, v in settings.items()}
    if (folder / "tokenizer.json").is_file():
        tokenizer = read_json(folder / "tokenizer.json")
        # The caller pads a batch to its longest text and cuts at max_tokens.
        tokenizer["truncation"] = tokenizer["padding"] = None
        if tokenizer.get("post_processor") is None:
            fail("tokenizer.json adds no special tokens (post_processor is empty)")
    elif (folder / "vocab.txt").is_file():
        lines = (folder / "vocab.txt").read_bytes().decode("utf-8").split("\n")
        words = [line.rstrip("\r") for line in lines]
        tokenizer = wordpiece(words[:-1] if words[-1] == "" else words, settings)
    else:
        fail(f"{folder} has neither tokenizer.json nor vocab.txt")
    pad = config.get("pad_token_id") or 0
    for token in tokenizer["added_tokens"]:
        if token["content"] == settings.get("pad_token"):
            pad = token["id"]
    return tokenizer, pad


# --- the folder --------------------------------------------------------------


def read_json(path, default=None):
    if default is not None and not path.is_file():
        return default
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        fail(f"{path}: {error}")


def check(folder, config):
    """Refuse what the graph above would compute wrongly."""
    for key, default, wanted in (
        ("model_type", None, "bert"),
        ("hidden_act", "gelu", "gelu"),
        ("position_embedding_type", "absolute", "absolute"),
    ):
        if config.get(key, default) != wanted:
            fail(f"config.json: {key} is {config.get(key, default)!r}; only {wanted!r} is supported")
    for module in read_json(folder / "modules.json", []):
        if module["type"].rsplit(".", 1)[-1] not in ("Transformer", "Pooling", "Normalize"):
            fail(f"modules.json: {module['type']} is not supported")
    pooling = read_json(folder / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    # `include_prompt` and the dimension stand in the same file.
    modes = [k for k, v in pooling.items() if k.startswith("pooling_mode") and v not in (False, None)]
    if modes != ["pooling_mode_mean_tokens"] and pooling.get("pooling_mode") != "mean":
        fail(f"1_Pooling/config.json: only mean pooling is supported, not {modes}")


def save(path, content):
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        if temporary.exists():
            temporary.unlink()


def digest(content):
    return hashlib.sha256(content).hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--name", help="the embedder's name (default: the name of FOLDER)")
    options = parser.parse_args()
    if sys.byteorder != "little":
        fail("only little-endian machines are supported")

    folder = options.folder
    config = read_json(folder / "config.json")
    check(folder, config)
    weights_path = folder / "model.safetensors"
    if not weights_path.is_file():
        fail(f"{folder} has no model.safetensors")
    tokenizer, pad = build_tokenizer(folder, config)
    files = {
        "model.onnx": build_graph(config, Safetensors(weights_path)),
        "tokenizer.json": json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")).encode(),
    }
    manifest = {
        "name": options.name or folder.resolve().name,
        "dimension": config["hidden_size"],
        "max_tokens": config["max_position_embeddings"],
        "pad_token": pad,
        "weights_sha256": digest(weights_path.read_bytes()),
        "files": {name: {"sha256": digest(c), "bytes": len(c)} for name, c in files.items()},
    }
    options.out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        save(options.out / name, content)
    save(options.out / "embedder.json", (json.dumps(manifest, indent=2) + "\n").encode())
    print(f"{manifest['name']}: {config['num_hidden_layers']} layers, {config['hidden_size']} dimensions -> {options.out}")


if __name__ == "__main__":
    main()
