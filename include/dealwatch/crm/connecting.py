"""What a newcomer asks of a source before anything is read: may we, what is there, and would an extract work.

A visit of a source reads no record, lands nothing and needs no warehouse. What it finds holds names of
fields and stages, and counts; never a secret, and nothing of a deal.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from dealwatch.settings import Settings

Verdict = Literal["ok", "warn", "missing"]
Kind = Literal["text", "number", "date", "flag", "id", "other"]
_MOST_SKEW = timedelta(minutes=5)
_NEAR = 0.6


@dataclass(frozen=True)
class Finding:
    """One check: `missing` is what keeps an extract from working; `remedy` says what to do about it."""

    check: str
    verdict: Verdict
    says: str
    remedy: str = ""


@dataclass(frozen=True)
class Field:
    """A field that the source shows us. label: what people call it, where that differs."""

    name: str
    kind: Kind = "text"
    label: str = ""


@dataclass(frozen=True)
class Stage:
    """A stage as the source has it. word: what the mapping makes of it; outcome: open, won, lost, unclear."""

    id: str
    word: str
    outcome: str
    is_active: bool = True


@dataclass(frozen=True)
class Visit:
    """What a visit found.

    fields: what deals may be made of. usual: our names = fields that are read without a line of the settings.
    derived: our names that the reader works out itself.
    absent: fields that the settings name and that are not there.
    stages: in order; unless `ordered`, in none, and which are won is only guessed.
    extra: what else the draft's deals need, such as a table's name. others: drafts of other objects, by their
    name in the settings. by_header: whether every field is read unless it is ignored.
    requests: how often the source was asked.
    """

    findings: tuple[Finding, ...]
    fields: tuple[Field, ...] = ()
    usual: Mapping[str, str] = field(default_factory=dict)
    derived: tuple[str, ...] = ()
    absent: frozenset[str] = frozenset()
    stages: tuple[Stage, ...] = ()
    ordered: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)
    by_header: bool = False
    others: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    requests: int = 0

    @property
    def works(self) -> bool:
        """Whether an extract would."""
        return all(one.verdict != "missing" for one in self.findings)


class Visitor(Protocol):
    """Looks at the source of that name in the settings; `now` is our own clock. What is wrong it finds."""

    def __call__(self, name: str, settings: Settings, *, now: datetime) -> Visit: ...


class Notes:
    """Findings as they are made."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.absent: set[str] = set()  # mapped fields that are not there

    def ok(self, check: str, says: str) -> None:
        self.findings.append(Finding(check, "ok", says))

    def warn(self, check: str, says: str, remedy: str = "") -> None:
        self.findings.append(Finding(check, "warn", says, remedy))

    def missing(self, check: str, says: str, remedy: str = "") -> None:
        self.findings.append(Finding(check, "missing", says, remedy))

    def refused(self, check: str, error: Exception, remedy: str = "") -> None:
        """An error of ours; the last of its clauses is what to do."""
        says, _, told = str(error).rpartition("; ")
        self.missing(check, says or told, remedy or (told if says else ""))

    def clock(self, theirs: datetime, now: datetime) -> None:
        apart = abs(theirs - now)
        if apart > _MOST_SKEW:
            minutes = round(apart.total_seconds() / 60)
            way = "ahead of" if theirs > now else "behind"
            says = f"the source's clock is {minutes:,} minutes {way} ours"
            self.warn("clock", says, "Set ours by a time server; an extract speaks by the source's clock.")
        else:
            self.ok("clock", f"{apart.total_seconds():.0f} s apart")

    def quota(self, used: int, allowed: int, share: float) -> None:
        says = f"{used:,} of the day's {allowed:,} requests are used"
        if used > share * allowed:
            self.missing(
                "quota",
                f"{says}; above {share:.0%} an extract waits",
                "Wait until the day is over, or raise max_quota_share.",
            )
        else:
            self.ok("quota", f"{says}; an extract may go up to {share:.0%}")


def nearest(name: str, names: Iterable[str], most: int = 3) -> list[str]:
    """The names that differ least from one that is not there, nearest first."""
    own = {_bare(one): one for one in names}
    return [own[one] for one in difflib.get_close_matches(_bare(name), own, most, _NEAR)]


def _bare(name: str) -> str:
    return name.casefold().removesuffix("__c").replace("_", "").replace(" ", "")


def absent(notes: Notes, ours: str, theirs: str, names: Iterable[str], *, where: str, hint: str = "") -> None:
    """Note a mapped field that is not there, with what it may be called."""
    notes.absent.add(theirs)
    near = nearest(theirs, names)
    meant = f"Did you mean {' or '.join(near)}? " if near else ""
    notes.missing(
        "mapping",
        f"{theirs} is not there, or hidden from us, but [{where}.columns] {ours} names it",
        f"{meant}Correct the line{hint}.",
    )


def check_stages(notes: Notes, stages: Iterable[Stage], settings: Settings, *, tells: str) -> None:
    """The stages in order, with what they are taken to be, beside what the settings say of them.

    tells: where they are from, and what says which are won and lost.
    """
    found = list(stages)
    if not found:
        return
    taken = {"open": "open", "won": "won", "lost": "lost"}
    told = [
        f"{one.word} ({taken.get(one.outcome, 'UNCLEAR')}{'' if one.is_active else ', not in use'})"
        for one in found
    ]
    notes.ok("stages", f"{len(found)} {tells}: {', '.join(told)}")
    unclear = [one.word for one in found if one.outcome not in taken]
    if unclear:
        notes.warn(
            "stages",
            f"closed, but neither won nor lost: {', '.join(unclear)}",
            "Give the stage a probability of 0 or 100% at the source; its deals lie in quarantine till then.",
        )
    own = settings.pipeline
    known = {*own.stages, *own.won_stages, *own.lost_stages}
    strange = [one.word for one in found if one.word not in known and one.is_active]
    if own.stages and strange:
        notes.warn(
            "stages",
            f"[pipeline] of the settings does not name {', '.join(strange)}; deals there go to quarantine",
            "Take over the [pipeline] of the draft below.",
        )


_WON = re.compile(r"\b(won|signed|closed won|gewonnen)\b", re.IGNORECASE)
_LOST = re.compile(r"\b(lost|dead|disqualified|abandoned|verloren)\b", re.IGNORECASE)


def guessed_stages(
    told: Mapping[str, str | None], words: Mapping[str, str], *, is_told: bool
) -> tuple[Stage, ...]:
    """Stages that are only words: what they mean by what the records say, else by their names.

    told: stage = won, lost or nothing. is_told: whether nothing means open for certain.
    """
    stages = []
    for stage, end in told.items():
        guess = "won" if _WON.search(stage) else "lost" if _LOST.search(stage) else "open"
        stages.append(Stage(stage, words.get(stage, stage), end or ("open" if is_told else guess)))
    order = ("open", "won", "lost")
    return tuple(sorted(stages, key=lambda one: (order.index(one.outcome), one.word)))
