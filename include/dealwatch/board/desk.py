"""Where answers are taken in: one write each, in a hurry, and what a page may show of an alert."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import OperationalError

from dealwatch import migrations
from dealwatch.alerts.episodes.answers import FEEDBACK, Answer, Recorded, record
from dealwatch.alerts.speaking.choices import Choice, Chosen, choice_of, choose, unsubscribe
from dealwatch.crm.events import Event
from dealwatch.delivery.messages import Message
from dealwatch.delivery.wording import CardLines, card_lines, clean, day
from dealwatch.errors import WarehouseDown
from dealwatch.history.waiting import keep_events
from dealwatch.moments import local_day
from dealwatch.settings import Settings
from dealwatch.tables import alerts, deliveries, owners
from dealwatch.warehouse import connect, reading, writing

PATIENCE_SECONDS = 2  # Slack gives an end-point three
_NAME_LENGTH = 60


@dataclass(frozen=True)
class Desk:
    """What one process of the web server answers with."""

    settings: Settings
    engine: Engine
    now: Callable[[], datetime]
    post: Callable[[str, dict[str, Any]], None]  # to Slack's response_url

    def give(self, answer: Answer) -> Recorded:
        """Keep an answer; raises DecisionRefused, and WarehouseDown while somebody else is writing."""
        with self._writing() as connection:
            return record(connection, answer, settings=self.settings)

    def choose(self, choice: Choice) -> Chosen:
        """Keep how a person wants to be told; raises as `give` does."""
        with self._writing() as connection:
            return choose(connection, choice, settings=self.settings)

    def unsubscribe(self, choice: Choice) -> Chosen:
        """Keep a mail program's wish for less; raises as `give` does."""
        with self._writing() as connection:
            return unsubscribe(connection, choice, settings=self.settings)

    def keep(self, source: str, events: Sequence[Event]) -> int:
        """Keep what a CRM told; how much of it is new. Raises WarehouseDown as `give` does."""
        with _hurried(), writing(self.engine) as connection:
            return keep_events(connection, source, events, now=self.now())

    def chosen(self, recipient: str) -> Choice:
        with self.reading() as connection:
            return choice_of(connection, recipient, self.now(), settings=self.settings)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with _hurried(), reading(self.engine) as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        # A fold that read the answers before this one came would overwrite what it changed.
        with _hurried(), writing(self.engine, alone="fold") as connection:
            yield connection


def open_desk(
    settings: Settings, *, now: Callable[[], datetime], post: Callable[[str, dict[str, Any]], None]
) -> Desk:
    """A desk on the settings' warehouse; raises NotReady or WarehouseDown when that is of no use yet."""
    return Desk(settings, open_warehouse(settings), now, post)


def open_warehouse(settings: Settings) -> Engine:
    """The settings' warehouse for a hurry; raises as `open_desk` does."""
    engine = connect(settings, patience_seconds=PATIENCE_SECONDS)
    try:
        migrations.check(engine)
    except Exception:
        engine.dispose()
        raise
    return engine


@contextmanager
def _hurried() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        raise WarehouseDown(
            "dealwatch is working on this morning's alerts. Nothing was noted; please try again in a minute."
        ) from error


@dataclass(frozen=True)
class Told:
    """A message that was sent, as far as an answer to it needs to know."""

    recipient: str
    message: Message


def told_by(connection: Connection, delivery_id: str) -> Told | None:
    """The message of a delivery; none when its row is gone."""
    c = deliveries.c
    row = connection.execute(select(c.recipient, c.message).where(c.delivery_id == delivery_id)).one_or_none()
    return None if row is None else Told(row.recipient, Message.model_validate(row.message))


def card_of(told: Told | None, fingerprint: str) -> CardLines | None:
    """The deal that an alert is about, as the message told of it."""
    cards = told.message.cards if told else ()
    found = [card for card in cards if card.fingerprint == fingerprint] or list(cards)
    return card_lines(found[0]) if len(found) == 1 else None


def over_since(connection: Connection, fingerprint: str, kind: str, *, settings: Settings) -> str:
    """Why there is nothing left to answer, in a sentence; empty while there is."""
    of_alert = select(alerts.c.resolved_at, alerts.c.resolution).where(alerts.c.fingerprint == fingerprint)
    row = connection.execute(of_alert.order_by(alerts.c.opened_at.desc()).limit(1)).one_or_none()
    if row is None:
        return "This alert is no more: the data it came from was mended since."
    if row.resolved_at is None or kind in FEEDBACK:
        return ""
    cause = (row.resolution or "cleared").replace("_", " ")
    return f"This alert is over since {day(local_day(row.resolved_at, settings))}: {cause}."


def name_of(connection: Connection, person: str) -> str:
    """How a person is called: by the CRM's name, else as they were addressed."""
    name = connection.execute(select(owners.c.name).where(owners.c.owner_id == person)).scalar()
    return clean(name or person, _NAME_LENGTH)


def owner_in_slack(connection: Connection, user_id: str) -> str | None:
    """The owner whose Slack user id it is."""
    found = select(owners.c.owner_id).where(owners.c.slack_user_id == user_id).order_by(owners.c.owner_id)
    return connection.execute(found.limit(1)).scalar()
