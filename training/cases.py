"""Random cases for comparing a cached decode with the PyTorch model's full recompute."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from training.config import Config
from training.grid import complete_chunks
from training.model import Retro

FIRST_ORDINARY_TOKEN = 2


@dataclass
class Case:
    """`tokens` int64 [n]; `neighbours` int64 [U, K, R]; the first chunk has `first_chunk` tokens."""

    tokens: np.ndarray
    neighbours: np.ndarray
    prompt_length: int
    first_chunk: int


def load(path: Path) -> Retro:
    """The model of a checkpoint of training.train."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    model = Retro(Config.from_dict(state["config"]))
    model.load_state_dict(state["model"])
    return model.eval()


def random_tokens(rng: np.random.Generator, count: int, vocabulary: int) -> np.ndarray:
    """Half of the time uniform ids, else mostly frequent ones (low ids are the earliest merges)."""
    if rng.random() < 0.5:
        return rng.integers(FIRST_ORDINARY_TOKEN, vocabulary, count)
    return FIRST_ORDINARY_TOKEN + (rng.random(count) ** 4 * (vocabulary - FIRST_ORDINARY_TOKEN)).astype(np.int64)


def chunk_neighbours(rng: np.random.Generator, chunk: np.ndarray, config: Config) -> np.ndarray:
    """int64 [K, R] for the tokens of a chunk: of random lengths, some without continuation, some missing.

    About half repeat the chunk: a trained model gives others little weight, so they would test little.
    """
    result = np.zeros((config.neighbours, config.retrieved_length), np.int64)
    n = config.neighbour_length
    for entry in result:
        kind = rng.random()
        if kind < 0.15:
            continue
        source = random_tokens(rng, len(entry), config.vocabulary)
        if kind < 0.6:
            source = np.concatenate([chunk[int(rng.integers(0, 1 + len(chunk) // 4)) :], source])
        neighbour = n if rng.random() < 0.6 else int(rng.integers(1, n + 1))
        continuation = [0, n, int(rng.integers(1, n + 1))][rng.integers(3)]
        entry[:neighbour] = source[:neighbour]
        entry[n : n + continuation] = source[n : n + continuation]
    return result


def random_neighbours(
    rng: np.random.Generator, tokens: np.ndarray, first_chunk: int, begin: int, config: Config
) -> np.ndarray:
    """int64 [U - begin, K, R]: neighbours for the complete chunks of `tokens` from chunk `begin` on."""
    m = config.chunk_length
    ends = [m * u + first_chunk for u in range(begin, complete_chunks(len(tokens), first_chunk, m))]
    found = [chunk_neighbours(rng, tokens[max(0, end - m) : end], config) for end in ends]
    return np.asarray(found, np.int64).reshape(-1, config.neighbours, config.retrieved_length)


def first_chunk_of(prompt_length: int, prompt_end: bool, m: int = 64) -> int:
    return (prompt_length - 1) % m + 1 if prompt_end else m


@torch.no_grad()
def full_logits(model: Retro, case: Case, last_only: bool = False) -> np.ndarray:
    """Logits [n, V], in the model's precision, of one forward pass over all tokens, or only [1, V] for the last one."""
    chunks = complete_chunks(len(case.tokens), case.first_chunk)
    neighbours = torch.from_numpy(case.neighbours[None, :chunks]) if chunks else None
    hidden = model.hidden_states(torch.from_numpy(case.tokens[None]), torch.tensor([case.first_chunk]), neighbours)
    return model.logits(hidden[0, -1:] if last_only else hidden[0]).numpy()


def make(model: Retro, rng: np.random.Generator, prompt: np.ndarray, prompt_end: bool, generate: int) -> Case:
    """A case whose continuation is the model's own greedy one, by full recompute at every token."""
    first_chunk = first_chunk_of(len(prompt), prompt_end)
    case = Case(prompt, random_neighbours(rng, prompt, first_chunk, 0, model.config), len(prompt), first_chunk)
    for _ in range(generate):
        case.tokens = np.append(case.tokens, full_logits(model, case, last_only=True).argmax())
        more = random_neighbours(rng, case.tokens, first_chunk, len(case.neighbours), model.config)
        case.neighbours = np.concatenate([case.neighbours, more])
    return case
