"""Whether a message in the outbox was answered before it left: nobody is reminded of what they dealt with."""

from datetime import datetime

from sqlalchemy import ColumnElement, and_, case, exists, or_

from dealwatch.tables import alert_actions, alerts, deliveries, tellings

_ASKS = ("reminder", "unanswered")  # what asks for an answer is void with anybody's


def is_answered(now: datetime) -> ColumnElement[bool]:
    """Whether all that a message has to tell was answered since its morning.

    Somebody's answer spares everyone the reminder, and spares the deal's owner the news. What others are told
    for the first time they still hear. Of a message about one alert, that alert counts and not its riders.
    """
    is_open = or_(alerts.c.resolved_at.is_(None), alerts.c.resolved_at > now)
    is_lead = or_(deliveries.c.fingerprint.is_(None), tellings.c.fingerprint == deliveries.c.fingerprint)
    told = and_(
        tellings.c.delivery_id == deliveries.c.delivery_id,
        is_lead,
        alerts.c.fingerprint == tellings.c.fingerprint,
        is_open,
    )
    is_spared = or_(tellings.c.kind.in_(_ASKS), alerts.c.owner_id == deliveries.c.recipient)
    answers = exists().where(alert_actions.c.fingerprint == tellings.c.fingerprint, _holds(now))
    has_answer = answers.correlate(deliveries, tellings)  # two selects away from `deliveries`
    return and_(
        deliveries.c.kind != "update",
        exists().where(told),
        ~exists().where(told, ~and_(is_spared, has_answer)),
    )


def answered_as(now: datetime) -> ColumnElement[str]:
    """The reason of a message that was answered before it left."""
    snoozed = exists().where(
        tellings.c.delivery_id == deliveries.c.delivery_id,
        alert_actions.c.fingerprint == tellings.c.fingerprint,
        alert_actions.c.kind == "snoozed",
        _holds(now),
    )
    return case((snoozed, "snoozed"), else_="acknowledged")


def _holds(now: datetime) -> ColumnElement[bool]:
    """An answer given after the message's morning; the morning itself knew the earlier ones."""
    return and_(
        alert_actions.c.at > deliveries.c.as_of, alert_actions.c.at <= now, alert_actions.c.until > now
    )
