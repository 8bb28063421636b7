"""A canary: how deals end is written into every column of the CRM record, and no earlier morning hears it."""

from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import Table, select

from dealwatch import jobs
from dealwatch.crm.contract import COLUMNS, DATES, NUMBERS, OBJECTS, RESERVED
from dealwatch.history.ledger import Ledger, read_ledger
from dealwatch.scoring.facts import facts_at
from dealwatch.scoring.panel import followed_panel, panel_moments
from dealwatch.settings import Settings
from dealwatch.tables import (
    activities,
    alert_signals,
    deal_features,
    deal_scores,
    deal_snapshots,
    deals,
    owners,
)
from dealwatch.warehouse import frame, instant
from small_company import HOUR, MORNING, NEXT, SmallCompany, opened, rows

ATTRIBUTE = "forecast_category"  # a column that the contract does not name
HISTORY = ("stage", "amount", "close_date", "owner_id", "next_step_on", "region", "outcome", ATTRIBUTE)
RECORD = [
    *((name, column) for name in OBJECTS for column in COLUMNS[name]),
    *(("deals", column) for column in (ATTRIBUTE, *RESERVED)),
    *(("deal_history", f"new_value of {field}") for field in HISTORY),
]
LOST = pl.col("deal").str.extract(r"(\d+)").cast(pl.Int64) % 2 == 0


@pytest.fixture(scope="module")
def told(
    small_company: SmallCompany, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, str], Ledger, str]:
    """What MORNING says, and all that was known then."""
    settings = small_company.copied(tmp_path_factory.mktemp("untouched"))
    return (judged(settings), *known(settings))


def judged(settings: Settings) -> dict[str, str]:
    """All that is said of MORNING and trained on by then, with whatever came later lying beside it."""
    jobs.score(settings, as_of=MORNING, until=NEXT)
    tables: tuple[Table, ...] = (deal_features, deal_snapshots, deal_scores, alert_signals)
    with opened(settings) as connection:
        ledger = read_ledger(connection)
    past = panel_moments(ledger, MORNING, settings=settings)
    facts = facts_at(ledger, [*past, NEXT], settings=settings).filter(pl.col("as_of") < instant(NEXT))
    return {
        **{table.name: rows(settings, table).write_csv() for table in tables},
        "facts of past mornings": facts.write_csv(),
        "panel": followed_panel(ledger, MORNING, settings=settings).write_csv(),
    }


def known(settings: Settings) -> tuple[Ledger, str]:
    with opened(settings) as connection:
        people = frame(connection, select(owners).order_by(owners.c.owner_id))
        return read_ledger(connection), people.write_csv()


def shout(column: str) -> pl.Expr:
    """The outcome as a value that the column takes, as loud as it can be."""
    won, lost = "won", "lost"
    if column in NUMBERS:
        won, lost = "0", "1000000"
    elif column in DATES:
        won, lost = "2025-01-01", "2031-01-01"
    elif column == "created_at":
        won, lost = "2025-01-01T00:00:00Z", "2025-08-01T00:00:00Z"
    elif column in ("changed_at", "happened_at"):
        won, lost = (f"{MORNING - days * 24 * HOUR:%Y-%m-%dT%H:%M:%SZ}" for days in (9, 2))
    elif column == "time_zone":
        won, lost = "Asia/Kolkata", "America/New_York"
    elif column == "email":
        won, lost = "won@example.com", "lost@example.com"
    elif column == "active":
        won, lost = "true", "false"
    return pl.when(LOST).then(pl.lit(lost)).otherwise(pl.lit(won))


def overwritten(record: pl.DataFrame, column: str) -> pl.DataFrame:
    """The deals or owners with the outcome in a column; of a deal, an outcome comes with the day of it."""
    if column in RESERVED:
        return record.filter(~LOST)
    if column in ("closed_at", "outcome"):
        yesterday = f"{MORNING - 24 * HOUR:%Y-%m-%dT%H:%M:%S+00:00}"
        closed_at = pl.max_horizontal("created_at", pl.lit(yesterday))
        return record.with_columns(outcome=shout("outcome"), closed_at=closed_at)
    if column == record.columns[0]:  # its key
        return record.with_columns(pl.concat_str("deal", shout(column), separator="-").alias(column))
    return record.with_columns(shout(column).alias(column))


def appended(record: pl.DataFrame, name: str, column: str, ids: pl.Series) -> pl.DataFrame:
    """More changes or touches, before and after MORNING, that tell the outcome in a column."""
    moments = pl.Series("at", [f"{m:%Y-%m-%dT%H:%M:%SZ}" for m in (MORNING - 30 * HOUR, MORNING + HOUR)])
    more = pl.DataFrame({"deal": ids, "deal_id": ids}).join(moments.to_frame(), how="cross")
    field = column.partition(" of ")[2] or "stage"
    plain = {
        "activities": {"happened_at": "at", "kind": "call", "direction": "in", "by": "u"},
        "deal_history": {"changed_at": "at", "field": field, "old_value": "Old", "new_value": "Demo"},
    }[name]
    more = more.with_columns(
        (pl.col("at") if value == "at" else pl.lit(value)).alias(key) for key, value in plain.items()
    )
    if column == "deal_id":
        more = more.filter(LOST)
    elif " of " in column:
        more = more.with_columns(new_value=shout(field))
    else:
        more = more.with_columns(shout(column).alias(column))
    return pl.concat([record, more.select(record.columns)])


def poison(files: Path, name: str, column: str) -> None:
    """Write the outcomes into a column of one of the files."""
    ids = pl.read_csv(files / "deals.csv", infer_schema=False)["deal_id"]
    record = pl.read_csv(files / f"{name}.csv", infer_schema=False)
    if name in ("deals", "owners"):
        record = overwritten(record.with_columns(deal=record.columns[0]), column).drop("deal")
    else:
        record = appended(record, name, column, ids)
    record.write_csv(files / f"{name}.csv")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "column"), RECORD, ids=[" ".join(pair) for pair in RECORD])
def test_an_outcome_told_later_changes_no_earlier_morning(
    small_company: SmallCompany,
    told: tuple[dict[str, str], Ledger, str],
    tmp_path: Path,
    name: str,
    column: str,
) -> None:
    said, before, people_before = told
    settings = small_company.copied(tmp_path)
    poison(tmp_path / "files", name, column)
    counts = jobs.extract(settings, now=NEXT - HOUR)
    assert counts["quarantined"] == 0, "the canary was set aside: `shout` needs a value that the column takes"
    after, people = known(settings)
    assert after.known_at(MORNING).changes.equals(before.changes)
    assert after.known_at(MORNING).activities.equals(before.activities)
    more = after.changes.height - before.changes.height + after.activities.height - before.activities.height
    assert more > 50 or people != people_before, "the canary never arrived"
    assert [part for part, text in judged(settings).items() if text != said[part]] == []


def test_every_column_that_the_warehouse_keeps_of_the_record_has_its_canary() -> None:
    ours = {"source", "attributes", "is_deleted", "is_active", "activity_id", "known_at"}
    for table in (deals, activities, owners):
        assert set(table.columns.keys()) - ours <= {column for name, column in RECORD if name == table.name}
