"""A simulated company as a Salesforce org: its file drop, told the way Salesforce would hold it."""

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from dealwatch.company.process import STAGE_NAMES
from standins.salesforce_org import PREFIXES, Org

ENDS = {"Closed Won": (True, True), "Closed Lost": (True, False)}
_DEAL = pl.col("deal_id").str.split("-").list.get(1)


def org_of_drop(folder: Path, *, now: datetime) -> Org:
    """The org as it stands; `now` is not before the drop's end.

    Owner and next step are tracked by field history, which tells changes and no first value.
    """
    org = Org(now=now, tracked={"OwnerId", "Next_Step_On__c"})
    deals = _read(folder / "deals.csv").with_columns(_time("created_at", "closed_at"))
    history = _read(folder / "deal_history.csv").with_columns(_time("changed_at"))
    org.load("OpportunityStage", _stages(now - timedelta(days=900)))
    org.load("User", _people(_read(folder / "owners.csv")))
    names = deals["account"].unique(maintain_order=True)
    accounts = pl.DataFrame({"account": names}).with_row_index("n").with_columns(_id("Account", "n", "Id"))
    told = deals.unique("account", keep="first", maintain_order=True).select("account", "industry")
    org.load(
        "Account",
        accounts.join(told, on="account").select("Id", Name="account", Industry="industry", IsDeleted=False),
    )
    changed = history.group_by("deal_id").agg(pl.col("changed_at").max().alias("changed"))
    rows = deals.join(changed, on="deal_id").join(accounts.rename({"Id": "AccountId"}), on="account")
    org.load("Opportunity", rows.select(**_opportunity()))
    states = _states(history)
    org.load("OpportunityHistory", states)
    org.load("OpportunityFieldHistory", _field_history(history, _read(folder / "owners.csv")))
    touches = _read(folder / "activities.csv").with_columns(_time("happened_at"))
    is_event = pl.col("kind") == "meeting"
    org.load("Event", touches.filter(is_event).with_row_index("n").select(**_touch("Event")))
    org.load("Task", touches.filter(~is_event).with_row_index("n").select(**_touch("Task")))
    return org


def deal_id_of(ours: str) -> str:
    """Salesforce's id of a deal of the drop."""
    return f"{PREFIXES['Opportunity']}{int(ours.rpartition('-')[2]):012d}AAA"


def person_of(ours: str | None) -> str | None:
    """Salesforce's id of an owner of the drop."""
    return f"{PREFIXES['User']}{int(ours.rpartition('-')[2]):012d}AAA" if ours else None


def _read(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, infer_schema=False)


def _time(*names: str) -> list[pl.Expr]:
    return [pl.col(name).str.to_datetime("%Y-%m-%dT%H:%M:%S%z", time_unit="us") for name in names]


def _id(object_: str, number: str | pl.Expr, name: str) -> pl.Expr:
    told = pl.col(number) if isinstance(number, str) else number
    digits = told.cast(pl.String).str.strip_prefix("U-").str.zfill(12)
    return (pl.lit(PREFIXES[object_]) + digits + pl.lit("AAA")).alias(name)


def _date(name: str) -> pl.Expr:
    return pl.col(name).str.to_date("%Y-%m-%d")


def _stages(since: datetime) -> pl.DataFrame:
    rows = [
        {
            "Id": f"{PREFIXES['OpportunityStage']}{order:012d}AAA",
            "MasterLabel": name,
            "ApiName": name,
            "IsActive": True,
            "SortOrder": order,
            "IsClosed": ENDS.get(name, (False, False))[0],
            "IsWon": ENDS.get(name, (False, False))[1],
            "SystemModstamp": since,
        }
        for order, name in enumerate(STAGE_NAMES, 1)
    ]
    return pl.DataFrame(rows, schema_overrides={"SystemModstamp": pl.Datetime("us", "UTC")})


def _people(owners: pl.DataFrame) -> pl.DataFrame:
    return owners.select(
        _id("User", "owner_id", "Id"),
        _id("User", "manager_id", "ManagerId"),
        pl.col("name").alias("Name"),
        pl.col("email").alias("Email"),
        pl.col("time_zone").alias("TimeZoneSidKey"),
        (pl.col("active") == "true").alias("IsActive"),
        pl.lit("Standard").alias("UserType"),
    )


def _opportunity() -> dict[str, pl.Expr]:
    is_closed = pl.col("stage").is_in(list(ENDS))
    return {
        "Id": _id("Opportunity", _DEAL, "Id"),
        "Name": pl.col("name"),
        "AccountId": pl.col("AccountId"),
        "OwnerId": _id("User", "owner_id", "OwnerId"),
        "StageName": pl.col("stage"),
        "Amount": pl.col("amount").cast(pl.Float64),
        "CloseDate": _date("close_date"),
        "LeadSource": pl.col("lead_source"),
        "Region__c": pl.col("region"),
        "Product__c": pl.col("product_type"),
        "Next_Step_On__c": _date("next_step_on"),
        "IsClosed": is_closed,
        "IsWon": pl.col("stage") == "Closed Won",
        "IsDeleted": pl.lit(False),
        "CreatedDate": pl.col("created_at"),
        "LastStageChangeDate": pl.coalesce("closed_at", "changed"),
        "LastModifiedDate": pl.col("changed"),
        "SystemModstamp": pl.col("changed"),
    }


def _states(history: pl.DataFrame) -> pl.DataFrame:
    """A row of OpportunityHistory for each moment at which stage, amount or close date changed."""
    kept = history.filter(pl.col("field").is_in(["stage", "amount", "close_date"]))
    wide = kept.pivot("field", index=["deal_id", "changed_at"], values="new_value", aggregate_function="last")
    wide = wide.sort("deal_id", "changed_at").with_columns(
        pl.col("stage", "amount", "close_date").forward_fill().over("deal_id")
    )
    return wide.with_row_index("n").select(
        _id("OpportunityHistory", "n", "Id"),
        _id("Opportunity", _DEAL, "OpportunityId"),
        pl.col("stage").alias("StageName"),
        pl.col("amount").cast(pl.Float64).alias("Amount"),
        _date("close_date").alias("CloseDate"),
        pl.col("changed_at").alias("CreatedDate"),
        pl.col("changed_at").alias("SystemModstamp"),
        pl.lit(False).alias("IsDeleted"),
    )


def _field_history(history: pl.DataFrame, owners: pl.DataFrame) -> pl.DataFrame:
    """Changes after the creation; a change of owner leaves two rows, one of them with the names."""
    began = pl.col("changed_at").min().over("deal_id")
    later = history.filter(pl.col("changed_at") > began)
    steps = later.filter(pl.col("field") == "next_step_on").with_columns(
        Field=pl.lit("Next_Step_On__c"), DataType=pl.lit("Date")
    )
    moved = later.filter(pl.col("field") == "owner_id")
    ids = moved.with_columns(
        _id("User", "old_value", "old_value"), _id("User", "new_value", "new_value"),
        Field=pl.lit("Owner"), DataType=pl.lit("EntityId"),
    )  # fmt: skip
    words = dict(owners.select("owner_id", "name").iter_rows())
    named = moved.with_columns(
        pl.col("old_value", "new_value").replace(words), Field=pl.lit("Owner"), DataType=pl.lit("Text")
    )
    rows = pl.concat([steps, named, ids]).sort("deal_id", "changed_at", maintain_order=True)
    return rows.with_row_index("n").select(
        _id("OpportunityFieldHistory", "n", "Id"),
        _id("Opportunity", _DEAL, "OpportunityId"),
        "Field",
        "DataType",
        pl.col("old_value").alias("OldValue"),
        pl.col("new_value").alias("NewValue"),
        pl.col("changed_at").alias("CreatedDate"),
        pl.lit(False).alias("IsDeleted"),
    )


def _touch(object_: str) -> dict[str, pl.Expr]:
    """Calls and e-mails are tasks that are done, meetings are events."""
    own = (
        {"StartDateTime": pl.col("happened_at"), "EventSubtype": pl.lit("Event")}
        if object_ == "Event"
        else {
            "CompletedDateTime": pl.col("happened_at"),
            "TaskSubtype": pl.col("kind").str.to_titlecase(),
            "IsClosed": pl.lit(True),
        }
    )
    return own | {
        "Id": _id(object_, "n", "Id"),
        "WhatId": _id("Opportunity", _DEAL, "WhatId"),
        "OwnerId": _id("User", "by", "OwnerId"),
        "LastModifiedDate": pl.col("happened_at"),
        "SystemModstamp": pl.col("happened_at"),
        "IsDeleted": pl.lit(False),
    }
