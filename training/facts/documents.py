"""Puts a fact, other facts about the same entity and filler together into one document."""

import random
import re
from dataclasses import dataclass

from training.facts import filler
from training.facts.kinds import BY_GROUP, Kind
from training.facts.names import Entity, Names
from training.facts.values import draw

MINIMUM_WORDS = 82
MAXIMUM_WORDS = 195
# Two kinds which would contradict each other, or give the asked kind away, in one document.
APART = {("person_birthday", "person_born"), ("person_born", "person_birthday")}
# Of the sentences that could say "it" or "the lake" say the name, so that a search by name finds each part of the document.
NAMED = 0.75
SEPARATORS = (" ", "\n", "\n- ")


@dataclass(frozen=True)
class Document:
    text: str
    preceding: str  # the document's sentence in front of the asked one with its separator, "" for none
    others: tuple[str, ...]  # the sentences of filler


def capitalised(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def split_form(form: str, name: str) -> tuple[str, str]:
    """A form's text in front of the value (no trailing space) and behind it, with the entity's name filled in."""
    before, rest = form.split("{v}")
    return capitalised(before.replace("{e}", name).rstrip(" ")), capitalised_after(rest.replace("{e}", name))


def capitalised_after(text: str) -> str:
    return re.sub(r"([.?!] )([a-z])", lambda match: match[1] + match[2].upper(), text)


def by_itself(value: str) -> str:
    """A pattern of the value where it is not a part of a longer number or word."""
    return rf"(?<![\w,.]){re.escape(value)}(?!\w|[,.]\d)"


def occurrences(value: str, text: str) -> int:
    """How often a value stands in a text by itself, case aside."""
    if value.lower() not in text.lower():
        return 0
    return len(re.findall(by_itself(value), text, re.IGNORECASE))


def _fill(template: str, entity: Entity, chance: random.Random, names: Names) -> str:
    named = chance.random() < NAMED
    sentence = template
    if "{s}" in sentence:
        sentence = sentence.replace("{s}", entity.name if named else entity.pronoun)
    if "{e}" in sentence:
        sentence = sentence.replace("{e}", entity.name if named else entity.noun)
    if "{t}" in sentence:
        sentence = sentence.replace("{t}", names.place())
    if "{p}" in sentence:
        sentence = sentence.replace("{p}", names.person())
    if "{a}" in sentence:
        sentence = sentence.replace("{a}", chance.choice(filler.ADJECTIVES))
    if "{w}" in sentence:
        sentence = sentence.replace("{w}", chance.choice(filler.TIMES))
    return capitalised_after(capitalised(sentence))


def _stated(form: str, name: str, value: str) -> str:
    before, rest = split_form(form, name)
    return f"{before} {value}{rest}"


def write(
    kind: Kind,
    entity: Entity,
    form: str,
    value: str,
    names: Names,
    chance: random.Random,
    *,
    evaluation: bool,
    by_noun: bool,
) -> Document:
    """One document of about 80 to 200 words that states `value` in `form`; `by_noun` says "the lake" for its name."""
    sentences_of = filler.EVALUATION if evaluation else filler.TRAINING
    asked = _stated(form, entity.noun if by_noun else entity.name, value)
    sentences = []

    second = not evaluation and not by_noun and chance.random() < 0.2
    if chance.random() < 0.88:
        near = [
            other
            for other in BY_GROUP[kind.group]
            if other is not kind and other.forms(evaluation) and (kind.name, other.name) not in APART
        ]
        for other in chance.sample(near, min(len(near), chance.choice((1, 1, 2, 2, 3)))):
            name = chance.choice((entity.name, entity.noun))
            other_value = draw(other.value, chance, names)
            sentences.append(_stated(chance.choice(other.forms(evaluation)), name, other_value))
    if second:
        rival = names.entity(kind.group)
        rival_form = form if chance.random() < 0.5 else chance.choice(kind.training)
        sentences.append(_stated(rival_form, rival.name, draw(kind.value, chance, names)))

    pool = [*sentences_of[filler.FAMILIES[kind.group]], *sentences_of["any"]]
    chance.shuffle(pool)
    size = len(asked.split()) + sum(len(sentence.split()) for sentence in sentences)
    target = chance.randint(MINIMUM_WORDS + 8, 150)
    others = []
    while pool and size < target and (size < MINIMUM_WORDS + 8 or len(sentences) + len(others) < 9):
        others.append(_fill(pool.pop(), entity, chance, names))
        size += len(others[-1].split())
    sentences += others
    chance.shuffle(sentences)
    # "It" and "the lake" need the name in front of them.
    first = next((i for i, sentence in enumerate(sentences) if entity.name[1:] in sentence), None)
    if first:
        sentences[0], sentences[first] = sentences[first], sentences[0]

    opening = _fill(chance.choice(sentences_of["openings"]).replace("{e}", entity.name), entity, chance, names)
    style = chance.random()
    if style < 0.5 or by_noun:
        sentences.insert(0, opening)
    if chance.random() < 0.25:
        sentences.append(_fill(chance.choice(sentences_of["closings"]), entity, chance, names))
    # The name of the entity must stand in front of "the lake"; otherwise any place will do.
    place = chance.randint(1 if by_noun else 0, len(sentences))
    sentences.insert(place, asked)

    heading = f"{capitalised(entity.name)}\n\n" if style > 0.8 else ""
    separator = chance.choices(SEPARATORS, (8, 2, 1))[0]
    first = "- " if separator == "\n- " else ""
    preceding = sentences[place - 1] + separator if place else ""
    return Document(heading + first + separator.join(sentences), preceding, tuple(others))
