"""The review as one page that a person reads in three minutes, and its place in the archive.

The page holds its pictures and its style itself and loads nothing; its own policy forbids it to.
"""

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dealwatch.delivery.folder import write_whole
from dealwatch.insights import bi, charts
from dealwatch.insights.drawn.panel import doubt
from dealwatch.insights.findings import BLANK
from dealwatch.insights.lint import CHANCE
from dealwatch.insights.measure import Measure
from dealwatch.insights.review import Audience, Finding, Review
from dealwatch.insights.wording import interval, number
from dealwatch.settings import Settings
from dealwatch.templating import environment

_templates = environment("insights")
_STYLE = _templates.get_template("review.css.j2").render()
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
# What the page may load: its own style, and pictures within itself. Whoever serves it has to allow as much.
POLICY = f"default-src 'none'; img-src data:; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'"
AUDIENCES: tuple[Audience, ...] = ("everyone", "managers")
_PRIVATE, _PUBLIC = 0o600, 0o644

# The headline's figures in words, and of what time each is.
_HEADLINE: Mapping[str, tuple[str, str]] = {
    "win_rate": ("Win rate", "window"),
    "revenue_weighted_win_rate": ("Win rate by money", "window"),
    "win_rate_change": ("Change of the win rate", "before"),
    "cycle_mean": ("Time from creation to close", "quarter"),
    "rem_exposure": ("Money won a day that a deal is open", "year"),
    "sales_velocity": ("Sales velocity", "year"),
    "pvs": ("Velocity against the own year before, 100 being as then", "year"),
    "rapv": ("Open deals, worth by their chances", "now"),
    "pipeline_health_ratio": ("That worth, of the open money", "now"),
    "coverage": ("Expected of open deals in the quarter, over what the target still asks", "now"),
    "effective_deals": ("Equal deals that would weigh as much as the open ones", "now"),
    "slip_rate": ("Due deals that slipped", "window"),
    "revenue_expected": ("Expected in the quarter", "this quarter"),
}
_SORTS = ("The usual headlines", "Chance explains it", "These data have no figure for it", "Other reasons")


def html(review: Review, audience: Audience) -> str:
    """The whole review as one page for an audience, whole by itself, safe whatever names are in it."""
    return _page(review, audience, charts.pictures(review, audience))


def archive(review: Review, settings: Settings) -> list[Path]:
    """Write the review's pages and CSV files to the archive; what names reps is for this user alone.

    The same review gives the same bytes; a page is there whole or not at all.
    """
    folder = settings.home / "reviews"
    drawn = charts.pictures(review, "managers")
    seen = charts.names_of(review, "everyone")
    files = {
        ".html": _page(review, "everyone", {name: drawn[name] for name in seen}),
        ".managers.html": _page(review, "managers", drawn),
        **{f".{name}": text for name, text in bi.csv_files(review, "managers").items()},
    }
    for ending, text in files.items():
        is_private = ending == ".managers.html" or ending.removeprefix(".") in bi.FOR_MANAGERS
        write_whole(folder / f"{review.span.name}{ending}", text, mode=_PRIVATE if is_private else _PUBLIC)
    return [folder / f"{review.span.name}{ending}" for ending in files]


def where(archived: Sequence[Path], audience: Audience) -> str:
    """Where a reader finds the page, and the files beside it."""
    pages = [path for path in archived if path.suffix == ".html"]
    mine = next(path for path in pages if path.name.endswith(".managers.html") == (audience == "managers"))
    return f"The page with pictures: {mine}; figures as CSV beside it."


def written(review: Review, out: Path, audience: Audience) -> list[Path]:
    """The page and the CSV files for an audience, in a folder that somebody named."""
    stem = f"review-{review.period}-{review.span.name}"
    files = {".html": html(review, audience)}
    files |= {f".{name}": text for name, text in bi.csv_files(review, audience).items()}
    for ending, text in files.items():
        write_whole(out / f"{stem}{ending}", text, mode=_PRIVATE if audience == "managers" else _PUBLIC)
    return [out / f"{stem}{ending}" for ending in files]


def _page(review: Review, audience: Audience, pictures: Mapping[str, bytes]) -> str:
    shown = {name: _picture(review, name, png) for name, png in pictures.items()}
    top, said = review.top(audience), review.said_to(audience)
    told = list(_told(top, shown))
    used = {one.picture for one in top}
    return _templates.get_template("review.html.j2").render(
        title=charts.title_of(review),
        policy=POLICY,
        style=_STYLE,
        days=_days(review),
        as_of=f"{review.as_of:%Y-%m-%d %H:%M} UTC",
        is_for_managers=audience == "managers",
        caveats=review.caveats,
        top=told,
        headline=[_figure(review, one) for one in review.headline],
        also=[_said(one) for one in said[len(top) :]],
        pictures=[one for name, one in shown.items() if name not in used],
        refused=_groups(review, audience),
        footer=review.footer,
    )


def _days(review: Review) -> str:
    """`Compared: 13 weeks to 2026-W40, with 13 weeks to 2026-W27`."""
    return f"Compared: {review.window.name}, with {review.before.name}"


def _told(top: tuple[Finding, ...], shown: Mapping[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The sentences at the top; a picture stands at the first that names it."""
    places: dict[str, int] = {}
    for place, one in enumerate(top, start=1):
        first = places.setdefault(one.picture, place)
        picture = shown.get(one.picture)
        has_it = picture is not None
        yield _said(one) | {
            "picture": picture if first == place else None,
            "shown_at": first if has_it and first != place else 0,
        }


def _said(one: Finding) -> dict[str, Any]:
    return {"sentence": one.sentence, "action": one.action, "evidence": one.action_evidence}


def _picture(review: Review, name: str, png: bytes) -> dict[str, Any]:
    # A PNG tells its height in the bytes 20 to 23.
    return {
        "words": charts.words_of(review, name),
        "data": base64.b64encode(png).decode(),
        "height": int.from_bytes(png[20:24], "big"),
    }


def _figure(review: Review, one: Measure) -> dict[str, Any]:
    """A line of the table of figures; without an interval, why."""
    name, of = _HEADLINE.get(one.name, (one.name.replace("_", " "), "now"))
    over = {
        "window": review.window.name,
        "before": f"from {review.before.name} to {review.window.name}. {doubt(review)}".strip(),
        "year": "past year",
        "quarter": "newest quarter of creation that can be told",
        "this quarter": _this_quarter(review),
        "now": "now",
    }[of]
    value = "" if one.value is None else number(one, one.value, review.currency)
    return {
        "name": name,
        "over": over,
        "value": value,
        "ends": interval(one) if one.is_known else "",
        "why": "" if one.is_known else one.why.rstrip("."),
        "n": f"{one.n:,}",
    }


def _this_quarter(review: Review) -> str:
    rows = review.figures["forecast"].filter(name="revenue_expected")
    return "" if rows.is_empty() else str(rows["of"][0])


def _groups(review: Review, audience: Audience) -> list[dict[str, Any]]:
    """What is refused and may be read, by the sort of reason."""
    may = [one for one in review.refused if audience == "managers" or one.audience == audience]
    groups: dict[str, list[Finding]] = {}
    for sort in _SORTS:
        groups[sort] = [one for one in may if _sort(one) == sort]
    return [{"title": title, "claims": claims} for title, claims in groups.items() if claims]


def _sort(one: Finding) -> str:
    usual, chance, blank, other = _SORTS
    if one.kind.startswith("published_"):
        return usual
    if one.refusal.startswith(CHANCE):
        return chance
    return blank if BLANK in one.sentence else other
