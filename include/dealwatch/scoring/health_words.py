"""What a row of `model_health` says in a sentence, and what the findings of a week propose."""

from collections.abc import Sequence
from typing import Protocol

from dealwatch.scoring.realised import OVERALL
from dealwatch.scoring.stability import CHANCE

_NUMBERS = {
    "auc": "AUC",
    "brier": "Brier score",
    "brier_skill": "Brier skill",
    "slope": "Calibration slope",
    "bias": "Share lost less mean p_loss",
}
_NAMED_AT_MOST = 5


class Row(Protocol):
    """The parts of a row that its sentence is made of."""

    @property
    def kind(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def value(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...
    @property
    def n(self) -> int: ...
    @property
    def expected(self) -> float | None: ...
    @property
    def threshold(self) -> float | None: ...
    @property
    def q(self) -> float | None: ...
    @property
    def is_finding(self) -> bool: ...


def stability_words(row: Row) -> str:
    """How far a column's spread over the open deals is from what it was, and whether chance explains it."""
    measured = (
        f"PSI {row.value:.3f} on {row.n:,} deals, and chance passes {row.threshold:.3f} once in a hundred"
    )
    return f"{row.subject} {_verdict(row, 'has moved', 'is as it was')}: {measured}."


def realised_words(row: Row) -> str:
    """What came true, beside what the trial promised."""
    of = "" if row.subject == OVERALL else f" in {row.subject}"
    interval = "" if row.low is None else f" ({row.low:.3f} to {row.high:.3f})"
    measured = f"{_NUMBERS[row.kind]}{of} came out at {row.value:.3f}{interval} on {row.n:,} deals"
    if row.expected is None or row.q is None:
        return f"{measured}."
    worse = _verdict(row, "worse than chance explains", "within what chance explains")
    return f"{measured}; {row.expected:.3f} was promised: {worse}."


def _verdict(row: Row, yes: str, no: str) -> str:
    if row.is_finding:
        return f"{yes}, two weeks in a row"
    return f"{yes} this week, not yet two in a row" if row.q is not None and row.q <= CHANCE else no


def proposal(reasons: Sequence[str], moved: Sequence[str]) -> str:
    """What a week comes to: sentences that are reasons to retrain, and what else moved, by name."""
    named = ", ".join(moved[:_NAMED_AT_MOST]) + (" and others" if len(moved) > _NAMED_AT_MOST else "")
    if reasons:
        return f"Retrain: {' '.join(reasons)}" + (f" What else moved: {named}." if moved else "")
    if moved:
        return f"No retrain is proposed: {named} moved, but predictions and outcomes hold."
    return "No retrain is proposed: nothing moved beyond what chance explains."
