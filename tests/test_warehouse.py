"""The warehouse keeps what it is given, on both dialects, once."""

from datetime import UTC, date, datetime

import polars as pl
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, select

from dealwatch import migrations
from dealwatch.tables import deals, metadata, raw_records
from dealwatch.warehouse import add_missing, as_json, frame, put, reading, replace, writing

HOSTILE = 'a"b,\\N <!channel> \n=cmd() ; é 漢 \\'


def deal_rows(**changes: object) -> pl.DataFrame:
    values = {
        "deal_id": ["007", "8", "9"],
        "source": ["crm"] * 3,
        "name": [HOSTILE, "", None],
        "amount": [0.1 + 0.2, None, 3e9],
        "created_at": [datetime(2026, 3, 29, 1, 0, 0, 123456, tzinfo=UTC)] * 3,
        "close_date": [date(2026, 3, 29), None, date(2024, 2, 29)],
        "attributes": [as_json({"k": [1, HOSTILE]}), None, "{}"],
        "is_deleted": [False, True, False],
    }
    return pl.DataFrame({**values, **changes})


def test_what_goes_in_comes_out_the_same(either_engine: Engine) -> None:
    rows = deal_rows()
    with writing(either_engine) as connection:
        assert add_missing(connection, deals, rows) == 3
    with reading(either_engine) as connection:
        back = frame(connection, select(*[deals.c[name] for name in rows.columns]).order_by(deals.c.deal_id))
    assert back.drop("attributes").equals(
        rows.drop("attributes").with_columns(pl.col("created_at").cast(back["created_at"].dtype))
    )
    assert [
        v and pl.Series([v]).str.json_decode(pl.Struct({"k": pl.List(pl.String)}))[0]
        for v in back["attributes"]
    ][1] is None


def test_the_same_rows_twice_change_nothing(either_engine: Engine) -> None:
    with writing(either_engine) as connection:
        add_missing(connection, deals, deal_rows())
    with writing(either_engine) as connection:
        assert add_missing(connection, deals, deal_rows(source=["other"] * 3)) == 0
        assert connection.execute(select(deals.c.source).distinct()).scalars().all() == ["crm"]


def test_put_updates_and_replace_writes_a_slice_anew(either_engine: Engine) -> None:
    with writing(either_engine) as connection:
        add_missing(connection, deals, deal_rows())
        put(connection, deals, deal_rows(source=["new"] * 3))
        assert connection.execute(select(deals.c.source).distinct()).scalars().all() == ["new"]
        replace(connection, deals, deals.c.deal_id != "007", deal_rows()[1:2])
        assert connection.execute(select(deals.c.deal_id).order_by(deals.c.deal_id)).scalars().all() == [
            "007",
            "8",
        ]


def test_a_failed_block_leaves_nothing(either_engine: Engine) -> None:
    with pytest.raises(RuntimeError), writing(either_engine) as connection:
        add_missing(connection, deals, deal_rows())
        raise RuntimeError
    with reading(either_engine) as connection:
        assert frame(connection, select(deals)).is_empty()


def test_an_unknown_column_is_refused(engine: Engine) -> None:
    with pytest.raises(ValueError, match="no columns"), writing(engine) as connection:
        add_missing(connection, raw_records, pl.DataFrame({"nonsense": ["x"]}))


def test_all_revisions_from_empty_equal_the_tables(either_engine: Engine) -> None:
    migrations.upgrade(either_engine)  # a second time: no change, no error
    with either_engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": "dealwatch_alembic_version", "compare_type": True}
        )
        assert compare_metadata(context, metadata) == []
    assert len(metadata.tables) > 10
