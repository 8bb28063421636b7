"""What was known at a moment of every deal there had been: the frames that all metrics are made of."""

from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import polars as pl
from sqlalchemy import Connection, func, select

from dealwatch.history.ledger import Ledger
from dealwatch.history.stored import StoredLedger
from dealwatch.knobs import Pipeline
from dealwatch.scoring.known import microseconds_of
from dealwatch.scoring.spells import GROUPING, life_fields, stretches
from dealwatch.scoring.stage_order import NO_RANK, StageOrder, stage_order
from dealwatch.settings import Settings
from dealwatch.tables import deal_scores
from dealwatch.warehouse import INSTANT, frame, instant

ENDINGS = pl.Enum(["forward", "backward", "won", "lost", "other"])
MOVED = ("close_date", "amount")
_OWN = ("amount", "currency", "close_date", "next_step_on")
_WORDS = pl.Categorical()
_DAY = 86_400_000_000.0
SCORES = pl.Schema({"deal_id": pl.String(), "p_loss": pl.Float64(), "scored_at": INSTANT})


@dataclass(frozen=True)
class Known:
    """Deals as known at `as_of`, without those deleted or closed as none; each frame is sorted by deal_id.

    closed: deal_id, created_at, closed_at, won, amount (as known when the closing was; null where unknown),
        currency, owner_id, industry, region, product_type, lead_source (those it had when it closed),
        last_stage (the last open one; null where never told), cycle_days.
    open: deal_id, created_at, amount, currency, stage, owner_id, the segments, close_date, next_step_on,
        age_days, days_in_stage, p_loss and scored_at (of the newest scored morning by then; else null).
    spells: deal_id, stage, entered_at, left_at (null while it lasts), to (how it ended, one of ENDINGS; other
        is a stage without a place in the order, or a closing that was taken back), nth (visit to the stage),
        by entered_at within a deal.
    moves: deal_id, field (one of MOVED), happened_at, old, new: each value that differs from the one before,
        as the ledger's text; old is null at the first.
    stages: the open stages in order. settings: zone, fiscal year and seed.
    """

    as_of: datetime
    closed: pl.DataFrame
    open: pl.DataFrame
    spells: pl.DataFrame
    moves: pl.DataFrame
    stages: tuple[str, ...]
    settings: Settings


def read(connection: Connection, as_of: datetime, settings: Settings) -> Known:
    """Everything known at a moment, from the warehouse; deals by the slice."""
    return known_of(StoredLedger(connection, as_of), as_of, settings, scores=scores_by(connection, as_of))


def known_of(
    ledger: Ledger | StoredLedger, as_of: datetime, settings: Settings, *, scores: pl.DataFrame | None = None
) -> Known:
    """Everything known at a moment, of any ledger; scores as in SCORES."""
    parts = _Parts()
    fields = [*life_fields(settings.pipeline), *_OWN, settings.pipeline.reason_column]
    for part in ledger.known_at(as_of).slices(list(dict.fromkeys(fields))):
        parts.take(part, settings.pipeline)
    stays = pl.concat(parts.stays)
    order = stage_order(stays, microseconds_of([as_of]), pipeline=settings.pipeline)
    deal_ids = pl.concat(parts.deal_ids)
    given = pl.DataFrame(schema=SCORES) if scores is None else scores.select(list(SCORES))
    return Known(
        as_of=as_of,
        closed=_closed(pl.concat(parts.closed), has_history=not stays.is_empty()),
        open=_open(pl.concat(parts.open), as_of).join(given, on="deal_id", how="left", maintain_order="left"),
        spells=_spells(stays, order, deal_ids),
        moves=pl.concat(parts.moves),
        stages=_ordered(order),
        settings=settings,
    )


def scores_by(connection: Connection, as_of: datetime) -> pl.DataFrame:
    """What the newest morning scored by then said: deal_id, p_loss, scored_at."""
    c = deal_scores.c
    newest = select(func.max(c.as_of)).where(c.as_of <= as_of).scalar_subquery()
    return frame(connection, select(c.deal_id, c.p_loss, c.as_of).where(c.as_of == newest)).rename(
        {"as_of": "scored_at"}
    )


@dataclass
class _Parts:
    """What is kept of each slice of deals."""

    deal_ids: list[pl.Series] = field(default_factory=list)
    closed: list[pl.DataFrame] = field(default_factory=list)
    open: list[pl.DataFrame] = field(default_factory=list)
    stays: list[pl.DataFrame] = field(default_factory=list)
    moves: list[pl.DataFrame] = field(default_factory=list)
    deals: int = 0

    def take(self, part: pl.DataFrame, pipeline: Pipeline) -> None:
        changes = part.with_columns((pl.col("deal_id").rle_id().cast(pl.Int64) + self.deals).alias("deal"))
        deal_ids = _compact(changes.filter(_is_first())["deal_id"])
        timeline, runs = stretches(changes, pipeline=pipeline)
        now = _now(timeline, runs)
        now = now.with_columns(deal_ids.gather(now["deal"] - self.deals))
        now = now.join(_no_deals(changes, now, pipeline), on="deal", how="anti", maintain_order="left")
        moves = _moves(changes, now)
        self.moves.append(moves.select(deal_ids.gather(moves["deal"] - self.deals), pl.exclude("deal")))
        self.deals += len(deal_ids)
        self.deal_ids.append(deal_ids)
        self.closed.append(_closings(changes, now, runs))
        self.open.append(_openings(changes, now))
        self.stays.append(_stays(runs, now))


def _compact(texts: pl.Series) -> pl.Series:
    """The same texts in memory of their own: a selection of rows keeps the whole slice's alive."""
    return texts + ""


def _is_first() -> pl.Expr:
    return pl.col("deal") != pl.col("deal").shift(1, fill_value=-1)


def _is_last() -> pl.Expr:
    return pl.col("deal") != pl.col("deal").shift(-1, fill_value=-1)


def _now(timeline: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """The state of each deal that still exists, and when it became known; the groups it has, and had then."""
    words = pl.col(*GROUPING).cast(_WORDS)
    state = timeline.filter(_is_last()).select("deal", "created_at", words)
    run = runs.filter(_is_last()).select(
        "status", pl.col("stage").cast(_WORDS), "known_from", words.name.prefix("then_"), since="begun_at"
    )
    return pl.concat([state, run], how="horizontal").filter(pl.col("status") != "deleted")


def _no_deals(changes: pl.DataFrame, now: pl.DataFrame, pipeline: Pipeline) -> pl.DataFrame:
    """The deals closed for a reason that says there was none, as a duplicate."""
    is_none = pl.col("new_value").is_in(pipeline.no_deal_reasons)
    of_reason = _latest(changes, pipeline.reason_column).filter(is_none).select("deal")
    return of_reason.join(now.filter(pl.col("status") != "open"), on="deal", how="semi")


def _latest(changes: pl.DataFrame, name: str) -> pl.DataFrame:
    """The last value of a field of each deal; changes are in the order in which they became known."""
    return changes.filter(pl.col("field") == name).filter(_is_last()).select("deal", new_value="new_value")


def _with_latest(rows: pl.DataFrame, changes: pl.DataFrame, values: dict[str, pl.Expr]) -> pl.DataFrame:
    for name, value in values.items():
        latest = _latest(changes, name).select("deal", value.alias(name))
        rows = rows.join(latest, on="deal", how="left", maintain_order="left")
    return rows


_VALUE = pl.col("new_value")
_AMOUNT, _DAY_VALUE = _VALUE.cast(pl.Float64), _VALUE.str.to_date("%Y-%m-%d")


def _closings(changes: pl.DataFrame, now: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    closed = now.filter(pl.col("status") != "open")
    known_then = changes.filter(pl.col("field") == "amount").join(
        closed.select("deal", closing_known="known_from"), on="deal", how="inner", maintain_order="left"
    )
    known_then = known_then.filter(pl.col("known_at") <= pl.col("closing_known"))
    last_open = runs.filter(pl.col("stage").is_not_null()).filter(_is_last())
    told = {"currency": _VALUE.cast(_WORDS), "stage": _VALUE.cast(_WORDS)}
    return (
        _with_latest(_with_latest(closed.drop("stage"), known_then, {"amount": _AMOUNT}), changes, told)
        .join(
            last_open.select("deal", last_stage=pl.col("stage").cast(_WORDS)),
            on="deal",
            how="left",
            maintain_order="left",
        )
        .select(
            "deal_id",
            "created_at",
            "amount",
            "currency",
            *(pl.col(f"then_{name}").alias(name) for name in GROUPING),
            "last_stage",
            closed_at="since",
            won=pl.col("status") == "won",
            told_stage="stage",
            cycle_days=(pl.col("since") - pl.col("created_at")).dt.total_microseconds() / _DAY,
        )
    )


def _openings(changes: pl.DataFrame, now: pl.DataFrame) -> pl.DataFrame:
    told = {
        "amount": _AMOUNT,
        "currency": _VALUE.cast(_WORDS),
        "close_date": _DAY_VALUE,
        "next_step_on": _DAY_VALUE,
    }
    rows = _with_latest(now.filter(pl.col("status") == "open"), changes, told)
    return rows.select("deal_id", "created_at", *told, "stage", *GROUPING, "since")


def _stays(runs: pl.DataFrame, now: pl.DataFrame) -> pl.DataFrame:
    """The runs in a stage, as `stage_order` reads them, of deals that still exist."""
    state = now.select("deal", final=pl.col("known_from"))
    return (
        runs.join(state, on="deal", how="inner", maintain_order="left")
        .filter(pl.col("stage").is_not_null())
        .select(
            pl.col("deal").cast(pl.UInt32),
            pl.col("stage", "next_stage").cast(_WORDS),
            # A closing that did not last is none; the deal's last state is the only one that does.
            next_status=pl.when(pl.col("known_to") == pl.col("final"))
            .then("next_status")
            .otherwise(pl.when(pl.col("next_status") == "open").then(pl.lit("open"))),
            is_first=pl.col("visits") == 1,
            nth=pl.col("visits").cast(pl.UInt16),
            known_from="known_from",
            entered_at="begun_at",
            left_at="ended_at",
        )
    )


def _moves(changes: pl.DataFrame, now: pl.DataFrame) -> pl.DataFrame:
    rows = changes.filter(pl.col("field").is_in(MOVED)).select("deal", "field", "happened_at", "new_value")
    before = pl.col("new_value").shift(1).over("deal", "field")
    return (
        rows.with_columns(old=before)
        .filter(pl.col("new_value").ne_missing(pl.col("old")))
        .join(now.select("deal"), on="deal", how="semi", maintain_order="left")
        .select("deal", pl.col("field").cast(pl.Enum(MOVED)), "happened_at", "old", new="new_value")
    )


def _closed(rows: pl.DataFrame, *, has_history: bool) -> pl.DataFrame:
    """A source that never tells a stage of an open deal tells the last one with the closing, if at all."""
    last = pl.col("last_stage") if has_history else pl.col("told_stage").alias("last_stage")
    return rows.with_columns(last).select(
        "deal_id",
        "created_at",
        "closed_at",
        "won",
        "amount",
        "currency",
        *GROUPING,
        "last_stage",
        "cycle_days",
    )


def _open(rows: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    def days_since(name: str) -> pl.Expr:
        return (instant(as_of) - pl.col(name)).dt.total_microseconds() / _DAY

    begun = rows.filter(pl.col("created_at") <= instant(as_of))
    return begun.with_columns(age_days=days_since("created_at"), days_in_stage=days_since("since")).drop(
        "since"
    )


def _spells(stays: pl.DataFrame, order: StageOrder, deal_ids: pl.Series) -> pl.DataFrame:
    here, there = (order.rank[0, order.codes(stays[name])] for name in ("stage", "next_stage"))
    way = np.where((here == NO_RANK) | (there == NO_RANK), 0, np.sign(there - here))
    to = (
        pl.when(pl.col("left_at").is_null())
        .then(None)
        .when(pl.col("next_status").is_in(["won", "lost"]))
        .then("next_status")
        .when((pl.col("next_status") == "open") & (pl.col("way") > 0))
        .then(pl.lit("forward"))
        .when((pl.col("next_status") == "open") & (pl.col("way") < 0))
        .then(pl.lit("backward"))
        .otherwise(pl.lit("other"))
    )
    return (
        stays.with_columns(way=pl.Series(way))
        .select(
            "stage",
            "entered_at",
            "left_at",
            "nth",
            deal_id=deal_ids.gather(stays["deal"]),
            to=to.cast(ENDINGS),
        )
        .select("deal_id", "stage", "entered_at", "left_at", "to", "nth")
    )


def _ordered(order: StageOrder) -> tuple[str, ...]:
    ranked = [
        (int(rank), name) for name, rank in zip(order.stages, order.rank[0], strict=False) if rank != NO_RANK
    ]
    return tuple(name for _, name in sorted(ranked))
