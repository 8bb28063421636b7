"""The pages behind the links of a message: plain, whole without scripts, nothing loaded from elsewhere."""

import base64
import hashlib

from fastapi.responses import HTMLResponse

from dealwatch.templating import environment

_templates = environment("board")
_STYLE = _templates.get_template("style.css.j2").render()
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
# The address of a page is a permission: no other site may frame it, be told of it, or keep a copy of it.
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}


def page(template: str, *, status: int = 200, **values: object) -> HTMLResponse:
    """A template of this room, filled; every value is escaped."""
    text = _templates.get_template(template).render(style=_STYLE, **values)
    return HTMLResponse(text, status_code=status, headers=HEADERS)


def refusal(title: str, *sentences: str, status: int) -> HTMLResponse:
    """Why something cannot be done, and what to do instead."""
    return page("refused.html.j2", status=status, title=title, sentences=sentences)
