"""Scores go into the CRM's own fields: only when asked, only this morning's, only what changed."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Engine

from dealwatch import jobs
from dealwatch.alerts.episodes.holdout import is_drawn
from dealwatch.alerts.rules.rule import Rule, load_rule
from dealwatch.alerts.speaking.queue import speak
from dealwatch.alerts.write_back.wanted import first_reason, plain, tellers
from dealwatch.errors import ExtractRefused, NotReady, SettingsError, SourceDown
from dealwatch.settings import Settings
from dealwatch.warehouse import as_json
from standins.salesforce import CLIENT_ID, CLIENT_SECRET
from write_back_samples import (
    DAY,
    FIELDS,
    MONDAY,
    Desk,
    Scored,
    in_fields,
    judge,
    judge_all,
    open_ids,
    salesforce_desk,
    source_of,
    with_source,
)


@pytest.fixture
def desk(engine: Engine, settings: Settings) -> Iterator[Desk]:
    with salesforce_desk(engine, settings) as desk:
        judge_all(desk)
        yield desk


def test_only_what_changed_is_written(either_engine: Engine, either_settings: Settings) -> None:
    with salesforce_desk(either_engine, either_settings) as desk:
        ids = judge_all(desk)
        assert desk.run() == {"deals": 6, "written": 6}
        assert in_fields(desk.server, ids[0]) == (60.0, "high", "40 days in its stage", date(2026, 3, 2))
        assert desk.run() == {"deals": 6, "unchanged": 6}
        tuesday = MONDAY + DAY
        moved = [Scored(ids[0], 80), *(Scored(id_, 60 - n) for n, id_ in enumerate(ids) if n)]
        judge(desk.engine, moved, morning=tuesday)
        assert desk.run(as_of=tuesday) == {"deals": 6, "unchanged": 5, "written": 1}
        assert in_fields(desk.server, ids[0])[:2] == (80.0, "critical")
        assert in_fields(desk.server, ids[1])[3] == date(2026, 3, 2), "the date is that of what stands there"
        assert len(desk.server.updates) == 7


def test_a_sentence_that_only_counts_on_is_not_written_again_but_another_subject_is(desk: Desk) -> None:
    deal = open_ids(desk.server.org)[0]
    judge(desk.engine, [Scored(deal, reasons=(("stage", "40 days in its stage"),))])
    desk.run()
    judge(desk.engine, [Scored(deal, reasons=(("stage", "41 days in its stage"),))])
    assert desk.run() == {"deals": 1, "unchanged": 1}
    judge(desk.engine, [Scored(deal, reasons=(("activity", "no touch for 9 days"),))])
    assert desk.run() == {"deals": 1, "written": 1}
    judge(desk.engine, [Scored(deal, reasons=())])
    desk.run()
    assert in_fields(desk.server, deal)[2] is None, "a reason that is gone is taken back"


def test_off_by_default_nothing_is_even_asked(desk: Desk) -> None:
    off = with_source(desk.settings, {"kind": "salesforce"})
    assert jobs.write_back(off, as_of=MONDAY, now=MONDAY)["sources"] == 0
    desk.settings = off
    with pytest.raises(SettingsError, match="names no field"):
        desk.run()
    assert desk.server.calls == []


@pytest.mark.parametrize("way", ["setting", "option"])
def test_a_dry_run_checks_the_fields_and_sends_nothing(
    desk: Desk, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    caplog.set_level(logging.INFO)
    desk.but(dry=way == "setting")
    assert desk.run(dry=way == "option") == {"deals": 6, "would_write": 6}
    assert set(desk.server.calls) == {"token", "describe"} and desk.remembered() == {}
    assert "6 deals would be written (Low 0, Medium 0, High 6, Critical 0) into Risk__c" in caplog.text
    assert ("dry = false lets it write" in caplog.text) == (way == "setting")
    for deal in open_ids(desk.server.org):
        assert deal not in caplog.text
    desk.server.org.hidden.add(("Opportunity", "Why__c"))
    with pytest.raises(SettingsError, match="reason = 'Why__c' is no field"):
        desk.run(dry=True)


def test_dry_is_the_default(desk: Desk) -> None:
    desk.settings = with_source(desk.settings, {"kind": "salesforce", "write_back": FIELDS})
    assert desk.run() == {"deals": 6, "would_write": 6}


def test_a_backfill_writes_nothing_and_opens_nothing(desk: Desk) -> None:
    for as_of in (MONDAY - 3 * DAY, MONDAY + timedelta(hours=3)):  # Friday; no day's morning
        judge_all(desk, morning=as_of)
        assert desk.run(as_of=as_of, now=MONDAY + timedelta(hours=4)) == {}
    assert desk.run(now=MONDAY + DAY) == {}, "a morning that is over"
    assert desk.run(as_of=MONDAY, now=MONDAY - DAY) == {}, "a morning to come"
    assert desk.opened == 0 and desk.server.calls == []


def test_on_a_weekend_fridays_scores_are_still_the_newest(desk: Desk) -> None:
    friday = MONDAY - 3 * DAY
    judge_all(desk, morning=friday)
    assert desk.run(as_of=friday, now=friday + 2 * DAY) == {"deals": 6, "written": 6}


def test_data_that_is_not_fit_to_alert_on_is_not_shown_in_the_crm(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    tuesday = MONDAY + 4 * DAY
    judge_all(desk, morning=tuesday)
    with desk.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM extract_runs WHERE extracted_at > '2026-03-03'")
    assert desk.run(as_of=tuesday) == {} and desk.server.calls == []
    assert "The last extract is older" in caplog.text


def test_scores_of_data_that_was_mended_too_late_are_not_shown_either(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    tuesday = MONDAY + 4 * DAY
    judge_all(desk, morning=tuesday)
    with desk.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM extract_runs WHERE extracted_at > '2026-03-03'")
    alert = partial(speak, desk.engine, settings=desk.settings, as_of=tuesday, now=tuesday)
    assert alert()["queued"] == 1, "the notice to operations"
    with desk.engine.begin() as connection:  # an extract that came after all
        connection.exec_driver_sql("UPDATE extract_runs SET extracted_at = '2026-03-06 06:20:00.000000'")
    assert desk.run(as_of=tuesday) == {} and desk.server.calls == []
    assert "its alerts were held" in caplog.text
    # Scored and decided again before anybody heard of it: the notice is taken back.
    judge_all(desk, morning=tuesday)
    alert()
    assert desk.run(as_of=tuesday) == {"deals": 6, "written": 6}


def test_a_morning_that_is_not_scored_is_not_ready(desk: Desk) -> None:
    with pytest.raises(NotReady, match="run `score --as-of 2026-03-03`"):
        desk.run(as_of=MONDAY + DAY)


def test_closed_and_deleted_deals_and_those_of_other_sources_are_left_alone(desk: Desk) -> None:
    ids = open_ids(desk.server.org)
    others = [
        Scored(ids[0], outcome="won"), Scored(ids[1], is_deleted=True), Scored(ids[2], source="other"),
    ]  # fmt: skip
    judge(desk.engine, [*others, Scored(ids[3])])
    assert desk.run() == {"deals": 1, "written": 1}
    assert [id_ for id_, _ in desk.server.updates] == [ids[3]]


def test_deals_drawn_to_stay_without_alerts_stay_without_scores(desk: Desk) -> None:
    alerts = desk.settings.alerts.model_copy(update={"holdout_share": 0.5})
    desk.settings = desk.settings.model_copy(update={"alerts": alerts})
    drawn = {id_ for id_ in open_ids(desk.server.org) if is_drawn(id_, 0.5, desk.settings)}
    assert 0 < len(drawn) < 6
    assert desk.run() == {"deals": 6, "held_out": len(drawn), "written": 6 - len(drawn)}
    assert not drawn & {id_ for id_, _ in desk.server.updates}


def test_what_a_person_typed_stands_until_our_value_changes(desk: Desk) -> None:
    ids = open_ids(desk.server.org)
    desk.run()
    desk.server.org.update("Opportunity", ids[0], Risk__c=1.0)
    assert desk.run() == {"deals": 6, "unchanged": 6}
    assert in_fields(desk.server, ids[0])[0] == 1.0
    judge_all(desk, score=70)
    desk.run()
    assert in_fields(desk.server, ids[0])[0] == 70.0


def test_other_fields_or_another_org_are_written_in_full(desk: Desk) -> None:
    desk.run()
    desk.but(reason=None)
    assert desk.run() == {"deals": 6, "written": 6}
    with salesforce_desk(desk.engine, desk.settings) as sandbox:
        sandbox.but(reason=None)
        sandbox.server.org.tables = dict(desk.server.org.tables)
        assert sandbox.run() == {"deals": 6, "written": 6}


def test_the_greatest_risk_goes_first_and_the_quota_stops_the_rest_for_the_next_run(desk: Desk) -> None:
    ids, desk.most = open_ids(desk.server.org), 2
    judge(desk.engine, [Scored(id_, 40 + n) for n, id_ in enumerate(ids)])
    desk.server.allowed, desk.server.used = 100, 79
    with pytest.raises(SourceDown, match=r"above 80% are left to others.* 2 deals were written, 4 are left"):
        desk.run()
    assert [id_ for id_, _ in desk.server.updates] == ids[:-3:-1]
    desk.server.used = 10
    assert desk.run() == {"deals": 6, "unchanged": 2, "written": 4}
    assert len(desk.server.updates) == 6


def test_a_later_morning_is_not_overwritten_by_a_late_one(desk: Desk) -> None:
    judge_all(desk, morning=MONDAY + DAY)
    desk.run(as_of=MONDAY + DAY)
    judge_all(desk, score=90)
    assert desk.run() == {"deals": 6, "unchanged": 6}


def test_refused_values_wait_for_a_change_and_the_others_for_the_next_run(
    either_engine: Engine, either_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with salesforce_desk(either_engine, either_settings) as desk:
        ids = judge_all(desk)
        faults = desk.server.row_faults
        faults[ids[0]] = deque(["FIELD_CUSTOM_VALIDATION_EXCEPTION"])
        faults[ids[1]] = deque(["UNABLE_TO_LOCK_ROW"] * 2)
        faults[ids[2]] = deque(["UNABLE_TO_LOCK_ROW"] * 3)
        faults[ids[3]] = deque(["INSUFFICIENT_ACCESS_OR_READONLY"])
        desk.server.org.delete("Opportunity", ids[4])
        counts = desk.run()
        assert counts == {"deals": 6, "written": 2, "refused": 1, "busy": 1, "gone": 1, "failed": 1}
        assert desk.remembered() == {
            ids[0]: ("refused", "FIELD_CUSTOM_VALIDATION_EXCEPTION"),
            ids[1]: ("written", ""),
            ids[2]: ("busy", "UNABLE_TO_LOCK_ROW"),
            ids[3]: ("failed", "INSUFFICIENT_ACCESS_OR_READONLY"),
            ids[4]: ("gone", "ENTITY_IS_DELETED"),
            ids[5]: ("written", ""),
        }
        assert [len(batch) for batch in desk.server.batches] == [6, 2, 2] and len(desk.slept) == 2
        assert "refused FIELD_CUSTOM_VALIDATION_EXCEPTION 1" in caplog.text
        assert "canary" not in caplog.text and ids[0] not in caplog.text
        assert desk.run() == {"deals": 6, "unchanged": 3, "written": 2, "gone": 1}
        judge_all(desk, score=90)
        assert desk.run() == {"deals": 5, "written": 5}


def test_when_the_crm_takes_no_deal_at_all_the_run_fails(engine: Engine, settings: Settings) -> None:
    with salesforce_desk(engine, settings, deals=44) as desk:
        ids = judge_all(desk)
        for id_ in ids:
            desk.server.row_faults[id_] = deque(["INSUFFICIENT_ACCESS_OR_READONLY"])
        with pytest.raises(
            ExtractRefused, match=r"no deal of 22 \(failed INSUFFICIENT_ACCESS_OR_READONLY 22\)"
        ):
            desk.run()
        assert desk.run() == {"deals": 22, "written": 22}, "once mended, nobody waits for a change"


def test_a_source_that_fails_keeps_no_other_from_being_written(desk: Desk) -> None:
    broken = source_of("hubspot", {"score": "deal_risk"})
    crm = desk.settings.sources["crm"].model_dump() | {"access": access(desk), "deals": {}}
    both = Settings(home=desk.settings.home, time_zone="UTC", sources={"a": broken, "crm": crm})
    with desk.engine.begin() as connection:
        rows = "extract_id || 'a', 'a'"
        names = "drop_name, extracted_at, state, records, quarantined, changes, recorded_at"
        connection.exec_driver_sql(
            f"INSERT INTO extract_runs (extract_id, source, {names}) SELECT {rows}, {names} FROM extract_runs"
        )
    with pytest.raises(SettingsError, match="no key for HubSpot; make the Airflow connection a"):
        jobs.write_back(both, as_of=MONDAY, now=MONDAY + timedelta(minutes=5))
    assert len(desk.server.updates) == 6


def access(desk: Desk) -> dict[str, object]:
    return {"host": desk.server.url, "extra": {"consumer_key": CLIENT_ID, "consumer_secret": CLIENT_SECRET}}


RUN = """
import sys
from datetime import datetime
from dealwatch.alerts.write_back.carrying import write_back
from dealwatch.crm.salesforce.writer import SalesforceWriter
from dealwatch.settings import Settings
from dealwatch.warehouse import connect

home, url, key, secret, fields, now = sys.argv[1:]
SalesforceWriter.most = 2
access = {"host": url, "extra": {"consumer_key": key, "consumer_secret": secret}}
source = {"kind": "salesforce", "access": access, "write_back": {**eval(fields), "dry": False}}
settings = Settings(home=home, time_zone="UTC", sources={"crm": source})
as_of = datetime.fromisoformat(now)
print(write_back(connect(settings), "crm", settings=settings, as_of=as_of, now=as_of))
"""


def test_killed_between_sending_and_hearing_the_next_run_sends_the_same_again(desk: Desk) -> None:
    desk.server.order("update", None, "hang")
    words = [str(desk.settings.home), desk.server.url, CLIENT_ID, CLIENT_SECRET, repr(FIELDS)]
    with subprocess.Popen([sys.executable, "-c", RUN, *words, MONDAY.isoformat()]) as process:
        until = time.monotonic() + 240
        while len(desk.server.updates) < 4 and time.monotonic() < until:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL and len(desk.server.updates) == 4
    assert len(desk.remembered()) == 2, "what nobody confirmed is not remembered"
    assert desk.run() == {"deals": 6, "unchanged": 2, "written": 4}
    told = dict(desk.server.updates)
    assert len(desk.server.updates) == 8 and all(desk.server.updates.count((k, v)) for k, v in told.items())
    assert {id_ for id_, _ in desk.server.updates} == set(open_ids(desk.server.org))


def test_the_first_reason_says_nothing_of_the_deals_owner() -> None:
    reasons = as_json(
        [
            {"group": "owner", "sentence": "one of 12 open deals of its owner", "points": 9},
            {"group": "activity", "sentence": "no touch for 9 days", "points": 5},
        ]
    )
    points = as_json([{"name": "base", "kind": "base", "points": 9}])
    assert first_reason(reasons, points, {}) == ("activity", "no touch for 9 days")
    held = as_json([{"name": "talkative", "kind": "rule", "points": 9}])
    assert first_reason(reasons, points, {"talkative": "activity"})[0] == "activity"
    assert first_reason(reasons, held, {"talkative": "activity"}) == ("", None)


def test_rules_that_tell_about_owners_are_known_by_their_sentence(tmp_path: Path) -> None:
    def rule(say: str) -> Rule:
        text = f'title = "Quiet"\nwhen = "days_since_touch > 10"\nsay = "{say}"\nwhy = "Silence costs."\n'
        path = tmp_path / "quiet.toml"
        path.write_text(f'{text}action = "Call."\nsend_to = ["owner"]\ncooldown_days = 7\npoints = 5\n')
        return load_rule(path)

    assert tellers([rule("{deal_name} is quiet for {days_since_touch:.0f} days")]) == {}
    assert tellers([rule("Its owner wins {owner_win_rate:.0%} of deals")]) == {"quiet": "activity"}


def test_a_reason_is_one_line_of_what_can_be_seen(desk: Desk) -> None:
    deal = open_ids(desk.server.org)[0]
    judge(desk.engine, [Scored(deal, reasons=(("stage", " <b>40</b>\r\n\u202edays\x07 in its\tstage "),))])
    desk.run()
    assert in_fields(desk.server, deal)[2] == "<b>40</b> days in its stage"
    assert plain("  a\r\n\tb\u2028c\u00a0d \u200b\u202ee\x07 ") == "a b c d e"
