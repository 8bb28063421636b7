"""Who reads the review: the addresses of the settings, which version each gets, and by which way."""

from collections.abc import Mapping
from dataclasses import dataclass

from dealwatch.delivery.routes import Person, Route, is_unconnected, way_to_named, ways
from dealwatch.insights.review import Audience
from dealwatch.settings import Settings

_TEAMS = "teams:"
_FOLDER = Route("everyone", "folder", "review")


@dataclass(frozen=True)
class Reader:
    """One address of the settings. `name` stays the same whatever the CRM says; no `route`: no way there."""

    name: str
    audience: Audience
    route: Route | None


def readers(people: Mapping[str, Person], settings: Settings) -> list[Reader]:
    """Everyone the review goes to, each once; who is a manager gets that version alone.

    With nothing connected and nobody named, the folder gets everyone's version; nobody named otherwise, one
    reader without a way stands for that.
    """
    told = settings.review
    found = [Reader(text.lower(), "managers", way_to_named(text, people, settings)) for text in told.managers]
    found += [Reader(text.lower(), "everyone", _way(text, people, settings)) for text in told.to]
    if not told.to and is_unconnected(settings):
        found.append(Reader("", "everyone", _FOLDER))
    if not found:
        found.append(Reader("", "everyone", None))
    reached: set[tuple[str, str]] = set()
    once = []
    for reader in found:
        place = (reader.route.channel, reader.route.address) if reader.route else ("", reader.name)
        if place not in reached:
            reached.add(place)
            once.append(reader)
    return once


def _way(text: str, people: Mapping[str, Person], settings: Settings) -> Route | None:
    if "@" in text:
        return way_to_named(text, people, settings)
    slack, teams = (None, text.removeprefix(_TEAMS)) if text.startswith(_TEAMS) else (text, None)
    found = ways(text, email=None, slack=slack, teams=teams, settings=settings)
    return next(iter(found), None)
