"""What a digest says to an owner, a manager and a shared channel, and what it leaves out."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from alert_samples import Deal, at, close, extract, hire, prove, score_morning
from dealwatch.alerts.speaking.queue import speak
from dealwatch.delivery.messages import Message
from dealwatch.delivery.pages import text_page
from dealwatch.settings import Settings
from dealwatch.tables import deliveries
from dealwatch.warehouse import reading, rows_of

MON, TUE, NEXT_MON = "2026-03-02", "2026-03-03", "2026-03-09"
OLD = {"lifecycle_breach": 2}
STALL = {"stage_stall": 1}


@pytest.fixture
def world(engine: Engine) -> Engine:
    """Max leads Ann and Bob; only stalls may interrupt."""
    hire(engine, "max")
    for owner_id in ("ann", "bob"):
        hire(engine, owner_id, manager_id="max", name={"ann": "Ann Zed", "bob": "Bob Abel"}[owner_id])
    prove(engine, "stage_stall")
    prove(engine, "lifecycle_breach", proven=False)
    extract(engine, "2026-03-31")
    return engine


def settings_at(tmp_path: Path, **alerts: Any) -> Settings:
    return Settings(home=tmp_path / "home", sources={"crm": {"path": tmp_path}}, alerts=alerts)


def live(engine: Engine, settings: Settings, day: str, *deals: Deal) -> dict[tuple[str, str], Message]:
    """The morning's messages by kind and recipient."""
    score_morning(engine, day, deals)
    speak(engine, settings=settings, as_of=at(day), now=at(day) + timedelta(minutes=1))
    with reading(engine) as connection:
        rows = rows_of(connection, select(deliveries).where(deliveries.c.as_of == at(day)))
    return {(row.kind, row.recipient): Message.model_validate(row.message) for row in rows}


def test_an_owners_digest_tells_what_is_new_what_ended_and_what_is_due(world: Engine, tmp_path: Path) -> None:
    settings = settings_at(tmp_path, manager_digest=False)
    live(world, settings, MON, Deal("won", OLD, amount=18_000.0), Deal("better", OLD), Deal("same", OLD))
    close(world, "won", TUE, value="won")
    message = live(
        world,
        settings,
        TUE,
        Deal("better"),
        Deal("same", OLD, next_step_on=date(2026, 3, 3)),
        Deal("fresh", OLD, amount=9_000.0, p_loss=0.5),
        Deal("other", next_step_on=date(2026, 3, 3), owner_id="bob"),
    )["digest", "ann"]
    assert message.intro == "1 new; EUR 4.5k at risk in it."
    above, below = message.sections
    assert above.title == "Ended since Mon 2 Mar"
    assert [(entry.word, entry.name, entry.about) for entry in above.entries] == [
        ("Resolved", "Deal better", "EUR 1k · Older than deals that are won: no longer so"),
        ("Won", "Deal won", "EUR 18k"),
    ]
    assert below.is_after and [(entry.word, entry.name) for entry in below.entries] == [
        ("Next step", "Deal same")
    ]
    assert [(card.name, card.news, card.is_unproven) for card in message.cards] == [
        ("Deal fresh", "New", True)
    ]
    told = text_page(message)
    assert told.index("Ended since") < told.index("Deal fresh") < told.index("Due today")


def test_an_ending_is_told_only_of_what_was_told(world: Engine, tmp_path: Path) -> None:
    settings = settings_at(tmp_path, manager_digest=False, digest_top=1)
    first = live(world, settings, MON, Deal("told", OLD, amount=9_000.0), Deal("untold", OLD))
    assert [card.name for card in first["digest", "ann"].cards] == ["Deal told"]
    message = live(world, settings, TUE, Deal("told"), Deal("untold"), Deal("new", OLD))["digest", "ann"]
    assert [entry.name for section in message.sections for entry in section.entries] == ["Deal told"]


def test_a_manager_reads_by_owner_in_the_order_of_names(world: Engine, tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    messages = live(
        world,
        settings,
        MON,
        Deal("1", STALL, amount=90_000.0),
        Deal("2", STALL, owner_id="bob", amount=10_000.0),
        Deal("3", OLD, owner_id="bob", amount=5_000.0),
    )
    message = messages["manager_digest", "max"]
    assert message.title == "Look at these 3 deals of your team this morning"
    assert [section.title for section in message.sections] == [
        "Ann Zed: news of 1 of 1 deal with an open alert",
        "Bob Abel: news of 2 of 2 deals with an open alert",
    ]
    assert message.intro == "3 new; EUR 52.5k at risk in them. Your team has 3 deals with an open alert."
    assert [card.name for card in message.cards] == ["Deal 1", "Deal 2", "Deal 3"]
    assert [card.owner for card in message.cards] == ["Ann Zed", "Bob Abel", "Bob Abel"]
    entries = [entry.about for section in message.sections for entry in section.entries]
    assert entries[-1] == "High 60 · EUR 5k · Older than deals that are won (unproven rule)"


def test_a_shared_channel_reads_no_names(world: Engine, tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path / "home",
        sources={"crm": {"path": tmp_path}},
        delivery={"channel_map": [{"where": {"region": "EMEA"}, "slack": "C0123ABCD"}]},
    )
    before = [Deal("1", STALL), Deal("2", region="EMEA")]
    assert ("channel_digest", "C0123ABCD") not in live(world, settings, MON, *before)
    messages = live(world, settings, NEXT_MON, Deal("2", STALL, groups=(("owner", 12),), region="EMEA"))
    message = messages["channel_digest", "C0123ABCD"]
    assert message.cards[0].name == "Deal 2" and message.sections == ()
    assert message.cards[0].changes == ("The model's base -12", "everything else +12")
    assert "Ownership +12" in messages["alert", "ann"].cards[0].changes
    for word in ("Ann", "ann@", "Zed", "Ownership"):
        assert word not in message.model_dump_json()


def test_a_digest_lists_ten_deals_and_counts_the_rest(world: Engine, tmp_path: Path) -> None:
    settings = settings_at(tmp_path, manager_digest=False)
    message = live(world, settings, MON, *(Deal(f"{n:02}", OLD) for n in range(14)))["digest", "ann"]
    assert (len(message.cards), message.more) == (10, 4)
    assert message.title == "Look at these 14 deals this morning"
    assert message.intro == "14 new; EUR 7k at risk in them; 10 of them listed."
    assert message.cards_title == "What is new first, then by value at risk, 3 told in full"
    assert text_page(message).count("(unproven rule)") == 7
    assert "and 4 more deals" in text_page(message)


def test_a_managers_digest_counts_the_deals_it_does_not_list(world: Engine, tmp_path: Path) -> None:
    settings = settings_at(tmp_path, manager_budget=2)
    owners = ["ann"] * 3 + ["bob"]
    deals = [Deal(str(n), OLD, owner_id=who, amount=4000.0 + 1000 * n) for n, who in enumerate(owners)]
    message = live(world, settings, MON, *deals)["manager_digest", "max"]
    assert message.title == "Look at these 4 deals of your team this morning"
    assert message.intro == (
        "4 new; EUR 11k at risk in them; 2 of them listed. Your team has 4 deals with an open alert."
    )
    assert [(section.title, len(section.entries)) for section in message.sections] == [
        ("Ann Zed: news of 3 of 3 deals with an open alert", 1),
        ("Bob Abel: news of 1 of 1 deal with an open alert", 1),
    ]
    assert message.more == 2


def test_a_deal_that_is_only_counted_is_told_the_next_morning(world: Engine, tmp_path: Path) -> None:
    settings = settings_at(tmp_path, manager_digest=False, digest_top=1)
    deals = Deal("1", OLD, amount=9000.0), Deal("2", OLD)
    first = live(world, settings, MON, *deals)["digest", "ann"]
    assert first.intro == "2 new; EUR 5k at risk in them; 1 of them listed."
    second = live(world, settings, TUE, *deals)["digest", "ann"]
    assert second.intro == "1 new; EUR 500 at risk in it." and second.cards[0].name == "Deal 2"


def test_a_deal_that_changes_hands_is_handed_over_to_its_owner_alone(world: Engine, tmp_path: Path) -> None:
    settings = settings_at(tmp_path, manager_budget=1)
    larger = Deal("2", OLD, owner_id="ann", amount=9000.0)
    first = live(world, settings, MON, Deal("1", OLD, owner_id="ann"), larger)
    assert [card.deal_id for card in first["manager_digest", "max"].cards] == ["2"]
    told = live(world, settings, TUE, Deal("1", OLD, owner_id="bob"), larger)
    assert "Handed over to you" in text_page(told["digest", "bob"])
    read = " ".join(text_page(told["manager_digest", "max"]).split())
    assert "to you" not in read
    assert "1 handed over; EUR 500 at risk" in read and "Handed over to another owner." in read
