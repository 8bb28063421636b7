"""Deals as they stand, derived from the ledger."""

import polars as pl
from sqlalchemy import Connection, select

from dealwatch.crm.contract import COLUMNS, UNTRACKED
from dealwatch.history.ledger import CHANGE_ORDER
from dealwatch.tables import deal_changes, deals
from dealwatch.warehouse import among, frame, put

_DEALS_AT_ONCE = 10_000
_PLAIN = tuple(name for name in COLUMNS["deals"] if name not in UNTRACKED)


def rebuild_deals(connection: Connection, deal_ids: pl.Series, *, source: str) -> int:
    """Write these deals of the source anew from the ledger; how many there are."""
    asked = pl.DataFrame({"deal_id": deal_ids}).iter_slices(_DEALS_AT_ONCE)
    return sum(_rebuilt(connection, some["deal_id"], source) for some in asked)


def _rebuilt(connection: Connection, deal_ids: pl.Series, source: str) -> int:
    own = among(deal_changes.c.deal_id, deal_ids, connection)
    wanted = select(*(deal_changes.c[name] for name in (*CHANGE_ORDER, "new_value"))).where(own)
    changes = frame(connection, wanted)
    return put(connection, deals, current_deals(changes).with_columns(pl.lit(source).alias("source")))


def current_deals(changes: pl.DataFrame) -> pl.DataFrame:
    """One row per deal with the latest known value of every field; columns of the table but `source`."""
    latest = (
        changes.sort(CHANGE_ORDER)
        .group_by("deal_id", "field", maintain_order=True)
        .agg(pl.col("new_value", "happened_at").last())
    )
    told = latest.group_by("deal_id", maintain_order=True).agg(
        *(_value(name).alias(name) for name in (*_PLAIN, "created_at", "deleted")),
        pl.col("happened_at").filter(pl.col("field") == "outcome").last().alias("closed_at"),
    )
    return (
        told.join(_attributes(latest), on="deal_id", how="left", maintain_order="left")
        .with_columns(
            pl.col("amount").cast(pl.Float64),
            pl.col("close_date", "next_step_on").str.to_date("%Y-%m-%d"),
            pl.col("created_at").str.to_datetime("%+", time_unit="us", time_zone="UTC"),
            pl.when(pl.col("outcome").is_not_null()).then("closed_at").alias("closed_at"),
            (pl.col("deleted") == "true").fill_null(False).alias("is_deleted"),
        )
        .drop("deleted")
    )


def _value(name: str) -> pl.Expr:
    return pl.col("new_value").filter(pl.col("field") == name).last()


def _attributes(latest: pl.DataFrame) -> pl.DataFrame:
    """Every other field of a deal as one JSON object, its keys in order."""
    others = latest.filter(
        ~pl.col("field").is_in([*COLUMNS["deals"], *UNTRACKED]), pl.col("new_value").is_not_null()
    )
    member = pl.concat_str(_json(pl.col("field")), pl.lit(":"), _json(pl.col("new_value")))
    return (
        others.sort("deal_id", "field")
        .group_by("deal_id", maintain_order=True)
        .agg(member.str.join(",").alias("members"))
        .select("deal_id", pl.concat_str(pl.lit("{"), "members", pl.lit("}")).alias("attributes"))
    )


def _json(text: pl.Expr) -> pl.Expr:
    """Text as a JSON string."""
    return pl.struct(text.alias("v")).struct.json_encode().str.slice(len('{"v":')).str.strip_suffix("}")
