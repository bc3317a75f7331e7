"""The chunk grid, against its definition in docs/model-format.md."""

import pytest
import torch

from training.grid import complete_chunks, grid_indices, token_slots, window_indices

TOKENS = 300


@pytest.mark.parametrize("first_chunk", [1, 7, 63, 64])
def test_places_follow_the_definition(first_chunk):
    f = torch.tensor([first_chunk])
    chunks = complete_chunks(TOKENS, first_chunk)
    index, real = grid_indices(f, chunks, TOKENS)
    slots, attends = token_slots(f, chunks, TOKENS)
    window = window_indices(f, chunks, TOKENS)
    for i in range(TOKENS):
        p = i + 64 - first_chunk
        if p < 64 * chunks:
            assert real[0, p] and index[0, p] == i
        assert attends[0, i] == (p >= 63)
        if p >= 63:
            chunk, position = divmod(p - 63, 64)
            assert chunk < chunks
            assert slots[0, i] == 64 * chunk + position
            assert window[0, slots[0, i]] == i
    assert real.sum() == 64 * (chunks - 1) + first_chunk


def test_complete_chunks():
    assert complete_chunks(63, 64) == 0
    assert complete_chunks(64, 64) == 1
    assert complete_chunks(7, 7) == 1
    assert complete_chunks(70, 7) == 1
    assert complete_chunks(71, 7) == 2
