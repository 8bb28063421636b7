"""Every fact: its name, unit and group, the sentence that explains it, and the one expression for it.

A new fact is one more entry of FACTS, over the columns that `known.py` lays out. A null means that we do not
know, never zero.
"""

from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from dealwatch.scoring.touches import EARLIER_TOUCHES, TOUCH_WINDOWS

Kind = Literal["number", "flag", "category"]
GROUPS: tuple[str, ...] = ("age", "stage", "amount", "close_date", "activity", "owner", "segment", "calendar")

_MICROSECONDS_A_DAY = 86_400_000_000
_QUARTER_END_DAYS = 14


@dataclass(frozen=True)
class Fact:
    """One fact: what it is called, the sentence that explains it to a salesperson, and how it is computed."""

    name: str
    unit: str
    group: str
    kind: Kind
    sentence: str
    value: pl.Expr = field(repr=False, compare=False)
    in_model: bool = True  # what only rules and messages use stays out of the forest


def _number(name: str, unit: str, group: str, sentence: str, value: pl.Expr) -> Fact:
    return Fact(name, unit, group, "number", sentence, value)


def _flag(name: str, group: str, sentence: str, value: pl.Expr) -> Fact:
    return Fact(name, "yes/no", group, "flag", sentence, value)


def _norms(prefix: str, group: str, deals: str) -> list[Fact]:
    """Norms guide rules and messages; the forest gets ages as shares of them, which hold across segments."""
    return [
        Fact(
            name := f"{prefix}_p{share}_days",
            "days",
            group,
            "number",
            f"Of {deals}, {share} in 100 do so within this many days, as history known by then tells.",
            pl.col(name),
            in_model=False,
        )
        for share in (50, 80, 95)
    ]


def _win_rate(column: str, of: str, group: str) -> Fact:
    sentence = (
        f"Share of {of} deals closed in the past year that were won, drawn to everyone's where few did."
    )
    return _number(name := f"{column}_win_rate", "share", group, sentence, pl.col(name))


def _closed_deals(column: str, of: str, group: str) -> Fact:
    sentence = f"How many deals closed in the past year {of} win rate stands on."
    return Fact(
        name := f"{column}_closed_deals", "deals", group, "number", sentence, pl.col(name), in_model=False
    )


def _since(instant: str) -> pl.Expr:
    return (pl.col("as_of") - pl.col(instant)).dt.total_microseconds() / _MICROSECONDS_A_DAY


def _until(day: str) -> pl.Expr:
    return (pl.col(day) - pl.col("today")).dt.total_days()


def _touches_within(days: int) -> pl.Expr:
    recent = pl.col("touches_all").fill_null(0) - pl.col(f"touches_before_{days}d").fill_null(0)
    return pl.when("has_touches").then(recent)


_AGE = _since("created_at")
_IN_STAGE = pl.when(pl.col("stage").is_not_null()).then(_since("stage_entered_at"))
_EARLIER_IN_STAGE = pl.col("earlier_us") / _MICROSECONDS_A_DAY


_TOUCHES_IN_STAGE = pl.col("touches_all").fill_null(0) - pl.col("touches_before_stage")


def _ratio(value: pl.Expr, norm: str) -> pl.Expr:
    return pl.when(pl.col(norm) > 0).then(value / pl.col(norm))


FACTS: tuple[Fact, ...] = (
    _number("age_days", "days", "age", "How long ago the deal was created.", _AGE),
    *_norms("segment_win", "age", "the deals of the segment that end up won"),
    _number(
        "age_share",
        "ratio",
        "age",
        "Age as a multiple of the segment's median time to win.",
        _ratio(_AGE, "segment_win_p50_days"),
    ),
    _number(
        "age_percentile",
        "share",
        "age",
        "Where its age stands among the segment's open deals that morning: 0 is the youngest, 1 the oldest.",
        pl.col("age_percentile"),
    ),
    _flag(
        "is_long_cycle",
        "age",
        "The deal is older than the age by which 80 in 100 of the segment's wins are won.",
        pl.col("segment_win_p80_days") < _AGE,
    ),
    Fact("stage", "name", "stage", "category", "The stage the deal is in.", pl.col("stage")),
    _number(
        "stage_reached",
        "share",
        "stage",
        "The furthest stage the deal ever reached: 0 is the first of the process, 1 the last.",
        pl.col("stage_reached"),
    ),
    _number(
        "days_in_stage", "days", "stage", "How long the deal has been in its stage, this time.", _IN_STAGE
    ),
    _number(
        "cumulative_days_in_stage",
        "days",
        "stage",
        "How long the deal has been in its stage, all its visits there together.",
        _EARLIER_IN_STAGE + _IN_STAGE,
    ),
    *_norms("stage", "stage", "the deals that move on from this stage (in its segment, where enough did)"),
    _number(
        "stage_share",
        "ratio",
        "stage",
        "Days in stage as a multiple of the median time after which deals move on from it.",
        _ratio(_IN_STAGE, "stage_p50_days"),
    ),
    _number("stage_moves", "times", "stage", "How often the deal changed its stage.", pl.col("stage_moves")),
    _number(
        "moves_back",
        "times",
        "stage",
        "How often the deal went back to an earlier stage.",
        pl.col("moves_back"),
    ),
    _number(
        "stage_visits",
        "times",
        "stage",
        "How often the deal has entered its stage, this time included.",
        pl.col("stage_visits"),
    ),
    _number(
        "days_to_stage",
        "days",
        "stage",
        "How old the deal was when it entered its stage, this time.",
        _AGE - _IN_STAGE,
    ),
    _number(
        "stage_open_deals",
        "deals",
        "stage",
        "Open deals in the same stage that morning.",
        pl.col("stage_open_deals"),
    ),
    _number(
        "loss_chance",
        "share",
        "stage",
        "Of deals in this stage for as long, the share lost in the end, as all moves known by then tell.",
        pl.col("loss_chance"),
    ),
    _number(
        "stage_loss_chance",
        "share",
        "stage",
        "Of deals that enter this stage, the share lost in the end, as all moves known by then tell.",
        pl.col("stage_loss_chance"),
    ),
    _number(
        "amount",
        "currency",
        "amount",
        "The amount in the deal's own currency, not converted.",
        pl.col("amount"),
    ),
    _number(
        "amount_change_pct",
        "%",
        "amount",
        "How far the amount has moved from the first one known, in percent of it.",
        pl.when(pl.col("first_amount") > 0).then(100 * (pl.col("amount") / pl.col("first_amount") - 1)),
    ),
    _flag(
        "is_large",
        "amount",
        "The amount is above what nine in ten deals known by then had (a setting), currencies not converted.",
        pl.col("amount") > pl.col("large_amount"),
    ),
    _number(
        "days_to_close",
        "days",
        "close_date",
        "Days until the expected close date; negative once the date has passed.",
        _until("close_date"),
    ),
    _number(
        "times_pushed",
        "times",
        "close_date",
        "How often the expected close date was moved to a later day.",
        pl.col("times_pushed"),
    ),
    _number(
        "days_pushed",
        "days",
        "close_date",
        "How many days those moves added up to.",
        pl.col("days_pushed"),
    ),
    _number(
        "days_since_touch",
        "days",
        "activity",
        "How long ago anyone last touched the deal; its age when nobody ever did.",
        pl.when("has_touches").then(pl.coalesce(_since("last_touch_at"), _AGE)),
    ),
    *(
        _number(
            f"days_since_touch_{n}",
            "days",
            "activity",
            f"How long ago the {name} touch was; the deal's age when there were fewer.",
            pl.when("has_touches").then(pl.coalesce(_since(f"touch_{n}_at"), _AGE)),
        )
        for n, name in zip(EARLIER_TOUCHES, ("last but one", "last but two", "last but four"), strict=True)
    ),
    *(
        _number(
            f"touches_{days}d",
            "touches",
            "activity",
            f"Touches in the last {days} days.",
            _touches_within(days),
        )
        for days in TOUCH_WINDOWS
    ),
    _number(
        "touches_all",
        "touches",
        "activity",
        "Touches in all.",
        pl.when("has_touches").then(pl.col("touches_all").fill_null(0)),
    ),
    _number(
        "touches_in_stage",
        "touches",
        "activity",
        "Touches since the deal entered its stage, this time.",
        pl.when("has_touches").then(_TOUCHES_IN_STAGE),
    ),
    _number(
        "touch_days",
        "days",
        "activity",
        "On how many days anyone touched the deal.",
        pl.when("has_touches").then(pl.col("touch_days").fill_null(0)),
    ),
    _number(
        "touch_day_share",
        "ratio",
        "activity",
        "Days on which anyone touched it, as a share of its days so far, today included.",
        pl.when("has_touches").then(pl.col("touch_days").fill_null(0) / (_AGE + 1)),
    ),
    _number(
        "last_touch_hour",
        "hour",
        "activity",
        "At which hour of its day the last touch was, where the organisation is.",
        pl.col("last_touch_hour"),
    ),
    Fact(
        "last_touch_kind",
        "name",
        "activity",
        "category",
        "What kind of touch the last one was.",
        pl.col("last_touch_kind"),
    ),
    _number(
        "same_kind_touches",
        "touches",
        "activity",
        "Touches of the kind that the last one was, in all.",
        pl.col("same_kind_touches"),
    ),
    _number(
        "people_touching",
        "people",
        "activity",
        "How many different people have touched the deal.",
        pl.when("has_people").then(pl.col("people_touching").fill_null(0)),
    ),
    _number(
        "touches_unnamed",
        "touches",
        "activity",
        "Touches that name nobody, as those of a system do.",
        pl.when("has_people").then(pl.col("touches_unnamed").fill_null(0)),
    ),
    _flag(
        "last_touch_is_unnamed",
        "activity",
        "The last touch names nobody.",
        pl.when("has_people").then("last_touch_is_unnamed"),
    ),
    _number(
        "days_since_named",
        "days",
        "activity",
        "How long ago a touch last named somebody; the deal's age when none did.",
        pl.when("has_people").then(pl.coalesce(_since("last_named_at"), _AGE)),
    ),
    _number(
        "days_since_unnamed",
        "days",
        "activity",
        "How long ago a touch last named nobody; the deal's age when all named somebody.",
        pl.when("has_people").then(pl.coalesce(_since("last_unnamed_at"), _AGE)),
    ),
    _number(
        "days_since_in",
        "days",
        "activity",
        "How long ago the buyer last got in touch; the deal's age when they never did.",
        pl.when("has_directions").then(pl.coalesce(_since("last_in_at"), _AGE)),
    ),
    _number(
        "days_since_out",
        "days",
        "activity",
        "How long ago we last got in touch with the buyer; the deal's age when we never did.",
        pl.when("has_directions").then(pl.coalesce(_since("last_out_at"), _AGE)),
    ),
    _number(
        "days_since_news",
        "days",
        "activity",
        "How long ago anything was heard of the deal: a touch, or a change of any field.",
        pl.min_horizontal(_since("last_change_at"), _since("last_touch_at")),
    ),
    _flag(
        "has_next_step",
        "activity",
        "A next step is planned for that day or later.",
        pl.when("has_next_steps").then((pl.col("next_step_on") >= pl.col("today")).fill_null(False)),
    ),
    _number(
        "days_to_next_step",
        "days",
        "activity",
        "Days until the planned next step; negative once its day has passed.",
        _until("next_step_on"),
    ),
    _win_rate("owner", "the owner's", "owner"),
    _number(
        "owner_open_deals",
        "deals",
        "owner",
        "Open deals its owner holds that morning.",
        pl.col("owner_open_deals"),
    ),
    _number(
        "owner_changes",
        "times",
        "owner",
        "How often the deal was handed from one owner to another.",
        pl.col("owner_changes"),
    ),
    _win_rate("industry", "the industry's", "segment"),
    _win_rate("region", "the region's", "segment"),
    _win_rate("product_type", "the product type's", "segment"),
    _win_rate("lead_source", "the lead source's", "segment"),
    _number(
        "days_to_quarter_end",
        "days",
        "calendar",
        "Days left in the fiscal quarter; 0 on its last day.",
        _until("quarter_ends_on"),
    ),
    _flag(
        "is_quarter_end",
        "calendar",
        "The day is one of the last 14 of the fiscal quarter.",
        _until("quarter_ends_on") < _QUARTER_END_DAYS,
    ),
    # How far win rates can be told in a sentence.
    _closed_deals("owner", "the owner's", "owner"),
    Fact(
        "win_rate",
        "share",
        "segment",
        "number",
        "Share of all deals closed in the past year that were won.",
        pl.col("win_rate"),
        in_model=False,
    ),
    _closed_deals("industry", "the industry's", "segment"),
    _closed_deals("region", "the region's", "segment"),
    _closed_deals("product_type", "the product type's", "segment"),
    _closed_deals("lead_source", "the lead source's", "segment"),
)
