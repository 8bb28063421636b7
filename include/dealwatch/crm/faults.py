"""The ways in which a row of any file can be unusable, as expressions with a reason and a remedy."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from dealwatch.crm.values import INSTANT, instant_of, iso_instants
from dealwatch.knobs import Pipeline, RecordMapping

# Columns of our own beside a file's begin with `=`, which no column of a file may.
PROBLEM = ("=field", "=reason", "=remedy")
LONGEST_KEY = 200
EARLIEST_YEAR, LATEST_YEAR = "1900", "2200"


@dataclass(frozen=True)
class Reading:
    """What the rows of a file or a table are judged against."""

    mapping: RecordMapping
    deals_mapping: RecordMapping
    pipeline: Pipeline
    zone: str
    extracted_at: datetime
    where: str  # the mapping's place in the settings, for remedies


@dataclass(frozen=True)
class Fault:
    """One way in which a row cannot be used."""

    field: str | pl.Expr
    when: pl.Expr
    reason: pl.Expr
    remedy: str | pl.Expr


def first_fault(faults: list[Fault]) -> Iterator[pl.Expr]:
    """PROBLEM's columns: those of the first fault that a row has."""
    for name in PROBLEM:
        branches = []
        for fault in faults:
            value = getattr(fault, name.removeprefix("="))
            told = value if isinstance(value, pl.Expr) else pl.lit(value)
            branches.append(pl.when(fault.when.fill_null(False)).then(told))
        yield pl.coalesce(branches).cast(pl.String).alias(name)


def says(what: str, column: str) -> pl.Expr:
    """The reason with the value in it, cut to a readable length."""
    return pl.format("{} {}", pl.col(column).str.slice(0, 80).fill_null(""), pl.lit(what)).str.strip_chars()


def nul_bytes(rows: pl.DataFrame) -> Fault:
    """A byte that PostgreSQL cannot keep in text."""
    text = [name for name in rows.columns if name not in ("row", "record")]
    holds = {name: pl.col(name).str.contains("\x00", literal=True).fill_null(False) for name in text}
    return Fault(
        field=pl.coalesce(pl.when(is_in).then(pl.lit(name)) for name, is_in in holds.items()),
        when=pl.any_horizontal(*holds.values()),
        reason=pl.lit("the value holds a NUL byte"),
        remedy="Remove the byte at the source; it is usually the mark of a wrong encoding.",
    )


def blank(name: str) -> Fault:
    return Fault(name, pl.col(name).is_null(), pl.lit(f"{name} is empty"), f"Fill {name} at the source.")


def too_long(name: str) -> Fault:
    """An id, or a field's name, that no index can hold; it is usually a row whose quotes are broken."""
    when = pl.col(name).str.len_chars() > LONGEST_KEY
    remedy = "Check the quotes and delimiters of this row at the source."
    return Fault(name, when, says(f"is longer than {LONGEST_KEY} characters", name), remedy)


def unreadable(name: str, what: str, remedy: str) -> Fault:
    """`name` holds the value read, `=raw name` the value as mapped."""
    when = pl.col(f"=raw {name}").is_not_null() & pl.col(name).is_null()
    return Fault(name, when, says(f"is no {what}", f"=raw {name}"), remedy)


def is_absurd(text: pl.Expr) -> pl.Expr:
    """Whether a date or an instant, in the contract's text, lies where no deal does."""
    year = text.str.slice(0, 4)
    return (year < EARLIEST_YEAR) | (year > LATEST_YEAR)


def absurd(name: str, reading: Reading, *, when: pl.Expr | None = None) -> Fault:
    """A date no calendar of deals holds: a placeholder for none, or a slip of the pen."""
    is_meant = is_absurd(pl.col(name)) if when is None else when & is_absurd(pl.col(name))
    reason = says(f"is not between {EARLIEST_YEAR}-01-01 and {LATEST_YEAR}-12-31", name)
    remedy = (
        "Correct the year at the source; where the source means that there is no date, leave it empty or "
        f"map the word to '' in [{reading.where}.values.{name}]."
    )
    return Fault(name, is_meant, reason, remedy)


def in_future(name: str, reading: Reading, *, end: bool) -> Fault:
    known = pl.lit(reading.extracted_at).cast(INSTANT)
    when = moment_of(name, reading, end=end) > known
    reason = says(f"is after the extract's own moment, {reading.extracted_at.isoformat()}", name)
    return Fault(name, when, reason, "Correct the date or the clock at the source; it lands once it is past.")


def moment_of(name: str, reading: Reading, *, end: bool) -> pl.Expr:
    return instant_of(
        pl.col(name), zone=reading.zone, end="end" if end else "start", latest=reading.extracted_at
    )


def date_remedy(reading: Reading) -> str:
    return (
        "Write dates as 2026-03-29 and instants as 2026-03-29T14:30:00+02:00, "
        f"or set date_format in [{reading.where}]."
    )


NUMBER_REMEDY = "Write amounts as plain numbers such as 1234.5; with a decimal comma, set decimal = ','."


def read_instants(rows: pl.DataFrame, names: list[str], reading: Reading) -> pl.DataFrame:
    return read_columns(
        rows,
        {
            name: iso_instants(pl.col(name), zone=reading.zone, date_format=reading.mapping.date_format)
            for name in names
        },
    )


def read_columns(rows: pl.DataFrame, told: dict[str, pl.Expr]) -> pl.DataFrame:
    """Replace columns by what was read, keeping the value as mapped beside it."""
    return rows.with_columns(
        *(expression.alias(name) for name, expression in told.items()),
        *(pl.col(name).alias(f"=raw {name}") for name in told),
    )


def is_unknown_stage(stage: pl.Expr, process: Pipeline) -> pl.Expr:
    """Whether it is no stage of the sales process; any is one where none are configured."""
    known = [*process.stages, *process.won_stages, *process.lost_stages]
    return pl.lit(bool(process.stages)) & stage.is_not_null() & ~stage.is_in(known)


def unknown_stage(stage: pl.Expr, column: str, reading: Reading) -> list[Fault]:
    """The fault of a stage that the settings do not name, with the line to add to them."""
    word = stage.str.slice(0, 80).str.replace_all("\\", "\\\\", literal=True)
    word = word.str.replace_all('"', '\\"', literal=True)
    where = reading.where.rpartition(".")[0]
    return [
        Fault(
            column,
            is_unknown_stage(stage, reading.pipeline),
            says("is no stage of the sales process", column),
            pl.format(
                'Add it in its place to [pipeline], as stages = [..., "{}"], or to won_stages or '
                'lost_stages; or write "{}" = "one that is there" below [{}.deals.values.stage]. Then run '
                "`quarantine --replay`.",
                word,
                word,
                pl.lit(where),
            ),
        )
    ]
