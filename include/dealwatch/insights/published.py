"""What others print of the same data, and why this review does not: each claim with its reason.

These are the usual headlines of pipeline reports. A reader who has seen them elsewhere finds them here.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

import numpy as np
import polars as pl

from dealwatch.insights.concentration import concentration
from dealwatch.insights.cycles import change_by_close
from dealwatch.insights.findings import claim, said
from dealwatch.insights.lint import Claim
from dealwatch.insights.looked import Looked
from dealwatch.insights.measure import NOTHING_CLOSED, Measure, share_of
from dealwatch.insights.money import refusal
from dealwatch.insights.stages import LOSS_SHARE, NOTHING_LOST
from dealwatch.insights.windows import quarter_of
from dealwatch.insights.wording import percent
from dealwatch.moments import local_day

LOW_CHANCE = 0.4  # of being won, below which others ask for a review of the deal
SAVED = 0.2  # of the money lost, which others assume a call would save
_TOLD_APART = "cycles are compared by quarter of creation, which no choice of closings bends"


def published(looked: Looked) -> list[Claim]:
    """The usual headlines, each with what is wrong with it here."""
    return [
        *_cycles(looked),
        *_rep_gap(looked),
        *_leakage(looked),
        *_slow_deals(looked),
        _low_chances(looked),
        *_concentration(looked),
        _gap(looked),
        *_savings(looked),
    ]


def _cycles(looked: Looked) -> Iterator[Claim]:
    """Cycles of the first quarter that closed deals against the newest one's."""
    known = looked.known
    first = known.closed["closed_at"].min()
    newest = known.closed["closed_at"].max()
    if not isinstance(first, datetime) or not isinstance(newest, datetime):
        return
    before, after = (quarter_of(local_day(one, known.settings), known.settings) for one in (first, newest))
    if before == after:
        return
    change = change_by_close(known, before, after, looked.cohorts)
    size = f" by {said(change)}" if change.is_known else ""
    sentence = f"Sales cycles by close date changed{size} from {before.name} to {after.name}."
    yield claim("published_cycle", "", sentence, (change,), "cohorts", against=change.why or _TOLD_APART)


def _rep_gap(looked: Looked) -> Iterator[Claim]:
    reps = looked.reps
    if reps.raw_gap is None or reps.chance_p is None or not reps.chance_gap.is_known:
        return
    raw = f"{100 * reps.raw_gap:.1f} points"
    sentence = f"The best and the worst of {len(reps.reps)} reps lie {raw} apart."
    by_chance = _in_points(reps.chance_gap)
    reason = f"chance alone sets them {said(by_chance)} apart, "
    reason += f"as large in {reps.chance_p:.0%} of samples; a raw gap is never shown without that"
    yield claim("published_rep_gap", "", sentence, (by_chance,), "reps", audience="managers", against=reason)


def _in_points(share: Measure) -> Measure:
    ends = [None if one is None else 100 * one for one in (share.value, share.low, share.high)]
    return replace(share, value=ends[0], low=ends[1], high=ends[2], kind="points")


def _leakage(looked: Looked) -> Iterator[Claim]:
    """The stage with the largest share of all losses."""
    rows = looked.stages.after.filter(pl.col("name") == LOSS_SHARE, pl.col("n") > 0)
    if rows.is_empty():
        return
    row = rows.sort("value", "stage", descending=[True, False]).row(0, named=True)
    share = Measure(**{key: row[key] for key in ("name", "value", "n", "low", "high", "kind")})
    sentence = f"Deals leak at {row['stage']}: {said(share, of='lost deals')} were lost there."
    test, counted = looked.differ.get("last_stage"), ""
    if test is not None:
        p = "p below 0.01" if test.p < 0.01 else f"p = {test.p:.2f}"
        counted = f"; by last stage, chi-square {test.chi2:.1f} on {test.degrees} ({p})"
    reason = f"a stage's share of losses mirrors how many deals are in it{counted}"
    if not looked.known.stages:
        reason += "; the source tells the stage only when a deal has closed"
    measures = (share,)
    yield claim("published_leakage", row["stage"], sentence, measures, "stages", against=reason)


def _slow_deals(looked: Looked) -> Iterator[Claim]:
    """Deals over the median cycle, which half of all deals are."""
    closed = looked.known.closed
    median = closed["cycle_days"].median()
    if not isinstance(median, float):
        return
    slow = closed.filter(pl.col("cycle_days") > median)
    if slow.is_empty():
        return
    lost = share_of("lost_share", int((~slow["won"]).sum()), slow.height, why=NOTHING_LOST)
    everyone = share_of("lost_share", int((~closed["won"]).sum()), closed.height, why=NOTHING_LOST)
    sentence = (
        f"Deals slower than the median cycle of {median:.1f} days need an alert: {said(lost)} are lost."
    )
    reason = (
        f"by construction it flags half of all deals ({percent(slow.height / closed.height)}), and "
        f"{said(everyone)} of all are lost; the cycle is known only when a deal has closed"
    )
    yield claim("published_slow_deals", "", sentence, (lost,), "cohorts", against=reason)


def _low_chances(looked: Looked) -> Claim:
    """Deals to review because a model gives them little chance."""
    scored = looked.known.open.filter(pl.col("p_loss").is_not_null())
    low = scored.filter(1 - pl.col("p_loss") < LOW_CHANCE).height
    none = "no open deal has a chance by a model that passed its gate"
    share = share_of("low_chance_share", low, scored.height, why=none)
    size = f": {said(share)}" if share.is_known else ""
    sentence = f"Review the open deals with a chance below {LOW_CHANCE:.0%}{size}."
    reason = "a bound drawn by hand has no track record; alerts go by rules that were replayed"
    return claim("published_low_chance", "", sentence, (share,), "pipeline", against=share.why or reason)


def _concentration(looked: Looked) -> Iterator[Claim]:
    """The share of revenue in the top fifth of all deals closed, which is far from one half anywhere."""
    amounts = looked.known.closed.filter(pl.col("amount") > 0)
    if amounts.is_empty() or refusal(amounts, looked.known.settings):
        return
    told = concentration(amounts["amount"].to_numpy(), np.full(amounts.height, np.nan))
    few = told.effective_deals
    sentence = f"{said(told.top_fifth)} of the money is in the top fifth of the deals."
    reason = f"true, and no risk: {few.n:,} deals weigh as much as {few.value:,.0f} equal ones"
    if told.is_risky:
        reason = "told as the concentration of what is open, which is what can still be lost"
    yield claim("published_concentration", "", sentence, (told.top_fifth,), "concentration", against=reason)


def _gap(looked: Looked) -> Claim:
    """The forecast that takes older deals down, and its gap to the open money."""
    told = looked.forecast
    gap, bias = told.variants["seed"].gap, told.records["seed"].bias
    others = {name: record.bias for name, record in told.records.items() if name == "weighted"}
    sentence = f"The risk-adjusted pipeline lies {said(gap)} below the open amounts, by aging."
    reason = "this way of telling has no record of having been right"
    if bias.is_known:
        reason = f"told at past months, this forecast was off by {said(bias)}"
        if (plain := others["weighted"]).is_known:
            reason += f", and without the aging by {said(plain)}"
    return claim("published_gap", "", sentence, (gap,), "forecast", against=reason)


def _savings(looked: Looked) -> Iterator[Claim]:
    """The money that a save rate nobody measured would bring."""
    lost = looked.known.closed.filter(looked.year.holds("closed_at"), ~pl.col("won"), pl.col("amount") > 0)
    why = refusal(lost, looked.known.settings) or ("" if lost.height else NOTHING_CLOSED)
    name = "lost_money"
    if why:
        money = Measure.null(name, why, n=lost.height, kind="money")
    else:
        value = float(lost["amount"].sum())
        money = Measure(name, value, lost.height, low=value, high=value, kind="money")
    currency = looked.currency
    sentence = f"Calls would save {SAVED:.0%} of the {said(money, currency)} lost in a year."
    reason = "the share that is saved is assumed and was never measured"
    yield claim("published_savings", "", sentence, (money,), "pipeline", against=why or reason)
