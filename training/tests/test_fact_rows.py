"""Rows of invented facts: the values' places and weights, and that the neighbours hold what is asked for."""

import re
from itertools import islice

import numpy as np
import pytest
from tokenizers import Tokenizer

from training import fact_rows
from training.fact_rows import LENGTH, LONGEST_FIRST_PROMPT, LONGEST_PROMPT, REST_WEIGHT, VALUE_WEIGHT, FactRows, Tokens
from training.facts import evaluation_facts, training_facts
from training.facts.documents import occurrences
from training.sampler import CHUNK, NEIGHBOURS, RETRIEVED
from training.stream import TokenStream
from training.tokenizer import DEFAULT_TOKENIZER, PAD

ROWS = 60


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_file(str(DEFAULT_TOKENIZER))


@pytest.fixture(scope="module")
def stream(tokenizer):
    texts = ["The tide rose over the meadow, and nobody spoke of it again. " * 30, "Bread is made of flour. " * 40]
    return TokenStream.from_documents([tokenizer.encode(text).ids for text in texts])


@pytest.fixture(scope="module")
def facts(tokenizer):
    """Those that a batch of ROWS takes, in its order."""
    found = []
    for fact in islice(training_facts(5), 4 * ROWS):
        longest = LONGEST_PROMPT if len(found) % 2 else LONGEST_FIRST_PROMPT
        if len(Tokens(tokenizer, fact).prompt) <= longest:
            found.append(fact)
    return found[: 2 * ROWS]


@pytest.fixture(scope="module")
def rows(tokenizer, stream):
    return FactRows(tokenizer, training_facts(5), stream)


@pytest.fixture
def batch(tokenizer, stream, monkeypatch):
    """With the facts' own digits, so that it can be compared with them."""
    monkeypatch.setattr(fact_rows, "OTHER_DIGITS", 0)
    return FactRows(tokenizer, training_facts(5), stream).batch(np.random.default_rng(2), ROWS)


def is_part(text: str, fact) -> bool:
    """Whether `text` is an entry of the fact's document. Some end with a few letters, which stand in any document."""
    return len(text.strip()) > 20 and text.strip() in fact.document


def decode(tokenizer, ids) -> str:
    return tokenizer.decode([int(id) for id in ids if id != PAD])


def test_shapes(batch):
    tokens, first_chunk, neighbours, weights = batch
    assert tokens.shape == (ROWS, LENGTH + 1) and tokens.dtype == np.int64 and (tokens != PAD).all()
    assert first_chunk.shape == (ROWS,) and first_chunk.min() >= 1 and first_chunk.max() <= LONGEST_FIRST_PROMPT
    assert neighbours.shape == (ROWS, 2, NEIGHBOURS, RETRIEVED) and neighbours.dtype == np.int64
    assert weights.shape == (ROWS, LENGTH) and set(np.unique(weights)) == {1, REST_WEIGHT, VALUE_WEIGHT}
    assert (neighbours != PAD).any(-1).all(), "none is empty"


def test_what_has_weight_is_exactly_the_values(batch, facts, tokenizer):
    tokens, first_chunk, _, weights = batch
    for row in range(ROWS):
        first, second = facts[2 * row], facts[2 * row + 1]
        weighted = np.nonzero(weights[row] > 1)[0] + 1  # weight i is that of the prediction of token i + 1
        begin = int(first_chunk[row])
        values = [np.asarray(tokenizer.encode(f" {fact.value}").ids) for fact in (first, second)]
        expected = [*range(begin, begin + len(values[0])), *range(begin + CHUNK, begin + CHUNK + len(values[1]))]
        assert weighted.tolist() == expected
        assert (tokens[row, weighted] == np.concatenate(values)).all()
        for start, value, fact in [(begin, values[0], first), (begin + CHUNK, values[1], second)]:
            given = weights[row, start - 1 : start - 1 + len(value)]
            assert given[0] == VALUE_WEIGHT
            assert (given[1:] == (VALUE_WEIGHT if fact.value[0].isdigit() else REST_WEIGHT)).all()


def test_prompts_stand_at_the_ends_of_the_two_chunks(batch, facts, tokenizer):
    tokens, first_chunk, _, _ = batch
    for row in range(ROWS):
        first, second = facts[2 * row], facts[2 * row + 1]
        begin = int(first_chunk[row])
        assert decode(tokenizer, tokens[row, :begin]) == first.prompt
        between = decode(tokenizer, tokens[row, begin : begin + CHUNK])
        assert between.startswith(f" {first.value}") and between.endswith(second.prompt)
        sentence = f" {first.value}{first.rest}"
        room = len(between) - len(second.prompt)
        assert between[: min(room, len(sentence))] == sentence[:room], "the sentence goes on as far as there is room"


def test_neighbours_hold_the_value_where_it_is_to_be_found(batch, facts, tokenizer):
    neighbours = batch[2]
    held = whole = 0
    for number, fact in enumerate(facts):
        texts = [decode(tokenizer, neighbour) for neighbour in neighbours[number // 2, number % 2]]
        of_document = [text for text in texts if is_part(text, fact)]
        if of_document:
            whole += 1
            held += any(occurrences(fact.value, text) for text in of_document)
    assert 0.85 < whole / len(facts) < 0.98
    assert held == whole


def test_a_missing_document_is_wholly_missing(tokenizer, stream, facts, monkeypatch):
    monkeypatch.setattr(fact_rows, "FOUND", 0)
    neighbours = FactRows(tokenizer, training_facts(5), stream).batch(np.random.default_rng(2), 20)[2]
    for number, fact in enumerate(facts[:40]):
        for neighbour in neighbours[number // 2, number % 2]:
            assert (neighbour != PAD).any() and not is_part(decode(tokenizer, neighbour), fact)


def test_exchanged_digits_are_the_same_everywhere(tokenizer, stream, facts, monkeypatch):
    monkeypatch.setattr(fact_rows, "OTHER_DIGITS", 1)
    monkeypatch.setattr(fact_rows, "FOUND", 1)
    tokens, first_chunk, neighbours, _ = FactRows(tokenizer, training_facts(5), stream).batch(np.random.default_rng(2), 20)
    other = 0
    for row in range(20):
        fact, begin = facts[2 * row], int(first_chunk[row])
        if not fact.value.isdigit():
            continue
        value = decode(tokenizer, tokens[row, begin : begin + 1 + len(fact.value)]).strip()
        assert value.isdigit()
        other += value != fact.value
        held = [occurrences(value, decode(tokenizer, neighbour)) for neighbour in neighbours[row, 0]]
        assert sum(held) >= 1, "the value of the text is that of the document"
    assert other > 0


def test_a_rival_answers_the_same_question_otherwise(tokenizer, stream, facts, monkeypatch):
    monkeypatch.setattr(fact_rows, "BOTH", 0)
    monkeypatch.setattr(fact_rows, "RIVAL", 1)
    monkeypatch.setattr(fact_rows, "OTHER_DIGITS", 0)
    monkeypatch.setattr(fact_rows, "FOUND", 1)
    neighbours = FactRows(tokenizer, training_facts(5), stream).batch(np.random.default_rng(2), ROWS)[2]
    before, rivals = {}, 0
    for number, fact in enumerate(facts):
        texts = {decode(tokenizer, neighbour).strip() for neighbour in neighbours[number // 2, number % 2]}
        if fact.kind in before:
            assert any(text in before[fact.kind].document for text in texts)
            rivals += 1
        before[fact.kind] = fact
    assert rivals > 0


@pytest.mark.parametrize("split", ["training", "evaluation"])
def test_entries_are_the_document_and_the_holder_has_the_whole_value(tokenizer, split):
    facts = islice(training_facts(3), 600) if split == "training" else evaluation_facts(3, 300)
    for fact in facts:
        tokens = Tokens(tokenizer, fact)
        assert decode(tokenizer, tokens.entries[:, :CHUNK].reshape(-1)) == fact.document
        continued = tokens.entries[:-1, CHUNK:], tokens.entries[1:, :CHUNK]
        assert (continued[0] == continued[1]).all(), "the continuation is the next entry's neighbour"
        for holder in tokens.holders:
            assert occurrences(fact.value, decode(tokenizer, tokens.entries[holder])) == 1, fact
        begin = decode(tokenizer, tokens.entries[tokens.holder, :CHUNK])
        before = decode(tokenizer, tokens.entries[: tokens.holder, :CHUNK].reshape(-1))
        at = re.search(rf"(?<!\w){re.escape(fact.value)}(?!\w)", fact.document).start()
        assert len(before) <= at < len(before) + len(begin), "the value begins in the neighbour part"


def test_the_best_neighbours_have_the_holder_first(rows, tokenizer):
    for fact in evaluation_facts(7, 60):
        tokens = Tokens(tokenizer, fact)
        best = rows.best_neighbours(np.random.default_rng(0), tokens)
        assert best.shape == (NEIGHBOURS, RETRIEVED)
        assert occurrences(fact.value, decode(tokenizer, best[0])) == 1


def test_batches_follow_the_generator_and_go_on_through_the_facts(tokenizer, stream):
    def first_two():
        rows = FactRows(tokenizer, training_facts(5), stream)
        return [rows.batch(np.random.default_rng(2), 4) for _ in range(2)]

    one, again = first_two(), first_two()
    assert all((a == b).all() for x, y in zip(one, again, strict=True) for a, b in zip(x, y, strict=True))
    assert (one[0][0] != one[1][0]).any()
