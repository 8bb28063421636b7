"""The data of a Salesforce org: objects with their fields, rows as frames, and what a change does to them.

Times are the org's own, whole seconds: `org.now` moves only when a test moves it.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl

TYPES = {
    "boolean": pl.Boolean,
    "currency": pl.Float64,
    "double": pl.Float64,
    "percent": pl.Float64,
    "int": pl.Int64,
    "date": pl.Date,
    "datetime": pl.Datetime("us", "UTC"),
}
AUDIT = (
    "CreatedDate:datetime CreatedById:reference:User:CreatedBy LastModifiedDate:datetime "
    "SystemModstamp:datetime IsDeleted:boolean "
)
# name:type, and for references the object and the relationship's name
SCHEMA = {
    "Opportunity": AUDIT
    + "Id:id Name:string AccountId:reference:Account:Account OwnerId:reference:User:Owner "
    "RecordTypeId:reference:RecordType:RecordType StageName:picklist Amount:currency Probability:percent "
    "ExpectedRevenue:currency CloseDate:date Type:picklist LeadSource:picklist NextStep:string "
    "IsClosed:boolean IsWon:boolean ForecastCategoryName:picklist HasOverdueTask:boolean "
    "LastActivityDate:date LastStageChangeDate:datetime Description:textarea Region__c:picklist "
    "Score__c:double Product__c:picklist Next_Step_On__c:date",
    "OpportunityHistory": "Id:id OpportunityId:reference:Opportunity:Opportunity StageName:picklist "
    "Amount:currency ExpectedRevenue:currency CloseDate:date Probability:percent ForecastCategory:picklist "
    "CreatedDate:datetime CreatedById:reference:User:CreatedBy SystemModstamp:datetime IsDeleted:boolean "
    "PrevAmount:currency PrevCloseDate:date",
    "OpportunityFieldHistory": "Id:id OpportunityId:reference:Opportunity:Opportunity Field:picklist "
    "OldValue:anyType NewValue:anyType DataType:picklist CreatedDate:datetime "
    "CreatedById:reference:User:CreatedBy IsDeleted:boolean",
    "OpportunityStage": "Id:id MasterLabel:string ApiName:string IsActive:boolean SortOrder:int "
    "IsClosed:boolean IsWon:boolean DefaultProbability:percent ForecastCategoryName:picklist "
    "SystemModstamp:datetime",
    "Account": AUDIT + "Id:id Name:string Industry:picklist Type:picklist BillingCountry:string "
    "BillingAddress:address OwnerId:reference:User:Owner MasterRecordId:reference:Account:MasterRecord",
    "User": "Id:id Name:string Email:email ManagerId:reference:User:Manager TimeZoneSidKey:picklist "
    "IsActive:boolean UserType:picklist CreatedDate:datetime SystemModstamp:datetime",
    "Task": AUDIT + "Id:id WhatId:reference:Opportunity:What OwnerId:reference:User:Owner Type:picklist "
    "TaskSubtype:picklist ActivityDate:date CompletedDateTime:datetime IsClosed:boolean Status:picklist "
    "Subject:string Description:textarea IsArchived:boolean",
    "Event": AUDIT + "Id:id WhatId:reference:Opportunity:What OwnerId:reference:User:Owner Type:picklist "
    "EventSubtype:picklist StartDateTime:datetime EndDateTime:datetime ActivityDate:date Subject:string "
    "Description:textarea IsArchived:boolean",
    "RecordType": "Id:id Name:string DeveloperName:string SobjectType:picklist IsActive:boolean "
    "SystemModstamp:datetime",
    "CurrencyType": "Id:id IsoCode:picklist ConversionRate:double DecimalPlaces:int IsActive:boolean "
    "IsCorporate:boolean SystemModstamp:datetime",
    "DatedConversionRate": "Id:id IsoCode:picklist StartDate:date NextStartDate:date ConversionRate:double "
    "SystemModstamp:datetime",
}
PREFIXES = dict(zip(SCHEMA, "006 008 017 01J 001 005 00T 00U 012 01L 04w".split(), strict=True))
OF_CURRENCIES = {"CurrencyType", "DatedConversionRate"}
WITH_CURRENCY = {"Opportunity", "OpportunityHistory", "Account"}
HISTORIES = ("OpportunityHistory", "OpportunityFieldHistory")
HISTORY_FIELDS = ("StageName", "Amount", "ExpectedRevenue", "CloseDate", "Probability")


@dataclass(frozen=True)
class Field:
    """As describe tells it; `values` are a picklist's, those in `inactive` may not be chosen any more."""

    name: str
    type: str
    to: str = ""
    relationship: str = ""
    length: int = 0
    precision: int = 18
    scale: int = 0
    values: tuple[str, ...] = ()
    inactive: tuple[str, ...] = ()
    is_formula: bool = False
    is_rich: bool = False

    @property
    def dtype(self) -> Any:
        return TYPES.get(self.type, pl.String)


@dataclass
class Org:
    """An org: `hidden` holds (object, field) that field-level security hides from us, `tracked` the fields of
    Opportunity whose history is kept, `multi_currency` whether amounts have a currency each.
    """

    now: datetime = datetime(2026, 3, 2, 4, tzinfo=UTC)
    multi_currency: bool = False
    dated_rates: bool = False
    hidden: set[tuple[str, str]] = field(default_factory=set)
    fixed: set[str] = field(default_factory=set)  # fields of Opportunity that our user may only read
    tracked: set[str] = field(default_factory=set)
    extra: dict[str, list[Field]] = field(default_factory=dict)
    tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    late: list[tuple[datetime, Callable[[], None]]] = field(default_factory=list)
    counter: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    me: str = "005000000000001AAA"

    def fields(self, object_: str) -> dict[str, Field]:
        """Every field of an object that the integration user can see, by name in lower case."""
        return {
            name.lower(): found
            for name, found in self.all_fields(object_).items()
            if (object_, name) not in self.hidden
        }

    def all_fields(self, object_: str) -> dict[str, Field]:
        found = [Field(*told.split(":")) for told in SCHEMA[object_].split()]
        if self.multi_currency and object_ in WITH_CURRENCY:
            found.append(Field("CurrencyIsoCode", "picklist"))
        return {one.name: one for one in [*found, *self.extra.get(object_, [])]}

    def object_named(self, name: str) -> str | None:
        """The object of that name, in any case, if this org has it."""
        found = next((object_ for object_ in SCHEMA if object_.lower() == name.lower()), None)
        is_there = found not in OF_CURRENCIES or (
            self.multi_currency and (found != "DatedConversionRate" or self.dated_rates)
        )
        return found if is_there else None

    def rows(self, object_: str) -> pl.DataFrame:
        """All rows with all fields, deleted ones too."""
        schema = {name: one.dtype for name, one in self.all_fields(object_).items()}
        frame = self.tables.get(object_, pl.DataFrame(schema=schema))
        missing = [
            pl.lit(None, dtype=type_).alias(name) for name, type_ in schema.items() if name not in frame
        ]
        return frame.with_columns(missing).select(*schema)

    def load(self, object_: str, frame: pl.DataFrame) -> None:
        """Take a whole table as it is; columns that are not there are null."""
        self.tables[object_] = frame
        self.tables[object_] = self.rows(object_)

    def new_id(self, object_: str) -> str:
        return f"{PREFIXES[object_]}{next(self.counter):012d}AAA"

    def pass_to(self, moment: datetime) -> None:
        """Move the clock, and show what was to show up late."""
        self.now = moment
        due = [(at, show) for at, show in self.late if at <= moment]
        self.late = [(at, show) for at, show in self.late if at > moment]
        for _, show in sorted(due, key=lambda one: one[0]):
            show()

    def insert(self, object_: str, *, silent: bool = False, **values: Any) -> str:
        """Create a record as the application would; returns its Id."""
        row = {"Id": self.new_id(object_), "CreatedDate": self.now, "LastModifiedDate": self.now}
        row |= {"SystemModstamp": self.now, "IsDeleted": False, "CreatedById": self.me} | values
        fields = self.all_fields(object_)
        if object_ == "Opportunity":
            row |= self._of_stage(row.get("StageName"))
            row.setdefault("LastStageChangeDate", row["CreatedDate"])
            if self.multi_currency:
                row.setdefault("CurrencyIsoCode", "USD")
        unknown = {*values} - {*fields}
        assert not unknown, f"{object_} has no {unknown}"
        schema = {name: one.dtype for name, one in fields.items()}
        one = pl.DataFrame([{name: row.get(name) for name in fields}], schema=schema)
        self.tables[object_] = pl.concat([self.rows(object_), one])
        if object_ == "Opportunity" and not silent:
            self._remember(row["Id"], {}, row, row["CreatedDate"])
        return str(row["Id"])

    def get(self, object_: str, id_: str) -> dict[str, Any]:
        return self.rows(object_).row(by_predicate=pl.col("Id") == id_, named=True)

    def update(self, object_: str, id_: str, *, at: datetime | None = None, **values: Any) -> None:
        """Change a record as the application would, with stamp and histories; `at` back-dates them."""
        at = at or self.now
        old = self.get(object_, id_)
        if object_ == "Opportunity" and "StageName" in values:
            values |= self._of_stage(values["StageName"])
            values["LastStageChangeDate"] = at
        self.drift(object_, id_, **values, SystemModstamp=at, LastModifiedDate=at)
        if object_ == "Opportunity":
            self._remember(id_, old, {**old, **values}, at)

    def update_late(self, object_: str, id_: str, *, shows_at: datetime, **values: Any) -> None:
        """A change that is stamped now and seen only later, as that of a transaction still open."""
        stamp = self.now
        self.late.append((shows_at, lambda: self.update(object_, id_, at=stamp, **values)))

    def drift(self, object_: str, id_: str, **values: Any) -> None:
        """Change values without a stamp, as formulas and roll-ups do."""
        fields = self.all_fields(object_)
        is_it = pl.col("Id") == id_
        self.tables[object_] = self.rows(object_).with_columns(
            pl.when(is_it).then(pl.lit(value, dtype=fields[name].dtype)).otherwise(pl.col(name)).alias(name)
            for name, value in values.items()
            if name in fields
        )

    def delete(self, object_: str, id_: str, *, is_deleted: bool = True) -> None:
        """Into the recycle bin, with its histories; or out of it."""
        self.drift(object_, id_, IsDeleted=is_deleted, SystemModstamp=self.now)
        if object_ == "Opportunity":
            for name in HISTORIES:
                mine = pl.col("OpportunityId") == id_
                gone = pl.when(mine).then(pl.lit(is_deleted)).otherwise("IsDeleted").alias("IsDeleted")
                self.tables[name] = self.rows(name).with_columns(gone)

    def purge(self, object_: str, id_: str) -> None:
        """Delete for good: nothing tells of it any more."""
        self.tables[object_] = self.rows(object_).filter(pl.col("Id") != id_)
        if object_ == "Opportunity":
            for name in HISTORIES:
                self.tables[name] = self.rows(name).filter(pl.col("OpportunityId") != id_)

    def merge_accounts(self, winner: str, loser: str) -> None:
        """The loser goes to the bin and its opportunities to the winner."""
        for id_ in self.rows("Opportunity").filter(pl.col("AccountId") == loser)["Id"].to_list():
            self.update("Opportunity", id_, AccountId=winner)
        self.delete("Account", loser)
        self.drift("Account", loser, MasterRecordId=winner)

    def _of_stage(self, stage: Any) -> dict[str, Any]:
        found = self.rows("OpportunityStage").filter(pl.col("ApiName") == stage).to_dicts()
        if not found:
            return {"IsClosed": False, "IsWon": False}
        taken = {"IsClosed": "IsClosed", "IsWon": "IsWon", "DefaultProbability": "Probability"}
        return {ours: found[0][theirs] for theirs, ours in taken.items()}

    def _remember(self, id_: str, old: dict[str, Any], new: dict[str, Any], at: datetime) -> None:
        if any(old.get(name) != new.get(name) for name in HISTORY_FIELDS):
            taken = {name: new.get(name) for name in HISTORY_FIELDS}
            if self.multi_currency:
                taken["CurrencyIsoCode"] = new.get("CurrencyIsoCode")
            prev = {"PrevAmount": old.get("Amount"), "PrevCloseDate": old.get("CloseDate")}
            times = {"CreatedDate": at, "SystemModstamp": at}
            self.insert("OpportunityHistory", OpportunityId=id_, **taken, **prev, **times)
        for name in sorted(self.tracked if old else ()):
            if old.get(name) != new.get(name):
                self._track(id_, name, old.get(name), new.get(name), at)

    def _track(self, id_: str, name: str, old: Any, new: Any, at: datetime) -> None:
        """A row of the field's history; a look-up leaves two, one of them with the names."""
        told = (
            Field("", "")
            if name not in self.all_fields("Opportunity")
            else self.all_fields("Opportunity")[name]
        )
        spelled = told.relationship or name
        pairs = [("EntityId" if told.to else "Text", old, new)]
        if told.to:
            pairs.insert(
                0, ("Text", *(self.get(told.to, one)["Name"] if one else None for one in (old, new)))
            )
        for kind, was, is_ in pairs:
            self.insert(
                "OpportunityFieldHistory",
                OpportunityId=id_,
                Field=spelled,
                OldValue=_plain(was),
                NewValue=_plain(is_),
                DataType=kind,
                CreatedDate=at,
            )


def _plain(value: Any) -> str | None:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return None if value is None else str(value)
