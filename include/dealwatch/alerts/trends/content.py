"""What a message about a stage or segment says. Pure: a row of `trends` in, a message out."""

from collections.abc import Mapping
from typing import Any

from dealwatch.alerts.speaking.content import local_time
from dealwatch.alerts.speaking.news import first_clause
from dealwatch.alerts.speaking.occasions import Occasion
from dealwatch.alerts.trends.rule import NOT_MEASURED, TREND_RULES, name_of
from dealwatch.delivery.messages import Message, TrendCard
from dealwatch.delivery.wording import NAME_LENGTH, clean
from dealwatch.settings import Settings

_NTH = ("First", "Second", "Third", "Fourth", "Fifth")


def trend_message(
    row: Mapping[str, Any], record: str, *, nth: int, occasion: Occasion, looked_at: int, settings: Settings
) -> Message:
    """The message of a row that holds; nth: which reminder it is, 0 of none."""
    rule, name = TREND_RULES[row["rule"]], name_of(row["subject"])
    card = TrendCard(
        subject=row["subject"],
        fingerprint=row["fingerprint"],
        name=name,
        news=_reminder(nth, settings),
        headline=row["sentence"],
        record=record,
        action=rule.action,
        action_evidence=NOT_MEASURED,
    )
    start = "Reminder, " if nth else ""
    told = (
        f"Data as of {local_time(occasion.morning, settings)}",
        occasion.note,
        "the newest 13 weeks against the 13 before",
        f"q {row['q']:.2g} among {looked_at} stages and segments",
        f"rule {rule.name}",
    )
    return Message(
        kind="trend",
        title=f"{start}{clean(name, NAME_LENGTH)}: {first_clause(rule.action)}",
        cards=(card,),
        footer=" · ".join(part for part in told if part),
    )


def _reminder(nth: int, settings: Settings) -> str:
    if not nth:
        return ""
    words = f"{_NTH[nth - 1]} reminder" if nth <= len(_NTH) else f"Reminder {nth}"
    return f"{words}, the last one" if nth == settings.alerts.max_reminders else words
