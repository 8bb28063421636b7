"""Who hears of stages and segments: the managers of the settings, else those whom others report to."""

from collections.abc import Mapping

from dealwatch.alerts.speaking.routing import manager_routes
from dealwatch.delivery.routes import Person, Route, way_to_named, ways_to_revops
from dealwatch.settings import Settings


def trend_routes(people: Mapping[str, Person], settings: Settings) -> tuple[Route, ...]:
    """Each of them once; RevOps where none can be reached, and empty where nobody can."""
    named = [way_to_named(text, people, settings) for text in settings.review.managers]
    found = [route for route in named if route is not None]
    if not settings.review.managers:
        found = list(manager_routes(people, settings).values())
    return tuple(dict.fromkeys(found or ways_to_revops(settings)[:1]))
