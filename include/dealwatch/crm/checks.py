"""Which mapped rows can be used, and what is wrong with the others: field, reason, remedy.

A row is judged by its first fault in the order written here. Files that cannot be used at all are refused
elsewhere; here the rest of the file always goes on.
"""

from collections.abc import Iterator
from dataclasses import replace
from zoneinfo import available_timezones

import polars as pl

from dealwatch.crm.contract import COLUMNS, DATES, NUMBERS, OUTCOMES, REQUIRED, UNTRACKED, Object
from dealwatch.crm.faults import (
    NUMBER_REMEDY,
    PROBLEM,
    Fault,
    Reading,
    absurd,
    blank,
    date_remedy,
    first_fault,
    in_future,
    is_absurd,
    is_unknown_stage,
    moment_of,
    nul_bytes,
    read_columns,
    read_instants,
    says,
    too_long,
    unknown_stage,
    unreadable,
)
from dealwatch.crm.mapping import ours_by_theirs
from dealwatch.crm.values import iso_dates, plain_numbers
from dealwatch.knobs import Pipeline


def check(object_: Object, rows: pl.DataFrame, reading: Reading) -> pl.DataFrame:
    """The rows in the contract's own text, with the first fault of each in PROBLEM's columns, or nulls."""
    faults = [nul_bytes(rows), *(too_long(name) for name in _KEYS if name in REQUIRED[object_])]
    match object_:
        case "deals":
            rows, more = _deals(rows, reading)
        case "deal_history":
            rows, more = _deal_history(rows, reading)
        case "activities":
            rows, more = _activities(rows, reading)
        case "owners":
            rows, more = _owners(rows, reading)
        case "deletions" | "ids":
            rows, more = _ids(rows)
    judged = rows.with_columns(first_fault([*faults, *more]))
    fitting = [name for name in rows.columns if not name.startswith("=raw ")]
    return judged.select(*fitting, *PROBLEM)


def _deals(rows: pl.DataFrame, reading: Reading) -> tuple[pl.DataFrame, list[Fault]]:
    is_absent = [name for name in ("closed_at", "outcome", *NUMBERS, *DATES) if name not in rows.columns]
    rows = rows.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in is_absent)
    rows = read_instants(rows, ["created_at", "closed_at"], reading)
    rows = read_columns(
        rows,
        {
            **{name: plain_numbers(pl.col(name), decimal=reading.mapping.decimal) for name in NUMBERS},
            **{
                name: iso_dates(pl.col(name), zone=reading.zone, date_format=reading.mapping.date_format)
                for name in DATES
            },
            "outcome": _outcome(pl.col("outcome"), reading.pipeline),
        },
    )
    faults = [
        blank("deal_id"),
        Fault(
            "created_at",
            pl.col("=raw created_at").is_null(),
            pl.lit("created_at is empty, so it cannot be told when the deal began"),
            "Fill created_at at the source; the deal lands with the next drop that has it.",
        ),
        unreadable("created_at", "date or instant", date_remedy(reading)),
        absurd("created_at", reading),
        in_future("created_at", reading, end=False),
        blank("stage"),
        *unknown_stage(pl.col("stage"), "stage", reading),
        *(unreadable(name, "number", NUMBER_REMEDY) for name in NUMBERS),
        *(unreadable(name, "date", date_remedy(reading)) for name in DATES),
        *(absurd(name, reading) for name in DATES),
        unreadable("closed_at", "date or instant", date_remedy(reading)),
        absurd("closed_at", reading),
        *_outcome_faults(reading),
    ]
    # A column the file does not have must stay unsaid: null would mean that the value went away.
    return rows.drop(name for name in is_absent if name not in ("closed_at", "outcome")), [
        fault for fault in faults if fault.field not in is_absent or fault.field in ("closed_at", "outcome")
    ]


def _outcome(told: pl.Expr, pipeline: Pipeline) -> pl.Expr:
    """won, lost, open, or null for a word we do not know; where nothing is told, the stage tells."""
    word = told.str.to_lowercase()
    by_stage = (
        pl.when(pl.col("stage").is_in(pipeline.won_stages))
        .then(pl.lit("won"))
        .when(pl.col("stage").is_in(pipeline.lost_stages))
        .then(pl.lit("lost"))
        .otherwise(pl.lit("open"))
    )
    return pl.when(word.is_null() | (word == "open")).then(by_stage).when(word.is_in([*OUTCOMES])).then(word)


def _outcome_faults(reading: Reading) -> list[Fault]:
    outcome, closed_at = pl.col("outcome"), pl.col("closed_at")
    is_closed = outcome.is_in([*OUTCOMES])
    won, lost = (
        pl.col("stage").is_in(s) for s in (reading.pipeline.won_stages, reading.pipeline.lost_stages)
    )
    began = moment_of("created_at", reading, end=False)
    return [
        unreadable("outcome", "outcome", f"Say what the word means in [{reading.where}.values.outcome]."),
        Fault(
            "outcome",
            (won & (outcome == "lost")) | (lost & (outcome == "won")),
            pl.format("outcome {} contradicts the stage {}", "outcome", "stage"),
            "Correct one at the source, or won_stages and lost_stages in [pipeline].",
        ),
        Fault(
            "closed_at",
            is_closed & closed_at.is_null(),
            pl.format("the deal is {} but closed_at is empty", "outcome"),
            f"Fill closed_at, or say which column holds it in [{reading.where}.columns].",
        ),
        Fault(
            "outcome",
            ~is_closed & closed_at.is_not_null(),
            pl.format("closed_at is {} but the outcome is empty", "closed_at"),
            "Fill the outcome; if the date is an expected one, map it to close_date "
            f"in [{reading.where}.columns].",
        ),
        in_future("closed_at", reading, end=True),
        Fault(
            "closed_at",
            moment_of("closed_at", reading, end=True) < began,
            pl.format("closed_at {} is before created_at {}", "closed_at", "created_at"),
            "Correct one of the two at the source.",
        ),
    ]


def _deal_history(rows: pl.DataFrame, reading: Reading) -> tuple[pl.DataFrame, list[Fault]]:
    absent = [name for name in COLUMNS["deal_history"] if name not in rows.columns]
    rows = rows.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in absent)
    rows = rows.with_columns(_our_field(reading).alias("field"))
    rows = read_instants(rows, ["changed_at"], reading)
    values = ("old_value", "new_value")
    rows = rows.with_columns(_in_our_words(name, reading).alias(name) for name in values)
    # An old value that cannot be used costs nothing but itself; as it was told it still identifies the row.
    rows = rows.with_columns(pl.col("old_value").alias("old_told"))
    rows = read_columns(rows, {name: _history_value(name, reading) for name in values})
    rows = rows.with_columns(_usable_old_value(reading).alias("old_value"))
    is_untracked = pl.col("field").is_in([*UNTRACKED, *reading.deals_mapping.known_only_at_close])
    is_stage = pl.col("field") == "stage"
    return rows, [
        blank("deal_id"),
        blank("field"),
        Fault("changed_at", pl.col("=raw changed_at").is_null(), pl.lit("changed_at is empty"), "Fill it."),
        unreadable("changed_at", "date or instant", date_remedy(reading)),
        absurd("changed_at", reading),
        in_future("changed_at", reading, end=True),
        Fault(
            "field",
            is_untracked,
            says("cannot have a history: it is fixed, or known only at close", "field"),
            "Leave such rows out; for a field that does change, take it off known_only_at_close.",
        ),
        *unknown_stage(pl.when(is_stage).then(pl.col("new_value")), "new_value", reading),
        *_unreadable_values(reading),
    ]


def _unreadable_values(reading: Reading) -> Iterator[Fault]:
    """What is wrong with a new value, and the remedy, by the kind of its field."""
    field = pl.col("field")
    outcome_remedy = (
        f"Write won, lost or open, or say what the word means in "
        f"[{reading.where.rpartition('.')[0]}.deals.values.outcome]."
    )
    kinds = (
        (field.is_in([*NUMBERS]), "number", NUMBER_REMEDY),
        (field.is_in([*DATES]), "date", date_remedy(reading)),
        (field == "outcome", "outcome", outcome_remedy),
    )
    for is_kind, what, remedy in kinds:
        fault = unreadable("new_value", what, remedy)
        yield replace(fault, when=is_kind & fault.when)
    yield absurd("new_value", reading, when=field.is_in([*DATES]))


def _our_field(reading: Reading) -> pl.Expr:
    """The history may call a field by the column's name in the deals file."""
    ours = ours_by_theirs(reading.deals_mapping)
    return pl.col("field").replace(list(ours), list(ours.values())) if ours else pl.col("field")


def _in_our_words(column: str, reading: Reading) -> pl.Expr:
    """A value in the words of the deals file, in which an open deal's outcome is none."""
    value, field = pl.col(column), pl.col("field")
    for name, words in reading.deals_mapping.values.items():
        ours = {theirs: word or None for theirs, word in words.items()}
        value = pl.when(field == name).then(value.replace(list(ours), list(ours.values()))).otherwise(value)
    is_open = (field == "outcome") & (value.str.to_lowercase() == "open")
    return pl.when(~is_open.fill_null(False)).then(value)


def _history_value(column: str, reading: Reading) -> pl.Expr:
    """A value in the form that the deals file has for its field, so that the two can be compared."""
    value, field = pl.col(column), pl.col("field")
    word = value.str.to_lowercase()
    return (
        pl.when(field.is_in([*NUMBERS]))
        .then(plain_numbers(value, decimal=reading.mapping.decimal))
        .when(field.is_in([*DATES]))
        .then(iso_dates(value, zone=reading.zone, date_format=reading.mapping.date_format))
        .when(field == "outcome")
        .then(pl.when(word.is_in([*OUTCOMES])).then(word))
        .otherwise(value)
    )


def _usable_old_value(reading: Reading) -> pl.Expr:
    old, field = pl.col("old_value"), pl.col("field")
    is_useless = ((field == "stage") & is_unknown_stage(old, reading.pipeline)) | (
        field.is_in([*DATES]) & is_absurd(old)
    )
    return pl.when(~is_useless.fill_null(False)).then(old)


def _activities(rows: pl.DataFrame, reading: Reading) -> tuple[pl.DataFrame, list[Fault]]:
    absent = [name for name in COLUMNS["activities"] if name not in rows.columns]
    rows = rows.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in absent)
    rows = read_instants(rows, ["happened_at"], reading)
    return rows, [
        blank("deal_id"),
        Fault(
            "happened_at", pl.col("=raw happened_at").is_null(), pl.lit("happened_at is empty"), "Fill it."
        ),
        unreadable("happened_at", "date or instant", date_remedy(reading)),
        absurd("happened_at", reading),
        in_future("happened_at", reading, end=True),
    ]


def _ids(rows: pl.DataFrame) -> tuple[pl.DataFrame, list[Fault]]:
    if "is_deleted" not in rows.columns:
        return rows, [blank("deal_id")]
    word = pl.col("is_deleted").str.to_lowercase()
    is_gone = word.is_null() | word.is_in(_YES)
    deleted = pl.when(is_gone).then(pl.lit("true")).when(word.is_in(_NO)).then(pl.lit("false"))
    rows = read_columns(rows, {"is_deleted": deleted})
    return rows, [blank("deal_id"), unreadable("is_deleted", "yes or no", "Write true or false.")]


_KEYS = ("deal_id", "owner_id", "field")
_YES, _NO = ["true", "1", "yes", "y", "t"], ["false", "0", "no", "n", "f"]


def _owners(rows: pl.DataFrame, reading: Reading) -> tuple[pl.DataFrame, list[Fault]]:
    absent = [name for name in COLUMNS["owners"] if name not in rows.columns]
    rows = rows.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in absent)
    word = pl.col("active").str.to_lowercase()
    active = pl.when(word.is_in(_YES)).then(pl.lit("true")).when(word.is_in(_NO)).then(pl.lit("false"))
    rows = read_columns(rows, {"active": active})
    return rows, [
        blank("owner_id"),
        unreadable("active", "yes or no", "Write true or false."),
        Fault(
            "time_zone",
            ~pl.col("time_zone").is_in(sorted(available_timezones())),
            says("is no IANA time zone", "time_zone"),
            "Write a name such as Europe/Berlin, or leave it empty.",
        ),
        Fault(
            "email",
            ~pl.col("email").str.contains(r"^[^@\s]+@[^@\s]+$"),
            says("is no e-mail address", "email"),
            "Correct it at the source, or leave it empty.",
        ),
    ]
