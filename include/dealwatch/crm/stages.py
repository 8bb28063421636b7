"""The stages that a live source itself knows: what to say of one that is not configured, and of one renamed.

They decide nothing about a deal. The pipeline is the settings' own; these are the words that help to mend it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Stage:
    """A stage at its source.

    id: never changes there. name: what a deal in it says. label: what people see, where it differs.
    outcome: won, lost, open, or another word where the source does not say. was: the name before this one.
    """

    id: str
    name: str
    label: str = ""
    outcome: str = "open"
    is_active: bool = True
    was: str = ""


def since(stages: Sequence[Stage], before: Sequence[Stage]) -> tuple[Stage, ...]:
    """The stages with the names they had, by those of the extract before."""
    known = {stage.id: stage for stage in before}
    return tuple(replace(stage, was=_former(stage, known.get(stage.id))) for stage in stages)


def _former(stage: Stage, known: Stage | None) -> str:
    if known is None:
        return ""
    return known.was if known.name == stage.name else known.name


def has_renamed(stages: Sequence[Stage], before: Sequence[Stage]) -> bool:
    """Whether one is called otherwise than in the extract before: its deals then changed without a stamp."""
    names = {stage.id: stage.name for stage in before}
    return any(names.get(stage.id, stage.name) != stage.name for stage in stages)


def described(name: str, stages: Sequence[Stage]) -> str:
    """A stage's name with what the source says of it; the name alone when it does not know it."""
    place = next((n for n, stage in enumerate(stages) if stage.name == name), None)
    if place is None:
        return name
    stage = stages[place]
    words = [name, *([f'"{stage.label}"'] if stage.label not in ("", name) else [])]
    if stage.was:
        words.append(f"which was called {stage.was}")
    else:
        words.append(stage.outcome)
        words += [f"after {stages[place - 1].label or stages[place - 1].name}"] if place else []
    return ", ".join([*words, *([] if stage.is_active else ["not in use any more"])])


def as_json(stages: Sequence[Stage]) -> list[dict[str, Any]]:
    return [asdict(stage) for stage in stages]


def of_json(stored: Sequence[Mapping[str, Any]]) -> tuple[Stage, ...]:
    return tuple(Stage(**told) for told in stored)
