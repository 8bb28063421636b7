"""All sources are read, whatever is wrong with one of them."""

from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from dealwatch import jobs
from dealwatch.crm.readers import READERS
from dealwatch.errors import ExtractRefused, SourceDown
from dealwatch.knobs import Source
from dealwatch.settings import Settings
from dealwatch.sources import Salesforce
from dealwatch.tables import deals
from dealwatch.warehouse import reading
from drop_files import DEALS, NOW, write_drop

DEAL = DEALS + "d1,One,5,New,o1,2026-01-01,,,\n"


class Silent:
    def plan(self, past: object) -> object:
        raise SourceDown("it does not answer")

    def close(self) -> None: ...


def of(settings: Settings, **sources: Source | Salesforce) -> Settings:
    return settings.model_copy(update={"sources": sources, "time_zone": "UTC"})


def test_a_source_that_is_refused_keeps_no_other_from_being_read(
    engine: Engine, settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = Source(path=write_drop(tmp_path / "good", deals=DEAL))
    settings = of(settings, a_bad=Source(path=tmp_path / "none"), good=good, z_bad=Source(path=tmp_path))
    with pytest.raises(ExtractRefused, match="none: no such folder"):
        jobs.extract(settings, now=NOW)
    with reading(engine) as connection:
        assert connection.execute(select(deals.c.deal_id)).scalars().all() == ["d1"]
    assert [record.levelname for record in caplog.records if "no such f" in record.message] == ["ERROR"] * 2


def test_what_may_pass_is_raised_so_that_it_is_tried_again(
    engine: Engine, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(READERS, "salesforce", lambda _name, _settings: Silent())  # type: ignore[arg-type]
    settings = of(settings, a_bad=Source(path=tmp_path / "none"), b_down=Salesforce(kind="salesforce"))
    with pytest.raises(SourceDown, match="does not answer"):
        jobs.extract(settings, now=NOW)
