"""The judgement of past scores in sentences: what was judged, what that says, and when it says nothing."""

from dealwatch.scoring.evaluate import MOST_OPEN, Report
from dealwatch.scoring.judgement import LEAST
from dealwatch.scoring.quality import Quality, calibration

CLOSE_SLOPE, CLOSE_BIAS = 0.2, 0.03  # off for certain, and yet close to what was said
MANY_OPEN = 0.1  # of the judged mornings' rows; from here on it shows in the numbers


def nothing(report: Report) -> str:
    """Why there is nothing to judge, and what to run."""
    run = f"score --as-of {report.first} --until {report.last} --notify dry"
    if not report.scored:
        return (
            "no scored deal of these mornings has an outcome yet: no scores are stored for them."
            f" Train as of an earlier day, then run\n    python -m dealwatch {run}"
        )
    followed = report.followed
    if followed.rows:
        return (
            f"{followed.rows:,} deal-mornings were scored and followed long enough, and none of those deals"
            " has an outcome yet. Choose earlier mornings."
        )
    told = f"{report.scored:,} deal-mornings were scored, all of them too recent"
    if followed.known_until is None or followed.until is None:
        return f"{told}: the history is too short to say how long outcomes take."
    return (
        f"{told}. Outcomes are known until {followed.known_until:%Y-%m-%d}, and of mornings later than"
        f" {followed.until:%Y-%m-%d} only the deals that ended fast have one; these are the easy ones."
        " Train as of an earlier day, and score mornings up to that date."
    )


def judged_on(report: Report) -> list[str]:
    """Which mornings are judged, what of them has no outcome, and what was left out, in sentences."""
    followed = report.followed
    judged = f"{_many(followed.mornings, 'morning')} with {followed.rows:,} deal-mornings"
    still_open = f"{followed.unresolved:,} of these ({followed.open_share:.1%})"
    said = [f"{judged}; {still_open} are left out, for those deals are still open."]
    if not followed.unresolved:
        said = [f"{judged}; all of those deals have ended."]
    if MANY_OPEN <= followed.open_share:
        said.append(
            "Deals that take long are harder to foretell: once they have ended, expect a little less."
        )
    if followed.recent_mornings and followed.until and followed.known_until:
        said.append(
            f"Left out as too recent: {_many(followed.recent_mornings, 'morning')} after"
            f" {followed.until:%Y-%m-%d}, with {followed.recent_rows:,} deal-mornings. Outcomes are known"
            f" until {followed.known_until:%Y-%m-%d}, and there only the deals that ended fast have one."
        )
    return said


def _many(count: int, of: str) -> str:
    return f"{count:,} {of}{'' if count == 1 else 's'}"


def verdict(report: Report) -> list[str]:
    """What the numbers say, in sentences: the ranking, the probabilities, and which ranks better."""
    main = report.main
    if main is None:
        return []
    first = [report.lacking] if report.lacking else []
    if refused := _no_verdict(report, main.score):
        return [*first, refused]
    best = main.p_loss or main.score
    said = [*first, _on_ranking(main.score)]
    if main.p_loss is None:
        return [*said, "These are scores by rules alone: there is no probability to be judged."]
    said += [_on_skill(best), _on_calibration(best)]
    difference = main.difference
    if difference.auc is not None:
        by = interval(difference.auc, difference.auc_low, difference.auc_high, signed=True)
        winner = {"score": "The score ranks better than p_loss alone", "p_loss": "p_loss alone ranks better"}
        said.append(f"{winner.get(main.better, 'Score and p_loss rank alike')}: AUC {by}.")
    return [sentence for sentence in said if sentence]


def waiting(report: Report) -> list[str]:
    """What to run when mornings were scored by rules alone although a model had passed the gate."""
    if report.waiting is None:
        return []
    version, day = report.waiting
    score = f"score --as-of {max(day, report.first)} --until {report.last} --notify dry"
    return [
        f"Mornings here were scored by rules alone. Model {version} passed the gate and waits for a yes:",
        f"python -m dealwatch card {version}",
        f"python -m dealwatch promote {version} --as-of {day}",
        f"python -m dealwatch {score}",
    ]


def _no_verdict(report: Report, of: Quality) -> str:
    """Why nothing can be concluded; empty when something can."""
    if min(of.won, of.lost) < LEAST:
        return (
            f"No verdict: {_many(of.won, 'won deal')} and {_many(of.lost, 'lost deal')}, and it takes"
            f" {LEAST} of each."
        )
    if report.followed.open_share > MOST_OPEN:
        return (
            f"No verdict: {report.followed.open_share:.0%} of the deal-mornings have no outcome yet, and at"
            f" most {MOST_OPEN:.0%} may lack one. The deals that ended first are the easy ones: the numbers"
            " flatter."
        )
    return ""


def _on_ranking(of: Quality) -> str:
    if of.auc is None or of.auc_low is None or of.auc_high is None:
        return "All of these deals ended alike, so nothing can be said about the ranking."
    if of.auc_low <= 0.5:
        found = interval(of.auc, of.auc_low, of.auc_high)
        return f"No evidence that the score tells losing deals from winning ones: AUC {found}. Believe that."
    high, low = 100 * of.auc_high, 100 * of.auc_low
    return (
        "The score tells losing deals from winning ones: of one of each, the lost one stood higher"
        f" {100 * of.auc:.0f} times in 100 ({low:.0f} to {high:.0f})."
    )


def _on_skill(of: Quality) -> str:
    if of.brier_skill is None or of.brier_skill_low is None or of.brier_skill_high is None:
        return ""
    found = f"Brier skill {interval(of.brier_skill, of.brier_skill_low, of.brier_skill_high, digits=2)}"
    if of.brier_skill_low > 0:
        return f"Its probabilities say more than the mere loss rate: {found}."
    if of.brier_skill_high < 0:
        return f"Its probabilities say less than the mere loss rate: {found}."
    return f"No evidence that its probabilities say more than the mere loss rate: {found}."


def _on_calibration(of: Quality) -> str:
    if of.loss_rate is None or of.bias is None:
        return ""
    fit = calibration(of, near_slope=CLOSE_SLOPE, near_bias=CLOSE_BIAS)
    found = f"slope {interval(of.slope, of.slope_low, of.slope_high, digits=2)}; {_on_bias(of)}"
    faults = [
        *({"low": ["too sure of themselves"], "high": ["more timid than they need be"]}.get(fit.slope, [])),
        *({"low": ["too high"], "high": ["too low"]}.get(fit.bias, [])),
    ]
    if faults:
        return f"They are {' and '.join(faults)}: {found}."
    if "unknown" in (fit.slope, fit.bias) or not fit.is_sure:
        return f"Too few deals to say whether they mean what they say: {found}."
    if "near" in (fit.slope, fit.bias):
        return f"They are close to what they say: {found}."
    return f"They mean what they say: {found}."


def _on_bias(of: Quality) -> str:
    if of.loss_rate is None or of.bias is None or of.bias_low is None or of.bias_high is None:
        return "bias unknown"
    low, high = 100 * of.bias_low, 100 * of.bias_high
    return (
        f"on average {of.loss_rate - of.bias:.1%} was said and {of.loss_rate:.1%} came true"
        f" ({100 * of.bias:+.1f} points, {low:+.1f} to {high:+.1f})"
    )


def band_advice(report: Report) -> list[str]:
    """What the bands are worth: whether riskier ones lose more, and tops that would part the deals better."""
    rates = [band.found.rate for band in report.bands if band.found]
    said = []
    if rates != sorted(rates):
        said.append("A riskier band lost less often than a calmer one: do not read much into the bands.")
    if report.cuts and report.cuts.fault:
        said.append(f"Of all deal-mornings scored, {report.cuts.sentence}")
    return said


def number(value: float | None) -> str:
    """Three digits, or that it is unknown."""
    return "unknown" if value is None else f"{value:.3f}"


def interval(
    value: float | None, low: float | None, high: float | None, *, digits: int = 3, signed: bool = False
) -> str:
    """A value with its 95% interval, or that it is unknown."""
    if value is None:
        return "unknown"
    shape = f"{'+' if signed else ''}.{digits}f"
    ends = "" if low is None or high is None else f" ({low:{shape}} to {high:{shape}})"
    return f"{value:{shape}}{ends}"
