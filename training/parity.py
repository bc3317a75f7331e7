"""Cases for a test of another engine, with the logits that it must reach.

    python -m training.parity --seed 1 --cases 20 --generate 150 --sampled --out cases.safetensors

Each case is a prompt, neighbours for every chunk that gets complete, and the model's greedy continuation. The logits are
those of one forward pass in PyTorch, in float64, over prompt and continuation, so nothing of a cache is in them. Case i has
`case{i}.tokens` int32 [n], `case{i}.neighbours` int32 [U, 2, 128], `case{i}.prompt_length` and `case{i}.first_chunk`
int32 [1], and with --full `case{i}.logits` float32 [n, V], with --sampled `case{i}.logit_ids` int32 [n, 40] (the 20
largest and 20 at random), `case{i}.logit_values` float32 [n, 40] and `case{i}.log_sum_exp` float32 [n].
For the variant int8, `case{i}.int8.logit_ids`, `.logit_values` and `.log_sum_exp` are the same for every fourth token, by the
model whose weights are those of the variant, dequantised. Even cases have the grid that ends with the prompt, odd ones the paper's.
"""

import argparse
import copy
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from training import bundled, cases
from training.prepare import DEFAULT_WORK
from training.stream import TokenStream

TOP, RANDOM = 20, 20
EVERY = 4  # tokens, of the variant int8


def prompt_of(rng: np.random.Generator, length: int, stream: TokenStream | None, vocabulary: int) -> np.ndarray:
    """A window of the held-out text where there is one (two times in three), else random ids."""
    if stream is None or rng.random() < 1 / 3:
        return cases.random_tokens(rng, length, vocabulary)
    at = int(rng.integers(len(stream.tokens) - length))
    return stream.tokens[at : at + length].astype(np.int64)


def sampled(rng: np.random.Generator, logits: np.ndarray, top: int = TOP, random: int = RANDOM) -> dict[str, np.ndarray]:
    """Of each row the `top` largest logits and `random` others."""
    best = np.argsort(-logits, axis=-1)[:, :top]
    ids = np.concatenate([best, rng.integers(0, logits.shape[1], (len(logits), random))], axis=1)
    largest = logits.max(axis=-1)
    log_sum_exp = largest + np.log(np.exp(logits.astype(np.float64) - largest[:, None]).sum(axis=-1))
    return {
        "logit_ids": ids.astype(np.int32),
        "logit_values": np.take_along_axis(logits, ids, axis=1),
        "log_sum_exp": log_sum_exp.astype(np.float32),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--model", type=Path, default=Path("models/retro-nano"), help="model folder whose weights to take")
    arguments.add_argument("--work", type=Path, default=DEFAULT_WORK, help="folder of the held-out stream, if any")
    arguments.add_argument("--no-text", action="store_true", help="random ids as prompts only")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--cases", type=int, default=20)
    arguments.add_argument("--prompt-min", type=int, default=1)
    arguments.add_argument("--prompt-max", type=int, default=300)
    arguments.add_argument("--generate", type=int, default=150)
    kind = arguments.add_mutually_exclusive_group(required=True)
    kind.add_argument("--full", action="store_true")
    kind.add_argument("--sampled", action="store_true")
    arguments.add_argument("--out", type=Path, required=True)
    options = arguments.parse_args()

    model = bundled.load(options.model)
    exact, exact_int8 = copy.deepcopy(model).double(), bundled.load(options.model, "int8").double()
    if options.prompt_max + options.generate > model.config.context:
        raise SystemExit(f"prompt and continuation exceed the model's context of {model.config.context}")
    has_text = not options.no_text and (options.work / "valid.bounds.npy").exists()
    stream = TokenStream.open(options.work, "valid") if has_text else None
    rng = np.random.default_rng(options.seed)
    tensors: dict[str, np.ndarray] = {}
    for number in range(options.cases):
        length = int(rng.integers(options.prompt_min, options.prompt_max + 1))
        prompt = prompt_of(rng, length, stream, model.config.vocabulary)
        case = cases.make(model, rng, prompt, number % 2 == 0, options.generate)
        logits = cases.full_logits(exact, case).astype(np.float32)
        parts = {"logits": logits} if options.full else sampled(rng, logits)
        int8 = cases.full_logits(exact_int8, case)[::EVERY].astype(np.float32)
        parts |= {f"int8.{name}": array for name, array in sampled(rng, int8).items()}
        parts["tokens"] = case.tokens.astype(np.int32)
        parts["neighbours"] = case.neighbours.astype(np.int32)
        parts["prompt_length"] = np.asarray([case.prompt_length], np.int32)
        parts["first_chunk"] = np.asarray([case.first_chunk], np.int32)
        tensors |= {f"case{number}.{name}": np.ascontiguousarray(array) for name, array in parts.items()}
        print(f"case {number}: prompt {length}, first chunk {case.first_chunk}, {len(case.neighbours)} chunks", flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, options.out)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
