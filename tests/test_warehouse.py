"""The warehouse keeps what it is given, on both dialects, once."""

import shutil
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, event, insert, select

from dealwatch import migrations
from dealwatch.errors import NotReady, SettingsError, WarehouseDown
from dealwatch.history.stored import StoredLedger
from dealwatch.settings import Settings
from dealwatch.tables import deals, metadata, pictures, raw_records
from dealwatch.warehouse import (
    add_missing,
    as_json,
    connect,
    frame,
    put,
    reading,
    replace,
    schema_of,
    writing,
)

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


def test_bytes_come_out_as_bytes(either_engine: Engine) -> None:
    png = b"\x89PNG\r\n\x1a\n\x00"
    with writing(either_engine) as connection:
        connection.execute(insert(pictures).values(sha256="a" * 64, png=png))
    with reading(either_engine) as connection:
        assert frame(connection, select(pictures))["png"].to_list() == [png]


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


def test_a_table_s_schema_is_that_of_the_frames_read_from_it(either_engine: Engine) -> None:
    with reading(either_engine) as connection:
        for table in metadata.sorted_tables:
            assert list(frame(connection, select(table)).schema.items()) == list(schema_of(table).items())
    instant, text = pl.Datetime("us", "UTC"), pl.String()
    told = {"is_deleted": pl.Boolean(), "deal_id": text, "close_date": pl.Date(), "attributes": text}
    assert list(schema_of(deals, *told).items()) == list(told.items())
    assert schema_of(deals, "created_at", "amount") == {"created_at": instant, "amount": pl.Float64()}
    assert schema_of(raw_records, "row") == {"row": pl.Int64()}
    with pytest.raises(KeyError):
        schema_of(deals, "nonsense")


def test_an_unknown_column_is_refused(engine: Engine) -> None:
    with pytest.raises(ValueError, match="no columns"), writing(engine) as connection:
        add_missing(connection, raw_records, pl.DataFrame({"nonsense": ["x"]}))


def test_all_revisions_from_empty_equal_the_tables(either_engine: Engine) -> None:
    migrations.upgrade(either_engine)  # a second time: no change, no error
    with either_engine.connect() as connection:
        found = compare_metadata(_context(connection), metadata)
        assert found == []
    assert len(metadata.tables) > 10


def _context(connection: Connection) -> MigrationContext:
    """What compares a schema with the tables; indexes of other dialects are none of this one's."""

    def is_here(thing: Any, *_: object) -> bool:
        return thing.info.get("dialect", connection.dialect.name) == connection.dialect.name

    opts = {"version_table": "dealwatch_alembic_version", "compare_type": True, "include_object": is_here}
    return MigrationContext.configure(connection, opts=opts)


def test_sqlite_reads_the_ledger_from_an_index_alone(settings: Settings) -> None:
    asked: list[tuple[str, Any]] = []
    engine = connect(settings)
    migrations.upgrade(engine)
    event.listen(engine, "before_cursor_execute", lambda *told: asked.append((told[2], told[3])))
    with reading(engine) as connection:
        list(StoredLedger(connection, datetime(2026, 1, 1, tzinfo=UTC)).slices(["stage", "amount"]))
        query, values = asked[-1]
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", values).all()
    assert "USING COVERING INDEX ix_deal_changes_reading" in str(plan)
    assert "TEMP B-TREE" not in str(plan)  # nor is anything sorted
    engine.dispose()


def test_a_warehouse_as_the_tables_are_passes_the_check(either_engine: Engine) -> None:
    migrations.check(either_engine)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("DROP TABLE model_promotions", "(model_promotions)"),
        ("ALTER TABLE deal_scores DROP COLUMN p_loss_30", "(deal_scores.p_loss_30)"),
        ("ALTER TABLE owners RENAME COLUMN name TO called", "(owners.name)"),
    ],
)
def test_a_warehouse_of_an_unreleased_schema_is_told_with_the_remedy(
    either_engine: Engine, change: str, told: str
) -> None:
    with writing(either_engine) as connection:
        connection.exec_driver_sql(change)
    migrations.upgrade(either_engine)  # nothing to do by the number alone
    with pytest.raises(NotReady, match="extract again") as refusal:
        migrations.check(either_engine)
    assert told in str(refusal.value)


def test_a_column_that_would_refuse_our_rows_is_told_and_a_harmless_one_is_not(either_engine: Engine) -> None:
    with writing(either_engine) as connection:
        connection.exec_driver_sql("ALTER TABLE owners ADD COLUMN remark VARCHAR")
        connection.exec_driver_sql("ALTER TABLE owners ADD COLUMN rank INTEGER NOT NULL DEFAULT 0")
    migrations.check(either_engine)
    with writing(either_engine) as connection:
        connection.exec_driver_sql("DROP TABLE model_health")
        connection.exec_driver_sql("CREATE TABLE model_health (week INTEGER NOT NULL)")
    with pytest.raises(NotReady, match="model_health"):
        migrations.check(either_engine)


def test_a_warehouse_of_another_revision_is_told_which_way_to_go(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = tmp_path / "later"
    shutil.copytree(Path(migrations.__file__).parent, later)
    head = ScriptDirectory(str(later)).get_current_head()
    (later / "versions" / "9999_later.py").write_text(f"revision, down_revision = '9999', '{head}'\n")
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "_script", lambda: ScriptDirectory(str(later)))
        with pytest.raises(NotReady, match=f"schema is {head}, and this is 9999; run .*db upgrade"):
            migrations.check(engine)
    with writing(engine) as connection:
        connection.exec_driver_sql("UPDATE dealwatch_alembic_version SET version_num = '9999'")
    for act in (migrations.check, migrations.upgrade):
        with pytest.raises(NotReady, match=f"9999 is of a later dealwatch, and this one knows up to {head}"):
            act(engine)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("geheim", "is no database URL"),
        ("postgresql://u:geheim@host:port/d", "is no database URL"),
        ("mysql://u:geheim@host/d", "begins with mysql"),
        ("postgresql+asyncpg://u:geheim@host/d", "does not speak"),
    ],
)
def test_a_url_of_no_warehouse_is_refused_without_showing_it(tmp_path: Path, url: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told) as refusal:
        connect(Settings(home=tmp_path, warehouse_url=url))
    assert "DEALWATCH_WAREHOUSE_URL" in str(refusal.value) and "geheim" not in str(refusal.value)


def test_a_warehouse_that_does_not_answer_may_be_asked_again_and_its_password_is_not_told(
    tmp_path: Path,
) -> None:
    url = "postgresql://u:geheim@127.0.0.1:1/d?sslpassword=geheim"
    for act in (migrations.check, migrations.upgrade):
        with pytest.raises(WarehouseDown, match="127.0.0.1:1/d does not answer .*refused") as refusal:
            act(connect(Settings(home=tmp_path, warehouse_url=url)))
        assert "geheim" not in str(refusal.value)


def test_a_file_that_is_no_database_is_told_with_the_remedy(settings: Settings) -> None:
    settings.home.mkdir()
    (settings.home / "dealwatch.db").write_text("no database, " * 100)
    with pytest.raises(NotReady, match="file is not a database.*backup"):
        migrations.check(connect(settings))


def test_a_home_that_cannot_be_made_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="DEALWATCH_HOME"):
        connect(Settings(home=tmp_path / "file" / "home"))
