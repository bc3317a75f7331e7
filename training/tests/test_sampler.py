"""Training batches: where sequences begin, and which neighbours their chunks get."""

import numpy as np
import pytest

from training.neighbour_table import NeighbourTable
from training.sampler import CHUNK, MAX_SHIFT, RETRIEVED, Curriculum, Mix, Sampler
from training.stream import TokenStream
from training.tokenizer import END_OF_TEXT, PAD

PLAIN = Mix(covering=0, covering_at_first=0, both_empty=0, without=0, empty=0, counterfactual=0)
COVERING = Mix(covering=1, covering_at_first=1, covering_twice=0, own=0, both_empty=0, without=0, empty=0, counterfactual=0)


@pytest.fixture(scope="module")
def stream():
    """Every token of a document tells nothing of its neighbours', so a window is found at one place only."""
    rng = np.random.default_rng(0)
    return TokenStream.from_documents([rng.integers(2, 5000, int(rng.integers(100, 3000))).tolist() for _ in range(40)])


def ranges(sampler: Sampler, rows: int, shift: int, first_chunk: int | None = CHUNK):
    """starts, ends, covering, own of the first rows, and the grid, the starts of their chunks."""
    rng = np.random.default_rng(1)
    begin = sampler.starts(np.arange(rows))
    f = np.full(rows, first_chunk) if first_chunk else rng.integers(1, CHUNK + 1, rows)
    grid = begin[:, None] - CHUNK + f[:, None] + CHUNK * np.arange(sampler.length // CHUNK)
    return *sampler.neighbour_ranges(rng, begin, f, shift), grid


def test_the_curriculum_waits_for_copying():
    curriculum = Curriculum()
    curriculum.update(covered=6.0, uncovered=6.1)
    assert curriculum.shift == 0
    curriculum.update(covered=4.5, uncovered=6.0)
    assert curriculum.shift == 2
    curriculum.update(covered=3.0, uncovered=6.0)
    assert curriculum.shift == 6
    for _ in range(20):
        curriculum.update(covered=2.0, uncovered=6.0)
    assert curriculum.shift == MAX_SHIFT


def test_a_batch_is_reproducible_and_differs_from_the_next(stream):
    one, other = Sampler(stream), Sampler(stream)
    first, again, next_one = one.batch(3, 4, 16), other.batch(3, 4, 16), one.batch(7, 4, 16)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert not (first[0] == next_one[0]).all()


def test_shapes_and_ranges_of_a_batch(stream):
    tokens, first_chunk, neighbours, covering = Sampler(stream, length=256).batch(5, 3, 8)
    assert tokens.shape == (3, 257) and first_chunk.shape == (3,)
    assert neighbours.shape == (3, 4, 2, RETRIEVED) and covering.shape == (3, 4, 2)
    assert tokens.dtype == neighbours.dtype == np.int64 and covering.dtype == bool
    assert first_chunk.min() >= 1 and first_chunk.max() <= CHUNK
    assert not (neighbours == END_OF_TEXT).any(), "a neighbour holds no end of text"
    assert not ((neighbours[..., 1:] != PAD) & (neighbours[..., :-1] == PAD)).any(), "padding is on the right"
    assert not (covering & (neighbours == PAD).all(-1)).any(), "an empty neighbour covers nothing"


def test_sequences_are_the_stream_cut_up(stream):
    sampler = Sampler(stream)
    tokens = sampler.batch(0, 6, 0)[0]
    for row, start in zip(tokens, sampler.starts(np.arange(6)), strict=True):
        assert start % 512 == 0 and (row == stream.tokens[start : start + 513]).all()


def test_an_epoch_repeats_nothing_and_epochs_differ(stream):
    sampler = Sampler(stream)
    first = sampler.starts(np.arange(sampler.sequences))
    second = sampler.starts(np.arange(sampler.sequences, 2 * sampler.sequences))
    assert len(set(first)) == len(set(second)) == sampler.sequences
    assert (first != second).any()


@pytest.mark.parametrize("share", [0.35, 0.5, 0.9])
def test_the_known_part_has_its_share_and_both_parts_come_once_an_epoch(stream, share):
    sampler = Sampler(stream, mix=Mix(known=share))
    sampler.known = 10
    count = 4 * sampler.sequences
    numbers = np.arange(count)
    from_known = np.floor((numbers + 1) * share).astype(int) - np.floor(numbers * share).astype(int) == 1
    places = sampler.starts(numbers) // sampler.length
    known, whole = places[from_known], places[~from_known]
    assert abs(len(known) - share * count) <= 1
    for epoch in range(len(known) // 10):
        assert sorted(known[10 * epoch : 10 * epoch + 10]) == list(range(10))
    for epoch in range(len(whole) // sampler.sequences):
        part = whole[sampler.sequences * epoch : sampler.sequences * (epoch + 1)]
        assert sorted(part) == list(range(sampler.sequences))


def test_a_covering_window_continues_the_chunk(stream):
    """Unshifted, one of a chunk's neighbours is the chunk and the text after it, up to the document's end."""
    sampler = Sampler(stream, mix=COVERING)
    tokens, _, neighbours, covering = Sampler(stream, mix=Mix(**vars(COVERING) | {"full_first_chunk": 1})).batch(0, 8, 0)
    assert (covering.sum(-1) == 1).all(), "each chunk has one, and it is never empty"
    whole = 0
    for row in range(8):
        for chunk in range(7):
            text = tokens[row, 64 * chunk : 64 * chunk + 128]
            if END_OF_TEXT in text:
                continue
            whole += 1
            assert (neighbours[row, chunk][covering[row, chunk]] == text).all()
    assert whole > 20
    starts, ends, covering, _, grid = ranges(sampler, 8, 0)
    document = stream.document_of(grid + CHUNK - 1)
    assert (starts[covering].reshape(grid.shape) == np.maximum(grid, stream.starts[document])).all()
    assert (ends[covering].reshape(grid.shape) <= stream.ends[document]).all()


def test_shifts_fill_their_range_and_leave_the_chunks_end_in_the_window(stream):
    starts, ends, covering, own, grid = ranges(Sampler(stream, mix=COVERING), 60, MAX_SHIFT)
    assert not own.any()
    start, end = starts[covering].reshape(grid.shape), ends[covering].reshape(grid.shape)
    document = stream.document_of(grid + CHUNK - 1)
    inside = (grid - MAX_SHIFT >= stream.starts[document]) & (grid + 3 * CHUNK <= stream.ends[document])
    shifts = (start - grid)[inside]
    assert shifts.min() < -MAX_SHIFT + 4 and shifts.max() > MAX_SHIFT - 4 and np.abs(shifts).max() <= MAX_SHIFT
    last = grid + CHUNK - 1
    held = (start <= last) & (last < end)
    # A chunk that ends with its document's end of text has that token in no window.
    assert held[last < stream.ends[document]].all()


def test_a_window_of_a_short_first_chunk_stays_within_a_database_chunk(stream):
    sampler = Sampler(stream, mix=COVERING)
    starts, _, covering, _, grid = ranges(sampler, 60, MAX_SHIFT, first_chunk=9)
    begin = grid[:, 0] + CHUNK - 9
    before = begin - starts[:, 0][covering[:, 0]]
    assert before.min() >= -MAX_SHIFT + CHUNK - 9 - CHUNK and before.max() <= CHUNK - 9 + MAX_SHIFT


def test_both_neighbours_cover_where_it_is_drawn(stream):
    twice = Mix(**vars(COVERING) | {"covering_twice": 0.5})
    _, _, covering, own, _ = ranges(Sampler(stream, mix=twice), 100, 0)
    assert 0.4 < covering.all(-1).mean() < 0.6 and covering.any(-1).all() and not own.any()


def test_own_neighbours_are_of_the_document_and_clear_of_what_is_to_be_copied(stream):
    mix = Mix(**vars(COVERING) | {"own": 1})
    starts, ends, covering, own, grid = ranges(Sampler(stream, mix=mix), 60, MAX_SHIFT)
    assert (own.sum(-1) == 1).all() and not (own & covering).any()
    start, end = starts[own].reshape(grid.shape), ends[own].reshape(grid.shape)
    document = stream.document_of(grid + CHUNK - 1)
    there = end > start
    assert there.mean() > 0.5
    assert (stream.starts[document] <= start)[there].all() and (end <= stream.ends[document])[there].all()
    assert ((start - stream.starts[document]) % CHUNK == 0)[there].all(), "as a database cuts the document"
    assert ((end <= grid) | (start >= grid + RETRIEVED))[there].all()


def test_own_neighbours_take_their_share_of_chunks_covered_once(stream):
    mix = Mix(**vars(COVERING) | {"own": 0.3, "covering_twice": 0.25})
    _, _, covering, own, _ = ranges(Sampler(stream, mix=mix), 200, 0)
    once = ~covering.all(-1)
    assert 0.25 < own.any(-1)[once].mean() < 0.35 and not own.any(-1)[~once].any()


@pytest.mark.parametrize("known", [False, True])
def test_unrelated_neighbours_come_from_other_documents(stream, known):
    sampler = Sampler(stream, mix=PLAIN)
    if known:
        sampler.table = table(stream)
    starts, ends, covering, own, grid = ranges(sampler, 20, MAX_SHIFT, first_chunk=None)
    assert not covering.any() and not own.any()
    document = stream.document_of(grid + CHUNK - 1)
    there = ends > starts
    assert there.mean() > 0.8
    other = stream.document_of(starts)
    assert (other != document[..., None])[there].all()
    assert (ends <= stream.ends[other])[there].all() and (ends - starts).max() <= RETRIEVED


def table(stream: TokenStream) -> NeighbourTable:
    """As training.neighbours has it: the chunks of the documents, each with four of the document before."""
    chunks = [np.arange(begin, end, CHUNK) for begin, end in zip(stream.starts, stream.ends, strict=True)]
    first = np.cumsum([0] + [len(part) for part in chunks])
    starts = np.concatenate(chunks)
    ends = np.minimum(starts + RETRIEVED, stream.ends[stream.document_of(starts)])
    of = np.repeat(np.arange(len(chunks)), [len(part) for part in chunks])
    nearest = np.stack([first[(of - 1) % len(chunks)]] * 4, axis=1).astype(np.int32)
    return NeighbourTable(first, starts, ends, nearest)


def test_retrieved_neighbours_come_from_the_table_where_it_knows_the_place(stream, tmp_path):
    known = table(stream)
    documents = 25
    chunks = known.first[documents]
    path = tmp_path / "train.neighbours.npz"
    sampler = Sampler(stream, mix=Mix(**vars(PLAIN) | {"retrieved": 1, "known": 0.5}))
    assert not sampler.load_neighbours(path) and sampler.known == 0
    np.savez(
        path,
        document_first=known.first[: documents + 1],
        starts=known.starts[:chunks],
        ends=known.ends[:chunks],
        nearest=known.nearest[:chunks] % chunks,
    )
    assert sampler.load_neighbours(path) and 0 < sampler.known < sampler.sequences
    assert sampler.known * sampler.length <= stream.ends[documents - 1]
    starts, ends, _, _, grid = ranges(sampler, 30, MAX_SHIFT)
    document = stream.document_of(grid + CHUNK - 1)
    middle = grid + CHUNK // 2
    inside = (document < documents) & (document > 0) & (middle >= stream.starts[document]) & (middle < stream.ends[document])
    assert inside.mean() > 0.3
    expected = stream.starts[document - 1]
    assert (starts == expected[..., None])[inside].all() and (ends > starts)[inside].all()


def test_missing_neighbours_have_their_shares(stream):
    mix = Mix(**vars(COVERING) | {"both_empty": 0.1, "without": 0.2})
    starts, ends, covering, _, _ = ranges(Sampler(stream, mix=mix), 200, 0)
    empty = (ends == starts).all(-1)
    assert 0.1 < empty.all(-1).mean() < 0.3, "whole sequences"
    assert 0.2 < empty.mean() < 0.35
    assert not covering[empty].any()
    starts, ends, *_ = ranges(Sampler(stream, mix=Mix(**vars(PLAIN) | {"empty": 0.3})), 100, 0)
    assert 0.25 < (ends == starts).mean() < 0.42
