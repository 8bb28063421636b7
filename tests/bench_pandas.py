"""The plain ways that `make bench` compares with: a ledger in pandas, and group-bys."""

import sqlite3
from datetime import datetime
from pathlib import Path

import pandas as pd


def some_facts(database: Path, moments: list[datetime]) -> list[pd.DataFrame]:
    """Ten facts of the open deals at each moment; no norms, no win rates, nothing about time of knowing."""
    changes, touches = ledger(database)
    return [facts_of_morning(changes, touches, moment) for moment in moments]


def ledger(database: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All changes and touches."""
    with sqlite3.connect(database) as connection:
        query = "SELECT deal_id, field, old_value, new_value, happened_at, known_at FROM deal_changes"
        changes = pd.read_sql(query, connection, parse_dates=["happened_at", "known_at"])
        query = "SELECT deal_id, happened_at, known_at FROM activities"
        touches = pd.read_sql(query, connection, parse_dates=["happened_at", "known_at"])
    return changes, touches


def facts_of_morning(changes: pd.DataFrame, touches: pd.DataFrame, moment: datetime) -> pd.DataFrame:
    """The ten facts at one moment."""
    now = pd.Timestamp(moment).tz_localize(None)
    changes = changes[changes["known_at"] <= now].sort_values(["known_at", "happened_at"])
    last = changes.groupby(["deal_id", "field"])[["new_value", "happened_at"]].last().unstack()
    values, since = last["new_value"], last["happened_at"]
    still_open = values[values["outcome"].isna()]
    touches = touches[touches["known_at"] <= now]
    grouped = touches.groupby("deal_id")["happened_at"]
    stages = changes[changes["field"] == "stage"].groupby("deal_id").size()
    pushes = changes[changes["field"] == "close_date"].copy()
    pushes["later"] = pushes["new_value"] > pushes["old_value"].fillna("9")
    created = pd.to_datetime(still_open["created_at"], format="ISO8601").dt.tz_localize(None)
    recent = touches[touches["happened_at"] > now - pd.Timedelta(days=14)]
    return pd.DataFrame(
        {
            "age": (now - created).dt.days,
            "days_in_stage": (now - since["stage"]).dt.days,
            "amount": pd.to_numeric(still_open["amount"]),
            "days_to_close": (pd.to_datetime(still_open["close_date"]) - now).dt.days,
            "pushed": pushes.groupby("deal_id")["later"].sum(),
            "silence": (now - grouped.max()).dt.days,
            "touches": grouped.size(),
            "touches_14d": recent.groupby("deal_id").size(),
            "stage_moves": stages,
            "next_step": still_open["next_step_on"].notna(),
        }
    ).reindex(still_open.index)


def headlines(database: Path, moment: datetime) -> dict[str, float]:
    """Ten headline figures of a review, with no interval and no word about what they are worth."""
    changes = _known_changes(database, moment)
    last = changes.groupby(["deal_id", "field"])[["new_value", "happened_at"]].last().unstack()
    values, since = last["new_value"], last["happened_at"]
    now = pd.Timestamp(moment).tz_localize(None)
    created = pd.to_datetime(values["created_at"], format="ISO8601").dt.tz_localize(None)
    amount, won = pd.to_numeric(values["amount"]), values["outcome"] == "won"
    is_closed = values["outcome"].isin(["won", "lost"])
    recent = is_closed & (since["outcome"] > now - pd.Timedelta(days=91))
    before = is_closed & ~recent & (since["outcome"] > now - pd.Timedelta(days=182))
    cycle = (since["outcome"] - created).dt.days
    is_open = values["outcome"].isna()
    due = pd.to_datetime(values["close_date"])
    moved = changes[(changes["field"] == "stage") & (changes["happened_at"] > now - pd.Timedelta(days=91))]
    rate, mean_won, days = won[recent].mean(), amount[recent & won].mean(), cycle[recent].mean()
    rates = values[recent].assign(won=won[recent]).groupby("product_type")["won"].mean()
    return {
        "win_rate": rate,
        "win_rate_moved": rate - won[before].mean(),
        "win_rate_by_money": amount[recent & won].sum() / amount[recent].sum(),
        "gap_of_products": rates.max() - rates.min(),
        "cycle_days": days,
        "velocity": is_open.sum() * rate * mean_won / days,
        "stage_moves": float(len(moved)),
        "pipeline": amount[is_open].sum(),
        "no_next_step": values.loc[is_open, "next_step_on"].isna().mean(),
        "overdue": (due[is_open] < now).mean(),
    }


def _known_changes(database: Path, moment: datetime) -> pd.DataFrame:
    query = "SELECT deal_id, field, new_value, happened_at, known_at FROM deal_changes WHERE field IN (" + (
        "'created_at', 'outcome', 'amount', 'stage', 'close_date', 'next_step_on', 'product_type')"
    )
    with sqlite3.connect(database) as connection:
        changes = pd.read_sql(query, connection, parse_dates=["happened_at", "known_at"])
    now = pd.Timestamp(moment).tz_localize(None)
    return changes[changes["known_at"] <= now].sort_values(["known_at", "happened_at"])
