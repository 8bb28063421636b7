"""A drop that looks broken is kept out, yesterday stands, and the next good one ends it by itself."""

from typing import Any

import pytest
from sqlalchemy import Engine, select

from dealwatch.errors import ExtractRefused
from dealwatch.history.freshness import caveats, incident
from dealwatch.knobs import Pipeline
from dealwatch.settings import Settings
from dealwatch.sources import Gates
from dealwatch.tables import extract_gates
from dealwatch.warehouse import reading
from drop_files import at, contents, current, set_aside
from live_tables import DEAL, LOST, Row, Tables, told, with_crm

DAYS = [f"2026-03-{day:02} 04:00" for day in range(2, 20)]


def deals(number: int = 60, *, amount: int | None = 100, stage: str = "Demo") -> list[Row]:
    created = "2026-03-01T09:00:00Z"
    return [(f"d{n:03}", stage, None if amount is None else f"{amount}", created, None, None)
            for n in range(number)]  # fmt: skip


def after_usual_nights(engine: Engine, settings: Settings, nights: int = 3) -> None:
    for day in DAYS[:nights]:
        told(engine, settings, Tables(day, deals=deals()))


def findings(engine: Engine, day: str) -> dict[str, tuple[str, bool]]:
    """Verdict, and whether the drop was taken in, of what did not pass: by gate and subject."""
    c = extract_gates.c
    query = select(extract_gates).where(c.extracted_at == at(day), c.verdict != "pass")
    with reading(engine) as connection:
        return {f"{r.gate} {r.subject}".strip(): (r.verdict, r.is_kept) for r in connection.execute(query)}


def spoken(engine: Engine, settings: Settings, moment: str) -> tuple[str, str]:
    """The incident's sentence and the caveat of a morning."""
    with reading(engine) as connection:
        found = incident(connection, at(moment), settings=settings)
        return found.sentence if found else "", caveats(connection, at(moment), settings=settings)


BLOCKED: list[tuple[dict[str, Any], str, str]] = [
    (
        {"deals": deals(30) + [(f"c{n}", *LOST) for n in range(40)]},
        "rows open deals",
        "30 open deals where 60",
    ),
    ({"deals": deals(amount=500)}, "amount", "worth 30,000 where 6,000 is usual"),
    ({"deals": deals(amount=20)}, "amount", "worth 1,200 where 6,000 is usual"),
    ({"deals": deals(amount=None)}, "empty amount", "amount is empty in 100% of open deals where 0%"),
]


@pytest.mark.parametrize(("night", "gate", "words"), BLOCKED)
def test_a_drop_unlike_the_usual_ones_is_kept_out_until_one_is_like_them(
    either_engine: Engine, either_settings: Settings, night: dict[str, Any], gate: str, words: str
) -> None:
    settings = with_crm(either_settings, source={"max_vanished_share": 1.0})
    after_usual_nights(either_engine, settings)
    before = contents(either_engine)
    with pytest.raises(ExtractRefused, match=words):
        told(either_engine, settings, Tables(DAYS[3], **night))
    after = contents(either_engine)
    different = {name for name in after if after[name] != before[name]}
    assert different == {"extract_runs", "extract_gates"}, "yesterday stands"
    assert findings(either_engine, DAYS[3])[gate] == ("block", False)
    said, _ = spoken(either_engine, settings, "2026-03-05 06:00")
    assert "scores are of the one before" in said and words in said
    told(either_engine, settings, Tables(DAYS[4], deals=deals()))
    assert spoken(either_engine, settings, "2026-03-06 06:00") == ("", "")


def test_a_limit_may_be_raised_for_a_drop_that_is_right(engine: Engine, settings: Settings) -> None:
    settings = with_crm(settings)
    after_usual_nights(engine, settings)
    raised = settings.model_copy(update={"gates": Gates(amount_block_factor=10)})
    told(engine, raised, Tables(DAYS[3], deals=deals(amount=500)))
    assert current(engine, "amount")[0] == (500.0,)
    assert findings(engine, DAYS[3]) == {"amount": ("warn", True)}
    _, caveat = spoken(engine, raised, "2026-03-05 06:00")
    assert caveat == "crm: Open deals are worth 30,000 where 6,000 is usual."


def test_a_jump_in_one_currency_is_seen_beside_a_larger_one(engine: Engine, settings: Settings) -> None:
    settings = with_crm(settings)
    for day in DAYS[:3]:
        told(engine, settings, Tables(day, columns=(*DEAL, "currency"), deals=in_two_currencies(100)))
    jump = Tables(DAYS[3], columns=(*DEAL, "currency"), deals=in_two_currencies(700))
    with pytest.raises(ExtractRefused, match="deals in USD are worth 42,000 where 6,000 is usual"):
        told(engine, settings, jump)
    assert findings(engine, DAYS[3]) == {"amount USD": ("block", False)}


def in_two_currencies(dollars: int) -> list[Row]:
    """As many deals in dollars as in yen, which weigh a hundred times as much."""
    yen = [(f"y{row[0]}", *row[1:], "JPY") for row in deals(amount=10_000)]
    return [(*row, "USD") for row in deals(amount=dollars)] + yen


def test_two_drops_say_nothing_about_what_is_usual(engine: Engine, settings: Settings) -> None:
    settings = with_crm(settings)
    after_usual_nights(engine, settings, nights=2)
    told(engine, settings, Tables(DAYS[3], deals=deals(amount=500)))
    assert findings(engine, DAYS[3]) == {}


def test_what_was_kept_out_does_not_become_usual(engine: Engine, settings: Settings) -> None:
    settings = with_crm(settings)
    after_usual_nights(engine, settings)
    for day in DAYS[3:12]:
        with pytest.raises(ExtractRefused, match="where 6,000 is usual"):
            told(engine, settings, Tables(day, deals=deals(amount=500)))


def test_a_new_stage_waits_in_quarantine_and_the_deal_stays_as_it_was(
    engine: Engine, settings: Settings
) -> None:
    pipeline = Pipeline(stages=("Demo",), won_stages=("Won",), lost_stages=("Lost",))
    settings = with_crm(settings, pipeline=pipeline)
    after_usual_nights(engine, settings, nights=1)
    told(engine, settings, Tables(DAYS[1], deals=deals(1, stage="Talk") + deals()[1:]))
    assert current(engine, "deal_id", "stage", "is_deleted")[0] == ("d000", "Demo", False)
    assert [row[3] for row in set_aside(engine)] == ["Talk is no stage of the sales process"]
    assert findings(engine, DAYS[1]) == {"unknown_stages": ("warn", True)}
    said, caveat = spoken(engine, settings, "2026-03-03 06:00")
    assert (
        said == ""
        and caveat == "crm: 1 deal in a stage that is not configured (Talk) stayed as known before."
    )
    with pytest.raises(ExtractRefused, match=r"60 deals in a stage|no deal in it can be used"):
        told(engine, settings, Tables(DAYS[2], deals=deals(stage="Talk")))
    most = deals(20, stage="Talk") + deals(90)[20:]
    with pytest.raises(ExtractRefused, match="20 deals in a stage that is not configured"):
        told(engine, settings, Tables(DAYS[3], deals=most))


def test_impossible_dates_and_repeated_ids_warn_or_block_by_their_share(
    engine: Engine, settings: Settings
) -> None:
    settings = with_crm(settings)
    wrong: Row = ("w", "Lost", "1", "2026-02-01T09:00:00Z", "2026-01-01T09:00:00Z", "lost")
    told(engine, settings, Tables(DAYS[0], deals=[*deals(), wrong, *deals(3)]))
    assert findings(engine, DAYS[0]) == {
        "closed_before_created": ("warn", True),
        "repeated_ids": ("warn", True),
    }
    told(engine, settings, Tables(DAYS[1], deals=[*deals(200), ("d000", *LOST)]))
    assert findings(engine, DAYS[1]) == {}  # a list that is paged through while it changes
    many: list[Row] = [(f"w{n}", *wrong[1:]) for n in range(60)]
    with pytest.raises(ExtractRefused, match="60 deals closed before being created"):
        told(engine, settings, Tables(DAYS[2], deals=[*deals(200), *many]))


def test_a_source_whose_feed_stands_still_is_told(engine: Engine, settings: Settings) -> None:
    settings = with_crm(settings)
    told(engine, settings, Tables("2026-03-06 08:59", deals=deals()))
    assert findings(engine, "2026-03-06 08:59") == {}
    told(engine, settings, Tables("2026-03-06 09:00", deals=deals()))
    assert findings(engine, "2026-03-06 09:00") == {"quiet_hours": ("warn", True)}
    _, caveat = spoken(engine, settings, "2026-03-06 10:00")
    assert caveat == "crm: Nothing in it is younger than 2026-03-01 09:00."
