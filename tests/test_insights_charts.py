"""Pictures of a review: only what has data, the same bytes twice, legible on a phone, whatever the names."""

import io
import warnings
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from PIL import Image

from dealwatch import drawing
from dealwatch.insights import charts
from dealwatch.insights.composing import compose
from dealwatch.insights.drawn import canvas, causes, panel
from dealwatch.insights.known import Known
from dealwatch.insights.review import PICTURES, Finding, Review
from review_rows import begun, ended, known_at

HOSTILE = (
    "\U0001f680\U0001f468\u200d\U0001f4bb emoji",
    "\u05e2\u05d1\u05e8\u05d9\u05ea \u0645\u0631\u062d\u0628\u0627 \u202eevil",
    "W" * 200,
    "$\\frac{a$ costs $x^2$",
    "two\nlines\r\x00",
    "\u65e5\u672c\u682a\u5f0f\u4f1a\u793e",
    "<b>=cmd|' /C calc'!A0",
    "   ",
)
PHONE = 390  # pixels


def company(names: tuple[str, ...] = HOSTILE) -> Known:
    """Two years of deals whose kinds, sources, stages and owners are called so."""
    lives = []
    for number in range(480):
        day = date(2024, 1, 1) + timedelta(days=number * 3 // 2)
        name = names[number % len(names)]
        told = {
            "product_type": name,
            "lead_source": names[number % 3],
            "owner_id": f"{name}{number % 5}",
            "amount": str(1_000 + 10 * number),
            "stage": [(day.isoformat(), "A"), ((day + timedelta(days=9)).isoformat(), "B")],
        }
        if number % 12 == 0 and number > 380:
            lives.append(begun(day.isoformat(), **told))  # type: ignore[arg-type]
        else:
            end = (day + timedelta(days=20 + number % 17)).isoformat()
            lives.append(ended(day.isoformat(), end, won=number % 5 < 2, **told))  # type: ignore[arg-type]
    return known_at("2026-01-05", lives)


@pytest.fixture(scope="module")
def review() -> Review:
    return compose(company(), "week")


@pytest.fixture(autouse=True)
def no_warning() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_every_picture_with_data_is_drawn_of_hostile_names_and_the_same_twice(review: Review) -> None:
    drawn = charts.pictures(review, "managers")
    assert {"win_rate", "bridge", "stages", "pipeline", "cohorts", "forecast", "drivers"} <= set(drawn)
    assert set(drawn) <= set(PICTURES)
    assert charts.pictures(review, "managers") == drawn
    for picture in drawn.values():
        assert Image.open(io.BytesIO(picture)).width == round(drawing.WIDTH * drawing.DPI)


def test_only_managers_see_what_names_reps(review: Review) -> None:
    rows = review.figures["reps"].head(1)
    known = rows.with_columns(
        owner_id=pl.lit("rep"), name=pl.lit("rei"), value=pl.lit(90.0), low=pl.lit(80.0), high=pl.lit(99.0)
    )
    told = replace(review, figures={**review.figures, "reps": known})
    assert "reps" in charts.names_of(told, "managers")
    assert "reps" not in charts.names_of(told, "everyone")


def test_nothing_known_gives_no_picture_and_still_a_composed_image() -> None:
    empty = compose(known_at("2026-01-05", []), "week")
    assert charts.pictures(empty, "managers") == {}
    assert charts.composed(empty, "everyone").startswith(b"\x89PNG")
    assert [charts.words_of(empty, name) for name in PICTURES] == [""] * len(PICTURES)


def test_the_composed_image_has_the_pictures_of_the_top_findings(review: Review) -> None:
    names = charts.composed_names(review, "everyone")
    assert 1 <= len(names) <= charts.COMPOSED and len(set(names)) == len(names)
    assert set(names) <= {one.picture for one in review.top()}
    assert charts.composed(review, "everyone") == charts.composed(review, "everyone")


def test_words_say_the_figures_and_fit_a_channel(review: Review) -> None:
    told = {name: charts.words_of(review, name) for name in charts.names_of(review, "managers")}
    rate = review.headline[0]
    assert rate.value is not None and f"{100 * rate.value:.1f}%" in told["win_rate"]
    assert all(told.values()) and max(map(len, told.values())) <= charts.LONGEST
    assert not any("\n" in words or "\u202e" in words for words in told.values())


def test_no_text_is_smaller_than_eleven_pixels_on_a_phone() -> None:
    assert drawing.SMALLEST * PHONE / (72 * drawing.WIDTH) >= 11


def test_texts_of_a_row_never_meet(review: Review, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each text's own box is asked for: none lies over another one, and none leaves the sheet."""
    met = []

    def looked(paper: drawing.Figure) -> bytes:
        boxes = [one.get_window_extent() for one in paper.texts if one.get_text().strip()]
        for place, box in enumerate(boxes):
            assert box.x0 >= 0 and box.x1 <= drawing.WIDTH * drawing.DPI + 1
            met.extend(
                box for other in boxes[:place] if box.shrunk(0.98, 0.6).overlaps(other.shrunk(0.98, 0.6))
            )
        return b""

    monkeypatch.setattr(canvas.drawing, "png", looked)
    assert list(charts.pictures(review, "managers").values()) and met == []


def test_looks_differ_in_lightness_or_shape() -> None:
    shapes = [how["marker"] + str(how.get("markerfacecolor", "")) for how in canvas._POINT.values()]
    assert len(set(shapes)) == len(shapes)
    light = {name: np.dot(_rgb(how["facecolor"]), (0.21, 0.72, 0.07)) for name, how in canvas._BAR.items()}
    assert abs(light["before"] - light["bar"]) > 50 and "hatch" in canvas._BAR["hatched"]


def _rgb(colour: str) -> list[int]:
    return [int(colour[at : at + 2], 16) for at in (1, 3, 5)]


def test_what_cannot_be_drawn_is_a_box_and_what_is_too_long_is_cut() -> None:
    assert drawing.drawable("a\n\u65e5\u672c b") == f"a {drawing.BOX} b"
    assert drawing.fitted("W" * 200, 100).endswith("\u2026")
    assert drawing.width_of(drawing.fitted("W" * 200, 100)) <= 100
    assert len(drawing.lines_of("word " * 200, 200, most=3)) == 3


def test_a_first_month_of_quick_deals_is_not_drawn(review: Review) -> None:
    young = compose(
        known_at(
            "2026-01-05",
            [
                ended(f"2025-09-{1 + n % 28:02}", f"2025-{10 + n % 3}-{1 + n % 28:02}", won=n % 2 == 0)
                for n in range(90)
            ],
        ),
        "month",
    )
    rows = young.figures["win_rate_series"].filter(time="2025-10")
    assert rows["n"][0] >= 30 and rows["value"][0] is None and "quick deals" in rows["why"][0]
    assert rows["first"][0] == date(2025, 10, 1)


def test_a_panel_cut_twice_says_how_many_rows_are_missing_of_all() -> None:
    row = panel.Row("a", "", "1", (panel.Mark(1.0),), "1")
    told = panel.Panel("t", (row,) * 19, panel.plain).cut(10)
    assert (told.last, told.cut(5).last, told.cut(12)) == ("and 9 more", "and 14 more", told)


def test_a_picture_says_what_the_words_refuse(review: Review) -> None:
    bent = Finding(
        "win_rate_moved", "", "It moved.", (), "win_rate", "", "", 0.0, "refused", "history is short"
    )
    calm = replace(bent, refusal="chance explains it: alone, ...")
    for refused, said in ((bent, "Not to be compared: history is short."), (calm, "Chance explains")):
        (steps, _) = causes.bridge(replace(review, refused=(refused,)))
        assert isinstance(steps, panel.Panel) and said in steps.note
    for told in causes.stages(replace(review, refused=(bent,))):
        assert isinstance(told, panel.Panel) and "Not to be compared" in told.note


def test_dollars_in_a_name_are_no_mathematics() -> None:
    row = panel.Row("$\\frac{a$", "", "1", (panel.Mark(1.0),), "1")
    assert canvas.drawn([panel.Panel("costs $\\frac{a$", (row,), panel.plain)]).startswith(b"\x89PNG")


def test_what_stands_below_a_panel_is_broken_into_lines_and_not_cut_at_the_edge() -> None:
    row = panel.Row("a", "", "1", (panel.Mark(1.0),), "1")
    png = canvas.drawn([panel.Panel("t", (row,), panel.plain, last="what is expected in the quarter " * 5)])
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
    assert picture[:, -10:].min() == 255
