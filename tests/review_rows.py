"""Deals from a few words, known at a moment, for tests of the review's figures.

`ended("2026-01-01", "2026-01-21", won=True, amount="100")` and `begun("2026-02-01", amount="50")` are deals;
`known_at("2026-03-01", [...])` is what was known of them, each told as it happened.
"""

from collections.abc import Sequence

from dealwatch.insights.known import Known, known_of
from dealwatch.knobs import Pipeline
from dealwatch.settings import Settings
from ledger_rows import Steps, at, deal, ledger

UTC_SETTINGS = Settings(time_zone="UTC", pipeline=Pipeline(stages=("A", "B", "C"), segment_by=()))
Life = dict[str, Steps]


def begun(created: str, **fields: str | Steps) -> Life:
    """An open deal."""
    return deal(created, **{"stage": "A", **fields})


def ended(created: str, closed: str, *, won: bool, **fields: str | Steps) -> Life:
    """A closed deal."""
    return begun(created, outcome=[(closed, "won" if won else "lost")], **fields)


def known_at(moment: str, lives: Sequence[Life], *, settings: Settings = UTC_SETTINGS) -> Known:
    """What was known at a moment; deals are called d0, d1 and so on, in order."""
    named = {f"d{number:05}": life for number, life in enumerate(lives)}
    return known_of(ledger(named), at(moment), settings)
