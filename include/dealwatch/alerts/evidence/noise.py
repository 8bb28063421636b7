"""What a rule costs and what it finds: alerts per owner and week, alerts that flap, losses found in time.

Alerts are episodes, folded from the replayed signals as those of every morning are.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from dealwatch.alerts.episodes.fold import Background, fold
from dealwatch.alerts.evidence.replay import EVERYONE, Replay
from dealwatch.alerts.rules.rule import Rule
from dealwatch.scoring.reliability import wilson
from dealwatch.settings import Settings
from dealwatch.warehouse import INSTANT

WARNING_DAYS = 7  # an alert later than this many days before the loss came too late to act on
_AT_ONCE = 300_000  # signals folded together
_DAY = 86_400_000_000.0  # microseconds


@dataclass(frozen=True)
class Noise:
    """Episodes opened per owner and week, and the share of resolved ones that came back."""

    alerts_per_owner_week: float | None
    reopened_share: float | None


@dataclass(frozen=True)
class Found:
    """Of the deals lost, how many were alerted in time; the interval is of 95%."""

    losses: int
    recall: float | None = None
    recall_low: float | None = None
    recall_high: float | None = None
    lead_days: float | None = None


def noise(past: Replay, number: int, level: int, *, settings: Settings) -> dict[str, Noise]:
    """The noise of a rule at a level, or a worse one, by segment."""
    days, confirm = past.mornings_of(past.rules[number]), past.rules[number].confirm_mornings
    if not days:
        return {}
    parts = _signals(past, number, level)
    episodes = pl.concat([_part(past, part, days, confirm, settings) for part in parts])
    placed = episodes.join(past.rows, on=["morning", "deal"], how="left").join(past.segments, on="segment")
    owners = past.owners.filter(pl.col("morning").is_in(days))
    weeks = owners.group_by("segment").agg(weeks=pl.col("owners").sum() / 7)
    told: dict[str, Noise] = {}
    for depth in past.depths:
        counted = placed.group_by(segment=f"name_{depth}").agg(
            # What held on the first morning had opened before, and opens here when it is confirmed.
            opened=(pl.col("morning") > days[min(confirm, len(days)) - 1]).sum(),
            resolved=pl.col("is_resolved").sum(),
            reopened=pl.col("is_reopened").sum(),
        )
        for row in counted.join(weeks, on="segment").iter_rows(named=True):
            share = row["reopened"] / row["resolved"] if row["resolved"] else None
            told[row["segment"]] = Noise(row["opened"] / row["weeks"], share)
    quiet = Noise(0.0, None) if weeks.height else Noise(None, None)
    return {EVERYONE: quiet} | told


def _signals(past: Replay, number: int, level: int) -> Iterator[pl.DataFrame]:
    """A rule's signals in slices of whole deals; those below the level only keep an alert open if level 0."""
    held = past.held.filter(pl.col("rule") == number, (pl.col("level") >= level) | (pl.col("level") == 0))
    start = 0
    deals = held["deal"]
    while start < held.height:
        end = start + int((deals[start:] <= deals[min(start + _AT_ONCE, held.height) - 1]).sum())
        yield held[start:end]
        start = end
    if not held.height:
        yield held


def _part(
    past: Replay, held: pl.DataFrame, days: list[int], confirm: int, settings: Settings
) -> pl.DataFrame:
    """The episodes of some deals: deal, morning (of opening), whether it was resolved and came back."""
    moments = pl.Series("as_of", [past.moments[n] for n in range(len(past.moments))], dtype=INSTANT)
    signals = held.select(
        as_of=moments.gather(held["morning"].cast(pl.UInt32)),
        rule=pl.lit(""),
        deal_id=pl.col("deal").cast(pl.String),
        level=pl.col("level").cast(pl.Int64),
        scope=pl.col("scope").cast(pl.String),
        owner_id=pl.lit(""),
        amount=pl.lit(0.0),
        score=pl.lit(None, dtype=pl.Int64),
    )
    known = Background(confirm={"": confirm})
    folded = fold(signals, [past.moments[n] for n in days], known, settings=settings)
    kinds = folded.events.group_by("alert_id").agg(
        is_resolved=(pl.col("kind") == "resolved").any(), is_reopened=(pl.col("kind") == "reopened").any()
    )
    places = moments.to_frame().with_columns(morning=pl.int_range(pl.len(), dtype=pl.Int32))
    return (
        folded.alerts.join(kinds, on="alert_id")
        .join(places, left_on="opened_at", right_on="as_of")
        .select("morning", "is_resolved", "is_reopened", deal=pl.col("deal_id").cast(pl.Int32))
    )


def found(past: Replay, rule: Rule, first: pl.DataFrame, outcomes: pl.DataFrame) -> dict[str, Found]:
    """Of the deals lost while the rule was replayed, how many it found in time, and how early; by segment.

    first: deal, morning on which each was flagged first. outcomes: deal, lost, closed_at.
    """
    days = past.mornings_of(rule)
    if not days:
        return {}
    since = past.moments[days[0]]
    last = past.rows.group_by("deal").agg(pl.col("segment").last())
    lost = (
        outcomes.filter(
            pl.col("lost") == 1, pl.col("closed_at") >= pl.lit(since) + pl.duration(days=WARNING_DAYS)
        )
        .join(last, on="deal")
        .join(past.segments, on="segment")
        .join(first.select("deal", "morning"), on="deal", how="left")
    )
    moments = pl.Series("moments", past.moments, dtype=INSTANT)
    flagged_at = moments.gather(lost["morning"].cast(pl.UInt32))
    lost = lost.with_columns(ahead=(pl.col("closed_at") - flagged_at).dt.total_microseconds() / _DAY)
    told: dict[str, Found] = {EVERYONE: Found(0)}
    for depth in past.depths:
        counted = lost.group_by(segment=f"name_{depth}").agg(
            losses=pl.len(),
            warned=(pl.col("ahead") >= WARNING_DAYS).sum(),
            lead=pl.col("ahead").filter(pl.col("ahead") > 0).median(),
        )
        for row in counted.iter_rows(named=True):
            share = row["warned"] / row["losses"]
            low, high = wilson(share, row["losses"])
            told[row["segment"]] = Found(row["losses"], share, low, high, row["lead"])
    return told
