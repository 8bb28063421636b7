"""The pictures that ride inside a mail: that of one deal's way, and those that a review's sentences name."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from dealwatch.delivery.chart import chart_png
from dealwatch.delivery.messages import Message
from dealwatch.delivery.pages import html_page
from dealwatch.delivery.parcel import Parcel
from dealwatch.delivery.replies import Links
from dealwatch.delivery.review_lines import told_of

log = logging.getLogger(__name__)

_CHART = "chart"  # the name of the one that is drawn from the message itself


@dataclass(frozen=True)
class Inline:
    """One picture of a mail, and the id by which the HTML shows it."""

    name: str
    cid: str
    png: bytes


def with_chart(parcel: Parcel) -> Parcel:
    """The parcel with its chart. One that cannot be drawn is left out: the words say the same.

    The drawing library takes seconds to load, and far longer on its first day on a machine.
    """
    try:
        drawn = chart_png(parcel.message)
    except Exception:
        log.exception("a picture could not be drawn; the mail goes without it")
        return parcel
    return replace(parcel, pictures={**parcel.pictures, _CHART: drawn}) if drawn else parcel


def inline(parcel: Parcel, domain: str) -> list[Inline]:
    """The mail's pictures: those of its sentences and the chart, without any that was lost."""
    named = [told.picture.name for told in told_of(parcel.message) if told.picture]
    return [
        Inline(name, f"{name}.{parcel.delivery_id}@{domain}", parcel.pictures[name])
        for name in (*named, _CHART)
        if name in parcel.pictures
    ]


def html_with(pictures: Sequence[Inline], message: Message, links: Links) -> str:
    """The mail's page, which shows its pictures by their ids."""
    chart = next((one.cid for one in pictures if one.name == _CHART), "")
    shown = {one.name: f"cid:{quote(one.cid, safe='@')}" for one in pictures if one.name != _CHART}
    return html_page(message, links, chart_cid=chart, pictures=shown)
