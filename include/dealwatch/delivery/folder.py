"""The channel of last resort: each message as files that anybody can open, named by its delivery.

The file name is the delivery's id and the bytes depend on the message alone, so handing over twice is handing
over once, and a look-up is a look at the folder.
"""

import json
import os
import re
import tempfile
from datetime import timedelta
from pathlib import Path

from dealwatch.delivery.messages import Message
from dealwatch.delivery.pages import data_url, html_page, text_page
from dealwatch.delivery.parcel import Parcel, Receipt, Refused, shaped
from dealwatch.delivery.slack_blocks import slack_payload
from dealwatch.moments import local_day
from dealwatch.settings import Settings

LONGEST_SEND = timedelta(seconds=5)
CAN_LOOK_UP = True
MAY_DOUBLE = True
_EVERYBODYS, _OURS = 0o644, 0o600


def outbox_folder(settings: Settings) -> Path:
    """Where the rendered messages lie."""
    return settings.home / "outbox"


def pause(settings: Settings) -> timedelta:
    """A folder takes all at once."""
    return timedelta()


def destination(address: str, *, settings: Settings) -> str:
    """Any address will do: the folder is everybody's."""
    return address


def find(parcel: Parcel, destination: str, *, settings: Settings) -> Receipt | None:
    """The page, if it was written: it is the last of a message's files."""
    page = _path(parcel, settings, ".html")
    return _receipt(page, settings) if page.is_file() else None


def ready(parcel: Parcel, *, settings: Settings) -> Parcel:
    """The parcel as it is: nothing is handed over ahead of it."""
    return parcel


def send(parcel: Parcel, destination: str, *, settings: Settings) -> Receipt:
    """Write the message as Slack's JSON, as text and as HTML."""
    pictures = {name: data_url(png) for name, png in parcel.pictures.items()}
    slack, text = (shaped(render, parcel.message) for render in (_slack_json, text_page))
    html = shaped(lambda message: html_page(message, is_alone=True, pictures=pictures), parcel.message)
    mode = _OURS if parcel.message.is_private else _EVERYBODYS
    write_whole(_path(parcel, settings, ".slack.json"), slack, mode=mode)
    write_whole(_path(parcel, settings, ".txt"), text, mode=mode)
    page = _path(parcel, settings, ".html")
    write_whole(page, html, mode=mode)
    return _receipt(page, settings)


def _slack_json(message: Message) -> str:
    return json.dumps(slack_payload(message), ensure_ascii=False, indent=2, sort_keys=True) + "\n"


def write_whole(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write a file so that a reader sees all of it or none, even if we are killed on the way.

    mode: who may read it; until it is whole, nobody but this user may.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(name, mode)  # mkstemp makes files that only this user may read
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _path(parcel: Parcel, settings: Settings, ending: str) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", parcel.delivery_id):
        raise Refused(f"delivery id {parcel.delivery_id!r} is no file name")
    return (
        outbox_folder(settings)
        / local_day(parcel.as_of, settings).isoformat()
        / (parcel.delivery_id + ending)
    )


def _receipt(page: Path, settings: Settings) -> Receipt:
    return Receipt(page.relative_to(outbox_folder(settings)).as_posix())
