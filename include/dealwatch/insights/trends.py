"""Which stages and segments got worse, week by week: what the alerts of managers are folded from.

Every stage and segment has a row each week, so that a later reader can see what was looked at, what stood
against it, and whether what was said of it still held. A row depends on its week alone. It is looked at
weekly and not daily: 13 weeks of closings change by a hundredth in a day, so daily looks would be the same
look again and again, each with its chance of a false alarm.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from math import sqrt
from typing import Any

import polars as pl
from scipy import stats

from dealwatch.alerts.trends.rule import SEGMENT, STAGE
from dealwatch.insights.chances import p_of
from dealwatch.insights.findings import WORDS, claim, few_in_one, less_sure, rate_of, said, stage_claims
from dealwatch.insights.intake import unsteady
from dealwatch.insights.lint import FEWEST, Claim, judged
from dealwatch.insights.looked import Compared
from dealwatch.insights.measure import Measure
from dealwatch.insights.overlap import told_once
from dealwatch.insights.segments import AMOUNT_BAND, UNKNOWN, labelled
from dealwatch.insights.stages import loss_counts
from dealwatch.insights.statistics import Z
from dealwatch.insights.windows import Window, last_days
from dealwatch.insights.wording import called

ALARM = 0.02  # q below which it opens: a fifth of the review's, because it is asked every week
STAYS = 0.10  # p below which the past weeks are still worse than the year before them
LASTS = 0.05  # p below which it is still worse after 13 weeks than what was compared with
_YEAR = timedelta(weeks=52)
_SCHEMA: Mapping[str, Any] = {
    "rule": pl.String,
    "subject": pl.String,
    "level": pl.Int64,  # 1: worse than chance explains; 0: still worse than the year before; null: neither
    "sentence": pl.String,
    "refusal": pl.String,
    "n": pl.Int64,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p": pl.Float64,
    "q": pl.Float64,
    "has_lasted": pl.Boolean,  # still worse than what an alert of 13 weeks ago compared with; null: too few
}


@dataclass(frozen=True)
class _Part:
    """A stage or segment: what was lost of how many in the window, in the year before it, and long before.

    long_before: the 13 weeks that an alert of 13 weeks ago would have compared with.
    """

    rule: str
    subject: str
    claim: Claim
    is_worse: bool
    window: tuple[float, float]
    long_before: tuple[float, float]
    usual: tuple[float, float]


def trends(compared: Compared) -> pl.DataFrame:
    """A row for each stage and segment, by rule and subject; see _SCHEMA.

    All of them are one family of comparisons, in both directions. Of two columns that go together the
    segment that explains more opens.
    """
    parts = [*_stages(compared), *_segments(compared)]
    told, refused = judged([one.claim for one in parts])
    year = last_days(compared.known.as_of, compared.known.settings)
    once, again = told_once(told, compared.known, year)
    found = {(one.kind, one.subject): one for one in (*once, *refused, *again)}
    rows = []
    for part in parts:
        finding = found[part.claim.finding.kind, part.claim.finding.subject]
        first, q = finding.measures[0], finding.q
        opens = finding.state == "said" and part.is_worse and q is not None and q < ALARM
        level = 1 if opens else 0 if is_worse(part.usual, part.window, STAYS) else None
        figure = {name: getattr(first, name) for name in ("n", "value", "low", "high")}
        rows.append(
            {
                "rule": part.rule,
                "subject": part.subject,
                "level": level,
                "sentence": finding.sentence if finding.state == "said" else "",
                "refusal": finding.refusal,
                **figure,
                "p": finding.p,
                "q": q,
                "has_lasted": _has_lasted(part),
            }
        )
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row").sort("rule", "subject")


def _has_lasted(part: _Part) -> bool | None:
    few = min(part.long_before[1], part.window[1]) < FEWEST
    return None if few else is_worse(part.long_before, part.window, LASTS)


def is_worse(before: tuple[float, float], after: tuple[float, float], below: float) -> bool:
    """Whether more of the later ones are bad, and chance alone makes that with a p (one-sided) below."""
    if min(before[1], after[1]) < FEWEST:
        return False
    points, half = _difference(before, after)
    return bool(stats.norm.sf(points * Z / half) < below)


def _difference(before: tuple[float, float], after: tuple[float, float]) -> tuple[float, float]:
    """By how many points the share of bad ones rose, and half of the 95% interval (Agresti and Caffo)."""
    variance = 0.0
    shares = []
    for bad, whole in (before, after):
        bad = min(bad, whole)  # a stage can lose more than entered it lately
        shares.append(bad / whole)
        share = (bad + 1) / (whole + 2)
        variance += share * (1 - share) / (whole + 2)
    return 100 * (shares[1] - shares[0]), 100 * Z * sqrt(variance)


def _stages(compared: Compared) -> Iterator[_Part]:
    known = compared.known
    if not known.stages:
        return
    counts = [loss_counts(known, one) for one in _windows(compared)]
    for told in stage_claims(compared):
        stage = told.finding.subject
        is_leak = told.finding.kind == "stage_leak"
        yield _Part(STAGE, f"stage: {stage}", told, is_leak, *(one[stage] for one in counts))


def _windows(compared: Compared) -> tuple[Window, Window, Window]:
    """The window, the one that ended half a year before it does, and the year before the window."""
    times = compared.times
    long_before = Window(
        "half a year ago", times.before.after - (times.window.after - times.before.after), times.before.after
    )
    usual = Window("the year before", times.window.after - _YEAR, times.window.after)
    return times.window, long_before, usual


def _segments(compared: Compared) -> Iterator[_Part]:
    """Segments of every column but the amount's band, which is the products again where they have prices."""
    for bridge in compared.by_count:
        if bridge.by == AMOUNT_BAND or bridge.cells.height < 2:
            continue
        counts = [_lost_by(compared, bridge.by, one) for one in _windows(compared)]
        rows = bridge.cells.with_columns(
            lost0=(pl.col("n0") * (1 - pl.col("r0").fill_null(1.0))).round(),
            lost1=(pl.col("n1") * (1 - pl.col("r1").fill_null(1.0))).round(),
        )
        whole = rows.select(pl.col("lost0", "n0", "lost1", "n1").sum()).row(0, named=True)
        for row in rows.filter(pl.col("segment") != UNKNOWN).iter_rows(named=True):
            told, is_fall = _fall(compared, bridge.by, row, whole)
            lost = (one.get(row["segment"], (0.0, 0.0)) for one in counts)
            yield _Part(SEGMENT, told.finding.subject, told, is_fall, *lost)


def _fall(
    compared: Compared, by: str, row: Mapping[str, Any], whole: Mapping[str, Any]
) -> tuple[Claim, bool]:
    """That a segment wins less than before, and lost more of its rate than all other deals did."""
    own = _change(row)
    rest = _change({name: whole[name] - row[name] for name in whole})
    p = less_sure(p_of(own), _p_apart(own, rest))
    sentence = (
        f"{called(row['segment'])} ({WORDS[by]}) wins {'less' if (own.value or 0) < 0 else 'more'}: from "
        f"{rate_of(row['r0'], row['n0'])} to {rate_of(row['r1'], row['n1'])}, a change of {said(own)}; all "
        f"other deals changed by {said(rest)}."
    )
    came = compared.intake.get((by, row["segment"]), (0, 0))
    against = few_in_one(dict(row)) or compared.bent["before"] or unsteady(*came)
    size = abs(own.value or 0.0) * row["n1"] / max(whole["n1"], 1)
    told = claim(
        "segment_moved",
        f"{by}: {row['segment']}",
        sentence,
        (own, rest),
        "bridge",
        importance=size,
        p=p,
        against=against,
    )
    return told, (own.value or 0.0) < min(0.0, rest.value or 0.0)


def _change(row: Mapping[str, Any]) -> Measure:
    """The change of a win rate in points."""
    n = int(row["n0"] + row["n1"])
    if not (row["n0"] and row["n1"]):
        return Measure.null("win_rate_change", "none closed in one of the two times", n=n, kind="points")
    lost, half = _difference((row["lost0"], row["n0"]), (row["lost1"], row["n1"]))
    return Measure("win_rate_change", -lost, n, low=-lost - half, high=-lost + half, kind="points")


def _p_apart(first: Measure, second: Measure) -> float | None:
    """That chance alone sets two changes of separate deals so far apart."""
    if first.value is None or second.value is None:
        return None
    halves = [
        (one.high - one.value) for one in (first, second) if one.high is not None and one.value is not None
    ]
    return float(2 * stats.norm.sf(abs(first.value - second.value) * Z / sqrt(sum(h * h for h in halves))))


def _lost_by(compared: Compared, by: str, window: Window) -> dict[str, tuple[float, float]]:
    rows = labelled(compared.known.closed.filter(window.holds("closed_at")), (by,))
    counts = rows.group_by(pl.col("segment").cast(pl.String)).agg(lost=(~pl.col("won")).sum(), n=pl.len())
    return {name: (float(lost), float(n)) for name, lost, n in counts.iter_rows()}
