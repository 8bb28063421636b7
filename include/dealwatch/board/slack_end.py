"""Slack's end-point: one click, one answer, and the message that shows it."""

import logging
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Depends, HTTPException, Request, Response

from dealwatch.alerts.episodes.answers import CHOICE_WORDS, Answer
from dealwatch.board.bodies import at_most
from dealwatch.board.clicks import Click, Gate, click_of
from dealwatch.board.desk import Desk, Told, name_of, owner_in_slack, told_by
from dealwatch.delivery.slack_blocks import escape, slack_payload
from dealwatch.delivery.wording import clean
from dealwatch.errors import DecisionRefused, WarehouseDown

# A click carries the message it was made in: 12,000 characters of it, each up to nine bytes in a form.
_LONGEST = 256 * 1024
_NAME_LENGTH = 60

log = logging.getLogger(__name__)


def slack_end(gate: Gate | None, desk: Callable[[], Desk]) -> APIRouter:
    """The route that Slack's interactivity calls."""
    router = APIRouter()

    @router.post("/slack/actions")
    def clicked(
        request: Request, body: Annotated[bytes, Depends(at_most(_LONGEST))], later: BackgroundTasks
    ) -> Response:
        if gate is None:
            raise HTTPException(
                503, "No signing secret is set, so no click can be trusted: see docs/data-engineers.md"
            )
        if refusal := gate.refusal(body, request.headers):
            raise HTTPException(401, f"This request is {refusal}.")
        try:
            click = click_of(body)
        except ValueError as error:
            raise HTTPException(400, f"This is {error}.") from None
        return Response() if click is None else _answered(click, desk(), later)

    return router


def _answered(click: Click, desk: Desk, later: BackgroundTasks) -> Response:
    """Keep the answer, then let the message show it; what could not be kept is told to its giver alone."""
    try:
        later.add_task(desk.post, click.response_url, _kept(click, desk))
    except DecisionRefused as error:
        later.add_task(desk.post, click.response_url, _aside(str(error)))
    except WarehouseDown as error:
        log.warning("a click was not kept: %s", error.__cause__ or error)
        later.add_task(desk.post, click.response_url, _aside(str(error)))
        return Response(status_code=503, background=later)  # by which Slack marks the button
    return Response(background=later)


def _kept(click: Click, desk: Desk) -> dict[str, Any]:
    with desk.reading() as connection:
        told = told_by(connection, click.delivery_id)
        by = _who(click, told, owner_in_slack(connection, click.user_id))
        name = name_of(connection, by) if by != click.user_id else clean(click.user_name, _NAME_LENGTH) or by
    recorded = desk.give(
        Answer(
            fingerprint=click.fingerprint,
            kind=click.kind,
            by=by,
            via="slack",
            at=desk.now(),
            choice=click.choice,
            reason=CHOICE_WORDS.get(click.choice, ""),
            delivery_id=click.delivery_id,
        )
    )
    if told is None:
        return _aside(recorded.sentence)
    shown = told.message.model_copy(update={"state": f"{name}: {recorded.sentence}"})
    return {"replace_original": True, **slack_payload(shown, delivery_id=click.delivery_id)}


def _who(click: Click, told: Told | None, owner: str | None) -> str:
    """The owner whose Slack user it is; in a direct message the one it went to; else the user."""
    if owner is None and told is not None and click.is_direct:
        return told.recipient
    return owner or click.user_id


def _aside(sentence: str) -> dict[str, Any]:
    return {"response_type": "ephemeral", "replace_original": False, "text": escape(sentence)}
