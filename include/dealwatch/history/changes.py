"""What a drop adds to the ledger: pure functions from frames to changes.

When something was known decides what a past morning may see, so it is settled here, for every field:

- A tracked change (deal_history) is known when it happened, or just after the morning when it happened after
  that morning's extract. If an earlier extract of the source is younger than the change and did not tell it,
  it is known from this extract on: late news never changes what a past morning knew. The same goes for
  touches and for deals whose creation an earlier extract should have told. One deal's one field becomes
  known in the order in which it changed.
- A deal seen for the first time: fields without a history are taken as known since its creation. The
  exceptions are what a CRM writes at the close (the outcome, columns marked known_only_at_close), known at
  the close, and what moves during a deal's life and may have been another before: the stage and, where the
  history does not track them, close_date and next_step_on. These are known at the close of a closed deal and
  from the extract on of an open one; were it since creation, having a date would tell who survives.
- A deal known before: what differs is known, and taken to have happened, when the extract tells it. An
  outcome happened at closed_at, and is known then if that is younger than the previous extract.
"""

from dataclasses import dataclass

import polars as pl

from dealwatch.history.knowing import COMPARED_PLACE, FIRST_PLACE, TRACKED_PLACE, Moments, known_in_order
from dealwatch.tables import deal_changes
from dealwatch.warehouse import instant, schema_of

_KEPT = ("deal_id", "field", "old_value", "new_value", "happened_at", "known_at", "seq")
CHANGE = schema_of(deal_changes, *_KEPT) | {
    "told": pl.String(),  # how the source's history tells it; null for what it does not
}
MOVING = ("stage", "close_date", "next_step_on")
FIRST, COMPARED = 0, 0  # tracked changes of one instant count from 1: a first value comes before them


@dataclass(frozen=True)
class Told:
    """A drop beside what was known before it.

    deals: deal_id, the file's columns as text, and =created, =closed (instants), =closes_on (a day or null).
    known: deal_id and the same columns as known, with =closed and =is_deleted; only this source's deals.
    history: the drop's tracked changes with seq and told, and is_news: not in the ledger yet.
    stored: the ledger's changes of this source known no sooner than the drop, in CHANGE's columns.
    tracked: fields whose every change the history tells.
    alive: ids of deals that are told to be there beside those in deals.
    """

    deals: pl.DataFrame
    known: pl.DataFrame
    history: pl.DataFrame
    stored: pl.DataFrame
    known_only_at_close: tuple[str, ...]
    tracked: tuple[str, ...]
    alive: pl.Series


def changes_of(told: Told, moments: Moments) -> pl.DataFrame:
    """Everything the drop adds, but for deals that are gone; in CHANGE's columns."""
    news = told.history.filter("is_news").drop("is_news")
    latest = news.group_by("deal_id", "field", maintain_order=True).agg(
        pl.col("new_value", "happened_at").last()
    )
    fields = [c for c in told.deals.columns if c not in ("deal_id", "=created", "=closed", "=closes_on")]
    known = told.known.with_columns(
        pl.lit(None, dtype=pl.String).alias(name) for name in fields if name not in told.known.columns
    )
    tracked = set(told.tracked)
    base = told.deals.join(
        known.select(
            "deal_id", pl.lit(True).alias("=is_known"), *(pl.col(f).alias(f"=known {f}") for f in fields)
        ).join(known.select("deal_id", pl.col("=closed").alias("=known closed")), on="deal_id"),
        on="deal_id",
        how="left",
    ).with_columns(pl.col("=is_known").fill_null(False))
    differing = [
        _differences(
            base, name, latest.filter(pl.col("field") == name), told, moments, is_tracked=name in tracked
        )
        for name in fields
    ]
    parts = [
        _placed(told.stored, TRACKED_PLACE, is_stored=True),
        _placed(_first_values(told, moments), FIRST_PLACE),
        _placed(_tracked(news, moments), TRACKED_PLACE),
        *(_placed(part, COMPARED_PLACE) for part in (*differing, _restored(told, moments))),
    ]
    return known_in_order(pl.concat(parts)).select(*CHANGE)


def _placed(changes: pl.DataFrame, place: int, *, is_stored: bool = False) -> pl.DataFrame:
    if "told" not in changes.columns:
        changes = changes.with_columns(told=pl.lit(None, dtype=pl.String))
    typed = changes.select(pl.col(name).cast(type_) for name, type_ in CHANGE.items())
    return typed.with_columns(pl.lit(place).alias("=place"), pl.lit(is_stored).alias("=is_stored"))


def _tracked(news: pl.DataFrame, moments: Moments) -> pl.DataFrame:
    return news.with_columns(moments.known(pl.col("happened_at")).alias("known_at"))


def _first_values(told: Told, moments: Moments) -> pl.DataFrame:
    """What a tracked field held before its first change, known since the deal's creation."""
    new = told.deals.join(told.known, on="deal_id", how="anti").select("deal_id", "=created")
    first = told.history.group_by("deal_id", "field", maintain_order=True).agg(
        pl.col("old_value", "happened_at").first()
    )
    began = pl.min_horizontal("=created", "happened_at")
    return (
        first.filter(pl.col("old_value").is_not_null())
        .join(new, on="deal_id")
        .select(
            "deal_id",
            "field",
            pl.lit(None, dtype=pl.String).alias("old_value"),
            pl.col("old_value").alias("new_value"),
            began.alias("happened_at"),
            moments.known(began).alias("known_at"),
            pl.lit(FIRST).alias("seq"),
        )
    )


def _differences(
    base: pl.DataFrame, name: str, latest: pl.DataFrame, told: Told, moments: Moments, *, is_tracked: bool
) -> pl.DataFrame:
    """Where the file's value of one field is not what the ledger says once its tracked changes are in."""
    rows = base.join(
        latest.select(
            "deal_id", pl.col("new_value").alias("=latest"), pl.col("happened_at").alias("=latest_at")
        ),
        on="deal_id",
        how="left",
    ).with_columns(pl.col("=latest_at").is_not_null().alias("=has_history"))
    is_closed = pl.col("=closed").is_not_null()
    value = pl.when(is_closed).then(pl.col(name)) if name in told.known_only_at_close else pl.col(name)
    before = pl.when("=has_history").then("=latest").otherwise(f"=known {name}")
    differs = value.ne_missing(before)
    if name == "outcome":
        differs = differs | (value.is_not_null() & ~_is_same_close(moments))
    happened, known = _when(name, told, moments, is_tracked=is_tracked)
    return rows.filter(differs).select(
        "deal_id",
        pl.lit(name).alias("field"),
        before.alias("old_value"),
        value.alias("new_value"),
        happened.alias("happened_at"),
        known.alias("known_at"),
        pl.lit(COMPARED).alias("seq"),
    )


def _is_same_close(moments: Moments) -> pl.Expr:
    """Whether the deal closed when the ledger says; a whole day is kept by any instant of it."""
    before = pl.when("=has_history").then("=latest_at").otherwise("=known closed")
    same_day = before.dt.convert_time_zone(moments.zone.key).dt.date() == pl.col("=closes_on")
    return before.eq_missing(pl.col("=closed")) | same_day.fill_null(False)


def _when(name: str, told: Told, moments: Moments, *, is_tracked: bool) -> tuple[pl.Expr, pl.Expr]:
    """When a differing value happened and when it was known."""
    extract = instant(moments.extracted_at)
    closed = pl.col("=closed")
    is_closed = closed.is_not_null()
    if name == "outcome" or name in told.known_only_at_close:
        closes_now = is_closed & pl.col("=known closed").is_null() & ~pl.col("=has_history")
        known = pl.when(closes_now).then(moments.known(closed)).otherwise(extract)
        # The outcome always happened at closed_at, also when that is corrected later.
        happened = pl.when(is_closed if name == "outcome" else closes_now).then(closed).otherwise(extract)
        return happened, known
    first = first_known = pl.col("=created")
    if name == "stage" and not is_tracked:
        began_since = pl.lit(False) if moments.previous is None else first > instant(moments.previous)
        first = pl.when(began_since).then(first).otherwise(extract)
        first_known = extract
    elif name in MOVING and not is_tracked:
        first = first_known = extract
    if name == "stage" or (name in MOVING and not is_tracked):
        first, first_known = (pl.when(is_closed).then(closed).otherwise(e) for e in (first, first_known))
    is_first = ~pl.col("=is_known") & ~pl.col("=has_history")
    return (
        pl.when(is_first).then(first).otherwise(extract),
        pl.when(is_first).then(moments.known(first_known)).otherwise(extract),
    )


def _restored(told: Told, moments: Moments) -> pl.DataFrame:
    """Deals that were gone and are back."""
    there = pl.concat([told.deals["deal_id"], told.alive])
    back = told.known.filter(pl.col("=is_deleted") & pl.col("deal_id").is_in(there.implode()))
    return deletions(back["deal_id"], moments, is_deleted=False)


def deletions(deal_ids: pl.Series, moments: Moments, *, is_deleted: bool = True) -> pl.DataFrame:
    """Deals that are gone from a full drop, or back in it."""
    words = ("true", "false")
    new, old = words if is_deleted else words[::-1]
    return pl.DataFrame({"deal_id": deal_ids}).select(
        "deal_id",
        pl.lit("deleted").alias("field"),
        pl.lit(None if is_deleted else old, dtype=pl.String).alias("old_value"),
        pl.lit(new).alias("new_value"),
        instant(moments.extracted_at).alias("happened_at"),
        instant(moments.extracted_at).alias("known_at"),
        pl.lit(COMPARED, dtype=pl.Int64).alias("seq"),
    )
