"""The pages of the reviews: nothing without a login, no figure of a rep to everyone, no markup of a CRM."""

import base64
import hashlib
import re
from collections.abc import Iterator
from html import unescape
from io import BytesIO
from pathlib import Path
from typing import Literal

import pytest
from fastapi import FastAPI, Header, HTTPException
from PIL import Image
from sqlalchemy import Engine

from dealwatch.board.reviews_app import reviews_app
from dealwatch.insights.kept import kept_spans
from dealwatch.insights.letter import letter
from dealwatch.insights.review import Review
from dealwatch.settings import Settings
from dealwatch.warehouse import reading
from kept_reviews import ask, composed, some_deals, store, with_sentence
from review_rows import begun

HOSTILE = '</pre><script>alert(1)</script> "Acme" & {{ 7*7 }}'
OF_A_REP = "Ann Weak won less than anybody would have."
MONDAYS = ("2026-03-30", "2026-04-06", "2026-04-13")
VIEWER, EDITOR = {"role": "viewer"}, {"role": "op"}


def audience(role: str = Header("")) -> Literal["everyone", "managers"]:
    """As Airflow's guard: nobody, somebody without rights here, a viewer, and one who may edit."""
    if not role:
        raise HTTPException(401, "Not authenticated")
    if role == "stranger":
        raise HTTPException(403, "Forbidden")
    return "managers" if role == "op" else "everyone"


@pytest.fixture(scope="module")
def made() -> list[Review]:
    deals = [*some_deals(stage=HOSTILE), begun("2026-02-01", amount="900", stage=HOSTILE)]
    weekly = [composed(day, deals) for day in MONDAYS]
    weekly[-1] = with_sentence(with_sentence(weekly[-1], HOSTILE), OF_A_REP, audience="managers")
    return [*weekly, composed("2026-04-01", deals, "month")]


@pytest.fixture
def empty(engine: Engine, settings: Settings) -> Iterator[FastAPI]:
    app = reviews_app(settings, audience)
    yield app
    if app.state.engine.cache_info().currsize:
        app.state.engine().dispose()


@pytest.fixture
def app(empty: FastAPI, engine: Engine, made: list[Review]) -> FastAPI:
    for review in made:
        store(engine, review)
    return empty


def addresses(engine: Engine) -> list[str]:
    with reading(engine) as connection:
        spans = kept_spans(connection)
    keys = [f"{one.period}/{one.as_of:%Y-%m-%dT%H:%M:%SZ}" for one in spans]
    return ["/", "/series", *(f"/{kind}/{key}" for kind in ("review", "page") for key in keys)]


def links(page: str) -> list[str]:
    return [unescape(one) for one in re.findall(r'(?:href|src)="([^"]*)"', page) if "data:" not in one]


def test_nobody_gets_anything_without_a_login_and_strangers_get_nothing_with_one(
    app: FastAPI, engine: Engine
) -> None:
    told = addresses(engine)
    assert len(told) == 2 + 2 * 4
    for url in (*told, "/review/week/nonsense", "/page/year/2026-04-13T06:00:00Z"):
        for headers, status in (({}, 401), ({"role": "stranger"}, 403)):
            answer = ask(app, url, headers=headers)
            assert answer.status_code == status, url
            assert "2026-W" not in answer.text and "%" not in re.sub(
                r"<style>.*</style>", "", answer.text, flags=re.S
            )
    assert 'href="../../../"' in ask(app, told[-1]).text  # the way to Airflow, which asks for the login


def test_every_route_hangs_behind_the_guard(app: FastAPI) -> None:
    paths = {route.path for route in app.routes}
    assert paths == {"/", "/review/{period}/{moment}", "/page/{period}/{moment}", "/series"}
    assert all(audience in [one.call for one in route.dependant.dependencies] for route in app.routes)
    assert {method for route in app.routes for method in route.methods} == {"GET"}


def test_the_newest_week_comes_first_and_links_lead_back_and_forward(app: FastAPI) -> None:
    newest = ask(app, "/", headers=VIEWER)
    assert newest.status_code == 200 and "Week 2026-W15" in newest.text
    assert links(newest.text) == [
        "review/week/2026-04-06T06:00:00Z",
        "review/month/2026-04-01T06:00:00Z",
        "series",
        "page/week/2026-04-13T06:00:00Z",
        "page/week/2026-04-13T06:00:00Z",
    ]
    middle = ask(app, "/review/week/2026-04-06T06:00:00Z", headers=VIEWER).text
    assert "Week 2026-W14" in middle
    assert links(middle)[:2] == [f"../../review/week/2026-{day}T06:00:00Z" for day in ("03-30", "04-13")]
    first = ask(app, "/review/week/2026-03-30T06:00:00Z", headers=VIEWER).text
    assert "Older" in first and 'rel="prev"' not in first and "month" not in "".join(links(first))
    month = ask(app, "/review/month/2026-04-01T06:00:00Z", headers=VIEWER).text
    assert "Month 2026-03" in month and "../../review/week/2026-03-30T06:00:00Z" in links(month)


def test_the_link_of_a_message_leads_to_the_review(app: FastAPI, made: list[Review]) -> None:
    settings = Settings(review={"board_url": "https://airflow.example.com/af/"})
    for review in (made[0], made[-1]):
        url = letter(review, "everyone", (), settings=settings).more_url
        path = str(url).removeprefix("https://airflow.example.com/af/dealwatch-board")
        answer = ask(app, path, headers=VIEWER)
        assert answer.status_code == 200 and review.span.name in answer.text
    assert letter(made[0], "everyone", (), settings=Settings()).more_url is None


def test_only_who_may_edit_gets_what_names_reps(app: FastAPI) -> None:
    url = "/page/week/2026-04-13T06:00:00Z"
    shown = {role: ask(app, url, headers={"role": role}).text for role in ("viewer", "op")}
    assert OF_A_REP in shown["op"] and OF_A_REP not in shown["viewer"]
    assert "Weak" not in "".join(ask(app, one, headers=VIEWER).text for one in ("/", "/series"))


def test_a_review_that_is_composed_anew_is_shown_anew(
    app: FastAPI, engine: Engine, made: list[Review]
) -> None:
    url = "/page/week/2026-04-13T06:00:00Z"
    before = ask(app, url, headers=EDITOR).text
    assert ask(app, url, headers=EDITOR).text == before
    store(engine, with_sentence(made[2], "Told otherwise by now."))
    assert "Told otherwise by now." in ask(app, url, headers=EDITOR).text


def test_names_of_the_crm_are_text(app: FastAPI, engine: Engine) -> None:
    for url in addresses(engine):
        page = ask(app, url, headers=EDITOR)
        assert page.status_code == 200 and "<script" not in page.text, url
    told = ask(app, "/page/week/2026-04-13T06:00:00Z", headers=EDITOR).text
    assert "&lt;script&gt;" in told and "{{ 7*7 }}" in told


def test_pages_run_no_script_load_nothing_and_are_framed_by_airflow_alone(
    app: FastAPI, engine: Engine
) -> None:
    for url in addresses(engine):
        page = ask(app, url, headers=VIEWER)
        policy = page.headers["content-security-policy"]
        for rule in ("default-src 'none'", "img-src data:", "form-action 'none'", "frame-ancestors 'self'"):
            assert rule in policy, url
        assert "script-src" not in policy and page.headers["cache-control"] == "no-store"
        assert page.headers["x-frame-options"] == "SAMEORIGIN"
        assert not [one for one in links(page.text) if "//" in one or one.startswith("/")]
        if url.startswith("/page/"):
            assert "; sandbox;" in policy and "unsafe-inline" not in policy
        else:
            (style,) = re.findall(r"<style>(.*?)</style>", page.text, flags=re.DOTALL)
            proof = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
            assert f"style-src 'sha256-{proof}'" in policy and "style=" not in page.text
    assert '<iframe title="Review of the week 2026-W15" sandbox src=' in ask(app, "/", headers=VIEWER).text


def test_the_series_is_pictures_with_words_and_a_table_that_leads_to_each_week(app: FastAPI) -> None:
    page = ask(app, "/series", headers=VIEWER).text
    drawn = re.findall(r'<img src="data:image/png;base64,([^"]+)"[^>]* alt="([^"]+)"', page)
    assert len(drawn) == 3
    for png, words in drawn:
        with Image.open(BytesIO(base64.b64decode(png))) as picture:
            assert picture.size[0] >= 2 * 320
        assert "2026-W13" in words and "2026-W15" in words
    weeks = re.findall(r'<td><a href="(review/week/[^"]+)">(2026-W\d+)</a></td><td>([\d.]+%) \(', page)
    assert [name for _, name, _ in weeks] == ["2026-W15", "2026-W14", "2026-W13"]
    assert all(ask(app, f"/{url}", headers=VIEWER).status_code == 200 for url, _, _ in weeks)
    assert ask(app, "/series", headers=VIEWER).text == page  # drawn to the same bytes


def test_a_review_that_is_not_there_is_a_page_that_says_so(app: FastAPI) -> None:
    for url in (
        "/review/week/2026-04-14T06:00:00Z",
        "/page/month/2026-04-13T06:00:00Z",
        "/review/week/2026-04-13",
        "/review/quarter/2026-04-13T06:00:00Z",
        "/page/week/nonsense",
        "/page/week/0001-01-01T00:00:00+14:00",  # no instant of UTC
        "/elsewhere",
    ):
        answer = ask(app, url, headers=VIEWER)
        assert answer.status_code == 404 and "There is no such review" in answer.text, url


def test_one_week_is_a_row_and_no_picture(empty: FastAPI, engine: Engine, made: list[Review]) -> None:
    store(engine, made[0])
    page = ask(empty, "/series", headers=VIEWER).text
    assert page.count("Not drawn: one week is no series") == 3 and "<img" not in page and "2026-W13" in page


def test_without_a_review_the_page_says_how_to_get_one(empty: FastAPI) -> None:
    for url in ("/", "/series"):
        page = ask(empty, url, headers=VIEWER)
        assert page.status_code == 200
        assert "No week has been reviewed yet" in page.text and "backfill" in page.text


def test_a_month_alone_is_shown_and_its_series_says_that_no_week_is_there(
    empty: FastAPI, engine: Engine, made: list[Review]
) -> None:
    store(engine, made[-1])
    assert "Month 2026-03" in ask(empty, "/", headers=VIEWER).text
    page = ask(empty, "/series", headers=VIEWER).text
    assert "No week has been reviewed yet" in page and "review/month/" in page


def test_a_warehouse_that_is_not_ready_is_a_sentence_and_no_path(tmp_path: Path) -> None:
    app = reviews_app(Settings(home=tmp_path / "nowhere"), audience)
    answer = ask(app, "/", headers=VIEWER)
    assert answer.status_code == 503 and answer.headers["retry-after"] == "60"
    assert str(tmp_path) not in answer.text and "Not just now" in answer.text
