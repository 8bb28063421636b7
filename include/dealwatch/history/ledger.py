"""What was known at a moment: the ledger read into columns, cut by `known_at`.

Facts, norms, training and replay all read this one value; none of them asks the warehouse again.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl
from sqlalchemy import Connection, select

from dealwatch.tables import activities, deal_changes
from dealwatch.warehouse import frame, instant

CHANGE_ORDER = ["deal_id", "field", "known_at", "happened_at", "seq"]
FIRST_KNOWN = ("next_step_on",)  # whether any deal uses the field yet decides what a blank means
ROWS_A_SLICE = 250_000  # about 200 MB while a slice is worked on
TOUCH_ORDER = ["deal_id", "known_at", "happened_at", "kind", "direction", "by"]


@dataclass(frozen=True)
class Ledger:
    """Every change and touch known by some moment.

    changes: deal_id, field, old_value, new_value (text or null), happened_at, known_at, seq; in CHANGE_ORDER.
        Fields are the columns of `deals.csv` without closed_at (it is the `happened_at` of the change of
        `outcome`), any attribute a drop carried, and `deleted` ("true"/"false").
    activities: deal_id, happened_at, known_at, kind, direction, by; in TOUCH_ORDER.
    """

    changes: pl.DataFrame
    activities: pl.DataFrame

    def known_at(self, moment: datetime) -> "Ledger":
        """The ledger without what became known after `moment`."""
        known = pl.col("known_at") <= instant(moment)
        return Ledger(changes=self.changes.filter(known), activities=self.activities.filter(known))

    def first_known(self) -> datetime | None:
        """When the first of its changes became known; None without any."""
        first = self.changes["known_at"].min()
        return first if isinstance(first, datetime) else None

    def slices(self, fields: Sequence[str]) -> Iterator[pl.DataFrame]:
        """The changes of these fields, all of a deal's in one slice, deals in order; one slice at least."""
        wanted = self.changes.filter(pl.col("field").is_in(fields))
        yield from whole_deals(wanted.iter_slices(ROWS_A_SLICE) if wanted.height else [wanted])

    def changes_of(self, deal_ids: pl.Series) -> Iterator[pl.DataFrame]:
        """Every change of these deals, slice by slice, and the first one of each field in FIRST_KNOWN."""
        of_them = pl.col("deal_id").is_in(deal_ids.implode())
        wanted = self.changes.filter(of_them | pl.col("field").is_in(FIRST_KNOWN))
        yield wanted.drop("old_value")

    def touches_of(self, deal_ids: pl.Series) -> Iterator[pl.DataFrame]:
        """Every touch of these deals, slice by slice, and of others what was told first of each kind."""
        yield self.activities


def whole_deals(parts: Iterable[pl.DataFrame], rows: int = ROWS_A_SLICE) -> Iterator[pl.DataFrame]:
    """Frames in the order of `deal_id` joined into larger ones that cut no deal in two."""
    held: list[pl.DataFrame] = []
    for part in parts:
        held.append(part)
        if sum(one.height for one in held) < rows:
            continue
        whole = pl.concat(held)
        is_last = pl.col("deal_id") == whole["deal_id"][-1]
        yield whole.filter(~is_last)
        held = [whole.filter(is_last)]
    yield pl.concat(held)


def read_ledger(connection: Connection, *, until: datetime | None = None) -> Ledger:
    """The ledger as known at `until`, or all of it."""
    changes = select(
        deal_changes.c.deal_id,
        deal_changes.c.field,
        deal_changes.c.old_value,
        deal_changes.c.new_value,
        deal_changes.c.happened_at,
        deal_changes.c.known_at,
        deal_changes.c.seq,
    )
    touches = select(
        activities.c.deal_id,
        activities.c.happened_at,
        activities.c.known_at,
        activities.c.kind,
        activities.c.direction,
        activities.c.by,
    )
    if until is not None:
        changes = changes.where(deal_changes.c.known_at <= until)
        touches = touches.where(activities.c.known_at <= until)
    return Ledger(
        changes=frame(connection, changes).sort(CHANGE_ORDER),
        activities=frame(connection, touches).sort(TOUCH_ORDER),
    )


def values_as_of(ledger: Ledger, moment: datetime) -> pl.DataFrame:
    """The latest known value of each field of each deal: deal_id, field, new_value, happened_at, known_at."""
    return (
        ledger.known_at(moment)
        .changes.group_by("deal_id", "field", maintain_order=True)
        .agg(pl.col("new_value", "happened_at", "known_at").last())
    )
