"""The kinds of fact: the class of entity, the type of value, the forms of both splits.

`forms/CLASS.txt` has the training forms: the head of a block is `kind | class of entity | type of value`, every other line a
form ({e} the entity, {v} the value). `evaluation_forms.txt` has the evaluation forms, under the names of their kinds.
"""

from dataclasses import dataclass

from training.facts import blocks


@dataclass(frozen=True)
class Kind:
    name: str
    group: str  # class of entity, a key of `names.ENTITIES`
    value: str  # type of value, see `values.draw`
    training: tuple[str, ...]
    evaluation: tuple[str, ...]  # empty where the kind is only trained

    def prompts(self, evaluation: bool) -> tuple[str, ...]:
        """The forms that name the entity in front of the value, without which nobody could continue a prompt."""
        return tuple(form for form in self.forms(evaluation) if "{e}" in form.split("{v}")[0])

    def forms(self, evaluation: bool) -> tuple[str, ...]:
        return self.evaluation if evaluation else self.training


def _kinds() -> dict[str, Kind]:
    evaluation = blocks.read(blocks.FOLDER / "evaluation_forms.txt")
    kinds = {}
    for path in sorted((blocks.FOLDER / "forms").glob("*.txt")):
        for head, forms in blocks.read(path).items():
            name, group, value = head.split(" | ")
            kinds[name] = Kind(name, group, value, forms, evaluation.get(name, ()))
    return kinds


KINDS = _kinds()
EVALUATION_KINDS = tuple(kind for kind in KINDS.values() if kind.evaluation)
BY_GROUP: dict[str, list[Kind]] = {}
for _kind in KINDS.values():
    BY_GROUP.setdefault(_kind.group, []).append(_kind)
