"""`make demo-salesforce` and `make demo-hubspot`, but for Airflow: each serves what its own settings read."""

import json
import os
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from sqlalchemy import func, select

import demo_crm
from dealwatch import jobs
from dealwatch.launch import diary, story
from dealwatch.launch.airflow_home import free_port, is_answering
from dealwatch.launch.demo import Demo
from dealwatch.launch.diary import Diary
from dealwatch.launch.places import Places
from dealwatch.launch.processes import Children
from dealwatch.moments import morning_of
from dealwatch.settings import load
from dealwatch.tables import deals, owners
from dealwatch.warehouse import connect, reading

MORNING = date(2026, 11, 20)


def as_airflow_tells(variables: dict[str, str], name: str) -> SimpleNamespace | None:
    """The connection that the variable describes, as Airflow's class has it; None without one."""
    if f"AIRFLOW_CONN_{name.upper()}" not in variables:
        return None
    told = json.loads(variables[f"AIRFLOW_CONN_{name.upper()}"])
    blank = dict.fromkeys(("host", "port", "login", "password", "schema"))
    return SimpleNamespace(**{**blank, **told}, extra_dejson=told.get("extra", {}))


@pytest.mark.parametrize("key", sorted(demo_crm.DEMOS))
def test_a_demo_s_server_answers_to_its_own_connection_and_settings(key: str, tmp_path: Path) -> None:
    demo, places = demo_crm.DEMOS[key], Places(tmp_path)
    assert demo.server is not None
    jobs.simulate("planted", places.demo, deals=80, days=200, seed=1, until=MORNING)
    port = free_port()
    connection = dict(demo.server.connection(port))
    settings = load(
        diary.settings_file(places, demo.example), connection=lambda name: as_airflow_tells(connection, name)
    ).model_copy(update={"home": tmp_path})
    at = story.exported_at(Diary(MORNING), settings)
    assert at < morning_of(MORNING, settings)
    with Children(dict(os.environ), tmp_path) as children:
        started = children.start("crm", demo.server.command(places.demo, port, at))
        while not is_answering(port):
            assert started.poll() is None, (tmp_path / "crm.log").read_text()
        jobs.upgrade(settings)
        told = jobs.extract(settings, now=at)
    assert told["quarantined"] == 0
    engine = connect(settings)
    with reading(engine) as one:
        assert one.execute(select(func.count()).select_from(deals)).scalar_one() == 80
        assert one.execute(select(func.count()).select_from(owners)).scalar_one() == 30
        kept = one.execute(select(deals.c.product_type, deals.c.region, deals.c.next_step_on)).all()
    engine.dispose()
    assert [sum(value is not None for value in column) > 10 for column in zip(*kept, strict=True)] == [
        True
    ] * 3
    assert not psutil.pid_exists(started.pid) and not is_answering(port)


def test_a_demo_with_a_server_tells_one_step_more() -> None:
    assert story.steps(demo_crm.DEMOS["hubspot"]) == story.steps(Demo()) + 1


def test_each_demo_has_a_folder_of_its_own_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEALWATCH_HOME", raising=False)
    homes = {demo_crm.home_of(key) for key in demo_crm.DEMOS}
    assert len(homes) == len(demo_crm.DEMOS)
    for key, demo in demo_crm.DEMOS.items():
        home = demo_crm.home_of(key)
        assert home.parent.name == "var"
        assert demo.afresh.endswith(f"DEALWATCH_HOME=var/{key}") and key in demo.command
