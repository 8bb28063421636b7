"""Who gets the review of a week or a month, once, and which reviews nobody gets."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, delete, select

from alert_samples import extract, hire
from dealwatch.delivery.messages import COMPOSED, Message
from dealwatch.delivery.outbox import deliver
from dealwatch.insights import charts as drawing
from dealwatch.insights.letter import letter, title, unsaid
from dealwatch.insights.periods import periods
from dealwatch.insights.review import Audience, Finding, Period, Review
from dealwatch.insights.sending import Notify, queue_review
from dealwatch.knobs import Smtp
from dealwatch.settings import Settings
from dealwatch.tables import deliveries, extract_runs, pictures
from dealwatch.warehouse import reading, writing
from delivery_samples import PNGS

MONDAY = datetime(2026, 3, 2, 5, tzinfo=UTC)  # 06:00 in Berlin
SEVEN = MONDAY + timedelta(hours=1)
CRO, MAX = "cro@example.com", "max@example.com"


@pytest.fixture(autouse=True)
def charts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Pictures without the plotting library; for whom they were drawn."""
    drawn_for: list[str] = []

    def of(review: Review, audience: Audience) -> dict[str, bytes]:
        drawn_for.append(audience)
        return {name: png for name, png in PNGS.items() if name != COMPOSED}

    def words(review: Review, name: str) -> str:
        return {"bridge": "A bridge.", "stages": "Stages."}[name]

    for name, made in {"pictures": of, "composed": lambda *_: PNGS[COMPOSED], "words_of": words}.items():
        monkeypatch.setattr(drawing, name, made)
    return drawn_for


def settings_of(home: Path, *, mail: bool = True, slack: bool = True, **told: Any) -> Settings:
    return Settings(
        home=home / "home",
        sources={"crm": {"path": home}},
        slack_token=SecretStr("xoxb-1") if slack else None,
        smtp=Smtp(host="127.0.0.1") if mail else None,
        review={"to": [CRO, "C0SALES"], "managers": [MAX], **told},
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path)


@pytest.fixture
def world(engine: Engine) -> Engine:
    hire(engine, "max", slack_user_id="U0MAX")
    extract(engine, "2026-03-02")
    return engine


def found(sentence: str, **changes: Any) -> Finding:
    values = {"kind": "mix_shift", "subject": "", "measures": (), "picture": "bridge", "action": "Look.",
              "action_evidence": "not measured", "importance": 1.0, **changes}  # fmt: skip
    return Finding(sentence=sentence, **values)


WEAK = found("Ada won less.", kind="weak_rep", picture="reps", audience="managers")
CHANCE = found("Losses rose.", state="refused", refusal="chance explains it", p=0.4, q=0.6)
FEW = found("Few.", state="refused", refusal="it rests on 3 deals", audience="managers")


def review_of(as_of: datetime, settings: Settings, period: Period = "week", **changes: Any) -> Review:
    times = periods(as_of, period, settings)
    values: dict[str, Any] = {
        "as_of": as_of,
        "period": period,
        "span": times.span,
        "window": times.window,
        "before": times.before,
        "headline": (),
        "findings": (found("The mix moved."), WEAK, found("A stage leaks.", picture="stages")),
        "refused": (CHANCE, FEW),
        "figures": {},
        "currency": "EUR",
        "caveats": (),
        "footer": "As known then.",
    }
    return Review(**{**values, **changes})


def send(
    engine: Engine,
    settings: Settings,
    as_of: datetime = MONDAY,
    *,
    now: datetime | None = None,
    notify: Notify = "auto",
    **changes: Any,
) -> int:
    review, moment = review_of(as_of, settings, **changes), now or as_of + timedelta(hours=1)
    with writing(engine) as connection:
        return queue_review(connection, review, settings=settings, now=moment, notify=notify)


def rows(engine: Engine, kind: str = "review") -> list[Any]:
    query = (
        select(deliveries).where(deliveries.c.kind == kind).order_by(deliveries.c.as_of, deliveries.c.address)
    )
    with reading(engine) as connection:
        return list(connection.execute(query))


def kept(engine: Engine) -> set[str]:
    with reading(engine) as connection:
        return set(connection.execute(select(pictures.c.sha256)).scalars())


def test_each_reader_gets_their_version_by_their_way(world: Engine, settings: Settings) -> None:
    assert send(world, settings) == 3
    told = {row.address: (row.channel, row.recipient, row.state) for row in rows(world)}
    assert told == {
        CRO: ("email", CRO, "queued"),
        "C0SALES": ("slack", "C0SALES", "queued"),
        "U0MAX": ("slack", "max", "queued"),
    }
    for row in rows(world):
        message = Message.model_validate(row.message)
        names_reps = "Ada" in str(message)
        assert names_reps == message.is_private == (row.address == "U0MAX")
        assert [one.name for one in message.pictures] == ["bridge", "stages", COMPOSED]
    assert kept(world) == {hashlib.sha256(png).hexdigest() for png in PNGS.values()}


def test_a_message_says_what_it_leaves_out(settings: Settings) -> None:
    review = review_of(MONDAY, settings, findings=(*[found(f"F{n}.") for n in range(7)], WEAK))
    assert unsaid(review, "everyone") == (
        "2 more findings in the whole review. 1 claim looked at and not said: chance explains 1."
    )
    assert unsaid(review, "managers").endswith("chance explains 1; 1 rests on too little or would mislead.")
    assert title(review, settings) == "Pipeline review of the week to 1 Mar 2026"
    month = review_of(MONDAY, settings, "month")
    assert title(month, settings) == "Pipeline review of February 2026"
    empty = letter(replace(review, findings=()), "everyone", (), settings=settings)
    assert "Nothing can be said yet." in empty.intro and empty.told == () == empty.pictures


def test_made_again_it_is_not_sent_again_whatever_it_says(world: Engine, settings: Settings) -> None:
    assert send(world, settings) == 3
    before = rows(world)
    assert send(world, settings, findings=(found("Other words."),)) == 0
    assert send(world, settings, MONDAY + timedelta(days=2), now=MONDAY + timedelta(days=2)) == 0
    assert send(world, settings, now=MONDAY + timedelta(weeks=3)) == 0, "nor is it said not to have been"
    assert rows(world) == before
    hire(world, "cro", slack_user_id="U0CRO")  # the CRM learns who that is
    assert send(world, settings) == 0


def test_a_reader_who_is_added_gets_it_and_the_others_do_not_again(
    world: Engine, settings: Settings, tmp_path: Path
) -> None:
    send(world, settings)
    assert send(world, settings_of(tmp_path, to=[CRO, "C0SALES", "new@example.com"])) == 1


def test_a_backfill_of_a_quarter_queues_nothing_and_draws_nothing(
    world: Engine, settings: Settings, charts: list[str]
) -> None:
    weeks = [MONDAY - timedelta(weeks=back) for back in range(13, 0, -1)]
    assert [send(world, settings, monday, now=SEVEN) for monday in [*weeks, *weeks]] == [0] * 26
    assert {(row.state, row.reason) for row in rows(world)} == {("not_sent", "past_day")}
    assert len(rows(world)) == 13 * 3 and charts == [] and kept(world) == set()
    assert max(row.expires_at for row in rows(world)) < SEVEN, "a receipt is the same at any time"


@pytest.mark.parametrize(
    ("period", "last", "past"),
    [
        ("week", datetime(2026, 3, 8, 22, tzinfo=UTC), datetime(2026, 3, 8, 23, 30, tzinfo=UTC)),
        ("month", datetime(2026, 3, 31, 21, tzinfo=UTC), datetime(2026, 3, 31, 22, 30, tzinfo=UTC)),
    ],
)
def test_it_is_sent_until_the_next_one_can_be_made(
    world: Engine, settings: Settings, period: Period, last: datetime, past: datetime
) -> None:
    """Days and weeks are those of the organisation's zone."""
    extract(world, "2026-03-31")
    assert send(world, settings, now=past, period=period) == 0
    assert {row.reason for row in rows(world)} == {"past_day"}
    assert send(world, settings, now=last, period=period) == 3
    assert {row.reason for row in rows(world)} == {""}, "what is sent has no receipt of not being sent"
    assert all(row.not_before >= last for row in rows(world))


def test_week_and_month_of_one_morning_are_two_messages(world: Engine, settings: Settings) -> None:
    assert send(world, settings) == send(world, settings, period="month") == 3
    assert len(rows(world)) == 6


def test_dry_and_force(world: Engine, settings: Settings) -> None:
    assert send(world, settings, notify="dry") == 0
    assert {row.reason for row in rows(world)} == {"dry_run"}
    past, now = MONDAY - timedelta(weeks=5), SEVEN
    assert send(world, settings, past, now=now, notify="dry") == 0
    assert [send(world, settings, past, now=now, notify="force") for _ in range(2)] == [3, 0]
    forced = [row for row in rows(world) if row.state == "queued"]
    assert {row.as_of for row in forced} == {past} and all(row.not_before >= now for row in forced)


def test_it_waits_for_the_recipients_morning(world: Engine, settings: Settings, tmp_path: Path) -> None:
    hire(world, "nyc", email="nyc@example.com", time_zone="America/New_York")
    ours = settings_of(tmp_path, to=["nyc@example.com"], managers=[])
    send(world, ours)
    (row,) = rows(world)
    assert row.not_before == datetime(2026, 3, 2, 13, tzinfo=UTC)
    assert row.expires_at == row.not_before + timedelta(hours=96)


def test_on_data_that_is_not_fit_it_is_held_and_operations_hear_why(
    world: Engine, settings: Settings
) -> None:
    with writing(world) as connection:
        connection.execute(delete(extract_runs))
    extract(world, "2026-02-27")
    assert [send(world, settings) for _ in range(2)] == [0, 0]
    assert {(row.state, row.reason) for row in rows(world)} == {("not_sent", "stale_extract")}
    (notice,) = rows(world, "operations")
    assert notice.message["title"].endswith("the pipeline review of the week to 1 Mar 2026 is held")
    assert "older than 20 hours" in notice.message["intro"] and notice.state == "queued"
    extract(world, "2026-03-02")
    assert send(world, settings) == 3
    assert rows(world, "operations")[0].state == "cancelled"
    assert {row.state for row in rows(world)} == {"queued"}


def test_of_a_past_review_operations_hear_nothing(engine: Engine, settings: Settings) -> None:
    assert send(engine, settings, now=MONDAY + timedelta(weeks=2)) == 0
    assert rows(engine, "operations") == []


def test_with_nothing_connected_the_folder_has_it_on_either_warehouse(
    either_engine: Engine, tmp_path: Path
) -> None:
    extract(either_engine, "2026-03-02")
    ours = settings_of(tmp_path, mail=False, slack=False, to=[], managers=[])
    assert [send(either_engine, ours) for _ in range(2)] == [1, 0]
    deliver(either_engine, settings=ours, now=lambda: SEVEN)
    (row,) = rows(either_engine)
    page = ours.home / "outbox" / row.provider_ref
    assert row.state == "sent" and page.read_text("utf-8").count("data:image/png") == 2
    assert "Pipeline review" in (ours.home / "outbox" / "index.html").read_text("utf-8")


def test_nobody_is_named_and_something_is_connected(world: Engine, tmp_path: Path) -> None:
    ours = settings_of(tmp_path, to=[], managers=[])
    assert send(world, ours) == 0
    assert [(row.state, row.reason, row.recipient) for row in rows(world)] == [
        ("not_sent", "no_route", "nobody")
    ]


def test_an_address_of_a_channel_that_is_not_connected_has_no_way(world: Engine, tmp_path: Path) -> None:
    assert send(world, settings_of(tmp_path, slack=False, to=[CRO, "C0SALES"], managers=["U0NOBODY"])) == 1
    assert sorted(row.reason for row in rows(world)) == ["", "no_route", "no_route"]


@pytest.mark.parametrize("slack_user_id", ["C0GENERAL", "G0GROUP", "D0MAX", "#sales"])
def test_what_the_crm_calls_a_person_makes_no_channel_read_of_reps(
    world: Engine, settings: Settings, tmp_path: Path, slack_user_id: str
) -> None:
    hire(world, "eve", email="eve@example.com", slack_user_id=slack_user_id)
    send(world, settings_of(tmp_path, to=[], managers=["eve@example.com"]))
    (row,) = rows(world)
    assert (row.channel, row.address) == ("email", "eve@example.com")


def test_a_manager_named_twice_gets_one_message(world: Engine, tmp_path: Path) -> None:
    ours = settings_of(tmp_path, to=[MAX, "MAX@example.com", "C0SALES"], managers=[MAX, "U0MAX"])
    assert send(world, ours) == 2
    assert {row.address: row.message["is_private"] for row in rows(world)} == {
        "C0SALES": False,
        "U0MAX": True,
    }


def test_teams_is_named_by_its_webhook(world: Engine, tmp_path: Path) -> None:
    ours = settings_of(tmp_path, to=["teams:sales"], managers=[]).model_copy(
        update={"teams": {"sales": SecretStr("x")}}
    )
    assert send(world, ours) == 1
    assert (rows(world)[0].channel, rows(world)[0].address) == ("teams", "sales")


@pytest.mark.parametrize("name", ["pictures", "composed", "words_of"])
def test_a_picture_that_cannot_be_drawn_costs_the_message_nothing_else(
    world: Engine,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no font")

    monkeypatch.setattr(drawing, name, fails)
    assert send(world, settings) == 3
    assert all(row.message["pictures"] == [] for row in rows(world))
    assert "goes without pictures" in caplog.text


def test_hostile_words_of_the_crm_are_carried_as_they_are(world: Engine, settings: Settings) -> None:
    """Escaping is the channel's part; what is kept is what was found."""
    words = "<!channel> \u202e & Bcc: all@example.com\n{x} \x00"
    send(world, settings, findings=(found(words),))
    assert rows(world)[0].message["told"][0]["sentence"] == words
