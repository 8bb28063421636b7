"""Whether a rule deserves to interrupt: its record by replay, against comparable deals.

Every rule is replayed over the past months, morning by morning (`replay`). Deals it would have flagged, at
the first morning it would have, are compared with the other deals open on the same morning in the same stage
and of about the same age (`lift`). Only deals whose outcome is known by now count, and only mornings of which
most deals have ended: among the deals of later ones, those that end fast are too many.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl
from sqlalchemy import Engine

from dealwatch.alerts.evidence.lift import Flagged, Lift, Panel, lifts
from dealwatch.alerts.evidence.noise import Found, Noise, found, noise
from dealwatch.alerts.evidence.past_scores import given_then, scores_then
from dealwatch.alerts.evidence.replay import AGE_BANDS, EVERYONE, Replay, replay
from dealwatch.alerts.evidence.replay import replayed as replayed
from dealwatch.alerts.rules.rule import STAYS_OPEN, Rule, load_rules
from dealwatch.history.ledger import Ledger, values_as_of
from dealwatch.history.stored import StoredLedger
from dealwatch.scoring.known import history_of, microseconds_of
from dealwatch.scoring.panel import outcomes_at
from dealwatch.settings import Settings
from dealwatch.tables import rule_evidence
from dealwatch.warehouse import INSTANT, reading, replace, schema_of, writing

MATURE_SHARE = 0.75  # of a morning's open deals must have ended by now; those a year old for themselves
SEGMENT_MINIMUM = 30  # alerted deals that ended; with fewer a segment's share is an anecdote


@dataclass(frozen=True)
class Outcomes:
    """As known at a moment, how deals ended (deal, lost as 0 or 1, closed_at), and which were deleted."""

    ended: pl.DataFrame
    deleted: pl.DataFrame


@dataclass(frozen=True)
class _Case:
    """A level of a rule, and the morning on which each deal reached it first: deal, morning."""

    number: int
    level: int
    first: pl.DataFrame


def measure(engine: Engine, as_of: datetime, *, settings: Settings) -> dict[str, int]:
    """Measure every rule as of a moment and store its record; counts of rule levels and of those proven."""
    rows = measured(engine, load_rules(settings.alerts.rules), as_of, settings=settings)
    with writing(engine, alone="evidence") as connection:
        replace(connection, rule_evidence, rule_evidence.c.measured_as_of == as_of, rows)
    of_all = rows.filter(pl.col("segment") == EVERYONE)
    return {"levels": of_all.height, "proven": int(of_all["proven"].sum())}


def measured(engine: Engine, rules: Sequence[Rule], as_of: datetime, *, settings: Settings) -> pl.DataFrame:
    """The rows of `rule_evidence` for these rules as of a moment, worked out and not stored."""
    moments = replayed(as_of, settings)
    with reading(engine) as connection:
        known = StoredLedger(connection, moments[-1])
        history = history_of(known, microseconds_of(moments), pipeline=settings.pipeline)
        scores = scores_then(connection, moments, rules, settings=settings)
        past = replay(history, moments, rules, settings=settings, scores=scores)
        del history  # most of the memory, and no longer asked
        closings = pl.concat(StoredLedger(connection, as_of).slices(["outcome", "deleted"]))
    ended = outcomes_of(Ledger(closings, closings.clear()), as_of, past)
    return judged(past, ended, as_of, settings=settings)


def records(
    ledger: Ledger,
    as_of: datetime,
    rules: Sequence[Rule],
    *,
    settings: Settings,
    scored: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """The rows of `rule_evidence`, one per rule, level and segment, from what was known by `as_of` alone.

    scored: scores as they were given on past mornings (as_of, deal_id, score, band, p_loss); without them a
    rule about the score has no record.
    """
    moments = replayed(as_of, settings)
    known = ledger.known_at(moments[-1])
    history = history_of(known, microseconds_of(moments), pipeline=settings.pipeline)
    past = replay(history, moments, rules, settings=settings, scores=given_then(scored))
    return judged(past, outcomes_of(ledger, as_of, past), as_of, settings=settings)


def outcomes_of(ledger: Ledger, as_of: datetime, past: Replay) -> Outcomes:
    """How the deals of a replay ended, as known at a moment."""
    numbers = past.deal_ids.to_frame("deal_id").with_columns(deal=pl.int_range(pl.len(), dtype=pl.Int32))
    latest = values_as_of(ledger, as_of)
    deleted = latest.filter((pl.col("field") == "deleted") & (pl.col("new_value") == "true"))
    ended = outcomes_at(ledger, as_of).join(numbers, on="deal_id")
    return Outcomes(
        ended=ended.select("deal", pl.col("lost").cast(pl.Float32), "closed_at"),
        deleted=deleted.join(numbers, on="deal_id").select("deal"),
    )


def judged(past: Replay, outcomes: Outcomes, as_of: datetime, *, settings: Settings) -> pl.DataFrame:
    """The rows of `rule_evidence` for the rules of a replay, given how the deals ended."""
    cases = list(_cases(past))
    made: list[dict[str, Any]] = []
    for case, by_segment in zip(cases, _lifts(past, outcomes, cases, settings), strict=True):
        rule = past.rules[case.number]
        costs = noise(past, case.number, case.level, settings=settings)
        finds = found(past, rule, case.first, outcomes.ended)
        for segment, lift in by_segment.items():
            identity = {"rule": rule.name, "level": case.level, "segment": segment}
            identity["condition"] = rule.condition_of(case.level)
            numbers = _numbers(lift, finds.get(segment), costs.get(segment))
            made.append(identity | numbers | {"proven": _is_proven(segment, lift, settings)})
    known = {"measured_as_of": as_of, "months": settings.alerts.evidence_months}
    rows = pl.DataFrame([row | known for row in made], schema=schema_of(rule_evidence))
    return rows.sort("rule", "level", "segment")


def _lifts(
    past: Replay, outcomes: Outcomes, cases: Sequence[_Case], settings: Settings
) -> list[dict[str, Lift]]:
    """The lift of each case, by segment; everyone is always there."""
    rows = _comparable(past, outcomes)
    by_depth = [_panel(rows, past, cases, depth) for depth in past.depths]
    told = lifts(
        [(panel, sets) for panel, sets, _ in by_depth],
        deviations=[_deviations(sets, settings, levels=len(cases)) for _, sets, _ in by_depth],
        seed=settings.scoring.seed,
    )
    found: list[dict[str, Lift]] = [{EVERYONE: Lift(0, 0)} for _ in cases]
    for (_, _, names), of_depth in zip(by_depth, told, strict=True):
        for n, into in enumerate(found):
            into |= dict(zip(names[n], of_depth[n], strict=True))
    return found


def _cases(past: Replay) -> Iterator[_Case]:
    for number, rule in enumerate(past.rules):
        held = past.held.filter(pl.col("rule") == number, pl.col("level") > STAYS_OPEN)
        held = _confirmed(held, past.mornings_of(rule), rule.confirm_mornings)
        for level in rule.levels:
            reached = held.filter(pl.col("level") >= level.level)
            yield _Case(number, level.level, reached.group_by("deal").agg(pl.col("morning").min()))


def _confirmed(held: pl.DataFrame, mornings: Sequence[int], times: int) -> pl.DataFrame:
    """The mornings on which a rule had held so many times in a row, counting only those it could hold on."""
    places = {morning: place for place, morning in enumerate(mornings)}
    place = pl.col("morning").replace_strict(places, return_dtype=pl.Int64)
    since = place - place.shift(times - 1).over("deal", "scope")
    return held.filter(since == times - 1) if times > 1 and mornings else held


def _comparable(past: Replay, outcomes: Outcomes) -> pl.DataFrame:
    """Deals that have ended, on mornings of which most have; `place` numbers them."""
    moments = pl.Series("moments", past.moments, dtype=INSTANT)
    rows = past.rows.join(outcomes.deleted, on="deal", how="anti", maintain_order="left")
    rows = rows.join(outcomes.ended, on="deal", how="left", maintain_order="left")
    # A deal whose end was not known yet is no deal to be found.
    is_open = pl.col("closed_at").is_null() | (
        pl.col("closed_at") > moments.gather(rows["morning"].cast(pl.UInt32))
    )
    rows = rows.filter(is_open).drop("closed_at")
    # Deals that nobody ever closes pile up beyond the last age: they may not hold the others back.
    is_old = pl.col("band") == len(AGE_BANDS)
    is_mature = pl.col("lost").is_not_null().mean().over("morning", is_old) >= MATURE_SHARE
    rows = rows.filter(is_mature & pl.col("lost").is_not_null())
    return rows.with_columns(place=pl.col("deal").rank("dense").cast(pl.Int64) - 1)


def _panel(
    rows: pl.DataFrame, past: Replay, cases: Sequence[_Case], depth: int
) -> tuple[Panel, list[Flagged], list[list[str]]]:
    """Strata within segments of a depth, who was flagged in which, and the names of their segments.

    A segment with few flagged deals is left out, unless it is everyone.
    """
    names = past.segments.select("segment", name=pl.col(f"name_{depth}"))
    names = names.with_columns(group=pl.col("name").rank("dense").cast(pl.Int64) - 1)
    placed = rows.join(names.select("segment", "group"), on="segment", how="left", maintain_order="left")
    key = pl.col("morning").cast(pl.Int64)
    for name in ("stage", "band", "group"):
        key = key * (pl.col(name).max() + 1) + pl.col(name)
    placed = placed.select("morning", "deal", "place", "group", stratum=key.rank("dense").cast(pl.Int64) - 1)
    by_deal = rows.unique("place").sort("place")
    panel = Panel.of(by_deal["lost"].to_numpy(), placed["place"].to_numpy(), placed["stratum"].to_numpy())
    by_number = dict(names.select("group", "name").unique().rows())
    sets, told = [], []
    for case in cases:
        here = case.first.join(placed, on=["deal", "morning"], how="inner").sort("group", "place")
        if depth:
            here = here.filter(pl.len().over("group") >= SEGMENT_MINIMUM)
        sets.append(Flagged(*(here[name].to_numpy() for name in ("place", "stratum", "group"))))
        told.append([by_number[group] for group in here["group"].unique(maintain_order=True)])
    return panel, sets, told


def _deviations(sets: Sequence[Flagged], settings: Settings, *, levels: int) -> float:
    """How many standard deviations an interval spans to each side, so that all intervals hold at once.

    Many rules are judged, and the luckiest would pass if each were judged as though it were the only one.
    """
    told = max(levels, sum(len(np.unique(one.groups)) for one in sets), 1)
    return NormalDist().inv_cdf(1 - (1 - settings.alerts.evidence_confidence) / (2 * told))


def _is_proven(segment: str, lift: Lift, settings: Settings) -> bool:
    """All deals together prove a rule: among many segments one would look good by luck."""
    enough = lift.alerted >= settings.alerts.evidence_minimum
    return segment == EVERYONE and enough and (lift.low or 0.0) > 1.0


def _numbers(lift: Lift, finds: Found | None, costs: Noise | None) -> dict[str, Any]:
    return {
        "alerted": lift.alerted,
        "lost": lift.lost,
        "base_rate": lift.base_rate,
        "lift": lift.lift,
        "lift_low": lift.low,
        "lift_high": lift.high,
        **(asdict(finds) if finds else {}),
        **(asdict(costs) if costs else {}),
    }
