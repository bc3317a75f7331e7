"""The facts of both splits."""

import random
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from training.facts.documents import MAXIMUM_WORDS, MINIMUM_WORDS, by_itself, occurrences, split_form, write
from training.facts.kinds import EVALUATION_KINDS, KINDS, Kind
from training.facts.names import Names
from training.facts.values import draw

CONTEXT_SHARE = 0.1  # of the training prompts have a sentence in front
NOUN_SHARE = 0.2  # of the training documents for "other" prompts say "the lake" in the asked sentence
MODERN_SHARE = 0.4  # of the years in training: the others begin with 1, and would be guessed to
MODERN_YEARS = "year 1980 2059"
STRANGE_SHARE = 0.35  # of the training facts have words of their forms replaced by any others
STRANGE_WORDS = 0.4  # of the words of such a form


@dataclass(frozen=True)
class Fact:
    id: str
    kind: str
    entity: str
    wording: str  # "same": the prompt is the document's own sentence; "other": another form of the same statement
    document: str  # 80 to 200 words; states the value once
    prompt: str  # ends right before the value, without the space
    value: str
    rest: str  # the prompt's sentence after the value
    edited_document: str  # the document with `edited_value` in place of the value
    edited_value: str


def _replace_once(value: str, other: str, document: str) -> str:
    return re.sub(by_itself(value), lambda _: other, document, count=1)


def _fact(
    number: int, kind: Kind, wording: str, forms: tuple[str, str], names: Names, chance: random.Random, evaluation: bool
) -> Fact:
    """`forms`: of the document and of the prompt."""
    entity = names.entity(kind.group)
    prompt, rest = split_form(forms[1], entity.name)
    while True:
        modern = not evaluation and kind.value.startswith("year") and chance.random() < MODERN_SHARE
        value, edited = (draw(MODERN_YEARS if modern else kind.value, chance, names) for _ in range(2))
        by_noun = not evaluation and wording == "other" and kind.group != "person" and chance.random() < NOUN_SHARE
        document = write(kind, entity, forms[0], value, names, chance, evaluation=evaluation, by_noun=by_noun)
        text = document.text
        # A value may also have come up in another fact or in the filler: then write another document.
        stated = occurrences(value, text) == 1 and occurrences(edited, text) == 0 and value != edited
        if stated and occurrences(value, prompt) == 0:
            if MINIMUM_WORDS - 2 <= len(text.split()) <= MAXIMUM_WORDS:
                break
    if not evaluation and chance.random() < CONTEXT_SHARE:
        if wording == "same":
            prompt = document.preceding + prompt
        elif document.others:
            prompt = f"{chance.choice(document.others)} {prompt}"
    return Fact(
        id=f"fact-{number:06d}",
        kind=kind.name,
        entity=entity.name,
        wording=wording,
        document=text,
        prompt=prompt,
        value=value,
        rest=rest,
        edited_document=_replace_once(value, edited, text),
        edited_value=edited,
    )


def _strange(form: str, words: Sequence[str], chance: random.Random) -> str:
    """`form` with some of its longer words replaced: what is asked must then be guessed from the others and the kind of value."""
    replaced = lambda match: chance.choice(words) if chance.random() < STRANGE_WORDS else match[0]  # noqa: E731
    return re.sub(r"(?<![\w{])[a-z]{4,}(?![\w}])", replaced, form)


def training_facts(seed: int, words: Sequence[str] = ()) -> Iterator[Fact]:
    """Endless facts of all kinds in training forms, about half of each wording.

    With `words`, lower-case ones of any meaning, a part of the forms has some of them in place of its own: wordings
    that were never trained are the rule in use, and a model that has learned only to know the forms reads nothing then.
    """
    chance = random.Random(f"training facts {seed}")
    names = Names(chance, evaluation=False)
    kinds = tuple(KINDS.values())
    number = 0
    while True:
        kind = chance.choice(kinds)
        wording = chance.choice(("same", "other"))
        prompt = chance.choice(kind.prompts(evaluation=False))
        stated = prompt if wording == "same" else chance.choice([form for form in kind.training if form != prompt])
        forms = stated, prompt
        if words and chance.random() < STRANGE_SHARE:
            forms = tuple(_strange(form, words, chance) for form in forms)
            forms = forms if wording == "other" else (forms[1], forms[1])
        yield _fact(number, kind, wording, forms, names, chance, evaluation=False)
        number += 1


def evaluation_facts(seed: int, count: int, avoid: Collection[str] = ()) -> list[Fact]:
    """`count` facts in evaluation forms: half of each wording, every kind as often as the others give or take one.

    No invented word is in `avoid` (lower-case words, best a set), and no two facts share one.
    """
    chance = random.Random(f"evaluation facts {seed}")
    names = Names(chance, evaluation=True, used=avoid, unique=True)
    kinds = list(EVALUATION_KINDS)
    chance.shuffle(kinds)
    facts = []
    for number in range(count):
        turn, place = divmod(number, len(kinds))
        kind = kinds[place]
        # With an even number of kinds the wording changes every turn, or each kind would only ever get one.
        wording = ("same", "other")[(number + turn * (len(kinds) % 2 == 0)) % 2]
        forms = kind.evaluation
        pair = forms[turn % len(forms)], forms[(turn + 1 + turn // len(forms) % (len(forms) - 1)) % len(forms)]
        if wording == "same":
            pair = pair[0], pair[0]
        facts.append(_fact(number, kind, wording, pair, names, chance, evaluation=True))
    return facts
