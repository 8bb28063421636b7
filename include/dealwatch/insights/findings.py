"""What wants to be said of what moved: each claim one sentence, with the chance that chance alone made it.

Importance is in points of the win rate, so that causes of different kinds rank by how much of the change each
explains: the mix by its part of the bridge, a stage by the deals its change of hazard cost, a segment by its
impact.
"""

from collections.abc import Iterator
from typing import Any

import polars as pl

from dealwatch.insights.actions import action_of
from dealwatch.insights.chances import p_of, p_of_ratio, p_of_shares
from dealwatch.insights.cycles import change_between
from dealwatch.insights.intake import unsteady
from dealwatch.insights.lint import FEWEST, Claim
from dealwatch.insights.looked import Compared, Looked
from dealwatch.insights.measure import Measure, measures_of
from dealwatch.insights.movement import Bridge
from dealwatch.insights.review import Audience, Finding
from dealwatch.insights.segments import UNKNOWN
from dealwatch.insights.stages import HAZARD, HAZARD_CHANGE
from dealwatch.insights.usual_mix import mix_at_usual_rates
from dealwatch.insights.wording import called, percent, shown

BLANK = "\u2026"
WORDS = {
    "industry": "industry",
    "region": "region",
    "product_type": "product type",
    "lead_source": "lead source",
    "amount_band": "deal size",
    "last_stage": "last stage",
}


def claim(
    kind: str,
    subject: str,
    sentence: str,
    measures: tuple[Measure, ...],
    picture: str,
    *,
    importance: float = 0.0,
    p: float | None = None,
    audience: Audience = "everyone",
    explains: tuple[str, ...] = (),
    against: str = "",
    is_better: bool = False,
) -> Claim:
    """A finding with the suggestion of its kind, ready to be judged."""
    action, evidence = action_of(kind, is_better=is_better)
    found = Finding(
        kind, subject, sentence, measures, picture, action, evidence, importance, audience=audience, p=p
    )
    return Claim(found, explains, against)


def said(measure: Measure, currency: str = "", *, of: str = "deals") -> str:
    """A figure for a sentence; one that has no interval is left blank, and the claim is refused for it."""
    return shown(measure, currency, of=of) if measure.is_known else BLANK


def moved(looked: Looked) -> list[Claim]:
    """Every claim that something changed between the two windows."""
    return [*_totals(looked), *_mixes(looked), *_segments(looked), *stage_claims(looked), *_rest(looked)]


def _totals(looked: Looked) -> Iterator[Claim]:
    """The change of the win rate: by count, by money, and by count against a year before."""
    told = (
        ("win_rate_moved", looked.by_count[0], "The win rate"),
        ("win_rate_moved_by_money", looked.by_money[0], "The win rate by money"),
        ("win_rate_moved_in_a_year", looked.year_ago[0], "Against a year before, the win rate"),
    )
    for kind, bridge, what in told:
        change = bridge.change
        sentence = (
            f"{what} moved by {said(change)}, from the {bridge.before.name} to the {bridge.after.name}."
        )
        measures: tuple[Measure, ...] = (change,)
        if kind == "win_rate_moved":
            rates = looked.rates["before"], looked.rates["window"]
            sentence = (
                f"The win rate moved by {said(change)}: from {said(rates[0])} to {said(rates[1])} in the "
                f"{bridge.after.name}."
            )
            measures = (change, *rates)
        bent = looked.bent["before"] or unsteady(*looked.intake["", ""])
        if kind == "win_rate_moved_in_a_year":
            bent = looked.bent["year before"]
        size, p = abs(change.value or 0.0), p_of(change)
        better = (change.value or 0.0) > 0
        yield claim(
            kind, "", sentence, measures, "win_rate", importance=size, p=p, against=bent, is_better=better
        )


def _mixes(looked: Looked) -> Iterator[Claim]:
    """For each dimension, that other deals closed than before; and that others came, in the newest quarter.

    By close date both accounts have to hold: the bridge's, and that at usual rates, which says how much.
    """
    for kind, bridge in (
        *(("mix_shift", one) for one in looked.by_count),
        *(("mix_of_created", one) for one in looked.by_creation),
    ):
        if bridge.cells.height == 1:  # a column with one value, or none, is no account of anything
            continue
        mix, word = bridge.mix, WORDS[bridge.by]
        grown = _grown(bridge)
        if grown is None:
            sentence = f"The mix by {word} moved the win rate by {said(mix)}"
        else:
            name, before, after = grown
            # Of a share: where twice as many close, a kind can close more often and be less of them.
            way, share = "rose" if after > before else "fell", f"{percent(after)} of closed deals"
            came = ""
            if kind == "mix_of_created":
                came = f" of the deals created in {bridge.before.name} that have closed"
                share = f"{percent(after)} of those of {bridge.after.name}"
            sentence = f"{called(name)} deals {way} from {percent(before)}{came} to {share}: the mix by "
            sentence += f"{word} moved the win rate by {said(mix)}"
        measures: tuple[Measure, ...] = (mix,)
        p, size = p_of(mix), abs(mix.value or 0.0)
        if kind == "mix_shift":
            usual = mix_at_usual_rates(bridge, looked.segments)
            sentence += f"; at the year's usual win rates, by {said(usual)}"
            measures, p, size = (mix, usual), less_sure(p, p_of(usual)), abs(usual.value or 0.0)
        bent = looked.bent["before"] if kind == "mix_shift" else ""
        yield claim(kind, bridge.by, f"{sentence}.", measures, "bridge", importance=size, p=p, against=bent)


def _grown(bridge: Bridge) -> tuple[str, float, float] | None:
    """The segment whose share changed the win rate most by itself, and its shares before and after."""
    rows = bridge.cells.sort(pl.col("mix").abs(), "segment", descending=[True, False]).head(1)
    return None if rows.is_empty() else (rows["segment"][0], rows["w0"][0], rows["w1"][0])


def _segments(looked: Looked) -> Iterator[Claim]:
    """For each segment, that it fared otherwise than before."""
    for bridge in looked.by_count:
        named = bridge.cells.filter(pl.col("segment") != UNKNOWN)
        for row in named.iter_rows(named=True) if bridge.cells.height > 1 else ():
            n = row["n0"] + row["n1"]
            impact = _impact(row, n)
            rates = f"{rate_of(row['r0'], row['n0'])} to {rate_of(row['r1'], row['n1'])}"
            sentence = (
                f"{called(row['segment'])} ({WORDS[bridge.by]}) moved the win rate by {said(impact)}: "
                f"its own went from {rates}."
            )
            is_mix = abs(row["mix"]) > abs(row["rate"])
            in_mix = "it is told as a part of the mix" if is_mix else ""
            came = looked.intake.get((bridge.by, row["segment"]), (0, 0))
            yield claim(
                "segment_moved",
                f"{bridge.by}: {row['segment']}",
                sentence,
                (impact,),
                "bridge",
                importance=abs(row["impact"]),
                p=row["p"],
                against=few_in_one(row) or in_mix or looked.bent["before"] or unsteady(*came),
                is_better=row["impact"] > 0,
            )


def _impact(row: dict[str, Any], n: int) -> Measure:
    low, high = row["impact_low"], row["impact_high"]
    why = "too few deals for an interval" if low is None else ""
    return Measure("segment_impact", row["impact"], n, low=low, high=high, why=why, kind="points")


def few_in_one(row: dict[str, Any]) -> str:
    """Why a segment's change is an anecdote; empty when enough of its deals closed in both times."""
    least = min(row["n0"], row["n1"])
    deals = "1 deal" if least == 1 else f"{least} deals"
    why = f"{deals} closed in one of the two times; below {FEWEST} a share is an anecdote"
    return why if least < FEWEST else ""


def rate_of(rate: float | None, n: int) -> str:
    """`41.2% of 310`."""
    return "none" if rate is None else f"{percent(rate)} of {n:,}"


def stage_claims(looked: Compared) -> Iterator[Claim]:
    """For each stage, that more or fewer of the deals that enter it are lost from it."""
    before, after = (
        {row["stage"]: row for row in rows.filter(pl.col("name") == HAZARD).iter_rows(named=True)}
        for rows in (looked.stages.before, looked.stages.after)
    )
    if not looked.known.stages:
        none = Measure(**looked.stages.change.select(_MEASURE).row(0, named=True))
        yield claim("stage_leak", "", "Some stage loses more of its deals than before.", (none,), "stages")
        return
    closed = max(looked.rates["window"].n, 1)
    held = {} if looked.same_mix is None else _by_stage(looked.same_mix[1])
    for row in looked.stages.change.filter(pl.col("name") == HAZARD_CHANGE).iter_rows(named=True):
        stage, change = row["stage"], Measure(**{key: row[key] for key in _MEASURE})
        value, entries = change.value or 0.0, after.get(stage, {}).get("n") or 0
        alike = held.get(stage, change)
        p = row["p"] if stage not in held else less_sure(row["p"], p_of(alike))
        first, then = (one.get(stage, {}).get("value") for one in (before, after))
        kind = "stage_leak" if value > 0 else "stage_tightened"
        hundreds = f"{100 * (first or 0):.1f} to {100 * (then or 0):.1f} of 100 deals that entered"
        way = "More" if value > 0 else "Fewer" if value < 0 else "As many"
        sentence = (
            f"{way} deals are lost from {called(stage)}: from {hundreds}, a change of "
            f"{said(change, of='entries')}"
        )
        if stage in held:
            assert looked.same_mix is not None
            sentence += f"; at the same mix by {WORDS[looked.same_mix[0]]} {said(alike, of='entries')}"
        measures = (change, alike) if stage in held else (change,)
        # So many points of the win rate are the losses that the change of hazard makes among its entries.
        lost = min(abs(value), abs(alike.value or 0.0)) * entries / closed
        came = before.get(stage, {}).get("n") or 0, entries
        bent = looked.bent["before"] or unsteady(*came, what="deals entered it")
        against = bent if change.is_known else ""
        yield claim(kind, stage, f"{sentence}.", measures, "stages", importance=lost, p=p, against=against)


def _by_stage(rows: pl.DataFrame) -> dict[str, Measure]:
    return dict(zip(rows["stage"].to_list(), measures_of(rows), strict=True))


def less_sure(first: float | None, second: float | None) -> float | None:
    """The larger p-value: a claim has to hold both ways."""
    return None if first is None or second is None else max(first, second)


_MEASURE = ("name", "value", "n", "n_eff", "low", "high", "why", "kind")


def _rest(looked: Looked) -> Iterator[Claim]:
    """Cycle times by creation, and the share of due deals that slipped."""
    ripe = [one for one in looked.cohorts if one.mean.value is not None]
    if len(ripe) > 1:
        first, then = ripe[-2:]
        change = change_between(first, then)
        sentence = (
            f"Deals created in {then.quarter.name} take {said(then.mean)} to close, those of "
            f"{first.quarter.name} {said(first.mean)}: {said(change)}."
        )
        measures = (change, then.mean, first.mean)
        shorter, p = (change.value or 0.0) < 0, p_of_ratio(change)
        yield claim("cycle_moved", "", sentence, measures, "cohorts", p=p, is_better=shorter)
    before, after = looked.slips_before, looked.slips
    rates = before.slip_rate, after.slip_rate
    sentence = f"Of the deals due in each time, {said(rates[1])} slipped, against {said(rates[0])} before."
    fewer = (rates[1].value or 0.0) < (rates[0].value or 0.0)
    yield claim("slips_moved", "", sentence, rates[::-1], "slips", p=p_of_shares(*rates), is_better=fewer)
