"""Counterfactual text: what is replaced, by what, and where."""

import re

import numpy as np
import pytest
from tokenizers import Tokenizer

from training.counterfactual import MONTHS, Counterfactual, plain_words
from training.sampler import Mix, Sampler
from training.stream import TokenStream
from training.tokenizer import DEFAULT_TOKENIZER, END_OF_TEXT, PAD

ALWAYS = Mix(counterfactual=1, covering=0.6, covering_twice=0.3, own=0.6, both_empty=0, without=0)


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_file(str(DEFAULT_TOKENIZER))


@pytest.fixture(scope="module")
def counterfactual(tokenizer):
    return Counterfactual(tokenizer)


@pytest.fixture(scope="module")
def stream(counterfactual):
    """Documents that are full of what is replaced."""
    rng = np.random.default_rng(0)
    replaced = np.concatenate(counterfactual.kinds)

    def document(length: int) -> list[int]:
        plain = rng.integers(2, counterfactual.vocabulary, length)
        return np.where(rng.random(length) < 0.3, rng.choice(replaced, length), plain).tolist()

    return TokenStream.from_documents([document(int(rng.integers(200, 3000))) for _ in range(30)])


class Noted(Sampler):
    """Remembers the tables that were applied, and where neighbours are of the chunk's own document."""

    def neighbour_ranges(self, *arguments):
        found = super().neighbour_ranges(*arguments)
        self.own = found[3]
        return found


def test_kinds_are_digits_months_and_names(tokenizer, counterfactual):
    digits, months, *names = counterfactual.kinds
    decoded = [[tokenizer.decode([int(id)]) for id in kind] for kind in counterfactual.kinds]
    assert sorted(decoded[0]) == list("0123456789")
    assert len(months) > 6 and set(text.strip() for text in decoded[1]) <= set(MONTHS)
    assert len(names) > 4 and all(re.fullmatch(" [A-Z][a-z]+", text) for band in decoded[2:] for text in band)
    everything = np.concatenate(counterfactual.kinds)
    assert len(set(everything)) == len(everything) and not {PAD, END_OF_TEXT} & set(everything.tolist())


def test_words_that_begin_sentences_are_no_names(tokenizer, counterfactual):
    names = {tokenizer.decode([int(id)]).strip() for kind in counterfactual.kinds[2:] for id in kind}
    assert {"London", "Germany", "William"} <= names
    assert not {"They", "But", "She", "When", "There"} & names


def test_plain_words_are_words(tokenizer):
    words = plain_words(tokenizer)
    assert len(words) > 1000 and {"water", "other"} <= set(words)
    assert all(re.fullmatch("[a-z]{4,}", word) for word in words)


def test_a_permutation_keeps_kinds_to_themselves(counterfactual):
    table = counterfactual.permutation(np.random.default_rng(1))
    assert sorted(table) == list(range(counterfactual.vocabulary)), "a bijection"
    rest = np.ones(counterfactual.vocabulary, bool)
    for kind in counterfactual.kinds:
        assert set(table[kind]) == set(kind)
        assert (table[kind] != kind).mean() > 0.5
        rest[kind] = False
    assert (table[rest] == np.nonzero(rest)[0]).all(), "all other tokens stay"


def test_permutations_follow_the_generator(counterfactual):
    one, again, other = (counterfactual.permutation(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (one == again).all() and (one != other).any()


def test_a_number_stays_a_number(tokenizer, counterfactual):
    table = counterfactual.permutation(np.random.default_rng(1))
    text = tokenizer.decode(table[tokenizer.encode(" On 3 May 1911 the mill burned down.").ids].tolist())
    assert re.fullmatch(r" On \d (\w+) (\d)(\d)\2\2 the mill burned down\.", text), text
    assert re.search(r"\d (\w+)", text)[1] in MONTHS


def test_text_and_windows_of_its_document_get_the_same_replacement(stream, counterfactual):
    tables = []

    class Spied:
        def permutation(self, rng):
            tables.append(counterfactual.permutation(rng))
            return tables[-1]

    plain, changed = Noted(stream, mix=ALWAYS), Noted(stream, mix=ALWAYS, counterfactual=Spied())
    rows = 6
    before, _, given, covering = plain.batch(0, rows, 32)
    after, _, read, _ = changed.batch(0, rows, 32)
    assert len(tables) == rows and (tables[0] != tables[1]).any(), "one for each sequence"
    seen = {"covering": 0, "own": 0, "unrelated": 0}
    for row, table in enumerate(tables):
        assert (after[row] == table[before[row]]).all() and (after[row] != before[row]).any()
        for place in np.ndindex(given.shape[1:3]):
            kind = "covering" if covering[row][place] else "own" if plain.own[row][place] else "unrelated"
            replaced = kind != "unrelated"
            assert (read[row][place] == (table[given[row][place]] if replaced else given[row][place])).all(), kind
            # That the two cases differ at all.
            seen[kind] += bool((table[given[row][place]] != given[row][place]).any())
    assert min(seen.values()) > 3, seen


def test_sequences_have_their_share(stream, counterfactual):
    mix = Mix(counterfactual=0.25)
    before, after = (Sampler(stream, mix=mix, counterfactual=given).batch(0, 80, 32)[0] for given in (None, counterfactual))
    changed = (before != after).any(-1)
    assert 0.1 < changed.mean() < 0.4
