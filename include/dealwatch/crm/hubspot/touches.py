"""Touches of deals from HubSpot's activities: when, of which kind, which way; nothing of what was said.

What is still to come has touched nobody, nor has a task that is not done or a meeting that was called off.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from dealwatch.crm.hubspot.answers import Thing, text_frame
from dealwatch.crm.hubspot.values import instant_text, instants

COLUMNS = ("deal_id", "happened_at", "kind", "direction")


@dataclass(frozen=True)
class Kind:
    """How HubSpot tells one kind of touch.

    at: the property that says when, or the first of several that is filled. ways: property and words of the
    direction. only, never: property and words without which, or with which, nothing happened.
    """

    word: str
    at: tuple[str, ...] = ("hs_timestamp",)
    ways: tuple[str, Mapping[str, str]] | None = None
    only: tuple[str, Sequence[str]] | None = None
    never: tuple[str, Sequence[str]] | None = None

    @property
    def properties(self) -> list[str]:
        return [*self.at, *(told[0] for told in (self.ways, self.only, self.never) if told)]


KINDS: Mapping[str, Kind] = {
    "calls": Kind("call", ways=("hs_call_direction", {"INBOUND": "in", "OUTBOUND": "out"})),
    "emails": Kind(
        "email",
        ways=("hs_email_direction", {"INCOMING_EMAIL": "in", "EMAIL": "out", "FORWARDED_EMAIL": "out"}),
    ),
    "meetings": Kind(
        "meeting",
        at=("hs_meeting_start_time", "hs_timestamp"),
        never=("hs_meeting_outcome", ("CANCELED", "NO_SHOW", "RESCHEDULED")),
    ),
    "notes": Kind("note"),
    # A task's own time is when it is due.
    "tasks": Kind("task", at=("hs_task_completion_date",), only=("hs_task_status", ("COMPLETED",))),
}


def touch_rows(
    kind: str, touches: Iterable[Thing], linked: Mapping[str, Sequence[str]], *, until: str
) -> pl.DataFrame:
    """The touches that happened by the moment, once per deal, in COLUMNS; `linked` has each deal's ids."""
    told = KINDS[kind]
    rows = text_frame(touches, told.properties)
    at = pl.coalesce(instant_text(pl.when(pl.col(name) != "").then(pl.col(name))) for name in told.at)
    happened = pl.col("happened_at")
    rows = rows.with_columns(at.alias("happened_at"))
    # A time that cannot be read stays, to be set aside with its reason.
    rows = rows.filter(
        happened.is_not_null() & ~(instants(happened) > instants(pl.lit(until))).fill_null(False)
    )
    if told.only:
        rows = rows.filter(pl.col(told.only[0]).is_in(told.only[1]))
    if told.never:
        rows = rows.filter(~pl.col(told.never[0]).is_in(told.never[1]).fill_null(False))
    way = pl.lit(None, dtype=pl.String)
    if told.ways:
        name, words = told.ways
        way = pl.col(name).replace_strict(words, default=None, return_dtype=pl.String)
    pairs = [(deal_id, id_) for deal_id, ids in linked.items() for id_ in ids]
    links = pl.DataFrame(pairs, schema={"deal_id": pl.String, "id": pl.String}, orient="row")
    rows = rows.with_columns(pl.lit(told.word).alias("kind"), way.alias("direction"))
    return links.join(rows, on="id", how="inner", maintain_order="left").select(COLUMNS)
