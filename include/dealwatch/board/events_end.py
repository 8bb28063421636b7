"""Where CRMs tell of what happens: verify, keep, answer, and nothing else.

HubSpot signs its requests. Salesforce signs nothing, so that its address holds a token. Whoever is let in can
make us read a deal again, and no more. Nobody is told whether a source of some name exists.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from dealwatch.board.bodies import at_most
from dealwatch.board.desk import Desk
from dealwatch.crm.events import Event, NoEvents
from dealwatch.crm.hubspot import webhooks
from dealwatch.crm.salesforce import outbound
from dealwatch.delivery.links import event_address, opens_events
from dealwatch.errors import NotReady, WarehouseDown
from dealwatch.settings import Settings
from dealwatch.sources import HubSpot, Salesforce

# A hundred events of HubSpot have 40 kB, a hundred notifications of ids alone 50 kB.
_LONGEST = 512 * 1024

log = logging.getLogger(__name__)


def events_end(settings: Settings, now: Callable[[], datetime], desk: Callable[[], Desk]) -> APIRouter:
    """The routes that CRMs call; a warehouse is opened for those that are let in only."""
    router = APIRouter()

    @router.post("/events/hubspot/{source}")
    def webhook(
        source: str, request: Request, body: Annotated[bytes, Depends(at_most(_LONGEST))]
    ) -> Response:
        told = settings.sources.get(source)
        if not isinstance(told, HubSpot) or told.events is None:
            return Response(status_code=401)  # as for a source that is there: its name is nobody's to guess
        if not _is_hubspot(settings, source, told, request, body, now()):
            return Response(status_code=401)
        try:
            ours = told.write_back.fields.values() if told.write_back else ()
            events = webhooks.events_of(body, ours=ours)
        except NoEvents as error:
            log.warning("%s: an event was refused: %s", source, error)
            return Response(status_code=400)
        is_kept = _keep(desk, source, events)
        return (
            Response(status_code=200) if is_kept else Response(status_code=503, headers={"Retry-After": "60"})
        )

    @router.post("/events/salesforce/{source}")
    def message(source: str, body: Annotated[bytes, Depends(at_most(_LONGEST))], token: str = "") -> Response:
        told = settings.sources.get(source)
        if (
            not isinstance(told, Salesforce)
            or told.events is None
            or not opens_events(settings, source, token)
        ):
            return Response(status_code=404)
        try:
            events = outbound.events_of(body, organisation=told.events.organisation)
        except NoEvents as error:
            log.warning("%s: an event was refused: %s", source, error)
            return _answered(400, is_taken=False)
        # Without a false of ours Salesforce would not know that the message has to come again.
        return _answered(200, is_taken=_keep(desk, source, events))

    return router


def _is_hubspot(
    settings: Settings, source: str, told: HubSpot, request: Request, body: bytes, now: datetime
) -> bool:
    """Whether HubSpot sent it to the address that we gave, whatever a proxy made of that on the way."""
    if told.client_secret is None:
        log.warning("%s: no client secret is set, so no event can be trusted: see docs/hubspot.md", source)
        return False
    query = request.scope["query_string"].decode("latin-1")
    return webhooks.is_signed(
        told.client_secret.get_secret_value(),
        event_address(settings, source) + (f"?{query}" if query else ""),
        body,
        stamp=request.headers.get("x-hubspot-request-timestamp", ""),
        signature=request.headers.get("x-hubspot-signature-v3", ""),
        now=now,
    )


def _keep(desk: Callable[[], Desk], source: str, events: Sequence[Event]) -> bool:
    """Whether the events are in the warehouse; if not, the CRM tells them again."""
    try:
        desk().keep(source, events)
        return True
    except (NotReady, WarehouseDown) as error:
        log.warning("%s: %d events were not kept, and are told again: %s", source, len(events), error)
        return False


def _answered(status: int, *, is_taken: bool) -> Response:
    return Response(outbound.acknowledgement(is_taken=is_taken), status_code=status, media_type="text/xml")
