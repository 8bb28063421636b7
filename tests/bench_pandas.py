"""The plain way to facts that `make bench` compares with: a ledger in pandas, one group-by per moment."""

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
