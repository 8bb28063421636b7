"""Writes the demo company as a file drop: deals, history, activities, owners, in the contract's columns."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl

from dealwatch.company.book import (
    AMOUNT,
    CLOSE_DATE,
    FIELDS,
    KINDS,
    NEXT_STEP,
    NONE,
    OWNER,
    STAGE,
    Activities,
    Book,
    History,
)
from dealwatch.company.calendar import Ints
from dealwatch.company.demand import Accounts, Demand
from dealwatch.company.names import FAMILIES, FORMS, INDUSTRIES, PLACES, TRADES
from dealwatch.company.people import Staff
from dealwatch.company.process import (
    CURRENCY,
    DEAL_KINDS,
    LEAD_SOURCES,
    LOST,
    PRODUCT_TYPES,
    REGIONS,
    STAGE_NAMES,
    WON,
)

ROWS_AT_ONCE = 1_000_000
INSTANT = "%Y-%m-%dT%H:%M:%S+00:00"


def deals_frame(demand: Demand, accounts: Accounts, book: Book, staff: Staff) -> pl.DataFrame:
    """deals.csv: every deal as it stands at the end."""
    names = _words([name for name, _ in TRADES])
    industries = _codes([INDUSTRIES.index(industry) for _, industry in TRADES])
    trade = accounts.trade[demand.account]
    parts = pl.DataFrame(
        {
            "family": _pick(FAMILIES, accounts.family[demand.account]),
            "trade": names.gather(trade),
            "place": _pick(PLACES, accounts.place[demand.account]),
            "form": _pick(FORMS, accounts.form[demand.account]),
            "product_type": _pick([product.name for product in PRODUCT_TYPES], demand.product),
            "kind": _pick(DEAL_KINDS, demand.kind),
            "seats": demand.seats,
            "amount": book.amount,
            "stage": _pick(STAGE_NAMES, book.stage),
            "owner_id": _pick([owner.owner_id for owner in staff.owners], book.owner),
            "created_at": demand.created_at,
            "close_date": book.close_on,
            "next_step_on": book.next_step_on,
            "closed_at": book.closed_at,
            "industry": _pick(INDUSTRIES, industries[trade]),
            "region": _pick([region.name for region in REGIONS], demand.region),
            "lead_source": _pick([source.name for source in LEAD_SOURCES], demand.source),
            "code": np.arange(len(demand.created_at)),
        }
    )
    account = pl.concat_str("family", pl.lit(" "), "trade", "place", "form")
    name = pl.concat_str(account, pl.lit(" – "), "product_type", pl.lit(" "), "kind", pl.lit(" "), "seats")
    outcome = pl.when(pl.col("stage") == STAGE_NAMES[WON]).then(pl.lit("won"))
    return parts.select(
        _deal_id(pl.col("code"), len(parts)).alias("deal_id"),
        (name + pl.lit(" seats")).alias("name"),
        account.alias("account"),
        pl.col("amount").cast(pl.String),
        pl.lit(CURRENCY).alias("currency"),
        "stage",
        "owner_id",
        _instant(pl.col("created_at")).alias("created_at"),
        _day(pl.col("close_date")).alias("close_date"),
        _day(pl.col("next_step_on")).alias("next_step_on"),
        _instant(pl.col("closed_at")).alias("closed_at"),
        outcome.when(pl.col("stage") == STAGE_NAMES[LOST]).then(pl.lit("lost")).alias("outcome"),
        "industry",
        "region",
        "product_type",
        "lead_source",
    )


def history_frames(history: History, staff: Staff, *, deals: int) -> Iterator[pl.DataFrame]:
    """deal_history.csv, in pieces that fit in memory at any size."""
    for rows in _pieces(len(history.at)):
        numbers = pl.DataFrame(
            {
                "deal": history.deal[rows],
                "at": history.at[rows],
                "code": history.field[rows],
                "old": history.old[rows],
                "new": history.new[rows],
            }
        )
        yield numbers.select(
            _deal_id(pl.col("deal"), deals).alias("deal_id"),
            _instant(pl.col("at")).alias("changed_at"),
            _word(pl.col("code"), FIELDS).alias("field"),
            _value(pl.col("old"), staff).alias("old_value"),
            _value(pl.col("new"), staff).alias("new_value"),
        )


def activity_frames(activities: Activities, staff: Staff, *, deals: int) -> Iterator[pl.DataFrame]:
    """activities.csv, in pieces."""
    people = [owner.owner_id for owner in staff.owners]
    for rows in _pieces(len(activities.at)):
        yield pl.DataFrame(
            {
                "deal_id": activities.deal[rows],
                "happened_at": activities.at[rows],
                "kind": activities.kind[rows],
                "direction": activities.is_inbound[rows],
                "by": activities.by[rows],
            }
        ).select(
            _deal_id(pl.col("deal_id"), deals).alias("deal_id"),
            _instant(pl.col("happened_at")).alias("happened_at"),
            _word(pl.col("kind"), KINDS).alias("kind"),
            pl.when("direction").then(pl.lit("in")).otherwise(pl.lit("out")).alias("direction"),
            _word(pl.col("by"), people).alias("by"),
        )


def owners_frame(staff: Staff) -> pl.DataFrame:
    """owners.csv: everybody, the CRO first; Slack ids are for a real company to fill in."""
    return pl.DataFrame(
        {
            "owner_id": [owner.owner_id for owner in staff.owners],
            "name": [owner.name for owner in staff.owners],
            "email": [owner.email for owner in staff.owners],
            "manager_id": [owner.manager_id or None for owner in staff.owners],
            "time_zone": [owner.time_zone for owner in staff.owners],
            "slack_user_id": [None] * len(staff.owners),
            "active": [str(number != staff.leaver).lower() for number in range(len(staff.owners))],
        },
        schema_overrides={"slack_user_id": pl.String},
    )


def write_frames(frames: Iterator[pl.DataFrame], path: Path, tell: Callable[[str], None]) -> int:
    """Write the frames one after the other as a single CSV; returns the rows written."""
    written = 0
    with path.open("wb") as file:
        for frame in frames:
            frame.write_csv(file, include_header=not written)
            written += len(frame)
    tell(f"{path.name}: {written:,} rows")
    return written


def _pieces(rows: int) -> Iterator[slice]:
    for start in range(0, rows, ROWS_AT_ONCE):
        yield slice(start, min(start + ROWS_AT_ONCE, rows))


def _deal_id(code: pl.Expr, deals: int) -> pl.Expr:
    return pl.lit("D-") + (code + 1).cast(pl.String).str.zfill(max(6, len(str(deals))))


def _instant(seconds: pl.Expr) -> pl.Expr:
    moments = pl.from_epoch(seconds.cast(pl.Int64), time_unit="s").dt.to_string(INSTANT)
    return pl.when(seconds != NONE).then(moments)


def _day(number: pl.Expr) -> pl.Expr:
    return pl.when(number != NONE).then(number.cast(pl.Int32).cast(pl.Date).dt.to_string("%Y-%m-%d"))


def _value(value: pl.Expr, staff: Staff) -> pl.Expr:
    """What a number in the history says; it depends on the field."""
    code = pl.col("code")
    people = [owner.owner_id for owner in staff.owners]
    text = (
        pl.when(code == STAGE).then(_word(value, STAGE_NAMES)).when(code == OWNER).then(_word(value, people))
    )
    text = text.when(code == AMOUNT).then(value.cast(pl.String))
    return pl.when(value != NONE).then(text.when(code.is_in([CLOSE_DATE, NEXT_STEP])).then(_day(value)))


def _word(code: pl.Expr, words: tuple[str, ...] | list[str]) -> pl.Expr:
    return code.replace_strict(list(range(len(words))), list(words), default=None, return_dtype=pl.String)


def _words(words: tuple[str, ...] | list[str]) -> pl.Series:
    return pl.Series(list(words), dtype=pl.String)


def _codes(codes: list[int]) -> Ints:
    return np.array(codes, dtype=np.int64)


def _pick(words: tuple[str, ...] | list[str], code: Ints) -> pl.Series:
    return _words(words).gather(code)
