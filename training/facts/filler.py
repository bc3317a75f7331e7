"""Sentences that fill the documents and state no fact that is ever asked.

They stand in `filler.txt` (training) and `evaluation_filler.txt`, under the name of their family. {s} is the entity as a
subject (name, noun or pronoun), {e} its name or noun, {p} an invented person, {t} an invented town, {a} an adjective, {w}
a time of the year.
"""

from training.facts import blocks

ADJECTIVES = """famous curious modest strange popular delightful remarkable charming surprising splendid puzzling
pleasant memorable peculiar""".split()
TIMES = ("spring", "early summer", "late autumn", "winter", "the rainy season", "the harvest weeks", "the dry months")

# Classes of entity that share their filler.
FAMILIES = {
    "mountain": "land", "lake": "land", "river": "land", "planet": "sky", "town": "town", "country": "town",
    "bridge": "work", "ship": "work", "building": "work", "machine": "work", "lute": "work", "company": "company",
    "flower": "living", "bird": "living", "person": "person", "book": "art", "painting": "art", "film": "art",
    "battle": "event", "festival": "event",
}  # fmt: skip


def _families(name: str) -> dict[str, tuple[str, ...]]:
    return {head.strip("[]"): sentences for head, sentences in blocks.read(blocks.FOLDER / name).items()}


TRAINING = _families("filler.txt")
EVALUATION = _families("evaluation_filler.txt")
