"""Training batches."""

import numpy as np

from training.sampler import Curriculum, Mix, Sampler
from training.stream import TokenStream


def stream():
    rng = np.random.default_rng(0)
    return TokenStream.from_documents([rng.integers(2, 5000, int(rng.integers(100, 3000))).tolist() for _ in range(40)])


def test_the_curriculum_waits_for_copying():
    curriculum = Curriculum()
    curriculum.update(covered=6.0, uncovered=6.1)
    assert curriculum.shift == 0
    curriculum.update(covered=4.5, uncovered=6.0)
    assert curriculum.shift == 2
    for _ in range(20):
        curriculum.update(covered=2.0, uncovered=6.0)
    assert curriculum.shift == 32


def test_a_batch_is_reproducible_and_an_epoch_repeats_nothing():
    sampler = Sampler(stream())
    first, again = sampler.batch(3, 4, 16), sampler.batch(3, 4, 16)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert len(set(sampler.starts(0, sampler.sequences))) == sampler.sequences


def test_a_covering_window_continues_the_chunk():
    """With covering neighbours alone and no shift, neighbour tokens 64 and on are what follows the chunk."""
    mix = Mix(covering_at_first=1, both_empty=0, without=0, full_first_chunk=1)
    sampler = Sampler(stream(), mix=mix)
    tokens, _, neighbours, covered = sampler.batch(0, 8, 0)
    assert covered.any(-1).all()
    found = whole = 0
    for row in range(8):
        for chunk in range(7):
            text = tokens[row, 64 * chunk : 64 * chunk + 128]
            if 1 in text or 1 in tokens[row, 64 * chunk : 64 * chunk + 129]:
                continue  # a document ends here
            whole += 1
            found += any((neighbour == text).all() for neighbour in neighbours[row, chunk])
    assert whole > 20 and found == whole


def test_unrelated_neighbours_come_from_other_documents():
    source = stream()
    sampler = Sampler(source, mix=Mix(covering=0))
    begin = sampler.starts(0, 8)
    f = np.full(8, 64)
    starts, ends, covered = sampler.neighbour_ranges(np.random.default_rng(1), begin, f, 32)
    assert not covered.any()
    own = source.document_of(begin[:, None] + 64 * np.arange(8) + 63)
    other = source.document_of(starts)
    assert ((other != own[..., None]) | (starts == ends)).all()
