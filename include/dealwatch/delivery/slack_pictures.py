"""A message's picture in Slack: a private file of the app that the message's image block refers to.

Uploading shows nobody anything, so it may be done again: a sender that dies leaves a file that no message
shows. The file is handed over before the claim is looked at for the last time, so however slow that was, the
one post has its whole time.
"""

import logging
from dataclasses import replace
from datetime import timedelta

from slack_sdk import WebClient
from slack_sdk.errors import SlackRequestError

from dealwatch.delivery.messages import COMPOSED, Picture
from dealwatch.delivery.parcel import Parcel, Refused, TryLater, Uncertain
from dealwatch.delivery.review_lines import composed_of, title_of_picture, words_of
from dealwatch.delivery.slack_client import called, client_of
from dealwatch.settings import Settings

log = logging.getLogger(__name__)

_PICTURE_TRIES = 3  # tries of the message, after which it goes without
_SCOPE = "files:write"


def with_picture(parcel: Parcel, *, settings: Settings) -> Parcel:
    """The parcel with its picture uploaded, or with a note why it goes without.

    Raises TryLater when Slack limits our rate, is not reached, or failed at the upload for the first times.
    """
    picture = composed_of(parcel.message)
    png = parcel.pictures.get(COMPOSED)
    if picture is None:
        return parcel
    if png is None:
        return replace(parcel, note="sent without its picture, which is lost")
    try:
        return replace(parcel, picture_ref=_uploaded(client_of(settings), picture, png))
    except Refused as refused:
        return _without(parcel, str(refused))
    except Uncertain as doubt:  # of the file, not of the message
        if parcel.tries >= min(_PICTURE_TRIES, settings.delivery.fallback_after):
            return _without(parcel, str(doubt))
        raise TryLater(f"the picture could not be uploaded: {doubt}", wait=timedelta(minutes=1)) from None
    except TryLater as later:
        if not later.remedy:
            raise
        return _without(parcel, f"{later}{_what_to_mend(later.fault)}")


def _uploaded(client: WebClient, picture: Picture, png: bytes) -> str:
    """The id of the file; it is shared with nobody until a message shows it."""
    try:
        # Without the cause: the address of the upload is a permission to write, and belongs in no log.
        answer = called(
            lambda: client.files_upload_v2(
                filename=f"dealwatch-{picture.sha256[:12]}.png",
                content=png,
                title=title_of_picture(picture),
                alt_txt=words_of(picture),
            )
        )
        return str(answer["file"]["id"])
    except (SlackRequestError, KeyError, TypeError, AttributeError) as error:
        raise Uncertain(f"Slack's answer to an upload is none: {type(error).__name__}") from None
    except Uncertain as doubt:
        raise Uncertain(str(doubt)) from None


def _what_to_mend(fault: str) -> str:
    if fault != "missing_scope":
        return ""
    return f"; give the app the scope {_SCOPE} and install it again"


def _without(parcel: Parcel, why: str) -> Parcel:
    log.warning("delivery %s goes without its picture: %s", parcel.delivery_id, why)
    return replace(parcel, note=f"sent without its picture: {why}")
