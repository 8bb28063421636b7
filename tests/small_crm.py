"""A CRM made up from a seed that changes every night, and a reader that tells it in pages of any size.

`Crm(seed)` lives night by night; the same seed lives the same nights in every process. Its truth is what the
ledger has to come to: `standing` row by row, `moves` change by change.
"""

import json
import os
import random
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from dealwatch.crm.pages import Page, Past, Plan, Table
from dealwatch.crm.sheets import Covers
from dealwatch.knobs import Join, RecordMapping

BEGIN = datetime(2026, 3, 2, 4, tzinfo=UTC)
STAGES = ("New", "Demo", "Legal")
ENDS = {"Won": "won", "Lost": "lost"}
OVERLAP = timedelta(hours=24)
READING = timedelta(minutes=20)


@dataclass
class Deal:
    id: str
    account: str
    created: datetime
    modified: datetime
    stage: str = "New"
    amount: int = 100
    owner: str = "o1"
    grade: str = "A"  # a field without a history
    closed: datetime | None = None
    is_deleted: bool = False
    is_shredded: bool = False  # deleted for good: no list of deletions tells of it
    deleted_at: datetime | None = None
    before: dict[str, str] = field(default_factory=dict)  # as it was told before it closed tonight


@dataclass(frozen=True)
class Move:
    deal: str
    at: datetime
    field: str
    old: str | None
    new: str
    told_from: int  # the night from which the source's history shows it
    found_at: datetime | None = None  # when its row alone has told it before


class Crm:
    """The company behind the source."""

    def __init__(self, seed: int, deals: int = 60) -> None:
        self.chance = random.Random(seed)
        self.deals: dict[str, Deal] = {}
        self.moves: list[Move] = []
        self.touches: list[tuple[str, datetime, str, int]] = []
        self.night = 0
        for n in range(deals):
            self._create(f"d{n:03}", BEGIN - timedelta(days=30, minutes=n))
        for deal in list(self.deals.values())[: deals // 3]:
            self._close(deal, BEGIN - timedelta(days=3, minutes=len(deal.id)))

    @property
    def now(self) -> datetime:
        """The source's clock when tonight's extract begins."""
        return BEGIN + timedelta(days=self.night)

    def live(self) -> None:
        """One day of changes, up to the next night; some are shown a night late."""
        day_before = self.now
        self.night += 1
        pick = self.chance.sample(sorted(self.deals), 24)
        for n, deal_id in enumerate(pick):
            deal = self.deals[deal_id]
            at = day_before + timedelta(minutes=self.chance.randrange(40, 1400), seconds=n)
            if deal.is_deleted:
                if not deal.is_shredded:
                    deal.is_deleted, deal.deleted_at, deal.modified = False, None, at
                continue
            [self._move, self._move, self._close, self._touch, self._delete, self._shred, self._regrade][
                self.chance.randrange(7)
            ](deal, at)
        for n in range(4):
            self._create(f"n{self.night}{n}", day_before + timedelta(hours=3 + n))

    def _create(self, deal_id: str, at: datetime) -> None:
        deal = Deal(deal_id, f"acc{len(self.deals) % 7}", at, at, amount=100 + len(self.deals))
        self.deals[deal_id] = deal
        self.moves.append(Move(deal_id, at, "StageName", None, "New", self.night))

    def _move(self, deal: Deal, at: datetime) -> None:
        if deal.closed:
            return self._regrade(deal, at)
        new = self.chance.choice([stage for stage in STAGES if stage != deal.stage])
        late = self.chance.random() < 0.2  # committed late: shown tomorrow with its stamp of today
        shown = self.night + 1 if late else self.night
        found_at = self.now + READING + timedelta(seconds=1) if late else None
        self.moves.append(Move(deal.id, at, "StageName", deal.stage, new, shown, found_at))
        deal.stage, deal.modified = new, at

    def _close(self, deal: Deal, at: datetime) -> None:
        if deal.closed:
            return self._regrade(deal, at)
        stage = self.chance.choice(sorted(ENDS))
        deal.before = row_of(deal)
        self.moves.append(Move(deal.id, at, "StageName", deal.stage, stage, self.night))
        deal.stage, deal.closed, deal.modified = stage, at, at

    def _touch(self, deal: Deal, at: datetime) -> None:
        self.touches.append((deal.id, at, self.chance.choice(["Task", "Event"]), self.night))
        deal.modified = at

    def _regrade(self, deal: Deal, at: datetime) -> None:
        deal.grade, deal.modified = self.chance.choice("BCD"), at

    def _delete(self, deal: Deal, at: datetime) -> None:
        deal.is_deleted, deal.deleted_at, deal.modified = True, at, at

    def _shred(self, deal: Deal, at: datetime) -> None:
        self._delete(deal, at)
        deal.is_shredded = True

    def standing(self) -> list[tuple[Any, ...]]:
        """deal_id, stage, amount, owner_id, outcome, closed_at, industry, is_deleted of every deal."""
        return [
            (d.id, d.stage, float(d.amount), d.owner, ENDS.get(d.stage), d.closed, f"of {d.account}",
             d.is_deleted)
            for d in sorted(self.deals.values(), key=lambda d: d.id)
        ]  # fmt: skip

    def told_moves(self) -> set[tuple[Any, ...]]:
        """deal, new value, when: every change of stage as the ledger has it by tonight.

        One that the row tells a night before the history is found by comparing, at the end of that reading.
        """
        return {(m.deal, m.new, m.found_at or m.at) for m in self.moves}


def row_of(deal: Deal) -> dict[str, str | None]:
    return {
        "Id": deal.id,
        "AccountId": deal.account,
        "StageName": deal.stage,
        "Amount": str(deal.amount),
        "OwnerId": deal.owner,
        "Grade__c": deal.grade,
        "CreatedDate": stamp(deal.created),
        "ClosedAt": stamp(deal.closed) if deal.closed else None,
        "Outcome": ENDS.get(deal.stage),
    }


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


DEAL_COLUMNS = tuple(row_of(Deal("", "", BEGIN, BEGIN)))
DEALS = RecordMapping(
    columns={
        "deal_id": "Id",
        "stage": "StageName",
        "amount": "Amount",
        "owner_id": "OwnerId",
        "created_at": "CreatedDate",
        "closed_at": "ClosedAt",
        "outcome": "Outcome",
        "account": "AccountId",
        "grade": "Grade__c",
    },
    joins=(Join(file="Account", on={"AccountId": "Id"}, take={"industry": "Industry"}),),
)
HISTORY = RecordMapping(
    columns={
        "deal_id": "OpportunityId",
        "changed_at": "CreatedDate",
        "field": "Field",
        "old_value": "Old",
        "new_value": "New",
    }
)
TASKS = RecordMapping(columns={"deal_id": "WhatId", "happened_at": "ActivityDate", "kind": "Type"})
EVENTS = RecordMapping(columns={"deal_id": "WhatId", "happened_at": "StartDateTime"}, ignore=("Place",))
ID = RecordMapping(columns={"deal_id": "Id"})
GONE = RecordMapping(columns={"deal_id": "Id", "is_deleted": "IsDeleted"})
TABLES = (
    Table("Account", ("Id", "Industry")),
    Table("Gone", ("Id", "IsDeleted"), "deletions", GONE),
    Table("User", ("Id", "Name"), "owners", RecordMapping(columns={"owner_id": "Id", "name": "Name"})),
    Table("Open", DEAL_COLUMNS, "deals", DEALS, "IsClosed = false"),
    Table("Closed", DEAL_COLUMNS, "deals", DEALS, "IsClosed = true"),
    Table("History", ("OpportunityId", "CreatedDate", "Field", "Old", "New"), "deal_history", HISTORY),
    Table("Task", ("WhatId", "ActivityDate", "Type"), "activities", TASKS),
    Table("Event", ("WhatId", "StartDateTime", "Place"), "activities", EVENTS),
)
IDS = Table("Ids", ("Id",), "ids", ID)


class Crash(Exception):
    """What no code expects."""


class CrmReader:
    """Tells the company as it is tonight; dies after so many pages, by an exception or for real."""

    def __init__(
        self,
        crm: Crm,
        *,
        covers: Covers = "open",
        seed: int = 1,
        dies_after: int | None = None,
        really: bool = False,
        lies: dict[str, int] | None = None,
    ) -> None:
        self.crm, self.covers, self.chance = crm, covers, random.Random(seed)
        self.dies_after, self.really, self.lies = dies_after, really, lies or {}
        self.asked: list[tuple[str, str | None]] = []
        self.pasts: list[Past] = []
        self.tracked: tuple[str, ...] | None = ("stage",)

    def close(self) -> None:
        """Nothing is held open."""

    def plan(self, past: Past) -> Plan:
        self.pasts.append(past)
        since = past.cursor - OVERLAP if past.cursor and self.covers != "all" else None
        tables = tuple(
            Table(t.name, t.columns, t.object, t.mapping, since.isoformat() if since else "")
            for t in (*TABLES, *((IDS,) if self.covers == "ids" else ()))
        )
        return Plan(tables, self.crm.now, self.covers, tracked=self.tracked)

    def pages(self, table: Table, place: str | None) -> Iterator[Page]:
        self.asked.append((table.name, place))
        rows = self._rows(table)
        schema = dict.fromkeys(table.columns, pl.String)
        at = json.loads(place)["at"] if place else 0
        total = len(rows) + self.lies.get(table.name, 0)
        if place is None:
            yield self._live_or_die(Page(table.name, pl.DataFrame(schema=schema), json.dumps({"at": 0})))
        while True:
            size = self.chance.randrange(1, 40)
            some = pl.DataFrame(rows[at : at + size], schema=schema, orient="row")
            at += size
            end = at >= len(rows)
            told_at = self.crm.now + READING
            yield self._live_or_die(
                Page(table.name, some, None if end else json.dumps({"at": at}), total, told_at)
            )
            if end:
                return

    def _live_or_die(self, page: Page) -> Page:
        if self.dies_after is not None:
            self.dies_after -= 1
            if self.dies_after < 0:
                if self.really:
                    os.kill(os.getpid(), signal.SIGKILL)
                raise Crash
        return page

    def _rows(self, table: Table) -> list[tuple[str | None, ...]]:
        since = datetime.fromisoformat(table.request) if table.request else None
        deals = sorted(self.crm.deals.values(), key=lambda deal: deal.id)
        there = [d for d in deals if not d.is_deleted]
        told = [d for d in there if not d.closed or since is None or d.modified >= since]
        ids = {d.id for d in told}
        match table.name:
            case "Account":
                return [(f"acc{n}", f"of acc{n}") for n in (*range(7), 3)]  # one was told twice
            case "User":
                return [("o1", "Ann")]
            case "Gone":
                gone = [d for d in deals if d.is_deleted and not d.is_shredded and d.deleted_at]
                return [(d.id, "true") for d in gone if since is None or (d.deleted_at or since) >= since]
            case "Open":  # one that closed while the list was read is told twice, as it was and as it is
                moving = [d.before for d in told if d.closed and d.before and d.modified == d.closed][:3]
                open_ = [row_of(d) for d in told if not d.closed]
                return [tuple(row.values()) for row in (*open_, *moving)]
            case "Closed":
                return [tuple(row_of(d).values()) for d in told if d.closed]
            case "History":
                return [
                    (m.deal, stamp(m.at), m.field, m.old, m.new)
                    for m in self.crm.moves
                    if m.deal in ids and m.told_from <= self.crm.night
                ]
            case "Task" | "Event":
                own = [t for t in self.crm.touches if t[0] in ids and t[2] == table.name]
                return [(deal, stamp(at), "call") for deal, at, _, _ in own]
            case _:
                return [(d.id,) for d in there]
