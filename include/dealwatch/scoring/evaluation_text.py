"""The judgement of past scores in words and in tables for a terminal."""

from dealwatch.scoring.evaluate import Report, Slice
from dealwatch.scoring.markdown import plain
from dealwatch.scoring.quality import Quality


def text(report: Report) -> str:
    """The report as lines for a terminal."""
    title = f"Scores from {report.first} to {report.last}, judged on outcomes that came later"
    if not report.pooled:
        return f"{title}\n  nothing to judge: {nothing(report)}\n"
    lines = [title, f"  {report.unresolved:,} deal-mornings are left out: those deals are still open.", ""]
    lines += [*(f"  {sentence}" for sentence in verdict(report)), ""]
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
        "Slope: 1 is a probability to be believed; below 1 it is too sure of itself. Intervals are 95%.",
    ]
    return "\n".join(lines) + "\n"


def nothing(report: Report) -> str:
    """Why there is nothing to judge, and what to run."""
    if report.scored:
        return (
            f"{report.scored:,} deal-mornings were scored, and none of those deals has an outcome yet."
            " Choose earlier mornings."
        )
    run = f"score --as-of {report.first} --until {report.last} --notify dry"
    return (
        "no scored deal of these mornings has an outcome yet: no scores are stored for them."
        f" Train as of an earlier day, then run\n    python -m dealwatch {run}"
    )


def verdict(report: Report) -> list[str]:
    """What the numbers say, in sentences: the ranking, the probabilities, and which ranks better."""
    main = report.main
    if main is None:
        return []
    best = main.p_loss or main.score
    said = [report.lacking, _on_ranking(main.score)]
    if main.p_loss is None:
        said.append("These are scores by rules alone: there is no probability to be judged.")
        return [sentence for sentence in said if sentence]
    said += [_on_skill(best), _on_slope(best)]
    difference = main.difference
    if difference.auc is not None:
        by = _interval(difference.auc, difference.auc_low, difference.auc_high, signed=True)
        winner = {"score": "The score ranks better than p_loss alone", "p_loss": "p_loss alone ranks better"}
        said.append(f"{winner.get(main.better, 'Score and p_loss rank alike')}: AUC {by}.")
    return [sentence for sentence in said if sentence]


def _on_ranking(of: Quality) -> str:
    if of.auc is None or of.auc_low is None or of.auc_high is None:
        return "All of these deals ended alike, so nothing can be said about the ranking."
    if of.auc_low <= 0.5:
        found = _interval(of.auc, of.auc_low, of.auc_high)
        return f"No evidence that the score tells losing deals from winning ones: AUC {found}. Believe that."
    high, low = 100 * of.auc_high, 100 * of.auc_low
    return (
        "The score tells losing deals from winning ones: of one of each, the lost one stood higher"
        f" {100 * of.auc:.0f} times in 100 ({low:.0f} to {high:.0f})."
    )


def _on_skill(of: Quality) -> str:
    if of.brier_skill is None or of.brier_skill_low is None or of.brier_skill_high is None:
        return ""
    if of.brier_skill_low > 0:
        return f"Its probabilities say more than the mere loss rate: Brier skill {of.brier_skill:.2f}."
    if of.brier_skill_high < 0:
        return f"Its probabilities say less than the mere loss rate: Brier skill {of.brier_skill:.2f}."
    return "No evidence that its probabilities say more than the mere loss rate."


def _on_slope(of: Quality) -> str:
    if of.slope is None or of.slope_low is None or of.slope_high is None:
        return ""
    found = f"slope {_interval(of.slope, of.slope_low, of.slope_high, digits=2)}"
    if of.slope_high < 1:
        return f"They are too sure of themselves: {found}."
    if of.slope_low > 1:
        return f"They are more timid than they need be: {found}."
    return f"They mean what they say: {found}."


def band_advice(report: Report) -> list[str]:
    """What the bands are worth: whether riskier ones lose more, and tops that would part the deals better."""
    rates = [band.found.rate for band in report.bands if band.found]
    said = []
    if rates != sorted(rates):
        said.append("A riskier band lost less often than a calmer one: do not read much into the bands.")
    if report.cuts and report.cuts.fault:
        said.append(f"Of all deal-mornings scored, {report.cuts.sentence}")
    return said


def band_rows(report: Report) -> list[tuple[str, ...]]:
    """Rows of the table of bands."""
    rows: list[tuple[str, ...]] = []
    for band in report.bands:
        found = band.found
        if found is None:
            rows.append((band.name, "0", "0", "0%", "unknown"))
        else:
            rate = _interval(found.rate, found.rate_low, found.rate_high)
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
        rows.append((part.stage, part.method, *counts, number(of.loss_rate), *_measures(of), better))
    return rows


HORIZON_HEADERS = ("days", "rows", "deals", "lost within", "AUC", "Brier skill", "slope")


def horizon_rows(report: Report) -> list[tuple[str, ...]]:
    """Rows of the table of horizons."""
    return [
        (str(days), f"{of.rows:,}", f"{of.deals:,}", number(of.loss_rate), *_measures(of))
        for days, of in report.horizons
    ]


def _measures(of: Quality) -> tuple[str, str, str]:
    return (
        _interval(of.auc, of.auc_low, of.auc_high),
        _interval(of.brier_skill, of.brier_skill_low, of.brier_skill_high),
        _interval(of.slope, of.slope_low, of.slope_high, digits=2),
    )


def measure_rows(part: Slice) -> list[tuple[str, str]]:
    """Each measure by name with its interval, as the pooled table tells them."""
    score, p = part.score, part.p_loss
    rows = [("AUC of the score", _interval(score.auc, score.auc_low, score.auc_high))]
    best = p or score
    if p is not None:
        rows.append(("AUC of p_loss", _interval(p.auc, p.auc_low, p.auc_high)))
    names = (("AUC in a morning", "morning_auc"), ("average precision", "average_precision"))
    for told, name in (*names, ("lift, riskiest tenth", "lift")):
        rows.append((told, _interval(*(getattr(best, name + end) for end in ("", "_low", "_high")))))
    if p is not None:
        rows.append(("Brier of p_loss", f"{number(p.brier)}, a constant {number(p.brier_constant)}"))
        rows.append(("Brier skill", _interval(p.brier_skill, p.brier_skill_low, p.brier_skill_high)))
        rows.append(("slope", _interval(p.slope, p.slope_low, p.slope_high)))
        rows.append(("intercept", _interval(p.intercept, p.intercept_low, p.intercept_high)))
        rows.append(("calibration error", number(p.calibration_error)))
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
        f" {number(of.loss_rate)} of the deal-mornings ended lost"
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


def number(value: float | None) -> str:
    """Three digits, or that it is unknown."""
    return "unknown" if value is None else f"{value:.3f}"


def _interval(
    value: float | None, low: float | None, high: float | None, *, digits: int = 3, signed: bool = False
) -> str:
    if value is None:
        return "unknown"
    shape = f"{'+' if signed else ''}.{digits}f"
    ends = "" if low is None or high is None else f" ({low:{shape}} to {high:{shape}})"
    return f"{value:{shape}}{ends}"
