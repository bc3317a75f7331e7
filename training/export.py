"""Step 5: write the model folder.

    python -m training.export --out models/retro-10m
    python -m training.export --untrained --out FOLDER

Makes the three ONNX graphs, the weights and `retro.json` in a folder beside the goal, checks them there (cached decode in
ONNX Runtime against the full recompute in PyTorch, in float64, at every position), and moves them into place only then.
"""

import argparse
import copy
import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np

from training import cases
from training.config import Config
from training.graph import WEIGHTS_FILE
from training.model import Retro
from training.onnx_decode import OnnxRetro, Sequence
from training.onnx_graphs import build
from training.prepare import DEFAULT_WORK
from training.tokenizer import DEFAULT_TOKENIZER, END_OF_TEXT, PAD

TOLERANCE = 1e-4


def manifest(model: Retro, name: str, folder: Path) -> dict:
    config = model.config
    files = {}
    for file in ("tokenizer.json", "lower.onnx", "encoder.onnx", "upper.onnx", WEIGHTS_FILE):
        content = (folder / file).read_bytes()
        files[file] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    return {
        "format": 1,
        "name": name,
        "architecture": "retro",
        "parameters": model.parameter_count(),
        "data_type": "float32",
        "context": config.context,
        "vocabulary": config.vocabulary,
        "pad_token": PAD,
        "end_of_text_token": END_OF_TEXT,
        "chunk_length": config.chunk_length,
        "neighbours": config.neighbours,
        "neighbour_length": config.neighbour_length,
        "continuation_length": config.continuation_length,
        "layers": config.layers,
        "cca_layers": list(config.cca_layers),
        "hidden_size": config.hidden_size,
        "self_attention": {
            "lower_layers": config.lower_layers,
            "upper_layers": config.layers - config.lower_layers,
            "kv_heads": config.heads,
            "head_size": config.head_size,
        },
        "cross_attention": {"layers": len(config.cca_layers), "heads": config.heads, "head_size": config.head_size},
        "embedder": {"name": "all-MiniLM-L6-v2", "dimension": 384},
        "files": files,
    }


def write(model: Retro, name: str, tokenizer: Path, folder: Path) -> None:
    graphs, weights = build(model)
    for graph in graphs:
        graph.save(folder)
    (folder / WEIGHTS_FILE).write_bytes(weights.data)
    shutil.copyfile(tokenizer, folder / "tokenizer.json")
    (folder / "retro.json").write_text(json.dumps(manifest(model, name, folder), indent=2) + "\n")


def compare(model: Retro, folder: Path, seed: int = 0) -> float:
    """The largest difference of a logit between cached ONNX decode and full recompute over a few sequences."""
    # In float64: the model's attention is sharp enough for float32 PyTorch to be itself some 1e-4 from the exact result.
    exact = copy.deepcopy(model).double()
    rng, graphs, worst = np.random.default_rng(seed), OnnxRetro(folder), 0.0
    for number, (prompt_length, prompt_end) in enumerate([(7, True), (64, False), (150, True), (201, False), (130, True)]):
        tokens = cases.random_tokens(rng, min(prompt_length + 140, model.config.context), model.config.vocabulary)
        first_chunk = cases.first_chunk_of(prompt_length, prompt_end)
        neighbours = cases.random_neighbours(rng, tokens, first_chunk, 0, model.config)
        case = cases.Case(tokens, neighbours, prompt_length, first_chunk)
        expected = cases.full_logits(exact, case)
        for prefill in (0, prompt_length):
            sequence = Sequence(graphs, first_chunk, neighbours, shared=number % 2 == 0)
            got = sequence.logits(tokens, prefill)
            worst = max(worst, float(np.abs(got - expected).max()))
        case.neighbours = np.zeros_like(neighbours)
        off = Sequence(graphs, first_chunk, None).logits(tokens, prompt_length)
        worst = max(worst, float(np.abs(off - cases.full_logits(exact, case)).max()))
    return worst


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--checkpoint", type=Path, default=DEFAULT_WORK / "checkpoint.pt")
    arguments.add_argument("--untrained", action="store_true", help="random weights, to try the format")
    arguments.add_argument("--tokenizer", type=Path, default=DEFAULT_TOKENIZER)
    arguments.add_argument("--name", default="retro-10m")
    arguments.add_argument("--out", type=Path, default=Path("models/retro-10m"))
    options = arguments.parse_args()
    model = Retro(Config()).eval() if options.untrained else cases.load(options.checkpoint)
    partial = options.out.with_name(options.out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write(model, options.name, options.tokenizer, partial)
    worst = compare(model, partial)
    print(f"cached ONNX decode against full recompute: largest difference of a logit {worst:.2e}")
    if worst > TOLERANCE:
        raise SystemExit(f"that is more than {TOLERANCE}; {partial} is left for inspection")
    options.out.mkdir(parents=True, exist_ok=True)
    names = sorted((path.name for path in partial.iterdir()), key=lambda name: name == "retro.json")  # the manifest last
    for name in names:
        os.replace(partial / name, options.out / name)
    partial.rmdir()
    print(f"{options.out}: {sum(path.stat().st_size for path in options.out.iterdir()) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
