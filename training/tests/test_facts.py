"""The invented facts: their documents and prompts, and that the two splits share no form and no word."""

import difflib
import re
from itertools import islice

import pytest

from training.facts import evaluation_facts, training_facts
from training.facts import filler
from training.facts.documents import occurrences
from training.facts.kinds import EVALUATION_KINDS, KINDS
from training.facts.names import invented_words
from training.facts.values import LISTS

TRAINING = list(islice(training_facts(3), 1500))
EVALUATION = evaluation_facts(3, 320)


@pytest.mark.parametrize("facts", (TRAINING, EVALUATION), ids=("training", "evaluation"))
def test_documents_state_the_value_once(facts):
    for fact in facts:
        assert 80 <= len(fact.document.split()) <= 200, fact
        assert occurrences(fact.value, fact.document) == 1, fact
        assert occurrences(fact.edited_value, fact.document) == 0, fact


@pytest.mark.parametrize("facts", (TRAINING, EVALUATION), ids=("training", "evaluation"))
def test_edited_document_differs_only_in_the_value(facts):
    for fact in facts:
        parts = fact.edited_document.split(fact.edited_value)
        restored = (
            fact.edited_value.join(parts[:place]) + fact.value + fact.edited_value.join(parts[place:])
            for place in range(1, len(parts))
        )
        assert fact.value != fact.edited_value
        assert fact.document in restored, fact


@pytest.mark.parametrize("facts", (TRAINING, EVALUATION), ids=("training", "evaluation"))
def test_prompts_name_the_entity_and_end_before_the_value(facts):
    for fact in facts:
        stated = f"{fact.prompt} {fact.value}{fact.rest}"
        assert fact.prompt == fact.prompt.strip() and fact.rest.endswith(".")
        assert fact.entity[1:] in fact.prompt and fact.entity[1:] in fact.document, fact
        assert (stated in fact.document) == (fact.wording == "same"), fact
        assert occurrences(fact.value, fact.prompt) == 0, fact


def test_evaluation_is_balanced():
    assert [fact.wording for fact in EVALUATION].count("same") == 160
    counts = [sum(fact.kind == kind.name for fact in EVALUATION) for kind in EVALUATION_KINDS]
    assert max(counts) - min(counts) <= 1 and sum(counts) == 320
    assert {(fact.kind, fact.wording) for fact in EVALUATION} == {
        (kind.name, wording) for kind in EVALUATION_KINDS for wording in ("same", "other")
    }
    share = sum(fact.wording == "same" for fact in TRAINING) / len(TRAINING)
    assert 0.45 < share < 0.55


def test_forms_are_plenty_and_disjoint():
    assert len(KINDS) >= 30 and len(EVALUATION_KINDS) >= 12
    for kind in KINDS.values():
        assert len(set(kind.prompts(evaluation=False))) >= 8, kind.name
        for form in kind.training + kind.evaluation:
            assert form.count("{e}") == 1 and form.count("{v}") == 1 and " {v}" in form, form
    for kind in EVALUATION_KINDS:
        assert len(set(kind.evaluation)) >= 3
        assert kind.prompts(evaluation=True) == kind.evaluation
        before = {form.split("{v}")[0] for form in kind.training}
        for form in kind.evaluation:
            assert form not in kind.training and form.split("{v}")[0] not in before, form
            words = re.findall(r"[\w{}]+", form.split("{v}")[0].lower())
            for other in before:
                alike = difflib.SequenceMatcher(None, words, re.findall(r"[\w{}]+", other.lower())).ratio()
                assert alike < 0.9, (form, other)


def test_splits_share_no_invented_word_and_no_filler():
    evaluation = {word for fact in EVALUATION for word in invented_words(fact.entity)}
    trained = {word.strip(".,?'\n-").lower() for fact in TRAINING for word in fact.document.split()}
    assert len(evaluation) >= 320
    assert not evaluation & trained
    assert filler.EVALUATION.keys() == filler.TRAINING.keys() == {*filler.FAMILIES.values(), "any", "openings", "closings"}
    for family, sentences in filler.EVALUATION.items():
        assert not set(sentences) & set(filler.TRAINING[family])


def test_lists_are_long_and_take_the_article_a():
    for words in LISTS.values():
        assert len(set(words)) == len(words) >= 30
    for name in ("colour", "animal", "profession"):
        assert all(word[0] not in "aeiou" for word in LISTS[name])


def test_strange_words_stand_in_forms_alone():
    words = ["quiddity", "zeugma", "haruspex"]
    plain = list(islice(training_facts(3), 400))
    strange = list(islice(training_facts(3, words), 400))
    assert not any(word in fact.document for fact in plain for word in words)
    with_some = [fact for fact in strange if any(word in fact.prompt + fact.document for word in words)]
    assert 0.25 < len(with_some) / len(strange) < 0.5
    for fact in with_some:
        stated = f"{fact.prompt} {fact.value}{fact.rest}"
        assert (stated in fact.document) == (fact.wording == "same"), fact
        assert occurrences(fact.value, fact.document) == 1 and fact.entity[1:] in fact.prompt, fact


def test_seed_decides_and_avoided_words_are_left_out():
    assert TRAINING[:50] == list(islice(training_facts(3), 50))
    assert TRAINING[:50] != list(islice(training_facts(4), 50))
    assert EVALUATION == evaluation_facts(3, 320)
    avoid = {word for fact in EVALUATION for word in invented_words(fact.entity)}
    again = evaluation_facts(3, 320, avoid)
    assert not avoid & {word for fact in again for word in invented_words(fact.entity)}
