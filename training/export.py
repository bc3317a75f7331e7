"""Write the model folder: one checkpoint in several formats of numbers.

    python -m training.export --variants fp32,int8 --out models/retro-nano
    python -m training.export --untrained --out FOLDER

Makes the graphs and weights of each variant and `retro.json` in a folder beside the goal, checks them there, and moves them
into place only then. The check: cached decode in ONNX Runtime against the full recompute in PyTorch, in float64, with the
weights as the variant stores them, at every position; and the variant's perplexity on held-out text against that of float32.
"""

import argparse
import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from training import bundled, cases, model_folder
from training.config import SIZES, Config
from training.held_out import HELD_OUT_ROWS, HeldOut
from training.model import Retro
from training.model_folder import chosen_variants
from training.onnx_decode import OnnxRetro, Sequence
from training.onnx_graphs import build
from training.onnx_held_out import perplexities
from training.prepare import DEFAULT_WORK
from training.tokenizer import END_OF_TEXT, PAD

# Largest difference of a logit. Where sharp attention magnifies the rounding of float32, PyTorch in float32 is that far off
# itself, and the graphs may be so many times as far; a single wrong number in a matrix differs by 1e-2 and more.
TOLERANCE = {"fp32": 1e-4, "int8": 1e-4, "int4": 1e-4, "fp16": 0.2}
TIMES_FLOAT32 = 4
# What a variant may cost in perplexity, relative to fp32. Four bits are for those who know that they want them.
COST = {"int8": 0.01, "int4": 0.15, "fp16": 0.01}


def about(model: Retro) -> dict:
    """What the manifest says of the model itself."""
    config = model.config
    return {
        "architecture": "retro",
        "parameters": model.parameter_count(),
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
    }


def write(model: Retro, name: str, tokenizer: Path, chosen: list[str], folder: Path) -> None:
    model_folder.write(build(model)[0], {"name": name} | about(model), tokenizer, chosen, folder)


def sequences(config: Config, seed: int) -> Iterator[cases.Case]:
    """A few sequences for comparisons, on both grids."""
    rng = np.random.default_rng(seed)
    for prompt_length, prompt_end in [(7, True), (64, False), (150, True), (201, False), (130, True)]:
        tokens = cases.random_tokens(rng, min(prompt_length + 140, config.context), config.vocabulary)
        first_chunk = cases.first_chunk_of(prompt_length, prompt_end)
        neighbours = cases.random_neighbours(rng, tokens, first_chunk, 0, config)
        yield cases.Case(tokens, neighbours, prompt_length, first_chunk)


def compare(model: Retro, graphs: OnnxRetro, briefly: bool = False, seed: int = 0) -> float:
    """The largest difference of a logit between cached ONNX decode and full recompute in float64.

    With `briefly`, all but the last few tokens of a sequence come in slices.
    """
    exact, worst = copy.deepcopy(model).double(), 0.0
    for number, case in enumerate(sequences(model.config, seed)):
        expected = cases.full_logits(exact, case)
        for prefill in (len(case.tokens) - 10,) if briefly else (0, case.prompt_length):
            sequence = Sequence(graphs, case.first_chunk, case.neighbours, shared=number % 2 == 0)
            got = sequence.logits(case.tokens, prefill)
            worst = max(worst, float(np.abs(got - expected).max()))
        off = Sequence(graphs, case.first_chunk, None).logits(case.tokens, prefill)
        case.neighbours = np.zeros_like(case.neighbours)
        worst = max(worst, float(np.abs(off - cases.full_logits(exact, case)).max()))
    return worst


def rounding(model: Retro, seed: int = 0) -> float:
    """The same for full recompute in float32: what the precision itself costs."""
    exact = copy.deepcopy(model).double()
    compared = sequences(model.config, seed)
    return max(float(np.abs(cases.full_logits(model, case) - cases.full_logits(exact, case)).max()) for case in compared)


def check(model: Retro, variant: str, folder: Path) -> None:
    """The graphs compute what the stored weights say. For fp32 the stored weights are those of `model` itself."""
    stored = model if variant == "fp32" else bundled.load(folder, variant)
    # Token by token is dear where every product dequantises its matrix, and the caches are the same in all variants.
    worst = compare(stored, OnnxRetro(folder, variant, float_activations=True), briefly=variant != "fp32")
    float32 = rounding(stored)
    said = f"largest difference of a logit {worst:.2e}, of PyTorch in float32 {float32:.2e}"
    print(f"{variant}: cached decode against full recompute: {said}", flush=True)
    allowed = max(TOLERANCE[variant], TIMES_FLOAT32 * float32)
    if worst > allowed:
        raise SystemExit(f"that is more than {allowed:.1e}; {folder} is left for inspection")


def check_cost(chosen: list[str], held_out: HeldOut, folder: Path) -> None:
    expected = perplexities(OnnxRetro(folder), held_out)
    print(f"fp32: perplexity {', '.join(f'{kind} {value:.2f}' for kind, value in expected.items())}", flush=True)
    for variant in chosen:
        if variant == "fp32":
            continue
        found = perplexities(OnnxRetro(folder, variant), held_out)
        costs = {kind: value / expected[kind] - 1 for kind, value in found.items()}
        print(f"{variant}: perplexity " + ", ".join(f"{kind} {found[kind]:.2f} ({costs[kind]:+.2%})" for kind in found), flush=True)
        if max(costs.values()) > COST[variant]:
            raise SystemExit(f"that costs more than {COST[variant]:.0%}; {folder} is left for inspection")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--checkpoint", type=Path, default=DEFAULT_WORK / "nano/checkpoint.pt")
    arguments.add_argument("--untrained", action="store_true", help="random weights, to try the format; perplexity is not measured")
    arguments.add_argument("--size", choices=SIZES, default="nano", help="of random weights")
    arguments.add_argument("--variants", type=chosen_variants, default="fp32,int8", help="separated by commas")
    arguments.add_argument("--work", type=Path, default=DEFAULT_WORK, help="folder of the tokenizer and of the held-out text")
    arguments.add_argument("--name", default="retro-nano")
    arguments.add_argument("--out", type=Path, default=Path("models/retro-nano"))
    options = arguments.parse_args()
    if not options.untrained and not options.checkpoint.exists():
        raise SystemExit(f"there is no {options.checkpoint}: run `python -m training.train` first, or name one with --checkpoint")
    model = Retro(SIZES[options.size]).eval() if options.untrained else cases.load(options.checkpoint)
    tokenizer_file = options.work / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    if tokenizer.get_vocab_size() != model.config.vocabulary:
        raise SystemExit(f"{tokenizer_file} has {tokenizer.get_vocab_size()} entries, the model {model.config.vocabulary}")
    partial = model_folder.beside(options.out)
    write(model, options.name, tokenizer_file, options.variants, partial)
    for variant in options.variants:
        check(model, variant, partial)
    if not options.untrained:
        check_cost(options.variants, HeldOut(options.work, HELD_OUT_ROWS, tokenizer), partial)
    model_folder.move(partial, options.out)
    print(f"{options.out}: {model_folder.sizes(options.out, options.variants)}")


if __name__ == "__main__":
    main()
