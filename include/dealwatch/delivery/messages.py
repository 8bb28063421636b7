"""A message is data until a channel renders it: what to say, never how it looks."""

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict


class _Value(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DealCard(_Value):
    """One deal in a message; every text in it may come from the CRM and is hostile until escaped."""

    deal_id: str
    name: str
    account: str | None = None
    amount: float | None = None
    currency: str = "EUR"
    stage: str
    close_date: date | None = None
    owner: str | None = None
    score: int
    band: str
    headline: str  # what happened, as the rule says it
    reasons: tuple[str, ...] = ()  # at most three, each with its points
    record: str = ""  # the rule's track record, or that it has none
    action: str = ""  # one suggestion
    url: str | None = None


class Message(_Value):
    """What one recipient is told at once."""

    kind: Literal["alert", "digest", "operations"]
    title: str  # the first line: what to do
    intro: str = ""
    cards: tuple[DealCard, ...] = ()
    more: int = 0  # deals that did not fit
    footer: str = ""  # data as of, model and rules that spoke
