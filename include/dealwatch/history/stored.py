"""The ledger left where it is: changes by slices of deals, and everything of the deals that are asked for.

A million deals do not fit in memory as text, and of most of them, the closed ones, a morning needs little.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, Select, func, or_, select

from dealwatch.history.ledger import CHANGE_ORDER, FIRST_KNOWN, ROWS_A_SLICE, TOUCH_ORDER, whole_deals
from dealwatch.tables import activities, deal_changes
from dealwatch.warehouse import among, bytewise, frame, frames

_CHANGES = ("deal_id", "field", "new_value", "happened_at", "known_at", "seq")


@dataclass(frozen=True)
class StoredLedger:
    """What was known at `until`, read when it is asked for; the connection has to stay open."""

    connection: Connection
    until: datetime
    rows_a_slice: int = ROWS_A_SLICE

    def known_at(self, moment: datetime) -> "StoredLedger":
        """As `Ledger.known_at`."""
        return replace(self, until=min(self.until, moment))

    def first_known(self) -> datetime | None:
        """As `Ledger.first_known`."""
        first = select(func.min(deal_changes.c.known_at)).where(deal_changes.c.known_at <= self.until)
        found: datetime | None = self.connection.execute(first).scalar_one()
        return found

    def slices(self, fields: Sequence[str]) -> Iterator[pl.DataFrame]:
        """As `Ledger.slices`."""
        wanted = self._changes().where(deal_changes.c.field.in_(fields))
        ordered = wanted.order_by(bytewise(deal_changes.c.deal_id, self.connection), deal_changes.c.field)
        for part in whole_deals(frames(self.connection, ordered), self.rows_a_slice):
            yield part.sort(CHANGE_ORDER)

    def changes_of(self, deal_ids: pl.Series) -> Iterator[pl.DataFrame]:
        """As `Ledger.changes_of`; of other deals the first change of each field in FIRST_KNOWN."""
        own = self._changes().where(among(deal_changes.c.deal_id, deal_ids, self.connection))
        yield from frames(self.connection, own)
        firsts = [frame(self.connection, query) for query in self._first_changes()]
        yield pl.concat(firsts).filter(~pl.col("deal_id").is_in(deal_ids.implode()))

    def touches_of(self, deal_ids: pl.Series) -> Iterator[pl.DataFrame]:
        """As `Ledger.touches_of`; of other deals the first touch of all and the first to tell each thing."""
        own = self._touches().where(among(activities.c.deal_id, deal_ids, self.connection))
        yield from frames(self.connection, own)
        others = [frame(self.connection, query) for query in self._first_touches()]
        # The same touch may be there twice as a first one, but several of one instant are several touches.
        yield pl.concat(others).filter(~pl.col("deal_id").is_in(deal_ids.implode())).unique()

    def _first_changes(self) -> Iterator[Select[Any]]:
        for field in FIRST_KNOWN:
            of_field = self._changes().where(deal_changes.c.field == field)
            yield of_field.order_by(deal_changes.c.known_at).limit(1)

    def _first_touches(self) -> Iterator[Select[Any]]:
        """A touch counts once it is known and over, so one known earlier but planned may still come first."""
        for told in (None, activities.c.kind, activities.c.direction, activities.c.by):
            is_told = [] if told is None else [told.is_not(None)]
            over = activities.c.happened_at <= activities.c.known_at
            first = select(func.min(activities.c.known_at)).where(over, *is_told).scalar_subquery()
            none_is_over = first.is_(None)
            yield self._touches().where(or_(activities.c.known_at <= first, none_is_over), *is_told)

    def _changes(self) -> Select[Any]:
        columns = [deal_changes.c[name] for name in _CHANGES]
        return select(*columns).where(deal_changes.c.known_at <= self.until)

    def _touches(self) -> Select[Any]:
        columns = [activities.c[name] for name in TOUCH_ORDER]
        return select(*columns).where(activities.c.known_at <= self.until)
