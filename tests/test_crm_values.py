"""A CRM's dates and numbers mean the same wherever they come from, and nothing is guessed."""

from datetime import UTC, datetime

import polars as pl
import pytest

from dealwatch.crm.values import instant_of, iso_dates, iso_instants, plain_numbers

BERLIN = "Europe/Berlin"


def read(expression: pl.Expr, *values: str | None) -> list[object]:
    return pl.DataFrame({"t": values}, schema={"t": pl.String}).select(expression.alias("t"))["t"].to_list()


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("2026-03-01T14:30:00.5+01:00", "2026-03-01T13:30:00.500000Z"),
        ("2026-03-01T14:30:00.123456789Z", "2026-03-01T14:30:00.123456Z"),
        ("2023-10-22T21:03:23.000+0000", "2023-10-22T21:03:23.000000Z"),
        ("2026-03-01 14:30", "2026-03-01T13:30:00.000000Z"),
        ("2026-05-05T10:00:00-03:30", "2026-05-05T13:30:00.000000Z"),
        ("2026-03-01", "2026-03-01"),
        ("2026-03-29 02:30", "2026-03-29T01:30:00.000000Z"),  # the clocks skip it
        ("2026-10-25 02:30", "2026-10-25T00:30:00.000000Z"),  # the clocks repeat it
        ("2026-02-30", None),
        ("2026-03-01T25:00", None),
        ("03/01/2026", None),
        ("45000", None),
        ("", None),
        (None, None),
    ],
)
def test_an_instant_is_read_as_utc_and_a_day_stays_a_day(told: str | None, meant: str | None) -> None:
    assert read(iso_instants(pl.col("t"), zone=BERLIN), told) == [meant]


def test_a_format_of_its_own_is_read_with_and_without_a_time_of_day() -> None:
    told = iso_instants(pl.col("t"), zone=BERLIN, date_format="%d/%m/%Y")
    assert read(told, "31/12/2025", "31/12/2025 14:05", "2025-12-31", "12/31/2025") == [
        "2025-12-31",
        "2025-12-31T13:05:00.000000Z",
        "2025-12-31",
        None,
    ]
    timed = iso_instants(pl.col("t"), zone=BERLIN, date_format="%m/%d/%Y %I:%M %p")
    assert read(timed, "12/31/2025 02:05 PM") == ["2025-12-31T13:05:00.000000Z"]
    zoned = iso_instants(pl.col("t"), zone=BERLIN, date_format="%d.%m.%Y %H:%M %z")
    assert read(zoned, "31.12.2025 14:05 -0500") == ["2025-12-31T19:05:00.000000Z"]


def test_what_happened_on_a_day_is_known_at_its_end_and_what_was_created_on_it_from_its_start() -> None:
    latest = datetime(2026, 3, 29, 12, tzinfo=UTC)
    ends = instant_of(pl.col("t"), zone=BERLIN, end="end", latest=latest)
    starts = instant_of(pl.col("t"), zone=BERLIN, end="start", latest=latest)
    assert read(starts, "2026-03-28") == [datetime(2026, 3, 27, 23, tzinfo=UTC)]
    assert read(ends, "2026-03-28") == [datetime(2026, 3, 28, 22, 59, 59, tzinfo=UTC)]
    assert read(ends, "2026-03-29") == [latest]  # the extract tells it before the day is over
    assert read(ends, "2026-03-30") == [datetime(2026, 3, 30, 21, 59, 59, tzinfo=UTC)]


def test_an_instant_is_a_date_where_the_organisation_is() -> None:
    told = iso_dates(pl.col("t"), zone=BERLIN)
    assert read(told, "2026-03-01T23:30:00Z", "2026-03-01", "soon") == ["2026-03-02", "2026-03-01", None]


def test_numbers_are_plain_and_finite() -> None:
    told = plain_numbers(pl.col("t"))
    assert read(told, "20000", "20000.00", "1234.5", "-5", "1e5", ".5", "-0") == [
        "20000",
        "20000",
        "1234.5",
        "-5",
        "100000",
        "0.5",
        "0",
    ]
    commas = plain_numbers(pl.col("t"), decimal=",")
    assert read(commas, "1.234,50", "1234,5", "1.000.000", "12.50", "1,234.5") == [
        "1234.5",
        "1234.5",
        "1000000",
        None,
        None,
    ]
    assert read(told, "NaN", "inf", "1,234.5", "12 EUR", "1e999", "0x10", "", None) == [None] * 8
