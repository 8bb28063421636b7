"""Whether a rule deserves to interrupt: its past alerts against comparable deals, as replayed.

Deals it would have flagged, at the first morning it would have, are compared with all deals open on the same
morning in the same stage and of about the same age. Only deals whose outcome is known by now count, and only
mornings of which most deals have ended: among the deals of later ones, those that end fast are too many.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sqlalchemy import Engine, select

from dealwatch.alerts.rules import INSTANT, Rule, levels_held, load_rules
from dealwatch.history.ledger import Ledger, read_ledger, values_as_of
from dealwatch.moments import local_day, morning_of
from dealwatch.scoring.facts import facts_at
from dealwatch.settings import Settings
from dealwatch.tables import deal_scores, rule_evidence
from dealwatch.warehouse import frame, instant, reading, replace, writing

EVERY_DAYS = 7
AGE_BANDS = (7.0, 14.0, 30.0, 60.0, 90.0, 180.0, 365.0)  # days; deals between two are about the same age
MATURE_SHARE = 0.75  # of a morning's open deals must have ended by now
REPLICATES = 1_000
_AT_ONCE = 100  # replicates held in memory together
_KEYS = ["as_of", "deal_id"]
_SCHEMA: dict[str, Any] = {
    "rule": pl.String,
    "level": pl.Int64,
    "segment": pl.String,
    "measured_as_of": INSTANT,
    "alerted": pl.Int64,
    "lost": pl.Int64,
    "base_rate": pl.Float64,
    "lift": pl.Float64,
    "lift_low": pl.Float64,
    "lift_high": pl.Float64,
    "proven": pl.Boolean,
    "months": pl.Int64,
}
_SCORED: dict[str, Any] = {
    "as_of": INSTANT,
    "deal_id": pl.String,
    "score": pl.Int64,
    "band": pl.String,
    "p_loss": pl.Float64,
}

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class _Panel:
    """Deals that have ended, on past mornings, numbered; a stratum is a morning, a stage and an age band."""

    lost: Floats  # by deal
    row_deal: Indices  # by row, in order of stratum
    first_row: Indices  # of each stratum

    def base_rates(self, weights: Floats) -> Floats:
        """Share lost by replicate and stratum, deals counting as their weight says."""
        drawn = weights[:, self.row_deal]
        everyone = np.add.reduceat(drawn, self.first_row, axis=1)
        losers = np.add.reduceat(drawn * self.lost[self.row_deal], self.first_row, axis=1)
        return np.divide(losers, everyone, out=np.zeros_like(losers), where=everyone > 0)


@dataclass(frozen=True)
class _Flagged:
    """The deals that a rule at a level flagged, each with the stratum it was in when first flagged."""

    rule: str
    level: int
    deals: Indices
    strata: Indices


def measure(engine: Engine, as_of: datetime, *, settings: Settings) -> dict[str, int]:
    """Measure every rule as of a moment and store its record; counts of rule levels and of those proven."""
    rules = load_rules(settings.alerts.rules)
    scores = deal_scores.c
    since = min(replayed(as_of, settings))
    given = select(scores.as_of, scores.deal_id, scores.score, scores.band, scores.p_loss).where(
        scores.as_of >= since, scores.as_of < as_of
    )
    with reading(engine) as connection:
        ledger = read_ledger(connection, until=as_of)
        scored = frame(connection, given)
    rows = records(ledger, as_of, rules, settings=settings, scored=scored)
    with writing(engine, alone="evidence") as connection:
        replace(connection, rule_evidence, rule_evidence.c.measured_as_of == as_of, rows)
    return {"levels": rows.height, "proven": int(rows["proven"].sum())}


def records(
    ledger: Ledger,
    as_of: datetime,
    rules: Sequence[Rule],
    *,
    settings: Settings,
    scored: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """The rows of `rule_evidence`, one per rule and level, from what was known by `as_of` alone.

    scored: scores as they were given on past mornings (as_of, deal_id, score, band, p_loss); without them a
    rule about the score has no record.
    """
    outcomes = _outcomes(ledger, as_of)
    by_facts = [rule for rule in rules if not rule.uses_score]
    by_score = [rule for rule in rules if rule.uses_score]
    judged = partial(
        _judged, outcomes=outcomes, as_of=as_of, deviations=_deviations(rules, settings), settings=settings
    )
    rows = judged(by_facts, facts_at(ledger, replayed(as_of, settings), settings=settings))
    if by_score:
        given = pl.DataFrame(schema=_SCORED) if scored is None else scored.select(list(_SCORED))
        rows += judged(by_score, _with_scores(ledger, given, as_of, settings))
    return pl.DataFrame(rows, schema=_SCHEMA).sort("rule", "level")


def replayed(as_of: datetime, settings: Settings) -> list[datetime]:
    """The mornings that a record rests on: one a week, back from the moment."""
    last = local_day(as_of, settings)
    weeks = round(settings.alerts.evidence_months * 365.25 / 12 / EVERY_DAYS)
    return [morning_of(last - timedelta(days=EVERY_DAYS * n), settings) for n in range(weeks, 0, -1)]


def _deviations(rules: Sequence[Rule], settings: Settings) -> float:
    """How many standard deviations an interval spans to each side, so that all intervals hold at once.

    Many rules are judged, and the luckiest would pass if each were judged as though it were the only one.
    """
    levels = max(sum(len(rule.levels) for rule in rules), 1)
    return NormalDist().inv_cdf(1 - (1 - settings.alerts.evidence_confidence) / (2 * levels))


def _with_scores(ledger: Ledger, scored: pl.DataFrame, as_of: datetime, settings: Settings) -> pl.DataFrame:
    """Facts beside the scores given, on one scored morning a week."""
    kept: list[datetime] = []
    for moment in scored.filter(pl.col("as_of") < instant(as_of))["as_of"].unique().sort():
        if not kept or (local_day(moment, settings) - local_day(kept[-1], settings)).days >= EVERY_DAYS:
            kept.append(moment)
    points = scored.with_columns(pl.col("score").cast(pl.Float64))
    return facts_at(ledger, kept, settings=settings).join(points, on=_KEYS, how="inner")


def _outcomes(ledger: Ledger, as_of: datetime) -> pl.DataFrame:
    """Each deal that has ended and still exists: deal_id, lost."""
    latest = values_as_of(ledger, as_of).select("deal_id", "field", "new_value")
    deleted = latest.filter((pl.col("field") == "deleted") & (pl.col("new_value") == "true"))
    return (
        latest.filter((pl.col("field") == "outcome") & pl.col("new_value").is_in(["won", "lost"]))
        .join(deleted, on="deal_id", how="anti")
        .select("deal_id", lost=(pl.col("new_value") == "lost").cast(pl.Float64))
    )


def _judged(
    rules: Sequence[Rule],
    facts: pl.DataFrame,
    outcomes: pl.DataFrame,
    *,
    as_of: datetime,
    deviations: float,
    settings: Settings,
) -> list[dict[str, Any]]:
    """A record for each rule and level, from facts of past mornings and how the deals ended."""
    rows = _comparable(facts, outcomes)
    flagged = [one for rule in rules for one in _flagged(rule, facts, rows)]
    found = [_nothing() for _ in flagged]
    if rows.height:
        found = _measured(_panel(rows), flagged, deviations=deviations, settings=settings)
    minimum = settings.alerts.evidence_minimum
    return [
        {
            "rule": one.rule,
            "level": one.level,
            "segment": "",
            "measured_as_of": as_of,
            **record,
            "proven": record["alerted"] >= minimum and (record["lift_low"] or 0.0) > 1.0,
            "months": settings.alerts.evidence_months,
        }
        for one, record in zip(flagged, found, strict=True)
    ]


def _comparable(facts: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    """Deals that have ended, on mornings of which most have; numbered, in order of stratum."""
    ended = facts.select(*_KEYS, "stage", "age_days").join(outcomes, on="deal_id", how="left")
    is_mature = pl.col("lost").is_not_null().mean().over("as_of") >= MATURE_SHARE
    rows = ended.filter(is_mature).drop_nulls("lost")
    band = np.searchsorted(AGE_BANDS, rows["age_days"].to_numpy(), side="right")
    rows = rows.with_columns(pl.col("stage").fill_null(""), band=pl.Series(band, dtype=pl.Int64))
    return rows.sort("as_of", "stage", "band", "deal_id").with_columns(
        stratum=pl.struct("as_of", "stage", "band").rle_id().cast(pl.Int64),
        deal=pl.col("deal_id").rank("dense").cast(pl.Int64) - 1,
    )


def _panel(rows: pl.DataFrame) -> _Panel:
    by_deal = rows.unique("deal").sort("deal")
    starts = rows.with_row_index("row").group_by("stratum").agg(pl.col("row").min()).sort("stratum")
    return _Panel(
        lost=by_deal["lost"].to_numpy(),
        row_deal=rows["deal"].to_numpy(),
        first_row=starts["row"].cast(pl.Int64).to_numpy(),
    )


def _flagged(rule: Rule, facts: pl.DataFrame, rows: pl.DataFrame) -> Iterator[_Flagged]:
    """Per level, the deals that reached it or a worse one, where they stood when they first did."""
    places = rows.select(*_KEYS, "deal", "stratum")
    held = levels_held([rule], facts).join(places, on=_KEYS, how="inner").sort("deal", "as_of")
    for level in rule.levels:
        first = held.filter(pl.col("level") >= level.level).unique("deal", keep="first").sort("deal")
        yield _Flagged(rule.name, level.level, first["deal"].to_numpy(), first["stratum"].to_numpy())


def _measured(
    panel: _Panel, flagged: Sequence[_Flagged], *, deviations: float, settings: Settings
) -> list[dict[str, Any]]:
    """Counts, matched base rate, lift and its interval; the interval resamples whole deals."""
    drawn: list[list[Floats]] = [[] for _ in flagged]
    for weights in _replicates(len(panel.lost), settings):
        base = panel.base_rates(weights)
        for lifts, one in zip(drawn, flagged, strict=True):
            lifts.append(_lift(panel, one, weights, base))
    everyone = np.ones((1, len(panel.lost)))
    base = panel.base_rates(everyone)
    found = []
    for lifts, one in zip(drawn, flagged, strict=True):
        record = _nothing()
        if len(one.deals):
            lift = float(_lift(panel, one, everyone, base)[0])
            record["alerted"] = len(one.deals)
            record["lost"] = int(panel.lost[one.deals].sum())
            record["base_rate"] = float(base[0, one.strata].mean())
            record |= _interval(lift, np.concatenate(lifts), deviations)
        found.append(record)
    return found


def _interval(lift: float, replicates: Floats, deviations: float) -> dict[str, float]:
    """The lift with its interval on the logarithm's scale; nothing where too few deals make one."""
    if not (np.isfinite(replicates) & (replicates > 0)).all():
        return {}
    spread = float(np.exp(deviations * np.log(replicates).std(ddof=1)))
    return {"lift": lift, "lift_low": lift / spread, "lift_high": lift * spread}


def _replicates(deals: int, settings: Settings) -> Iterator[Floats]:
    """Weights of whole deals, Poisson(1) each, which is drawing deals with replacement; some at a time."""
    random = np.random.default_rng(settings.scoring.seed)
    for _ in range(REPLICATES // _AT_ONCE):
        yield random.poisson(1.0, size=(_AT_ONCE, deals)).astype(np.float64)


def _lift(panel: _Panel, one: _Flagged, weights: Floats, base: Floats) -> Floats:
    """Losses of the flagged deals over those of their strata, by replicate."""
    drawn = weights[:, one.deals]
    losses: Floats = (drawn * panel.lost[one.deals]).sum(axis=1)
    expected: Floats = (drawn * base[:, one.strata]).sum(axis=1)
    lift = np.full_like(losses, np.nan)
    np.divide(losses, expected, out=lift, where=expected > 0)
    return lift


def _nothing() -> dict[str, Any]:
    return {
        "alerted": 0,
        "lost": 0,
        "base_rate": None,
        "lift": None,
        "lift_low": None,
        "lift_high": None,
    }
