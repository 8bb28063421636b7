"""Why managers were, or were not, told of a stage or segment, by the newest review of a day."""

from datetime import date

from sqlalchemy import Connection, select

from dealwatch.alerts.reasons import REASONS
from dealwatch.alerts.trends.folding import is_trend_morning
from dealwatch.delivery.wording import day
from dealwatch.moments import end_of_day, local_day, morning_of
from dealwatch.settings import Settings
from dealwatch.tables import alert_events, deliveries, tellings, trends
from dealwatch.warehouse import rows_of


def explained(connection: Connection, subject: str, on: date, settings: Settings) -> str | None:
    """The answer of a subject, as `stage: Proposal`; None when no review has looked at such a one."""
    c = trends.c
    until = end_of_day(morning_of(on, settings), settings)
    mine = select(trends).where(c.subject == subject)
    reviewed = rows_of(connection, mine.where(c.as_of < until).order_by(c.as_of.desc()))
    # A week may be reviewed again on another day; alerts speak by Mondays' mornings alone.
    row = next((one for one in reviewed if is_trend_morning(one.as_of, settings)), None)
    if row is None:
        is_known = connection.execute(mine.limit(1)).first() is not None
        return f"{subject}: no review had looked at it by {day(on)}.\n" if is_known else None
    lines = [f"{subject}, by the review of {day(local_day(row.as_of, settings))}:", f"  {_state(row)}"]
    said = (
        select(deliveries.c.recipient, deliveries.c.channel, deliveries.c.state, tellings.c.kind)
        .join(tellings, tellings.c.delivery_id == deliveries.c.delivery_id)
        .where(tellings.c.fingerprint == row.fingerprint, tellings.c.as_of == row.as_of)
        .order_by(deliveries.c.recipient)
    )
    for one in rows_of(connection, said):
        lines.append(f"  {one.recipient}, as {one.kind}: {one.state.replace('_', ' ')}, by {one.channel}")
    e = alert_events.c
    events = select(e.kind, e.reason).where(e.fingerprint == row.fingerprint, e.at == row.as_of)
    for one in rows_of(connection, events.order_by(e.kind)):
        is_held = one.kind == "held"
        lines.append(f"  not said, {one.reason}: {REASONS[one.reason]}" if is_held else f"  {one.kind}")
    return "\n".join(lines) + "\n"


def _state(row: object) -> str:
    """How it stood that week."""
    level, refusal = getattr(row, "level", None), getattr(row, "refusal", "")
    if level == 1:
        return str(getattr(row, "sentence", ""))
    if level == 0:
        return "Still worse than the year before: what is open stays open, and nothing is said."
    return f"Nothing to alert on{': ' + refusal if refusal else ', by the bounds of an alert'}."
