"""Salesforce's outbound messages: of which deals one tells, and the answer that it waits for.

A message is SOAP with up to a hundred notifications, and it is sent again for a day until it is acknowledged.
Salesforce signs none of them. Of a message only ids are read; fields that an administrator has ticked, and a
session id, are passed over unread.
"""

import re
from typing import Any
from xml.parsers import expat

from dealwatch.crm.events import Event, NoEvents, event_id

MOST = 100  # notifications of a message, by Salesforce's own bound
_SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
_OUTBOUND = "http://soap.sforce.com/2005/09/outbound"
_SOBJECT = "urn:sobject.enterprise.soap.sforce.com"
_TYPE = "http://www.w3.org/2001/XMLSchema-instance}type"
_ROOT = (f"{_SOAP}}}Envelope", f"{_SOAP}}}Body", f"{_OUTBOUND}}}notifications")
_NOTIFICATION = (*_ROOT, f"{_OUTBOUND}}}Notification")
_OBJECT = (*_NOTIFICATION, f"{_OUTBOUND}}}sObject")
_DEEPEST, _LONGEST = 20, 200
_ORGANISATION = re.compile(r"00D[A-Za-z0-9]{12}([A-Za-z0-9]{3})?")
_ID = re.compile(r"[A-Za-z0-9]{18}")
_DEAL = "006"  # what ids of opportunities begin with
_READ = {
    (*_ROOT, f"{_OUTBOUND}}}OrganizationId"): "organisation",
    (*_NOTIFICATION, f"{_OUTBOUND}}}Id"): "id",
    (*_OBJECT, f"{_SOBJECT}}}Id"): "deal",
}
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


def acknowledgement(*, is_taken: bool) -> bytes:
    """What Salesforce waits for; on false, as on any error, it sends the message again."""
    word = b"true" if is_taken else b"false"
    return (
        b'<?xml version="1.0" encoding="UTF-8"?>'
        b'<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
        b'<notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>' + word + b"</Ack>"
        b"</notificationsResponse></soapenv:Body></soapenv:Envelope>"
    )


def events_of(body: bytes, *, organisation: str) -> list[Event]:
    """The events of a message of this org. Raises NoEvents for any other message."""
    message = _Message()
    message.read(body)
    if not _ORGANISATION.fullmatch(message.organisation) or message.organisation[:15] != organisation[:15]:
        raise NoEvents("a message of another org")
    if not 0 < len(message.told) <= MOST:
        raise NoEvents(f"a message of {len(message.told)} notifications")
    return [_event(organisation, *one) for one in message.told]


def _event(organisation: str, notification: str, type_: str, deal_id: str) -> Event:
    if type_.rpartition(":")[2] != "Opportunity" or not deal_id.startswith(_DEAL) or not is_id(deal_id):
        raise NoEvents("a notification that is not about an opportunity, or has no id of one")
    if not _ID.fullmatch(notification):
        raise NoEvents("a notification without an id")
    return Event(event_id("salesforce", organisation[:15], notification), deal_id, "changed")


def is_id(text: str) -> bool:
    """Whether it is an id of 18 characters whose last three tell the case of the others.

    A query that names one that is none is refused as a whole.
    """
    if not _ID.fullmatch(text):
        return False
    parts = (text[start : start + 5] for start in (0, 5, 10))
    own = [sum(1 << n for n, letter in enumerate(part) if letter.isupper()) for part in parts]
    return text[15:] == "".join(_LETTERS[one] for one in own)


class _Message:
    """Reads a message: the org, and of each notification its id and the object's type and id.

    A document type is refused before a byte of it is followed: with it go entities, within and outside.
    """

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []
        self._path: tuple[str, ...] = ()
        self._held = dict[str, str]()

    @property
    def organisation(self) -> str:
        return self._held.get("organisation", "")

    def read(self, body: bytes) -> None:
        parser = expat.ParserCreate(namespace_separator="}")
        parser.StartElementHandler, parser.EndElementHandler = self._begin, self._end
        parser.CharacterDataHandler = self._more
        parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = self._refuse
        try:
            parser.Parse(body, True)
            return
        except (expat.ExpatError, ValueError, LookupError) as error:
            if isinstance(error, NoEvents):
                raise
        raise NoEvents("a body that is no XML")

    def _refuse(self, *_: Any) -> None:
        raise NoEvents("a message with a document type, which Salesforce never sends")

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        self._path = (*self._path, name)
        if len(self._path) > _DEEPEST:
            raise NoEvents("a message deeper than Salesforce sends")
        if self._path == _NOTIFICATION:
            self._held |= {"id": "", "type": "", "deal": ""}
        if self._path == _OBJECT:
            self._held["type"] = attributes.get(_TYPE, "")

    def _more(self, text: str) -> None:
        name = _READ.get(self._path)
        if name is not None:
            self._held[name] = self._held.get(name, "") + text
            if len(self._held[name]) > _LONGEST:
                raise NoEvents("an id longer than Salesforce sends")

    def _end(self, _: str) -> None:
        if self._path == _NOTIFICATION:
            self.told.append((self._held["id"], self._held["type"], self._held["deal"]))
        self._path = self._path[:-1]
