"""Write a model of `retro-pytorch` 0.3.9 as a model folder.

    python -m training.importers.retro_pytorch --checkpoint FILE --tokenizer FILE --out FOLDER
    python -m training.importers.retro_pytorch --random wide --out FOLDER

The checkpoint is what `torch.save({"state_dict": retro.state_dict(), "arguments": {...}}, FILE)` writes, with the arguments
that RETRO was made with. Of these `pad_id` and `chunk_size` matter; all sizes are read off the state dict. `--random` makes
a model with random weights instead, of one of the shapes in retro_pytorch_package.py or with arguments in JSON.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, pre_tokenizers

from training import model_folder
from training.importers import retro_pytorch_package
from training.importers.retro_pytorch_graphs import build
from training.importers.retro_pytorch_source import CHUNK, HEADS, Shape, Source, Unsupported
from training.onnx_decode import OnnxRetro, Sequence
from training.tokenizer import END_OF_TEXT, ROUND_TRIPS, synthetic


def read(path: Path) -> Source:
    stored = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(stored, dict) or "state_dict" not in stored:
        raise Unsupported(f'{path} is not {{"state_dict": ..., "arguments": ...}}')
    return source(stored["state_dict"], stored.get("arguments", {}))


def source(state: dict[str, torch.Tensor], arguments: dict) -> Source:
    return Source({name: tensor.float().numpy() for name, tensor in state.items()}, arguments)


def about(given: Source, neighbours: int, end_of_text: int, embedder: tuple[str, int]) -> dict:
    shape: Shape = given.shape
    return {
        "architecture": "retro-pytorch",
        "parameters": given.parameter_count(),
        "context": shape.context,
        "vocabulary": shape.vocabulary,
        "pad_token": shape.pad_token,
        "end_of_text_token": end_of_text,
        "chunk_length": CHUNK,
        "neighbours": neighbours,
        "neighbour_length": CHUNK,
        "continuation_length": CHUNK,
        "layers": shape.layers,
        "cca_layers": list(shape.cca_layers),
        "hidden_size": shape.hidden_size,
        "self_attention": {
            "lower_layers": shape.lower_layers,
            "upper_layers": shape.layers - shape.lower_layers,
            "kv_heads": HEADS,
            "head_size": shape.head_size,
        },
        "cross_attention": {"layers": len(shape.cca_layers), "heads": HEADS, "head_size": shape.head_size},
        "embedder": {"name": embedder[0], "dimension": embedder[1]},
    }


def write(given: Source, manifest: dict, tokenizer: Path, chosen: list[str], folder: Path) -> None:
    """The model folder; refuses parameters that none of the graphs has a use for, since the logits would then be others."""
    graphs = build(given)
    if given.unused:
        raise Unsupported(f"the checkpoint has parameters of another model: {', '.join(sorted(given.unused)[:5])}")
    model_folder.write(graphs, manifest, tokenizer, chosen, folder)


def check_tokenizer(path: Path, shape: Shape, end_of_text: int) -> None:
    """What the server takes for granted: byte-level, without gaps, and no text spells a control token."""
    tokenizer, content = Tokenizer.from_file(str(path)), json.loads(path.read_text())
    if content["added_tokens"]:
        raise Unsupported(f"{path} has added_tokens, which a text could spell: take them out, their entries in the vocabulary may stay")
    ids = set(tokenizer.get_vocab().values())
    if ids != set(range(shape.vocabulary)):
        raise Unsupported(f"{path} has {len(ids)} entries, the model {shape.vocabulary}, counted from 0 without gaps")
    for text in ROUND_TRIPS:
        if tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids, skip_special_tokens=False) != text:
            raise Unsupported(f"{path} is not byte-level BPE: it does not give back {text!r}")
    merged = {"".join(merge.split(" ") if isinstance(merge, str) else merge) for merge in content["model"]["merges"]}
    for token in (shape.pad_token, end_of_text):
        entry = tokenizer.id_to_token(token)
        if entry is None or entry in merged or entry in pre_tokenizers.ByteLevel.alphabet():
            raise Unsupported(f"{path}: entry {token}, {entry!r}, cannot be a control token, since texts are made of it")


def try_out(folder: Path, chosen: list[str]) -> None:
    """That ONNX Runtime takes the graphs: one chunk with neighbours, and a token more."""
    for variant in chosen:
        graphs = OnnxRetro(folder, variant)
        neighbours = np.full((1, graphs.manifest["neighbours"], 2 * CHUNK), graphs.manifest["end_of_text_token"])
        logits = Sequence(graphs, CHUNK, neighbours).logits(np.zeros(CHUNK + 1, np.int64), prefill=CHUNK)
        if not np.isfinite(logits).all():
            raise SystemExit(f"{variant}: not all logits are finite; {folder} is left for inspection")


def constructor_arguments(given: str) -> dict:
    if given not in retro_pytorch_package.SHAPES and not given.startswith("{"):
        raise argparse.ArgumentTypeError(f"no shape {given}; there are {', '.join(retro_pytorch_package.SHAPES)}")
    return retro_pytorch_package.SHAPES.get(given) or json.loads(given)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    weights = arguments.add_mutually_exclusive_group(required=True)
    weights.add_argument("--checkpoint", type=Path)
    shapes = ", ".join(retro_pytorch_package.SHAPES)
    weights.add_argument("--random", type=constructor_arguments, metavar="SHAPE", help=f"{shapes}, or RETRO's arguments in JSON")
    arguments.add_argument("--seed", type=int, default=0, help="of random weights")
    arguments.add_argument("--tokenizer", type=Path, help="tokenizer.json; a synthetic one for random weights")
    arguments.add_argument("--end-of-text", type=int, default=END_OF_TEXT, metavar="ID")
    arguments.add_argument("--neighbours", type=int, default=2, help="of a chunk in training")
    arguments.add_argument("--embedder", default="bert-base-cased", help="what neighbours were found with in training")
    arguments.add_argument("--embedder-dimension", type=int, default=768)
    arguments.add_argument("--variants", type=model_folder.chosen_variants, default="fp32,int8", help="separated by commas")
    arguments.add_argument("--name", help="that of the folder, unless it is given")
    arguments.add_argument("--out", type=Path, required=True)
    options = arguments.parse_args()
    if options.checkpoint and not options.tokenizer:
        arguments.error("a checkpoint needs its --tokenizer")

    partial = model_folder.beside(options.out)
    try:
        if options.checkpoint:
            given = read(options.checkpoint)
        else:
            given = source(retro_pytorch_package.random_model(options.random, options.seed).state_dict(), options.random)
        tokenizer = options.tokenizer
        if tokenizer is None:
            tokenizer = partial / "tokenizer.json.synthetic"
            tokenizer.write_text(synthetic(given.shape.vocabulary))
        check_tokenizer(tokenizer, given.shape, options.end_of_text)
        manifest = about(given, options.neighbours, options.end_of_text, (options.embedder, options.embedder_dimension))
        write(given, {"name": options.name or options.out.name} | manifest, tokenizer, options.variants, partial)
    except (Unsupported, retro_pytorch_package.Unreachable) as reason:
        shutil.rmtree(partial)
        raise SystemExit(str(reason)) from reason
    try_out(partial, options.variants)
    model_folder.move(partial, options.out)
    print(f"{options.out}: {model_folder.sizes(options.out, options.variants)}")


if __name__ == "__main__":
    main()
