"""The importer of retro-pytorch models against the original, and cases for another engine.

    python -m training.oracle --out FOLDER [--shapes equal,wide] [--seed N]

For each shape of training/importers/retro_pytorch_package.py: a model folder with random weights, FOLDER/SHAPE, and in it
`cases.safetensors`, in the format of training/parity.py with sampled logits. The logits are the original's, in float64, of one
forward pass over all tokens; before they are written, cached decode in ONNX Runtime is held to them. All cases have the
paper's grid (`first_chunk` 64), which is the only one that the original knows. `neighbours` [U, K, 128] has K from 1 to 3; K
is 0 for retrieval off, and neighbours that are all padding are another thing: the original attends its learned key then.
"""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from training import model_folder
from training.cases import FIRST_ORDINARY_TOKEN, Case, random_tokens
from training.importers import retro_pytorch
from training.importers.retro_pytorch_package import SHAPES, random_model
from training.importers.retro_pytorch_source import CHUNK, RETRIEVED
from training.onnx_decode import OnnxRetro, Sequence
from training.parity import sampled
from training.tokenizer import END_OF_TEXT, synthetic

TOLERANCE = 1e-4
# Decoded one by one at the end of a case; the tokens before are its prompt.
GENERATED = 70
TOP, RANDOM = 5, 5
# Ends and beginnings of chunks and of what attends them; the context's length is added.
LENGTHS = (1, 2, 5, 63, 64, 65, 70, 100, 126, 127, 128, 129, 150, 191, 192, 193, 250, 300, 383, 384, 440)


def neighbours_of(rng: np.random.Generator, chunks: int, count: int, vocabulary: int) -> np.ndarray:
    """int64 [U, K, R]: whole ones, short ones with padding inside, some without continuation, some all padding."""
    result = np.zeros((chunks, count, RETRIEVED), np.int64)
    for entry in result.reshape(-1, RETRIEVED):
        kind = rng.random()
        neighbour, continuation = (CHUNK, CHUNK) if kind < 0.4 else rng.integers(1, CHUNK + 1, 2)
        if kind > 0.85:
            neighbour = continuation = 0
        elif kind > 0.7:
            continuation = 0
        entry[:neighbour] = rng.integers(FIRST_ORDINARY_TOKEN, vocabulary, neighbour)
        entry[CHUNK : CHUNK + continuation] = rng.integers(FIRST_ORDINARY_TOKEN, vocabulary, continuation)
    return result


def make_cases(arguments: dict, seed: int) -> Iterator[Case]:
    """In turn with neighbours, with neighbours, without; one has neighbours that are all padding."""
    rng = np.random.default_rng(seed)
    vocabulary, context = arguments["num_tokens"], arguments["max_seq_len"]
    lengths = [length for length in LENGTHS if length < context] + [context, context]
    for number, length in enumerate(lengths):
        tokens, count = random_tokens(rng, length, vocabulary), int(rng.integers(1, 4)) if number % 3 else 0
        neighbours = neighbours_of(rng, length // CHUNK, count, vocabulary)
        yield Case(tokens, neighbours, max(1, length - GENERATED), CHUNK)
    yield Case(random_tokens(rng, 140, vocabulary), np.zeros((2, 2, RETRIEVED), np.int64), 90, CHUNK)


@torch.no_grad()
def original_logits(model: torch.nn.Module, case: Case) -> np.ndarray:
    tokens = torch.from_numpy(case.tokens[None])
    retrieved = torch.from_numpy(case.neighbours[None]) if case.neighbours.size else None
    return model(tokens, retrieved=retrieved)[0].numpy()


def decoded_logits(graphs: OnnxRetro, case: Case) -> np.ndarray:
    sequence = Sequence(graphs, case.first_chunk, case.neighbours if case.neighbours.size else None)
    return sequence.logits(case.tokens, case.prompt_length)


def difference(exact: torch.nn.Module, graphs: OnnxRetro, cases: Iterable[Case]) -> float:
    """The largest of a logit, over all positions."""
    return max(float(np.abs(decoded_logits(graphs, case) - original_logits(exact, case)).max()) for case in cases)


def write_folder(model: torch.nn.Module, name: str, chosen: list[str], folder: Path) -> None:
    """The model folder of a shape, with a synthetic tokenizer."""
    given = retro_pytorch.source(model.state_dict(), SHAPES[name])
    tokenizer = folder / "synthetic.json"
    tokenizer.write_text(synthetic(given.shape.vocabulary))
    manifest = {"name": name} | retro_pytorch.about(given, 2, END_OF_TEXT, ("bert-base-cased", 768))
    retro_pytorch.write(given, manifest, tokenizer, chosen, folder)
    tokenizer.unlink()


def write_cases(exact: torch.nn.Module, arguments: dict, seed: int, path: Path) -> int:
    rng, tensors, number = np.random.default_rng(seed), {}, 0
    for number, case in enumerate(make_cases(arguments, seed)):
        parts = sampled(rng, original_logits(exact, case).astype(np.float32), TOP, RANDOM)
        parts["tokens"], parts["neighbours"] = case.tokens.astype(np.int32), case.neighbours.astype(np.int32)
        parts["prompt_length"] = np.asarray([case.prompt_length], np.int32)
        parts["first_chunk"] = np.asarray([case.first_chunk], np.int32)
        tensors |= {f"case{number}.{name}": np.ascontiguousarray(array) for name, array in parts.items()}
    save_file(tensors, path)
    return number + 1


def chosen_shapes(given: str) -> list[str]:
    chosen = given.split(",")
    if unknown := [name for name in chosen if name not in SHAPES]:
        raise argparse.ArgumentTypeError(f"no shape {', '.join(unknown)}; there are {', '.join(SHAPES)}")
    return chosen


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--shapes", type=chosen_shapes, default=",".join(SHAPES), help="separated by commas")
    arguments.add_argument("--variants", type=model_folder.chosen_variants, default="fp32", help="separated by commas")
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    for name in options.shapes:
        model = random_model(SHAPES[name], options.seed)
        partial = model_folder.beside(options.out / name)
        write_folder(model, name, options.variants, partial)
        exact = model.double()
        worst = difference(exact, OnnxRetro(partial), make_cases(SHAPES[name], options.seed))
        if not worst <= TOLERANCE:
            raise SystemExit(f"{name}: logits differ by {worst:.1e}; {partial} is left for inspection")
        model_folder.move(partial, options.out / name)
        path = options.out / name / "cases.safetensors"
        count = write_cases(exact, SHAPES[name], options.seed, path)
        print(f"{name}: {count} cases, largest difference of a logit {worst:.1e}; {path} {path.stat().st_size / 1e6:.2f} MB", flush=True)


if __name__ == "__main__":
    main()
