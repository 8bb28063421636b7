"""Slack: one message by the Web API, and its look-up by the opaque delivery id in the message's metadata.

What follows an earlier message stands in its thread. What has become of a message is shown by changing it,
which may be done twice, unlike posting; a note in the thread, which may not, is looked up like any message.
"""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from slack_sdk import WebClient
from slack_sdk.models.metadata import Metadata
from slack_sdk.web import SlackResponse

from dealwatch.delivery.parcel import NoSuchRecipient, Parcel, PictureNotReady, Receipt, Refused, shaped
from dealwatch.delivery.slack_blocks import fit, slack_payload
from dealwatch.delivery.slack_client import called, client_of
from dealwatch.delivery.slack_pictures import with_picture
from dealwatch.settings import Settings

LONGEST_SEND = timedelta(seconds=25)  # two answers of ten seconds, and the patience between them
CAN_LOOK_UP = True
MAY_DOUBLE = False

EVENT_TYPE = "dealwatch_delivery"
_LOOK_BACK = timedelta(minutes=10)  # two clocks never agree
_PAGE = 200
_NO_THREAD = frozenset({"thread_not_found", "cannot_reply_to_message", "message_not_found"})


def pause(settings: Settings) -> timedelta:
    """The time between two messages to one channel."""
    return timedelta(seconds=settings.delivery.slack_pause_seconds)


def destination(address: str, *, settings: Settings) -> str:
    """The channel's id: of a channel as it stands, of a person's direct messages by user id or e-mail."""
    if re.fullmatch(r"[CGD][A-Z0-9]{2,}", address):
        return address
    client = client_of(settings)
    user = address
    if "@" in address:
        user = str(called(lambda: client.users_lookupByEmail(email=address))["user"]["id"])
    elif not re.fullmatch(r"[UW][A-Z0-9]{2,}", address):
        raise NoSuchRecipient(f"{address!r} is no Slack address; give a channel id, a user id or an e-mail")
    return str(called(lambda: client.conversations_open(users=user))["channel"]["id"])


def find(parcel: Parcel, destination: str, *, settings: Settings) -> Receipt | None:
    """The message that carries this delivery's id, if the channel or the thread has it.

    A change without a note leaves nothing to find: it is made again.
    """
    client = client_of(settings)
    if parcel.edits_ref and not parcel.follows_ref:
        return None
    for message in _posted(client, parcel, destination):
        metadata = message.get("metadata") or {}
        if metadata.get("event_payload", {}).get("delivery_id") == parcel.delivery_id:
            return Receipt(parcel.edits_ref or f"{destination}:{message['ts']}")
    return None


def ready(parcel: Parcel, *, settings: Settings) -> Parcel:
    """The parcel with its picture uploaded, if it has one."""
    return with_picture(parcel, settings=settings)


def send(parcel: Parcel, destination: str, *, settings: Settings) -> Receipt:
    """Post or change the message; the receipt is `channel:ts`, which is what an edit of it needs."""
    client = client_of(settings)
    if parcel.edits_ref:
        return _change(client, parcel, parcel.edits_ref)
    payload = shaped(
        lambda message: slack_payload(message, parcel.delivery_id, picture_ref=parcel.picture_ref),
        parcel.message,
    )
    thread = _thread(parcel, destination)
    try:
        return _post(client, parcel, destination, payload, thread)
    except Refused as refused:
        if parcel.picture_ref and refused.code == "invalid_blocks" and "slack file" in str(refused):
            raise PictureNotReady("Slack is not done with the picture") from None
        if not thread or refused.code not in _NO_THREAD:
            raise
        return _post(client, parcel, destination, payload, "")  # somebody deleted the first message


def _post(client: WebClient, parcel: Parcel, channel: str, payload: dict[str, Any], thread: str) -> Receipt:
    in_thread: dict[str, Any] = {"thread_ts": thread, "reply_broadcast": parcel.is_escalation}
    posted = called(
        lambda: client.chat_postMessage(
            channel=channel,
            **payload,
            **(in_thread if thread else {}),
            metadata=Metadata(EVENT_TYPE, {"delivery_id": parcel.delivery_id}),
            unfurl_links=False,
            unfurl_media=False,
        ),
        place=channel,
    )
    return Receipt(f"{posted['channel']}:{posted['ts']}")


def _change(client: WebClient, parcel: Parcel, edits_ref: str) -> Receipt:
    """Show the message anew where it stands; on a resolution also leave a line in its thread."""
    channel, _, ts = edits_ref.partition(":")
    payload = shaped(lambda message: slack_payload(message, parcel.edits), parcel.message)
    metadata = Metadata(EVENT_TYPE, {"delivery_id": parcel.edits})
    called(lambda: client.chat_update(channel=channel, ts=ts, **payload, metadata=metadata), place=channel)
    if parcel.follows_ref:
        note = {"text": fit(parcel.message.state, 3000)}
        _post(client, parcel, channel, note, ts)
    return Receipt(edits_ref)


def _thread(parcel: Parcel, destination: str) -> str:
    """The first message's timestamp, when it stands in the channel that this one goes to."""
    channel, _, ts = (parcel.follows_ref or "").partition(":")
    return ts if channel == destination else ""


def _posted(client: WebClient, parcel: Parcel, channel: str) -> Iterator[Any]:
    """What was posted since our first try: in the thread, and in the channel, which shows no replies."""
    oldest = f"{(parcel.first_claimed_at - _LOOK_BACK).timestamp():.6f}"
    limits: dict[str, Any] = {
        "channel": channel,
        "oldest": oldest,
        "include_all_metadata": True,
        "limit": _PAGE,
    }
    if thread := _thread(parcel, channel):
        try:
            yield from _pages(lambda c: client.conversations_replies(**limits, ts=thread, cursor=c), channel)
        except Refused as refused:
            if refused.code not in _NO_THREAD:
                raise
    if not parcel.edits_ref:
        yield from _pages(lambda c: client.conversations_history(**limits, cursor=c), channel)


def _pages(call: Callable[[str], SlackResponse], channel: str) -> Iterator[Any]:
    cursor = ""
    while True:
        page = called(lambda after=cursor: call(after), place=channel)  # type: ignore[misc]
        yield from page["messages"]
        cursor = (page.get("response_metadata") or {}).get("next_cursor") or ""
        if not cursor:
            return
