"""A rule file says when a deal is worth a word; what it cannot say is refused, with line and remedy."""

import re
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from dealwatch.alerts.reasons import REASONS
from dealwatch.alerts.rules.conditions import ConditionFault, condition, known_facts
from dealwatch.alerts.rules.files import FIELDS, LEVEL_FIELDS
from dealwatch.alerts.rules.reference import rules_page
from dealwatch.alerts.rules.rule import Rule, levels_held, load_rule, load_rules, rule_points
from dealwatch.alerts.rules.sayings import SayingFault, saying
from dealwatch.delivery.claims import UNDELIVERABLE
from dealwatch.errors import SettingsError
from dealwatch.knobs import PROJECT
from dealwatch.settings import Settings

GOOD = """\
title = "Quiet"
say = "{deal_name} has been quiet for {days_since_touch:.0f} days."
why = "Silence rarely ends well."
action = "Call the buyer."
send_to = ["owner"]
cooldown_days = 7
points = 5
when = "stage = 'Legal' AND days_since_touch > 10"
"""
LEVELS = GOOD.replace("when = \"stage = 'Legal' AND days_since_touch > 10\"\n", "") + (
    "\n[[levels]]\nlevel = 1\nname = 'a'\nwhen = 'days_since_touch > 10'\n"
    "\n[[levels]]\nlevel = 2\nname = 'b'\nwhen = 'days_since_touch > 20'\npoints = 9\n"
)


def rule(text: str, folder: Path, name: str = "quiet") -> Rule:
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return load_rule(path)


def facts(**columns: list[object]) -> pl.DataFrame:
    """Facts of deals a, b, c and so on, on one morning."""
    count = len(next(iter(columns.values())))
    return pl.DataFrame(
        {
            "as_of": [datetime(2026, 3, 2, 5, tzinfo=UTC)] * count,
            "deal_id": [chr(ord("a") + n) for n in range(count)],
            "name": [f"Deal {n}" for n in range(count)],
            **columns,
        },
        strict=False,
    )


def test_a_good_file_becomes_a_rule(tmp_path: Path) -> None:
    made = rule(GOOD, tmp_path)
    assert (made.name, made.cooldown_days, made.scope, made.send_to) == ("quiet", 7, "deal", ("owner",))
    assert [(level.level, level.name, level.points) for level in made.levels] == [(1, "Quiet", 5)]


def test_levels_have_their_own_conditions_and_points(tmp_path: Path) -> None:
    assert [(one.level, one.points) for one in rule(LEVELS, tmp_path).levels] == [(1, 5), (2, 9)]


@pytest.mark.parametrize(
    ("wrong", "line", "words"),
    [
        (GOOD.replace("cooldown_days", "cooldwon_days"), 6, "cooldwon_days: unknown field"),
        (GOOD.replace("days_since_touch > 10", "days_since_tuch > 10"), 8, "did you mean days_since_touch"),
        (GOOD.replace("> 10", "> "), 8, "cannot be read"),
        (GOOD.replace("days_since_touch > 10", "days_since_touch + 10"), 8, "cannot be read"),
        (GOOD.replace("stage = 'Legal' AND days_since_touch > 10", "days_since_touch + 10"), 8, "compare it"),
        (GOOD.replace("stage = 'Legal'", "stage > 3"), 8, "cannot be read"),
        (GOOD.replace("points = 5", "points = 41"), 7, "write 0 to 40"),
        (GOOD.replace("points = 5", "points = true"), 7, "a whole number"),
        (GOOD.replace("7", "'7'"), 6, "a whole number"),
        (GOOD.replace('["owner"]', '["boss"]'), 5, "owner, manager, revops"),
        (GOOD.replace('["owner"]', "[]"), 5, "owner, manager, revops"),
        (GOOD.replace("cooldown_days = 7", "cooldown_days = 91"), 6, "0 to 90"),
        (GOOD + 'scope = "week"\n', 9, "deal or stage_spell"),
        (GOOD.replace("{deal_name}", "{dael_name}"), 2, "did you mean deal_name"),
        (GOOD.replace("{deal_name}", "{deal_name.__class__}"), 2, "not a name"),
        (GOOD.replace("{deal_name}", "{deal_name[0]}"), 2, "not a name"),
        (GOOD.replace("{deal_name}", "{deal_name!r}"), 2, "not a name"),
        (GOOD.replace("{deal_name}", "{}"), 2, "not a name"),
        (GOOD.replace("{deal_name}", "{deal_name:>99}"), 2, "only numbers"),
        (GOOD.replace(":.0f", ":9999999.0f"), 2, "unknown format"),
        (GOOD.replace("{deal_name}", "{deal_name"), 2, "braces"),
        (GOOD.replace("{deal_name}", "{score}"), 2, "only known to rules whose `when` compares it"),
        (GOOD.replace("'Legal' AND days_since_touch > 10", "'Legal' AND score > 10"), 7, "adds no points"),
        (GOOD.replace('title = "Quiet"', 'title = " "'), 1, "empty"),
        (GOOD.replace('why = "Silence rarely ends well."\n', ""), 1, "why: missing; add a line"),
        (GOOD.replace('when = "stage', '# when = "stage'), 1, "either one `when` or [[levels]]"),
        (GOOD.replace("title = ", "title "), 1, "not TOML"),
        (LEVELS.replace("level = 2", "level = 1"), 15, "is there twice"),
        (LEVELS.replace("level = 2", "level = 4"), 15, "write 1, 2 or 3"),
        (LEVELS.replace("points = 9", "points = -1"), 18, "write 0 to 40"),
        (LEVELS.replace("> 20", "> tomorrow"), 17, "unknown fact 'tomorrow'"),
        (LEVELS.replace("name = 'b'\n", ""), 14, "name: missing"),
        (LEVELS.replace("name = 'b'", "nom = 'b'"), 16, "nom: unknown field; did you mean name?"),
        (GOOD.replace("cooldown_days", "cooldown_day"), 6, "did you mean cooldown_days?"),
        (
            GOOD.replace("cooldown_days = 7", "cooldown_hours = 7"),
            6,
            "cooldown_hours: unknown field; did you mean cooldown_days?",
        ),
        (
            GOOD.replace("cooldown_days = 7", 'cooldown_days = "7 days"'),
            6,
            "a whole number without quotes or unit",
        ),
        (
            GOOD.replace("> 10", "> 10 days"),
            8,
            "write 10 without 'days'; docs/facts.md gives each fact's",
        ),
        (GOOD.replace("> 10", "> 10d"), 8, "write 10 without 'd'"),
        (GOOD.replace("days_since_touch > 10", "owner_win_rate < 50%"), 8, "a share is 0.5, not 50%"),
        (GOOD.replace('["owner"]', '"owner"'), 5, "send_to: write a list in square brackets, not 'owner'"),
        (GOOD.replace('["owner"]', '[["owner"]]'), 5, "owner, manager, revops"),
        (GOOD.replace('["owner"]', '["owner", "chef"]'), 5, "owner, manager, revops"),
        (GOOD.replace("{days_since_touch:.0f}", "{days_since_touch:.0f days}"), 2, "unknown format"),
        (GOOD.replace('say = "{deal_name}', 'sentence = "{deal_name}'), 2, "sentence: unknown field"),
        (LEVELS.replace("[[levels]]", "[levels]", 1).split("\n[[levels]]")[0], 9, "with two brackets"),
        (GOOD + GOOD[:16], 9, "not TOML"),
    ],
)
def test_a_fault_is_refused_with_file_line_and_remedy(
    tmp_path: Path, wrong: str, line: int, words: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        rule(wrong, tmp_path)
    assert f"{tmp_path / 'quiet.toml'}:{line}: " in str(refused.value)
    assert words in str(refused.value)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_bytes(b"title = '\xff'")
    with pytest.raises(SettingsError, match="save the file as UTF-8"):
        load_rule(tmp_path / "bad.toml")


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    assert rule(f"\ufeff{GOOD}", tmp_path).title == "Quiet"


def test_a_folder_without_rules_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no rule files"):
        load_rules(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ABS(amount) > 1", "ABS is not allowed"),
        ("CASE WHEN amount > 1 THEN TRUE ELSE FALSE END", "CASE is not allowed"),
        ("amount > (SELECT 1)", "SELECT is not allowed"),
        ("amount IN (SELECT amount FROM t)", "SELECT is not allowed"),
        ("CAST(amount AS INT) > 1", "CAST is not allowed"),
        ("amount::int > 1", "not allowed"),
        ("amount / 2 > 1", "division"),
        ("amount > 1; amount", "not allowed"),
        ("amount > 1 -- or so", "comments"),
        ("amount /* x */ > 1", "comments"),
        ('stage = "Legal"', "single quotes"),
        ("stage = 'Legal", "not closed"),
        ("stage LIKE 'L%'", "unknown fact 'LIKE'"),
        ("COLUMNS('a.*') > 1", "COLUMNS is not allowed"),
        ("* > 1", "names no fact"),
        ("1 = 1", "names no fact"),
        ("amount", "compare it"),
        ("", "names no fact"),
    ],
)
def test_a_condition_can_only_compare_facts(text: str, words: str) -> None:
    with pytest.raises(ConditionFault, match=re.escape(words)):
        condition(text)


@pytest.mark.parametrize(
    "text",
    [
        "amount >= 1000.5 AND NOT (is_large OR moves_back <> 0)",
        "stage IN ('Legal', 'O''Brien') AND amount BETWEEN 1 AND 2",
        "age_days > 1.5 * segment_win_p50_days - 3",
        "owner_win_rate IS NULL OR is_large = TRUE",
        "days_to_close < -1",
    ],
)
def test_comparisons_and_arithmetic_are_followed(text: str) -> None:
    condition(text)


def test_an_unknown_fact_value_does_not_hold() -> None:
    rows = known_facts(facts(amount=[5.0, None, float("nan")], is_large=[None, None, None]))
    assert rows.select(held=condition("amount > 1"))["held"].to_list() == [True, False, False]
    assert rows.select(held=condition("NOT amount > 9"))["held"].to_list() == [True, False, False]
    assert rows.select(held=condition("is_large IS NULL OR amount > 9"))["held"].to_list() == [True] * 3


def test_the_highest_level_that_holds_counts(tmp_path: Path) -> None:
    held = levels_held([rule(LEVELS, tmp_path)], facts(days_since_touch=[5.0, 15.0, 25.0, None]))
    assert held.select("deal_id", "level").rows() == [("b", 1), ("c", 2)]


def test_points_come_with_a_sentence_and_an_action(tmp_path: Path) -> None:
    added = rule_points([rule(LEVELS, tmp_path)], facts(days_since_touch=[5.0, 15.4, 25.0]))
    assert added.select("deal_id", "rule", "points", "sentence", "action").rows() == [
        ("b", "quiet", 5, "Deal 1 has been quiet for 15 days.", "Call the buyer."),
        ("c", "quiet", 9, "Deal 2 has been quiet for 25 days.", "Call the buyer."),
    ]


def test_a_rule_about_the_score_adds_no_points(tmp_path: Path) -> None:
    text = GOOD.replace("points = 5\n", "").replace("stage = 'Legal' AND days_since_touch > 10", "score > 75")
    critical = rule(text, tmp_path)
    assert critical.uses_score
    assert rule_points([critical], facts(days_since_touch=[50.0])).is_empty()
    assert rule_points([], facts(days_since_touch=[50.0])).is_empty()


def test_what_fills_a_sentence_is_never_read_as_a_template() -> None:
    hostile = "{deal_name.__class__} {0} %s <!channel> " + "x" * 300
    assert saying("{deal_name}: {days_in_stage:.1f}").about({"name": hostile, "days_in_stage": 2.0}) == (
        f"{hostile}: 2.0"
    )


@pytest.mark.parametrize(
    ("text", "row", "said"),
    [
        ("{amount:,.0f} of {currency}", {"amount": 1234567.0, "currency": "EUR"}, "1,234,567 of EUR"),
        ("{owner_win_rate:.0%}", {"owner_win_rate": 0.305}, "30%"),
        ("{close_date}", {"close_date": date(2026, 3, 9)}, "9 March 2026"),
        ("{is_large}", {"is_large": True}, "yes"),
        ("{amount}", {"amount": 12.6}, "13"),
        ("{amount:.0f} {deal_name}", {"amount": None, "name": None}, "unknown unknown"),
        ("{amount:.0f}", {"amount": float("nan")}, "unknown"),
        ("{{braces}} {stage}", {"stage": "Legal"}, "{braces} Legal"),
    ],
)
def test_a_sentence_is_filled_with_readable_values(text: str, row: dict[str, object], said: str) -> None:
    assert saying(text).about(row) == said


def test_a_place_for_nothing_is_refused() -> None:
    with pytest.raises(SayingFault):
        saying("{account.x}")


def test_the_shipped_rules_load_and_share_the_forty_points() -> None:
    rules = {one.name: one for one in load_rules(Settings().alerts.rules)}
    assert {"stage_stall", "lifecycle_breach", "critical_risk", "close_date_passed", "gone_quiet"} == set(
        rules
    )
    assert sum(max(level.points for level in one.levels) for one in rules.values()) <= 40
    assert rules["stage_stall"].scope == "stage_spell" and rules["stage_stall"].cooldown_days == 5
    assert rules["critical_risk"].folds_others and rules["critical_risk"].cooldown_days == 3
    may_interrupt = {
        (name, lv.level) for name, one in rules.items() for lv in one.levels if not lv.digest_only
    }
    assert may_interrupt == {
        ("critical_risk", 1),
        ("close_date_passed", 1),
        ("gone_quiet", 1),
        ("lifecycle_breach", 2),
        ("stage_stall", 1),
        ("stage_stall", 2),
    }, "those that real loans and the made-up company prove alike (docs/real-data.md)"


@pytest.mark.parametrize(
    ("has_next_step", "days_to_next_step", "level"),
    [(True, 3.0, None), (True, 14.0, None), (True, 15.0, 1), (False, None, 1), (None, None, 1)],
)
def test_a_next_step_within_two_weeks_pauses_a_stall(
    has_next_step: bool | None, days_to_next_step: float | None, level: int | None
) -> None:
    (stall,) = [one for one in load_rules(Settings().alerts.rules) if one.name == "stage_stall"]
    rows = facts(
        days_in_stage=[41.0],
        stage_p80_days=[20.0],
        stage_p95_days=[40.0],
        has_next_step=[has_next_step],
        days_to_next_step=[days_to_next_step],
    ).with_columns(pl.col("has_next_step").cast(pl.Boolean), pl.col("days_to_next_step").cast(pl.Float64))
    assert levels_held([stall], rows)["level"].to_list() == ([] if level is None else [level])


def test_the_page_about_rules_is_made_of_them() -> None:
    page = (PROJECT / "docs" / "rules.md").read_text(encoding="utf-8")
    assert page == rules_page(), "run `python -m dealwatch reference --out docs`"
    named = [field.name for field in (*FIELDS, *LEVEL_FIELDS)]
    assert len(named) > 10 and all(f"| `{name}` |" in page for name in [*named, *REASONS])


def test_the_closed_list_of_reasons_is_the_one_used() -> None:
    rooms = PROJECT / "include" / "dealwatch"
    files = [*(rooms / "alerts").rglob("*.py"), *(rooms / "delivery").glob("*.py")]
    text = "".join(path.read_text(encoding="utf-8") for path in files if path.name != "reasons.py")
    assert [reason for reason in REASONS if f'"{reason}"' not in text] == []
    named = text.replace('reason="resolution"', "")  # a column
    given = re.findall(r'(?:reason(?:=|": )|hold\(.*, |Due\(None, |Occasion\(\w+, )"(\w+)"', named)
    assert {"expired", "no_route", "cooldown", "past_day"} <= set(given) <= set(REASONS)
    assert UNDELIVERABLE in REASONS


def test_a_rule_is_about_the_group_of_the_first_fact_it_compares() -> None:
    shipped = {rule.name: rule.about for rule in load_rules(Settings().alerts.rules)}
    assert shipped["stage_stall"] == "stage"
    assert shipped["lifecycle_breach"] == "age"
    assert shipped["close_date_passed"] == "close_date"
