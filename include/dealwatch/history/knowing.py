"""When a well-run morning would have known what happened."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from dealwatch.crm.values import local_instant
from dealwatch.warehouse import instant

# The daily extract runs this long before the morning, so it cannot tell what happens in between.
_UNSEEN = timedelta(hours=1)
FIRST_PLACE, TRACKED_PLACE, COMPARED_PLACE = 0, 1, 2


@dataclass(frozen=True)
class Moments:
    """The moment the drop speaks for, that of the source's extract before it, if any, and the mornings."""

    extracted_at: datetime
    previous: datetime | None
    zone: ZoneInfo
    morning: time

    def known(self, happened: pl.Expr) -> pl.Expr:
        """When something that happened then is known.

        What the extract before should have told is late news, known from this one on. What is dated at the
        extract's own moment, such as a day that is not over, the extract itself tells.
        """
        extract = instant(self.extracted_at)
        known = pl.when(happened == extract).then(extract).otherwise(self._seen(happened))
        if self.previous is None:
            return known
        return pl.when(happened > instant(self.previous)).then(known).otherwise(extract)

    def _seen(self, happened: pl.Expr) -> pl.Expr:
        """The same instant, or just after the morning when that morning's extract had already run.

        Otherwise the next extract would change what a morning already scored had known.
        """
        midnight = happened.dt.convert_time_zone(self.zone.key).dt.replace_time_zone(None).dt.truncate("1d")
        clock = timedelta(hours=self.morning.hour, minutes=self.morning.minute, seconds=self.morning.second)
        today, tomorrow = (
            local_instant(day + pl.lit(clock), self.zone.key)
            for day in (midnight, midnight.dt.offset_by("1d"))
        )
        following = pl.when(happened <= today).then(today).otherwise(tomorrow)
        is_unseen = following - happened < pl.lit(_UNSEEN)
        return pl.when(is_unseen).then(following + pl.duration(microseconds=1)).otherwise(happened)


def known_in_order(changes: pl.DataFrame) -> pl.DataFrame:
    """The drop's changes, of one deal and field known in the order in which they happened.

    The ledger is read in the order of knowing: late news of an older change must not come after a younger one
    that the same drop tells. So each change is known no sooner than those before it, and one found by
    comparing, which says what holds by the drop itself, comes last. `=place` orders first values, tracked
    changes and compared ones; rows `=is_stored` are in the ledger already and stay as they are.
    """
    group = ["deal_id", "field"]
    rows = changes.sort(*group, "=place", "happened_at", "seq", maintain_order=True)
    tick = pl.duration(microseconds=1)
    before = {
        name: pl.col(name).shift(1).over(group).alias(f"=before {name}")
        for name in ("happened_at", "seq", "=is_stored")
    }
    rows = rows.with_columns(
        pl.col("known_at").cum_max().over(group).alias("=raised"),
        pl.col("known_at").cum_max().shift(1).over(group).alias("=before known_at"),
        *before.values(),
    )
    is_compared = pl.col("=place") == COMPARED_PLACE
    is_tie = is_compared & (pl.col("=before known_at") >= pl.col("known_at"))
    is_behind = is_tie & (pl.col("=before happened_at") > pl.col("happened_at"))
    is_level = is_tie & (pl.col("=before happened_at") == pl.col("happened_at"))
    known = (
        pl.when("=is_stored")
        .then("known_at")
        .when(is_behind.fill_null(False))
        .then(pl.col("=raised") + tick)
        .otherwise("=raised")
    )
    seq = (
        pl.when((is_level & ~pl.col("=before =is_stored")).fill_null(False))
        .then(pl.col("=before seq") + 1)
        .otherwise("seq")
    )
    return rows.with_columns(known.alias("known_at"), seq.alias("seq")).filter(~pl.col("=is_stored"))
