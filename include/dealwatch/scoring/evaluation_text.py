"""The judgement of past scores in words and in tables for a terminal."""

from dealwatch.scoring.evaluate import Report, Slice
from dealwatch.scoring.evaluation_verdict import (
    band_advice,
    interval,
    judged_on,
    nothing,
    number,
    verdict,
    waiting,
)
from dealwatch.scoring.markdown import plain
from dealwatch.scoring.quality import Quality


def text(report: Report) -> str:
    """The report as lines for a terminal."""
    title = f"Scores from {report.first} to {report.last}, judged on outcomes that came later"
    if not report.pooled:
        lines = [title, f"  nothing to judge: {nothing(report)}", *_waiting_lines(report)]
        return "\n".join(lines) + "\n"
    lines = [title, *(f"  {sentence}" for sentence in judged_on(report)), ""]
    lines += [*(f"  {sentence}" for sentence in verdict(report)), *_waiting_lines(report), ""]
    for part in report.pooled:
        lines += [*_pooled_lines(part), ""]
    lines += ["By band", *table(("band", "deal-mornings", "deals", "share", "ended lost"), band_rows(report))]
    lines += [f"  {advice}" for advice in band_advice(report)] + [""]
    if report.stages:
        lines += ["By stage", *table(STAGE_HEADERS, stage_rows(report)), ""]
    if report.horizons:
        lines += ["Lost within so many days", *table(HORIZON_HEADERS, horizon_rows(report)), ""]
    lines += [
        "AUC: 0.5 is a coin. Brier skill: 0 is always saying the loss rate, 1 is knowing the outcome.",
        "Slope: 1 is a probability to be believed; below 1 it is too sure of itself. Bias: the share lost",
        "less the share that was said. Intervals are 95%, from drawing whole deals anew.",
    ]
    return "\n".join(lines) + "\n"


def _waiting_lines(report: Report) -> list[str]:
    return [f"{'    ' if n else '  '}{line}" for n, line in enumerate(waiting(report))]


def band_rows(report: Report) -> list[tuple[str, ...]]:
    """Rows of the table of bands."""
    rows: list[tuple[str, ...]] = []
    for band in report.bands:
        found = band.found
        if found is None:
            rows.append((band.name, "0", "0", "0%", "unknown"))
        else:
            rate = interval(found.rate, found.rate_low, found.rate_high)
            rows.append((band.name, f"{found.n:,}", f"{found.deals:,}", f"{band.share:.0%}", rate))
    return rows


STAGE_HEADERS = (
    "stage", "method", "rows", "won", "lost", "loss rate", "AUC", "Brier skill", "slope", "ranks better",
)  # fmt: skip


def stage_rows(report: Report) -> list[tuple[str, ...]]:
    """Rows of the table of stages."""
    rows: list[tuple[str, ...]] = []
    for part in report.stages:
        of = part.p_loss or part.score
        counts = (f"{of.rows:,}", f"{of.won:,}", f"{of.lost:,}")
        better = part.better if part.p_loss else ""
        rows.append((part.stage, part.method, *counts, _rate(of, digits=2), *_measures(of), better))
    return rows


HORIZON_HEADERS = ("days", "rows", "deals", "lost within", "AUC", "Brier skill", "slope")


def horizon_rows(report: Report) -> list[tuple[str, ...]]:
    """Rows of the table of horizons."""
    return [
        (str(days), f"{of.rows:,}", f"{of.deals:,}", _rate(of), *_measures(of))
        for days, of in report.horizons
    ]


def _rate(of: Quality, *, digits: int = 3) -> str:
    return interval(of.loss_rate, of.loss_rate_low, of.loss_rate_high, digits=digits)


def _measures(of: Quality) -> tuple[str, str, str]:
    return (
        interval(of.auc, of.auc_low, of.auc_high),
        interval(of.brier_skill, of.brier_skill_low, of.brier_skill_high),
        interval(of.slope, of.slope_low, of.slope_high, digits=2),
    )


def measure_rows(part: Slice) -> list[tuple[str, str]]:
    """Each measure by name with its interval, as the pooled table tells them."""
    score, p = part.score, part.p_loss
    rows = [("AUC of the score", interval(score.auc, score.auc_low, score.auc_high))]
    best = p or score
    if p is not None:
        rows.append(("AUC of p_loss", interval(p.auc, p.auc_low, p.auc_high)))
    names = (("AUC in a morning", "morning_auc"), ("average precision", "average_precision"))
    for told, name in (*names, ("lift, riskiest tenth", "lift")):
        rows.append((told, interval(*(getattr(best, name + end) for end in ("", "_low", "_high")))))
    if p is not None:
        rows.append(("Brier of p_loss", interval(p.brier, p.brier_low, p.brier_high)))
        constant = interval(p.brier_constant, p.brier_constant_low, p.brier_constant_high)
        rows.append(("Brier of a constant", constant))
        rows.append(("Brier skill", interval(p.brier_skill, p.brier_skill_low, p.brier_skill_high)))
        rows.append(("slope", interval(p.slope, p.slope_low, p.slope_high)))
        rows.append(("intercept", interval(p.intercept, p.intercept_low, p.intercept_high)))
        rows.append(("bias", interval(p.bias, p.bias_low, p.bias_high, signed=True)))
        chance = f"{number(p.calibration_error)}, chance up to {number(p.calibration_error_chance)}"
        rows.append(("calibration error", chance))
    return rows


def _pooled_lines(part: Slice) -> list[str]:
    lines = [f"Method {part.method}: {counts_of(part)}"]
    lines += [f"  {name:21}{value}" for name, value in measure_rows(part)]
    return lines if part.p_loss else [*lines, "  rules alone: no probability, hence no Brier score"]


def counts_of(part: Slice) -> str:
    """How much the judgement of a method rests on."""
    of = part.score
    return (
        f"{of.rows:,} deal-mornings of {of.deals:,} deals, {of.won:,} won and {of.lost:,} lost;"
        f" {_rate(of)} of the deal-mornings ended lost"
    )


def table(headers: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Lines of a table: the first column to the left, the others to the right."""
    rows = [tuple(plain(cell) for cell in row) for row in rows]  # names of stages come from the CRM
    widths = [max(len(row[n]) for row in (headers, *rows)) for n in range(len(headers))]
    lines = []
    for first, *others in (headers, *rows):
        cells = [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(others, widths[1:], strict=True))]
        lines.append(("  " + "  ".join(cells)).rstrip())
    return lines
