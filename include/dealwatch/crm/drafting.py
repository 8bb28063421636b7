"""A mapping drafted from what a source shows: TOML for the settings file, with doubts as comments."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dealwatch.crm.connecting import Field, Visit, nearest
from dealwatch.crm.contract import COLUMNS, REQUIRED, RESERVED
from dealwatch.crm.guessing import LIKELY, Guess, guesses, our_name, sounds_ended, tells_the_end
from dealwatch.knobs import RecordMapping
from dealwatch.settings import Settings

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_MOST_OTHERS = 12
_OF_MAPPING = ("values", "ignore", "joins", "decimal", "date_format", "known_only_at_close", "columns")


@dataclass(frozen=True)
class _Lines:
    """What the draft maps, and the comments about what it does not."""

    columns: Mapping[str, tuple[str, str]]  # ours -> theirs, and the remark
    remarks: Sequence[str]
    late: Sequence[str]
    ignore: Sequence[str]


def draft(name: str, settings: Settings, visit: Visit) -> str:
    """The tables of `[sources.NAME.deals]` and, where nothing is set, `[pipeline]`; valid when pasted.

    Lines of the settings stay where their fields are there. A guess that is only a maybe is a comment.
    """
    if not visit.fields:
        return ""
    source = settings.sources[name]
    lines = _lines(source.deals, visit)
    parts = [
        f"# A draft for {name}. Read it, correct it, and paste it into the settings file, in place of the",
        f"# [sources.{name}.deals] tables that are there. What begins with # is not in force.",
        *_of_deals(f"sources.{name}.deals", source.deals, visit, lines),
        *_of_others(name, visit),
        *_pipeline(settings, visit),
    ]
    return "\n".join(parts) + "\n"


def _lines(own: RecordMapping, visit: Visit) -> _Lines:
    names = {one.name: one for one in visit.fields}
    columns: dict[str, tuple[str, str]] = {}
    remarks = []
    for ours, theirs in own.columns.items():
        if theirs not in visit.absent:
            columns[ours] = (theirs, "as it is")
        else:
            near = ", ".join(nearest(theirs, names)) or "nothing is called like it"
            remarks.append(f"{_key(ours)} = {_value(theirs)} is not there for us; nearest: {near}")
    joined = [ours for join in own.joins for ours in join.take]
    spoken = [*columns, *(theirs for theirs, _ in columns.values()), *own.ignore, *joined]
    usual = {o: t for o, t in visit.usual.items() if o not in columns and t not in own.ignore}
    remarks += [f"{_key(ours)} = {_value(theirs)}  # read without a line" for ours, theirs in usual.items()]
    late = [one for one in visit.fields if tells_the_end(one) and one.name not in spoken]
    found = guesses(
        "deals",
        [one for one in visit.fields if one not in late],
        without=[*spoken, *usual, *usual.values(), *visit.derived],
    )
    for ours in COLUMNS["deals"]:
        if ours in columns or ours in usual or ours in joined or ours in visit.derived:
            continue
        _take(ours, found.get(ours), columns, remarks)
    if visit.derived:
        remarks.append(f"{', '.join(visit.derived)}: worked out by dealwatch")
    read = {*columns, *visit.usual, *(names if visit.by_header else ())}
    marked = [mark for mark in own.known_only_at_close if mark in read]
    if visit.by_header:  # such a column is read without a line, as if it had been known all along
        taken = {*spoken, *(theirs for theirs, _ in columns.values())}
        late += [
            one for one in visit.fields if sounds_ended(one) and one not in late and one.name not in taken
        ]
    for one in late:
        ours = _free(our_name(one), columns, {*names} - {one.name})
        columns[ours] = (one.name, "known only at close, by its name: a score must not see it before")
        marked.append(ours)
    remarks += _rest([f for f in visit.fields if f.name not in {t for t, _ in columns.values()}], usual, own)
    return _Lines(columns, remarks, tuple(dict.fromkeys(marked)), _ignored(columns, names, own, visit))


def _take(ours: str, guess: Guess | None, columns: dict[str, tuple[str, str]], remarks: list[str]) -> None:
    is_needed = ours in REQUIRED["deals"]
    if guess is None:
        what = "needed, and nothing looks like it" if is_needed else "nothing looks like it"
        remarks.append(f"{ours}: {what}")
    elif guess.sure >= LIKELY or is_needed:
        columns[ours] = (guess.field, f"{guess.word}: {guess.why}")
    else:
        remarks.append(f"{ours} = {_value(guess.field)}  # {guess.word}: {guess.why}")


def _free(ours: str, columns: Mapping[str, Any], names: Iterable[str]) -> str:
    """A name of ours that nothing else has."""
    taken = {*columns, *COLUMNS["deals"], *RESERVED, "row", "record", *names}
    while ours in taken:
        ours += "_told"
    return ours


def _rest(fields: Sequence[Field], usual: Mapping[str, str], own: RecordMapping) -> list[str]:
    """Custom fields that may be worth a line; only those that are not read anyway."""
    others = [one.name for one in fields if one.name.endswith("__c") and one.name not in own.ignore]
    if not others:
        return []
    told = ", ".join(others[:_MOST_OTHERS])
    more = f" and {len(others) - _MOST_OTHERS} more" if len(others) > _MOST_OTHERS else ""
    return [f"not read, to be mapped to names of yours if they matter: {told}{more}"]


def _ignored(
    columns: Mapping[str, tuple[str, str]], names: Mapping[str, Field], own: RecordMapping, visit: Visit
) -> tuple[str, ...]:
    """Columns that would come by their own name although another one is mapped to it."""
    if not visit.by_header:
        return own.ignore
    taken = {theirs for theirs, _ in columns.values()}
    clash = [
        one for one in names if one not in taken and (one in columns or one in (*RESERVED, "row", "record"))
    ]
    return tuple(dict.fromkeys([*own.ignore, *clash]))


def _of_deals(where: str, own: RecordMapping, visit: Visit, lines: _Lines) -> Iterator[str]:
    yield f"\n[{where}]"
    said = own.model_dump(mode="json", exclude_defaults=True, exclude={*_OF_MAPPING})
    kept = own.model_dump(mode="json", exclude_defaults=True, include={"decimal", "date_format", "joins"})
    for key, value in {**said, **kept, **visit.extra}.items():
        yield f"{key} = {_value(value)}"
    if lines.late:
        yield f"known_only_at_close = {_value(lines.late)}"
    if lines.ignore:
        yield f"ignore = {_value(lines.ignore)}"
    yield f"\n[{where}.columns]"
    width = max((len(f"{_key(o)} = {_value(t)}") for o, (t, _) in lines.columns.items()), default=0)
    for ours, (theirs, remark) in lines.columns.items():
        yield f"{f'{_key(ours)} = {_value(theirs)}'.ljust(width)}  # {_plain(remark)}"
    for remark in lines.remarks:
        yield f"# {_plain(remark)}"
    for column, translated in _translated(own, visit).items():
        if column == "stage" and "stage" not in own.values:
            yield "\n# Leave this out if deals have landed with the ids of their stages before."
        yield f"\n[{where}.values.{_key(column)}]"
        for theirs, ours in translated.items():
            yield f"{_key(theirs)} = {_value(ours)}"


def _translated(own: RecordMapping, visit: Visit) -> dict[str, dict[str, str]]:
    """Words that are translated: as the settings say, and stages whose ids mean nothing to people."""
    found = {column: dict(told) for column, told in own.values.items()}
    odd = {one.id: one.word for one in visit.stages if one.word != one.id}
    if odd:
        found["stage"] = {**odd, **found.get("stage", {})}
    return found


def _of_others(name: str, visit: Visit) -> Iterator[str]:
    for object_, told in visit.others.items():
        yield f"\n[sources.{name}.{object_}]"
        for key, value in told.items():
            if key != "columns":
                yield f"{key} = {_value(value)}"
        if told.get("columns"):
            yield f"\n[sources.{name}.{object_}.columns]"
            yield from (f"{_key(ours)} = {_value(theirs)}" for ours, theirs in told["columns"].items())


def _pipeline(settings: Settings, visit: Visit) -> Iterator[str]:
    """The sales process; in force only where it is known and nothing else in the settings has one."""
    words = {kind: list(dict.fromkeys(s.word for s in visit.stages if s.outcome == kind)) for kind in _ENDS}
    own = settings.pipeline
    known = {*own.stages, *own.won_stages, *own.lost_stages}
    if not visit.stages or (own.stages and all(word in known for told in words.values() for word in told)):
        return
    is_free = visit.ordered and not own.model_fields_set and len(settings.sources) == 1
    yield ""
    if not visit.ordered:
        yield "# The stages that are there. Put them in order; won and lost are guessed by their names:"
    elif not is_free:
        yield "# The stages of this source, to be brought together with what [pipeline] says:"
    mark = "" if is_free else "# "
    yield f"{mark}[pipeline]"
    for kind, key in _ENDS.items():
        if words[kind]:
            yield f"{mark}{key} = {_plain(_value(words[kind])) if mark else _value(words[kind])}"


_ENDS = {"open": "stages", "won": "won_stages", "lost": "lost_stages"}


def _key(text: str) -> str:
    return text if _BARE.fullmatch(text) else _value(text)


def _value(value: Any) -> str:
    """A value as TOML writes it, on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _plain(text: str) -> str:
    """Words for a comment: a line break in a label would end it."""
    return "".join(c if c.isprintable() else " " for c in text)
