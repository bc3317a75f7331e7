"""The kinds of fact: the class of entity, the type of value, the forms of both splits."""

from dataclasses import dataclass

from training.facts import forms_evaluation, forms_land, forms_people, forms_things


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


def _blocks(text: str) -> dict[str, tuple[str, ...]]:
    blocks = (block.split("\n") for block in text.strip().split("\n\n"))
    return {head: tuple(forms) for head, *forms in blocks}


def _kinds() -> dict[str, Kind]:
    evaluation = _blocks(forms_evaluation.FORMS)
    kinds = {}
    for module in (forms_land, forms_people, forms_things):
        for head, forms in _blocks(module.FORMS).items():
            name, group, value = head.split(" | ")
            kinds[name] = Kind(name, group, value, forms, evaluation.get(name, ()))
    return kinds


KINDS = _kinds()
EVALUATION_KINDS = tuple(kind for kind in KINDS.values() if kind.evaluation)
BY_GROUP: dict[str, list[Kind]] = {}
for _kind in KINDS.values():
    BY_GROUP.setdefault(_kind.group, []).append(_kind)
