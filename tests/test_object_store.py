"""Drops in S3, on an SFTP server and in a folder others write to are taken whole, once, and when done."""

import gzip
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine, select

from dealwatch.crm import object_store
from dealwatch.errors import ExtractRefused, SettingsError, SourceDown
from dealwatch.history.extract import extract
from dealwatch.knobs import Source
from dealwatch.settings import Settings, load
from dealwatch.tables import drop_files
from dealwatch.warehouse import reading
from drop_files import DEALS, HISTORY, contents, current
from standins.stores import PASSWORD, Folder, Store, s3, sftp

ONE = DEALS + "d1,Big,10,Demo,o1,2026-01-05T09:00:00Z,,,\n"
TWO = ONE + "d2,Small,5,Demo,o1,2026-01-05T09:00:00Z,,,\n"
MOVED = HISTORY + "d1,2026-01-07T09:00:00Z,stage,New,Demo\n"


@pytest.fixture(params=["folder", "s3", "sftp"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "folder":
        yield Folder(tmp_path / "crm")
        return
    with s3() if request.param == "s3" else sftp(tmp_path / "served") as made:
        yield made


def night(
    engine: Engine, settings: Settings, store: Store, now: datetime | None = None, **more: Any
) -> dict[str, int]:
    source = Source.model_validate({**store.source, "settle_minutes": 10, **more})
    settings = settings.model_copy(update={"sources": {"crm": source}, "time_zone": "UTC"})
    return extract(engine, "crm", settings=settings, now=now or later())


def later(minutes: float = 60) -> datetime:
    return datetime.now(UTC) + timedelta(minutes=minutes)


def ledger(engine: Engine) -> list[tuple[Any, ...]]:
    c = drop_files.c
    with reading(engine) as connection:
        return [
            tuple(row)
            for row in connection.execute(select(c.path, c.size, c.sha256, c.rows).order_by(c.path))
        ]


def test_a_drop_is_read_once_and_remembered_file_by_file(
    store: Store, engine: Engine, settings: Settings
) -> None:
    store.put("deals.csv.gz", gzip.compress(TWO.encode(), mtime=0))
    store.put("deal_history.csv", MOVED)
    assert night(engine, settings, store)["drops"] == 1
    assert current(engine, "deal_id", "stage") == [("d1", "Demo"), ("d2", "Demo")]
    where = object_store.called(Source.model_validate(store.source))
    packed = gzip.compress(TWO.encode(), mtime=0)
    assert ledger(engine) == [
        (f"{where}/deal_history.csv", len(MOVED), hashlib.sha256(MOVED.encode()).hexdigest(), 1),
        (f"{where}/deals.csv.gz", len(packed), hashlib.sha256(packed).hexdigest(), 2),
    ]
    before = contents(engine)
    again = night(engine, settings, store, later(90))
    assert set(again.values()) == {0} and contents(engine) == before
    store.put("deals.csv.gz", gzip.compress(ONE.encode(), mtime=0))
    night(engine, settings, store, later(120), max_vanished_share=1)
    assert current(engine, "deal_id", "is_deleted") == [("d1", False), ("d2", True)]


def test_what_was_read_is_not_even_fetched(
    store: Store, engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("deals.csv", ONE)
    night(engine, settings, store)

    def never(*_: Any) -> str:
        raise AssertionError("fetched")

    monkeypatch.setattr("dealwatch.history.fetched.fetch", never)
    assert night(engine, settings, store, later(90))["drops"] == 0
    with pytest.raises(AssertionError, match="fetched"):
        night(engine, settings, store, later(90), deals={"file": "deals.csv", "ignore": ["name"]})


def test_the_days_folders_are_read_in_order(store: Store, engine: Engine, settings: Settings) -> None:
    today = datetime.now(UTC).date()
    days = [(today - timedelta(days=n)).isoformat() for n in (3, 2, 1)]
    for day, text in zip(days, (ONE, TWO, ONE), strict=True):
        store.put(f"{day}/deals.csv", text)
    assert night(engine, settings, store, max_vanished_share=1)["drops"] == 3
    assert current(engine, "deal_id", "is_deleted") == [("d1", False), ("d2", True)]
    assert len(ledger(engine)) == 3
    store.put(f"{today.isoformat()}/deals.csv", TWO)
    assert night(engine, settings, store, later(24 * 60))["drops"] == 1


def test_a_file_that_is_still_written_is_left_alone_and_taken_the_next_time(
    store: Store, engine: Engine, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    store.put("deals.csv", TWO[:-20])
    assert set(night(engine, settings, store, later(1)).values()) == {0}
    assert (
        "crm: files is left for later: " in caplog.text and "changed less than 10 minutes ago" in caplog.text
    )
    assert not current(engine, "deal_id")
    store.put("deals.csv", TWO)
    night(engine, settings, store, later(11))
    assert len(current(engine, "deal_id")) == 2


def test_a_file_that_grows_while_it_is_copied_is_left_alone(
    tmp_path: Path, engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Folder(tmp_path / "crm")
    store.put("deals.csv", TWO)
    seen = object_store._seen

    def then_it_grew(at: Any, told: str) -> Any:
        found = seen(at, told)
        store.put("deals.csv", TWO + "d3,New,1,Demo,o1,2026-01-05T09:00:00Z,,,\n")
        return found

    monkeypatch.setattr(object_store, "_seen", then_it_grew)
    assert set(night(engine, settings, store).values()) == {0} and not ledger(engine)
    monkeypatch.setattr(object_store, "_seen", seen)
    night(engine, settings, store)
    assert len(current(engine, "deal_id")) == 3


def test_a_drop_without_its_marker_is_not_done(
    store: Store, engine: Engine, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    store.put("deals.csv", ONE, age_minutes=5)
    night(engine, settings, store, ready_by="_SUCCESS")
    assert "there is no _SUCCESS yet" in caplog.text and not current(engine, "deal_id")
    store.put("_SUCCESS", "")
    assert night(engine, settings, store, ready_by="_SUCCESS")["drops"] == 1


def test_yesterdays_marker_says_nothing_of_todays_files(
    tmp_path: Path, engine: Engine, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    store = Folder(tmp_path / "crm")
    store.put("_SUCCESS", "", age_minutes=30)
    store.put("deals.csv", ONE)
    night(engine, settings, store, ready_by="_SUCCESS")
    assert "deals.csv is younger than _SUCCESS" in caplog.text and not current(engine, "deal_id")


def test_a_wrong_checksum_is_refused_and_mended_by_a_new_delivery(
    store: Store, engine: Engine, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    store.put("deals.csv", ONE)
    assert set(night(engine, settings, store, ready_by="sha256").values()) == {0}
    assert "there is no deals.csv.sha256 yet" in caplog.text
    right = hashlib.sha256(ONE.encode()).hexdigest()
    store.put("deals.csv.sha256", f"{right[::-1]}  deals.csv\n")
    words = "deals.csv: its SHA-256 is not what deals.csv.sha256 says; .*deliver both again"
    with pytest.raises(ExtractRefused, match=words):
        night(engine, settings, store, ready_by="sha256")
    store.put("deals.csv.sha256", "soon")
    with pytest.raises(ExtractRefused, match="does not begin with a SHA-256 of 64 hex digits"):
        night(engine, settings, store, ready_by="sha256")
    assert not current(engine, "deal_id")
    store.put("deals.csv.sha256", f"{right} *deals.csv\n")
    assert night(engine, settings, store, ready_by="sha256")["drops"] == 1


def test_refusals_name_the_file_where_it_lies(store: Store, engine: Engine, settings: Settings) -> None:
    store.put("deals.csv", "deal_id,stage\nd1,Demo\n")
    where = object_store.called(Source.model_validate(store.source))
    for _ in range(2):  # what was refused is fetched again
        with pytest.raises(ExtractRefused, match=f"^{where}/deals.csv: column 'created_at' is missing"):
            night(engine, settings, store)
    store.remove("deals.csv")
    store.put("readme.txt", "moved")
    with pytest.raises(ExtractRefused, match=f"^{where}/deals.csv: no such file"):
        night(engine, settings, store)


def test_a_server_with_another_key_is_not_spoken_to(
    tmp_path: Path, engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the connection holds no key: then it has to be among the known hosts."""
    with sftp(tmp_path / "served") as store, sftp(tmp_path / "other") as other:
        store.put("deals.csv", ONE)
        access = store.source["access"]
        monkeypatch.setenv("HOME", str(tmp_path))
        for extra in (other.source["access"]["extra"], {}):
            with pytest.raises(ExtractRefused, match="the server's key is not the one"):
                night(engine, settings, store, access={**access, "extra": extra})
        assert not current(engine, "deal_id")
        with pytest.raises(SettingsError, match="has a host_key or a private_key that cannot be read"):
            night(engine, settings, store, access={**access, "extra": {"host_key": "AAAA!"}})
        assert night(engine, settings, store, access={**access, "extra": {"no_host_key_check": "true"}})[
            "drops"
        ]


def test_no_error_and_no_log_holds_a_secret(
    store: Store, engine: Engine, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    said: list[str] = []
    store.put("deals.csv", ONE)
    night(engine, settings, store)
    if "url" in store.source:
        url = str(store.source["url"])
        access = {**store.source["access"], "port": 1, "extra": {**store.source["access"]["extra"]}}
        if url.startswith("s3:"):
            access["extra"]["endpoint_url"] = "http://127.0.0.1:1"
        wrong = {**store.source["access"], "login": "nobody"}
        for more in ({"url": url + "/none"}, {"access": access}, {"access": wrong}):
            try:
                night(engine, settings, store, **more)
            except (ExtractRefused, SourceDown) as error:
                text: BaseException | None = error
                while text is not None:
                    said.append(f"{text!r} {text}")
                    text = text.__cause__ or text.__context__
        assert said
    assert PASSWORD not in caplog.text and PASSWORD not in "".join(said)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"sftp://me:{PASSWORD}@host/drops", "url holds a user or a password; put them into"),
        ("gs://bucket/drops", "url is s3://BUCKET/FOLDER or sftp://HOST/FOLDER"),
        ("https://host/drops", "url is s3://BUCKET/FOLDER or sftp://HOST/FOLDER"),
    ],
)
def test_an_url_is_of_a_kind_we_know_and_holds_no_secret(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        Source.model_validate({"url": url})
    assert PASSWORD not in str(caught.value)
    with pytest.raises(ValueError, match="say where the files are: by path, or by url"):
        Source.model_validate({"url": "s3://b/f", "path": "here"})


def test_credentials_come_from_the_airflow_connection(tmp_path: Path) -> None:
    """A folder here asks for none."""
    path = tmp_path / "settings.toml"
    path.write_text('[sources.crm]\nurl = "s3://b/f"\nconnection = "aws"\n[sources.own]\npath = "x"\n')
    found = SimpleNamespace(
        host="", port=None, login="key", password=PASSWORD, extra_dejson={"region_name": "eu"}
    )
    asked: list[str] = []

    def connection(name: str) -> Any:
        asked.append(name)
        return found if name == "aws" else None

    source = load(path, connection=connection).sources["crm"]
    assert isinstance(source, Source) and source.access is not None and source.access.password is not None
    assert source.access.password.get_secret_value() == PASSWORD and PASSWORD not in repr(source)
    assert "own" not in asked
