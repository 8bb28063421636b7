"""Composes the review of a week or a month from what was known at a moment, and from nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import polars as pl

from dealwatch.insights import figures
from dealwatch.insights.findings import moved
from dealwatch.insights.forecast import came
from dealwatch.insights.known import Known
from dealwatch.insights.lint import CHANCE, Claim, judged
from dealwatch.insights.looked import Looked, look
from dealwatch.insights.measure import Measure, measured
from dealwatch.insights.overlap import told_once
from dealwatch.insights.periods import periods
from dealwatch.insights.published import published
from dealwatch.insights.review import Finding, Period, Review
from dealwatch.insights.standing import nothing_moved, standing

# In which order findings are read; within a line, what explains most comes first.
ORDER: tuple[tuple[str, ...], ...] = (
    ("win_rate",),
    ("win_rate_moved", "nothing_moved"),
    ("mix_shift", "stage_leak", "stage_tightened", "segment_moved", "weak_rep"),
    ("segments_differ",),
    ("win_rate_moved_by_money", "win_rate_moved_in_a_year", "mix_of_created", "cycle_moved", "slips_moved"),
    ("seasons",),
    ("forecast",),
    ("slipped",),
    ("no_next_step", "stalled", "overdue", "concentration"),
    ("quarter",),
)
_PLACE = {kind: place for place, kinds in enumerate(ORDER) for kind in kinds}
_CAUSE = _PLACE["mix_shift"]
CAUSES_FIRST = 3  # of the five sentences


def compose(
    known: Known,
    period: Period,
    *,
    origins: Sequence[Known] | None = None,
    forest: Mapping[str, float] | None = None,
) -> Review:
    """The newest review of a period that could be made at the moment of what is known.

    origins, forest: what `look` takes of the scores; without them the model's forecast has no record.
    """
    times = periods(known.as_of, period, known.settings)
    looked = look(known, times, origins=origins, forest=forest)
    return composed(looked)


def composed(looked: Looked) -> Review:
    """The review of what was looked at."""
    known, times = looked.known, looked.times
    said, refused = _findings(looked)
    return Review(
        as_of=known.as_of,
        period=times.period,
        span=times.span,
        window=times.window,
        before=times.before,
        headline=headline(looked),
        findings=ranked([_with_doubt(one, refused) if one.kind == "win_rate" else one for one in said]),
        refused=tuple(refused),
        figures=frames(looked),
        currency=looked.currency,
        caveats=tuple(caveats(looked)),
        footer=footer(looked, len(said), len(refused)),
    )


def _findings(looked: Looked) -> tuple[list[Finding], list[Finding]]:
    """What is said and what is refused."""
    changes = moved(looked)
    claims = [_without_money(one, looked.no_money) for one in (*standing(looked), *published(looked))]
    said, refused = judged([*changes, *claims])
    said, again = told_once(said, looked.known, looked.year)
    refused += again
    kinds = {claim.finding.kind for claim in changes}
    compared = sum(one.q is not None and one.kind in kinds for one in (*said, *refused))
    if compared and not any(one.kind in kinds for one in said):
        calm, no_calm = judged([nothing_moved(looked, compared)])
        return said + calm, refused + no_calm
    if any(one.kind == "win_rate_moved" for one in said):  # which has the level in it
        said = [one for one in said if one.kind != "win_rate"]
    return said, refused


def _with_doubt(level: Finding, refused: Sequence[Finding]) -> Finding:
    """Two levels side by side read as a change: the same sentence says that they are none, and why."""
    why = next((one.refusal for one in refused if one.kind == "win_rate_moved"), "")
    if not why or len(level.measures) == 1:
        return level
    doubt = "chance explains the difference" if why.startswith(CHANCE) else f"not to be compared: {why}"
    return replace(level, sentence=f"{level.sentence.rstrip('.')}; {doubt}.")


def _without_money(claim: Claim, why: str) -> Claim:
    """Money of some deals may be of one currency; a reader who sees it takes it for that of all."""
    is_money = any(one.kind.startswith("money") for one in claim.finding.measures)
    return replace(claim, against=claim.against or why) if is_money else claim


def ranked(said: Sequence[Finding]) -> tuple[Finding, ...]:
    """By what they explain of the change; then levels, then what is at risk and what will come.

    Causes beyond the first few come behind one sentence of each other sort, so that the five at the top
    are not causes alone: with few causes they tell what is at risk and what will come too.
    """
    ordered = sorted(said, key=lambda one: (_PLACE[one.kind], -one.importance, one.subject))
    seen: dict[int, int] = {}
    behind = []
    for found in ordered:
        place = _PLACE[found.kind]
        seen[place] = seen.get(place, 0) + 1
        behind.append(seen[place] > (CAUSES_FIRST if place == _CAUSE else 1))
    return tuple(
        one for late in (False, True) for one, is_late in zip(ordered, behind, strict=True) if is_late == late
    )


def headline(looked: Looked) -> tuple[Measure, ...]:
    """The named figures at the top: how much is won, how fast, what is open and what will come."""
    cohort = next((one.mean for one in reversed(looked.cohorts) if one.mean.value is not None), None)
    told = looked.forecast
    return (
        looked.rates["window"],
        looked.weighted["window"],
        looked.by_count[0].change,
        cohort or looked.cohorts[-1].mean,
        looked.pace.rem_exposure,
        looked.pace.velocity,
        looked.pace.pvs,
        told.rapv.value,
        looked.health.ratio,
        looked.health.coverage,
        looked.concentration.effective_deals,
        looked.slips.slip_rate,
        told.this_quarter.total,
    )


def totals(looked: Looked) -> pl.DataFrame:
    """Figures of all deals together: of (which time), then a measure."""
    rows = [(of, one) for told in (looked.rates, looked.weighted) for of, one in told.items()]
    for of, bridge in (("before", looked.by_count[0]), ("year before", looked.year_ago[0])):
        rows.append((of, bridge.change))
    pace = looked.pace
    plain = (pace.rem, pace.rem_exposure, pace.velocity, pace.pvs, *pace.factors)
    rows += [("year", one) for one in (*plain, pace.rem_published, pace.pvs_published)]
    over, money = came(looked.known)
    rows.append((over.name, money))
    return measured([one for _, one in rows], of=[of for of, _ in rows])


def frames(looked: Looked) -> Mapping[str, pl.DataFrame]:
    """The frames behind the pictures and tables; see `figures`."""
    known, times = looked.known, looked.times
    return {
        "totals": totals(looked),
        "win_rate_series": figures.win_rate_series(known, times),
        "bridge": pl.concat(
            [
                figures.bridge(looked.by_count, "before"),
                figures.bridge(looked.by_money, "before"),
                figures.bridge(looked.year_ago, "year before"),
            ]
        ),
        "stages": looked.stages.frame(),
        "pipeline": figures.pipeline(looked.health, looked.concentration),
        "cohorts": figures.cohorts(known, looked.cohorts),
        "forecast": figures.forecast(looked.forecast),
        "reps": figures.reps(looked.reps),
        "slips": pl.concat(
            [
                figures.slips(looked.slips_before, "before"),
                figures.slips(looked.slips, "window"),
            ]
        ),
        "concentration": figures.largest_deals(known, looked.forecast.chances),
        "drivers": figures.drivers(looked.drivers),
        "forest": figures.forest(looked.drivers),
        "seasons": figures.seasons(looked.seasons),
        "segments": looked.segments,
    }


def caveats(looked: Looked) -> list[str]:
    """What a reader has to know of the data before the figures."""
    known, found = looked.known, []
    if why := looked.no_money:
        found.append(f"Nothing is said of money: {why}.")
    if not known.stages:
        found.append(
            "The source tells no history of stages, so nothing is said of where deals go on or stop."
        )
    if known.open.is_empty():
        found.append("No deal is open, so nothing is said of what will come.")
    elif known.open["p_loss"].null_count() == known.open.height:
        found.append("No open deal has been scored, so the forecast goes by the age of deals alone.")
    unripe = [one for one in looked.cohorts if one.deals and one.mean.value is None]
    if unripe:
        names = ", ".join(one.quarter.name for one in unripe)
        found.append(
            f"Deals created in {names} were not followed for long enough to tell how long they take."
        )
    return found


def footer(looked: Looked, said: int, refused: int) -> str:
    """As of when the review is, of what, and how much of it was refused."""
    known = looked.known
    deals = f"{known.closed.height:,} closed and {known.open.height:,} open deals"
    local = known.as_of.astimezone(known.settings.zone)
    return (
        f"As known at {local:%Y-%m-%d %H:%M} ({known.settings.time_zone}): {deals}. "
        f"Intervals are 95%. Findings said: {said}; refused, each with its "
        f"reason: {refused}."
    )
