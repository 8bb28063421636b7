"""Pages that Airflow shows in a frame: no script, nothing from elsewhere, framed by Airflow alone."""

import base64
import hashlib
from dataclasses import dataclass, field
from functools import lru_cache

from fastapi.responses import HTMLResponse

from dealwatch.insights.keeping import as_plain
from dealwatch.insights.page import POLICY, html
from dealwatch.insights.review import Audience, Review
from dealwatch.moments import spelled
from dealwatch.templating import environment
from dealwatch.warehouse import as_json

_templates = environment("board")
_templates.filters["moment"] = lambda review: spelled(review.as_of)
_STYLE = _templates.get_template("board.css.j2").render()
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_NOTHING = "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'"


def _headers(policy: str) -> dict[str, str]:
    return {
        "Cache-Control": "no-store",  # the next person at this browser may be another
        "Content-Security-Policy": f"{policy}; frame-ancestors 'self'",
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "SAMEORIGIN",
        "X-Robots-Tag": "noindex, nofollow",
    }


def framed(template: str, *, status: int = 200, up: str = "", **values: object) -> HTMLResponse:
    """A template of this room, filled; every value is escaped.

    up: the way from the page's address to that of the app.
    """
    filled = _templates.get_template(template).render(style=_STYLE, up=up, **values)
    headers = _headers(f"{_NOTHING}; style-src 'sha256-{_HASH}'; frame-src 'self'")
    return HTMLResponse(filled, status_code=status, headers=headers)


def of_review(review: Review, audience: Audience) -> HTMLResponse:
    """A whole review as its own page.

    It may style itself and nothing else: no script, no form, no link that opens in place of Airflow, even if
    a name of the CRM found a way past its escaping. Not to be called by two threads at once.
    """
    stored = hashlib.sha256(as_json(as_plain(review)).encode()).digest()
    return HTMLResponse(_drawn(_Kept(stored, audience, review)), headers=_headers(f"{POLICY}; sandbox"))


@dataclass(frozen=True)
class _Kept:
    """A review to draw: the same when the same is stored, whenever it was read."""

    stored: bytes
    audience: Audience
    review: Review = field(compare=False)


@lru_cache(maxsize=16)
def _drawn(one: _Kept) -> str:
    """The page; its pictures take two seconds, and whoever goes back and forward asks for it again."""
    return html(one.review, one.audience)
