"""The web app that shows reviews to people who are logged in: the newest, any past one, and their series.

It has no guard of its own. Whoever hangs it up passes one in, which lets a request through or raises, and
says whose version of a review it may see. Every page hangs behind it; figures of reps are for managers only.
"""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, NoReturn

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from dealwatch.board.desk import open_warehouse
from dealwatch.board.framed import framed, of_review
from dealwatch.board.series_page import series_page
from dealwatch.errors import NotReady, SettingsError, WarehouseDown
from dealwatch.insights.kept import KeptSpan, kept, kept_spans
from dealwatch.insights.review import Audience, Period
from dealwatch.settings import Settings
from dealwatch.warehouse import reading

_WRONG = {
    401: ("Log in first", "This page is part of Airflow and for people who are logged in there."),
    403: ("Not for this account", "Your Airflow account may not read the DAG review_pipeline."),
    404: ("There is no such review", "It was never composed, or not by this address."),
}
# Matplotlib keeps its style for the whole process.
_drawing = threading.Lock()

log = logging.getLogger(__name__)


def reviews_app(settings: Settings, audience: Callable[..., Audience]) -> FastAPI:
    """The app; its warehouse is opened by the first request that needs it.

    audience: a dependency of FastAPI. It raises an HTTPException for whoever may read nothing here, and says
        of the others whether they get the version for managers.
    """
    app = FastAPI(title="dealwatch reviews", docs_url=None, redoc_url=None, openapi_url=None)
    engine = app.state.engine = cache(lambda: open_warehouse(settings))  # an error is not kept
    guarded = APIRouter(dependencies=[Depends(audience)])
    _add_pages(guarded, settings, engine, audience)
    app.include_router(guarded)
    for refusal in (HTTPException, RequestValidationError, 404):
        app.add_exception_handler(refusal, _refused)
    for kind in (NotReady, SettingsError, WarehouseDown, OperationalError):
        app.add_exception_handler(kind, _not_now)
    return app


def _add_pages(
    router: APIRouter, settings: Settings, engine: Callable[[], Engine], audience: Callable[..., Audience]
) -> None:
    @router.get("/")
    def newest() -> HTMLResponse:
        with reading(engine()) as connection:
            spans = kept_spans(connection)
        if not spans:
            return framed("empty.html.j2", months=[])
        chosen = next((one for one in spans if one.period == "week"), spans[0])
        return _shown(spans, chosen)

    @router.get("/review/{period}/{moment}")
    def review(period: Period, moment: datetime) -> HTMLResponse:
        with reading(engine()) as connection:
            spans = kept_spans(connection)
        return _shown(spans, _found(spans, period, moment), up="../../")

    @router.get("/page/{period}/{moment}")
    def page(
        period: Period, moment: datetime, audience: Annotated[Audience, Depends(audience)]
    ) -> HTMLResponse:
        with reading(engine()) as connection:
            found = kept(connection, _aware(moment), period)
        if found is None:
            raise HTTPException(404)
        with _drawing:
            return of_review(found, audience)

    @router.get("/series")
    def series() -> HTMLResponse:
        with _drawing, reading(engine()) as connection:
            return series_page(connection, settings)


def _shown(spans: list[KeptSpan], chosen: KeptSpan, *, up: str = "") -> HTMLResponse:
    """A review below a bar with the ways to those before and after it, and to the others of its time."""
    mine = [one for one in spans if one.period == chosen.period]
    place = mine.index(chosen)
    others = [one for one in spans if one.period != chosen.period]
    return framed(
        "review.html.j2",
        up=up,
        chosen=chosen,
        older=mine[place + 1] if place + 1 < len(mine) else None,
        newer=mine[place - 1] if place else None,
        # The other kind's newest that was there to read beside this one.
        other=next((one for one in others if one.as_of <= chosen.as_of), None),
    )


def _found(spans: list[KeptSpan], period: Period, moment: datetime) -> KeptSpan:
    asked = _aware(moment)
    chosen = next((one for one in spans if one.period == period and one.as_of == asked), None)
    if chosen is None:
        raise HTTPException(404)
    return chosen


def _aware(moment: datetime) -> datetime:
    """A moment with its zone, as all links of ours have it."""
    try:
        return moment.astimezone(UTC) if moment.tzinfo else _nowhere()
    except OverflowError:
        return _nowhere()


def _nowhere() -> NoReturn:
    raise HTTPException(404)


def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):  # an address that nobody has made
        error = HTTPException(404)
    title, sentence = _WRONG.get(error.status_code, ("This cannot be shown", str(error.detail)))
    depth = request.url.path.removeprefix(str(request.scope.get("root_path", ""))).count("/")
    response = framed(
        "stopped.html.j2", status=error.status_code, title=title, sentence=sentence, airflow="../" * depth
    )
    if error.headers:
        response.headers.update(error.headers)
    return response


def _not_now(_: Request, error: Exception) -> Response:
    """What a person who runs dealwatch must mend is in the log; the page says where."""
    log.error("a review could not be shown: %s", error)
    told = "The warehouse cannot be read just now. The log of Airflow's web server says why."
    response = framed("stopped.html.j2", status=503, title="Not just now", sentence=told, airflow="")
    response.headers["Retry-After"] = "60"
    return response
