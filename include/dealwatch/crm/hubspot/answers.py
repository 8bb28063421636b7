"""What HubSpot's answers hold, checked and in our types: pages, cursors, stages, text."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from dealwatch.errors import SourceDown

Thing = Mapping[str, Any]
_STAMPS = ("createdAt", "updatedAt", "archivedAt")


@dataclass(frozen=True)
class Listed:
    """A page of a list, and the cursor of the next one; None after the last."""

    things: Sequence[Thing] = field(repr=False)
    after: str | None


@dataclass(frozen=True)
class Stage:
    """A stage of a deal pipeline.

    `outcome` is won, lost, open, or "unclear" for a closed one whose metadata do not say which.
    """

    pipeline: str
    id: str
    label: str
    outcome: str


def text_frame(things: Iterable[Thing], properties: Sequence[str]) -> pl.DataFrame:
    """`id`, `createdAt`, `updatedAt`, `archivedAt` and a column per property; all text or null."""
    rows = [
        [thing["id"], *map(thing.get, _STAMPS), *map(thing.get("properties", {}).get, properties)]
        for thing in things
    ]
    names = ["id", *_STAMPS, *properties]
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    return pl.DataFrame(
        {
            name: pl.Series(map(as_text, values), dtype=pl.String)
            for name, values in zip(names, columns, strict=True)
        }
    )


def as_text(value: Any) -> str | None:
    """HubSpot writes every value as text; one that is none is written as JSON would."""
    if value is None or isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)


def outcome_of(stage: Thing) -> str:
    """Won or lost by the metadata, which are texts; an odd one is not guessed at."""
    told = stage.get("metadata") or {}
    try:
        probability = float(told["probability"])
    except (KeyError, TypeError, ValueError):
        probability = -1.0
    word = str(told.get("isClosed", "")).lower()
    ends = {1.0: "won", 0.0: "lost"}.get(probability, "unclear")
    if word == "false":
        return "open"
    # Stages made through the API may lack the word; 0 and 1 are kept for closed ones.
    return ends if word == "true" or ends != "unclear" else "open"


def stages_of(told: Any, path: str) -> list[Stage]:
    """The stages of an answer about pipelines, in the order shown."""
    try:
        return [
            Stage(str(one["id"]), str(stage["id"]), str(stage.get("label", "")), outcome_of(stage))
            for one in sorted(results_of(told, path), key=_place)
            for stage in sorted(one["stages"], key=_place)
        ]
    except (TypeError, KeyError, ValueError, AttributeError):
        pass
    raise SourceDown(f"HubSpot {path}: a pipeline that is none")


def _place(shown: Thing) -> int:
    return int(shown.get("displayOrder", 0))


def definitions_of(told: Any, path: str) -> dict[str, Thing]:
    """What an answer about properties says of each, by their names; each has a type."""
    try:
        found = {str(one["name"]): one for one in results_of(told, path)}
        if all(isinstance(one["type"], str) for one in found.values()):
            return found
    except (TypeError, KeyError):
        pass
    raise SourceDown(f"HubSpot {path}: a property that is none")


def page_of(told: Any, path: str, asked: str | None) -> Listed:
    return Listed(things_of(told, path), cursor_of(told, path, asked))


def things_of(told: Any, path: str) -> list[Thing]:
    """The results of an answer, each with an id, and its properties unless it is an owner."""
    things = results_of(told, path)
    for thing in things:
        is_thing = isinstance(thing, Mapping) and isinstance(thing.get("id"), str)
        if not is_thing or not isinstance(thing.get("properties", {}), Mapping):
            raise SourceDown(f"HubSpot {path}: a result that is none")
    return things


def results_of(told: Any, path: str) -> list[Any]:
    found = told.get("results") if isinstance(told, Mapping) else None
    if not isinstance(found, list) or told.get("status", "COMPLETE") != "COMPLETE":
        raise SourceDown(f"HubSpot {path}: an answer without results")
    return found


def errors_of(told: Mapping[str, Any], path: str) -> list[Mapping[str, Any]]:
    errors = told.get("errors") or []
    if not isinstance(errors, list) or not all(isinstance(error, Mapping) for error in errors):
        raise SourceDown(f"HubSpot {path}: errors that cannot be read")
    return errors


def linked_of(told: Any, path: str, of_type: int | None = None) -> tuple[str, list[str]]:
    """An object and those it is associated with, of one result about associations; of one type, if asked."""
    try:
        own = [
            to
            for to in told["to"]
            if of_type is None or any(type_["typeId"] == of_type for type_ in to["associationTypes"])
        ]
        return str(told["from"]["id"]), [str(to["toObjectId"]) for to in own]
    except (TypeError, KeyError):
        pass
    raise SourceDown(f"HubSpot {path}: a result that is none")


def cursor_of(told: Mapping[str, Any], path: str, asked: str | None) -> str | None:
    """The cursor of what follows; raises SourceDown when it would lead to the same page again."""
    after: Any = told
    for name in ("paging", "next", "after"):
        after = after.get(name) if isinstance(after, Mapping) else None
    if after is not None and str(after) == asked:
        raise SourceDown(f"HubSpot {path}: the cursor does not move on")
    return None if after is None else str(after)
