"""What retrieval may and may not change."""

import pytest
import torch

from training.config import Config
from training.grid import complete_chunks
from training.model import Retro

TOKENS = 220


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Retro(Config(vocabulary=500)).eval()


def sequence(first_chunk: int):
    generator = torch.Generator().manual_seed(first_chunk)
    tokens = torch.randint(2, 500, (1, TOKENS), generator=generator)
    chunks = complete_chunks(TOKENS, first_chunk)
    neighbours = torch.randint(2, 500, (1, chunks, 2, 128), generator=generator)
    neighbours[0, 0, 0, 40:64] = 0  # a short neighbour before its continuation
    neighbours[0, 1, 1, 64:] = 0  # no continuation
    return tokens, torch.tensor([first_chunk]), neighbours


@torch.no_grad()
@pytest.mark.parametrize("first_chunk", [64, 5])
def test_tokens_before_the_first_chunk_ends_are_untouched(model, first_chunk):
    tokens, f, neighbours = sequence(first_chunk)
    on, off = model(tokens, f, neighbours), model(tokens, f, None)
    changed = (on != off).any(-1)[0]
    assert not changed[: first_chunk - 1].any()
    assert changed[first_chunk - 1 :].all()


@torch.no_grad()
@pytest.mark.parametrize("first_chunk", [64, 5])
def test_neighbours_of_a_chunk_change_nothing_before_its_last_token(model, first_chunk):
    tokens, f, neighbours = sequence(first_chunk)
    other = neighbours.clone()
    other[0, 1] = 17
    changed = (model(tokens, f, neighbours) != model(tokens, f, other)).any(-1)[0]
    last = 64 + first_chunk - 1
    assert not changed[:last].any() and changed[last]


@torch.no_grad()
@pytest.mark.parametrize("first_chunk", [64, 5])
def test_missing_neighbours_are_exactly_retrieval_off(model, first_chunk):
    tokens, f, neighbours = sequence(first_chunk)
    assert torch.equal(model(tokens, f, torch.zeros_like(neighbours)), model(tokens, f, None))


@torch.no_grad()
def test_a_prefix_has_the_logits_of_the_whole(model):
    tokens, f, neighbours = sequence(5)
    chunks = complete_chunks(150, 5)
    whole, prefix = model(tokens, f, neighbours), model(tokens[:, :150], f, neighbours[:, :chunks])
    assert (whole[:, :150] - prefix).abs().max() < 1e-5


@torch.no_grad()
def test_the_order_of_neighbours_does_not_matter(model):
    tokens, f, neighbours = sequence(64)
    assert (model(tokens, f, neighbours) - model(tokens, f, neighbours.flip(2))).abs().max() < 1e-5


def test_parameters():
    assert 9_800_000 < Retro(Config()).parameter_count() < 10_000_000
