"""Versions are kept with their verdict; a moment's champion is read from the log, without looking ahead."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import polars as pl
import pytest
from sqlalchemy import Engine, select

from dealwatch.errors import DecisionRefused, ModelUnusable
from dealwatch.scoring import trial
from dealwatch.scoring.explain import explain
from dealwatch.scoring.registry import champions_at, retire_waiting, version_of
from dealwatch.scoring.succession import promote, reject, roll_back
from dealwatch.scoring.trial import Trained
from dealwatch.settings import Settings
from dealwatch.tables import model_promotions
from dealwatch.warehouse import frame, reading, writing
from made_up_facts import made_up_facts
from model_samples import (
    FEBRUARY,
    JANUARY,
    MARCH,
    MONTH,
    champion,
    good,
    other,
    promoted,
    refused,
    serving,
    statuses,
    stored,
    versions,
)


def decisions(engine: Engine) -> list[tuple[object, ...]]:
    with reading(engine) as connection:
        log = frame(connection, select(model_promotions)).sort("promoted_as_of", "number")
    return log.select("promoted_as_of", "number", "version", "kind", "decided_by").rows()


def test_what_is_stored_comes_back_with_the_same_scores(
    either_engine: Engine, either_settings: Settings
) -> None:
    version = promoted(either_engine, either_settings, good(), JANUARY)
    model, reason = champion(either_engine, either_settings, JANUARY)
    assert model is not None and model.version == version and model.trained_as_of == JANUARY
    assert reason == f"model {version}: {good().reason}"
    bundle = good().bundle
    assert bundle is not None
    facts = made_up_facts(50)
    assert explain(model.bundle, facts).p_loss.tolist() == explain(bundle, facts).p_loss.tolist()


def test_a_bundle_is_packed_once_however_often_its_version_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[object] = []
    monkeypatch.setattr(trial, "packed", lambda bundle: times.append(bundle) or b"packed")
    fresh = replace(good())
    assert version_of(fresh, JANUARY) == version_of(fresh, JANUARY) != version_of(good(), JANUARY)
    assert fresh.content == b"packed" and len(times) == 1


def test_the_same_training_and_decision_again_change_no_row_and_no_file(
    either_engine: Engine, either_settings: Settings
) -> None:
    version = promoted(either_engine, either_settings, good(), JANUARY)
    before, log = versions(either_engine), decisions(either_engine)
    files = {p: p.read_bytes() for p in (either_settings.home / "models").rglob("*") if p.is_file()}
    assert promoted(either_engine, either_settings, good(), JANUARY) == version
    assert versions(either_engine).equals(before) and decisions(either_engine) == log
    assert {
        p: p.read_bytes() for p in (either_settings.home / "models").rglob("*") if p.is_file()
    } == files and len(files) == 2


def test_a_model_serves_nobody_before_it_is_promoted(engine: Engine, settings: Settings) -> None:
    version = stored(engine, settings, good(), JANUARY)
    assert statuses(engine) == {version: "challenger"}
    model, reason = champion(engine, settings, MARCH)
    assert model is None and reason == f"model {version} passed the gate, and nobody promoted it by then."


def test_a_moment_is_served_by_the_latest_model_promoted_by_then(engine: Engine, settings: Settings) -> None:
    second = promoted(engine, settings, other(), MARCH)
    first = promoted(engine, settings, good(), JANUARY)  # trained afterwards, for an earlier moment
    with reading(engine) as connection:
        found = champions_at(connection, settings, [JANUARY - MONTH, JANUARY, FEBRUARY, MARCH, MARCH + MONTH])
    assert [one.model and one.model.version for one in found] == [None, first, first, second, second]
    assert statuses(engine) == {first: "retired", second: "champion"}


def test_a_later_decision_changes_no_earlier_champion(engine: Engine, settings: Settings) -> None:
    first, second = promoted(engine, settings, good(), JANUARY), stored(engine, settings, other(), FEBRUARY)
    with writing(engine, alone="models") as connection:
        promote(connection, settings, second, as_of=MARCH, by="Ann")
        roll_back(connection, settings, as_of=MARCH + MONTH, by="Bob")
    with reading(engine) as connection:
        found = champions_at(connection, settings, [FEBRUARY, MARCH, MARCH + MONTH])
    assert [one.model and one.model.version for one in found] == [first, second, first]
    assert decisions(engine) == [
        (JANUARY, 0, first, "promoted", ""),
        (MARCH, 0, second, "promoted", "Ann"),
        (MARCH + MONTH, 0, first, "rolled_back", "Bob"),
    ]
    assert statuses(engine) == {first: "champion", second: "retired"}


def test_of_two_decisions_at_one_moment_the_second_holds(engine: Engine, settings: Settings) -> None:
    first, second = promoted(engine, settings, good(), JANUARY), promoted(engine, settings, other(), JANUARY)
    assert serving(engine, settings, JANUARY) == second
    with writing(engine, alone="models") as connection:
        roll_back(connection, settings, as_of=JANUARY)
    assert serving(engine, settings, JANUARY) == first
    assert [number for _, number, *_ in decisions(engine)] == [0, 1, 2]


def test_rollback_goes_back_one_by_one_and_forth_by_name(engine: Engine, settings: Settings) -> None:
    third = replace(good(), reason="once more.")
    trainings = [(good(), JANUARY), (other(), FEBRUARY), (third, MARCH)]
    a, b, c = [promoted(engine, settings, trained, moment) for trained, moment in trainings]
    now = MARCH + MONTH

    def back(to: str | None = None) -> str | None:
        with writing(engine, alone="models") as connection:
            roll_back(connection, settings, as_of=now, to=to)
        return serving(engine, settings, now)

    assert [back(), back()] == [b, a]
    with pytest.raises(DecisionRefused, match="no usable model before"):
        back()
    assert [back(c), back(c)] == [c, c]
    assert len(decisions(engine)) == 6, "returning to what already serves is no decision"


def test_a_model_that_people_turned_away_from_does_not_come_back_when_another_fails(
    engine: Engine, settings: Settings
) -> None:
    third = replace(good(), reason="once more.")
    trainings = [(good(), JANUARY), (other(), FEBRUARY), (third, MARCH)]
    a, b, c = [promoted(engine, settings, trained, moment) for trained, moment in trainings]
    with writing(engine, alone="models") as connection:
        roll_back(connection, settings, as_of=MARCH + MONTH)
    (settings.home / "models" / b / "manifest.json").unlink()
    assert serving(engine, settings, MARCH + MONTH) == a
    with writing(engine, alone="models") as connection:  # b is passed over: it could not serve
        assert roll_back(connection, settings, as_of=MARCH + MONTH)["version"] == a


def test_a_rollback_of_the_past_that_a_later_promotion_would_undo_is_refused(
    engine: Engine, settings: Settings
) -> None:
    promoted(engine, settings, good(), JANUARY)
    promoted(engine, settings, other(), FEBRUARY)
    later = promoted(engine, settings, replace(good(), reason="once more."), MARCH)
    with writing(engine, alone="models") as connection:
        with pytest.raises(DecisionRefused, match=f"{later} was promoted later.*without --as-of"):
            roll_back(connection, settings, as_of=FEBRUARY)
    assert serving(engine, settings, MARCH) == later and len(decisions(engine)) == 3


def test_rollback_to_what_cannot_be_trusted_or_never_served_is_refused(
    engine: Engine, settings: Settings
) -> None:
    with writing(engine) as connection, pytest.raises(DecisionRefused, match="nothing to roll back"):
        roll_back(connection, settings, as_of=MARCH)
    first = promoted(engine, settings, good(), JANUARY)
    promoted(engine, settings, other(), FEBRUARY)
    waiting = stored(engine, settings, replace(good(), reason="once more."), MARCH)
    (settings.home / "models" / first / "model.joblib").unlink()
    with writing(engine) as connection:
        with pytest.raises(ModelUnusable, match=first):
            roll_back(connection, settings, as_of=MARCH, to=first)
        with pytest.raises(DecisionRefused, match="never was champion"):
            roll_back(connection, settings, as_of=MARCH, to=waiting)
        with pytest.raises(DecisionRefused, match="no model 'v9'"):
            roll_back(connection, settings, as_of=MARCH, to="v9")


def test_what_may_not_be_promoted_is_refused_with_what_to_do_instead(
    engine: Engine, settings: Settings
) -> None:
    bad = stored(engine, settings, refused(), JANUARY)
    old = stored(engine, settings, good(), JANUARY)
    new = promoted(engine, settings, other(), FEBRUARY)
    with writing(engine) as connection:
        with pytest.raises(DecisionRefused, match="refused by the gate.*no evidence"):
            promote(connection, settings, bad, as_of=MARCH)
        with pytest.raises(DecisionRefused, match=f"older than the champion {new}.*rollback"):
            promote(connection, settings, old, as_of=MARCH)
        with pytest.raises(DecisionRefused, match="look ahead"):
            promote(connection, settings, new, as_of=JANUARY)
        with pytest.raises(DecisionRefused, match="no model 'v9'"):
            promote(connection, settings, "v9", as_of=MARCH)
    assert len(decisions(engine)) == 1


def test_a_challenger_can_be_rejected_and_the_champion_cannot(engine: Engine, settings: Settings) -> None:
    first, second = promoted(engine, settings, good(), JANUARY), stored(engine, settings, other(), FEBRUARY)
    with writing(engine, alone="models") as connection:
        assert reject(connection, second, by="Ann")["changed"]
        assert not reject(connection, second, by="Bob")["changed"]
        with pytest.raises(DecisionRefused, match="run rollback"):
            reject(connection, first)
    assert statuses(engine) == {first: "champion", second: "rejected"}
    assert versions(engine).filter(pl.col("version") == second)["decision"].item() == "rejected by Ann."
    assert serving(engine, settings, MARCH) == first


def test_a_challenger_waits_whatever_else_is_trained_until_one_takes_its_place(
    engine: Engine, settings: Settings
) -> None:
    first = stored(engine, settings, good(), JANUARY)
    bad = stored(engine, settings, refused(), FEBRUARY)
    second = stored(engine, settings, other(), MARCH)
    assert statuses(engine) == {first: "challenger", bad: "refused", second: "challenger"}
    with writing(engine, alone="models") as connection:
        retire_waiting(connection, second, MARCH)
    assert statuses(engine) == {first: "retired", bad: "refused", second: "challenger"}


def test_a_refused_training_is_kept_with_its_reason_and_serves_nobody(
    engine: Engine, settings: Settings
) -> None:
    version = stored(engine, settings, refused(), JANUARY)
    assert statuses(engine) == {version: "refused"}
    assert champion(engine, settings, FEBRUARY) == (None, refused().reason)
    assert champion(engine, settings, JANUARY - MONTH) == (None, "no model was trained by then; run train.")


def test_a_training_without_a_model_is_kept_too(engine: Engine, settings: Settings) -> None:
    nothing = Trained(None, {"n_won": 3}, False, False, "too little history: 3 won.")
    version = stored(engine, settings, nothing, JANUARY)
    assert versions(engine).select("version", "status", "sha256").row(0) == (version, "refused", "")
    assert champion(engine, settings, JANUARY) == (None, "too little history: 3 won.")


def test_a_refusal_leaves_the_champion_in_place(engine: Engine, settings: Settings) -> None:
    first = promoted(engine, settings, good(), JANUARY)
    stored(engine, settings, refused(), FEBRUARY)
    assert serving(engine, settings, MARCH) == first


def test_another_verdict_on_the_same_forest_is_another_version(engine: Engine, settings: Settings) -> None:
    strict = replace(good(), may_alert=False, reason="no evidence: the gate was raised.")
    assert stored(engine, settings, good(), JANUARY) != stored(engine, settings, strict, JANUARY)


def test_whoever_asks_while_decisions_fall_finds_one_of_the_two(
    either_engine: Engine, either_settings: Settings
) -> None:
    """Workers score while somebody rolls back and forth; the log never shows a half-made decision."""
    first = promoted(either_engine, either_settings, good(), JANUARY)
    second = promoted(either_engine, either_settings, other(), FEBRUARY)

    def decide(_: int) -> None:
        with writing(either_engine, alone="models") as connection:
            before = roll_back(connection, either_settings, as_of=MARCH)["before"]
            roll_back(connection, either_settings, as_of=MARCH, to=before)

    with ThreadPoolExecutor(4) as pool:
        decided = [pool.submit(decide, n) for n in range(4)]
        asked = [pool.submit(serving, either_engine, either_settings, MARCH) for _ in range(6)]
        assert {one.result() for one in asked} <= {first, second}
        for one in decided:
            one.result()
    assert serving(either_engine, either_settings, MARCH) == second
    numbers = [number for moment, number, *_ in decisions(either_engine) if moment == MARCH]
    assert numbers == list(range(8))
