"""What is new about an alert: a word for a list, a sentence for a card, a start for a title. Pure."""

from collections.abc import Sequence
from datetime import date

from dealwatch.alerts.episodes.cooldowns import Telling
from dealwatch.alerts.rules.rule import Rule
from dealwatch.alerts.speaking.decisions import Said
from dealwatch.alerts.speaking.why_now import Past, Reader
from dealwatch.delivery.wording import weekday
from dealwatch.moments import local_day
from dealwatch.settings import Settings

_WORDS = {"new": "New", "escalated": "Escalated", "reminder": "Reminder", "unanswered": "Unanswered"}
_NTH = ("First", "Second", "Third", "Fourth", "Fifth")
_TITLES = {
    "New": "{name}: {action}",
    "Handed over": "Now yours, {name}: {action}",
    "Reopened": "{name} is back: {action}",
    "Escalated": "{name} got worse: {action}",
    "Reminder": "Reminder, {name}: {action}",
    "Unanswered": "{name} is unanswered: {action}",
}


def word_of(said: Said, reader: Reader, past: Past, settings: Settings) -> str:
    """One word: New, Handed over, Reopened, Escalated, Reminder or Unanswered."""
    is_owner = reader[1] == said.standing.owner_id
    if said.kind == "new" and is_owner and said.standing.fingerprint in past.passed_on:
        return "Handed over"
    if said.kind in ("new", "reminder") and _came_back_on(said, reader, past, settings) is not None:
        return "Reopened"
    return _WORDS[said.kind]


def sentence_of(said: Said, rule: Rule, reader: Reader, past: Past, settings: Settings) -> str:
    """Why it is said again, without its full stop; empty for what is said for the first time."""
    told = _heard(said, reader, past)
    word = word_of(said, reader, past, settings)
    if word == "Escalated":
        return f"Escalated: {', '.join(_worse(said, told, rule, settings)) or 'it got worse'}"
    if word == "Reminder":
        count = 1 + sum(one.kind == "reminder" for one in told)
        nth = f"{_NTH[count - 1]} reminder" if count <= len(_NTH) else f"Reminder {count}"
        return f"{nth}, the last one" if count == settings.alerts.max_reminders else nth
    if word == "Reopened":
        back = _came_back_on(said, reader, past, settings)
        return f"Reopened: it was resolved, and is back since {weekday(back)}" if back else "Reopened"
    if word == "Unanswered":
        return "Nobody has answered it yet"
    return "Handed over to you" if word == "Handed over" else ""


def title_of(said: Said, name: str, action: str, word: str) -> str:
    """The first line: what to do about which deal. `action` is cut to its first clause."""
    return _TITLES[word].format_map({"name": name, "action": first_clause(action)})


def first_clause(action: str) -> str:
    """`agree a dated next step with the buyer` of a suggestion that goes on; the card has all of it."""
    text = action.strip().rstrip(".")
    ends = [at for mark in (", ", "; ", ". ") if (at := text.find(mark)) > 0]
    clause = text[: min(ends)] if ends and min(ends) >= 12 else text
    is_word = len(clause) > 1 and clause[1].islower()
    return clause[0].lower() + clause[1:] if is_word else clause


def _worse(said: Said, told: Sequence[Telling], rule: Rule, settings: Settings) -> list[str]:
    """What got worse since all earlier messages, as the cooldown sees it."""
    now = said.standing
    parts: list[str] = []
    if not told:
        return parts
    first = told[0].amount
    bar = first * (1 + settings.alerts.amount_escalation_pct / 100)
    if first > 0 and now.amount >= bar and all(one.amount < bar for one in told):
        parts.append(f"amount +{now.amount / first - 1:.0%}")
    if now.is_close_near and not any(one.is_close_near for one in told):
        parts.append(f"closes within {settings.alerts.close_date_near_days} days")
    if now.level > max(one.level for one in told):
        level = rule.at(now.level)
        parts.append(f"level {level.name or level.level}")
    return parts


def _came_back_on(said: Said, reader: Reader, past: Past, settings: Settings) -> date | None:
    """When the alert came back, if the reader was told of it before and not since."""
    back = past.reopened.get(said.standing.alert_id)
    told = _heard(said, reader, past)
    if back is None or not told or local_day(told[-1].as_of, settings) >= back:
        return None
    return back


def _heard(said: Said, reader: Reader, past: Past) -> Sequence[Telling]:
    return past.heard.get(reader, {}).get(said.standing.fingerprint, ())
