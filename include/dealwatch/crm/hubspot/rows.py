"""From HubSpot's deals to rows, as they stood at one moment: values, what their stage means, their history.

A night's list takes a while, and deals move meanwhile. Every deal tells the history of what we track, so rows
are set back to the moment the extract began: a change after it is left to the next night, whole.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from dealwatch.crm.hubspot.answers import Thing, as_text, text_frame
from dealwatch.crm.hubspot.values import day_text, instant_text, instants, written

HISTORY = ("deal_id", "changed_at", "field", "old_value", "new_value")
OUTCOME, CLOSED_AT = "stage.outcome", "stage.closed_at"  # no property's name has a dot
COMPANY = "company."
NEEDED = ("dealstage", "createdate", "closedate")
UNKNOWN = "a stage of no pipeline"  # said as an outcome, so that the row is set aside with its reason
_OPEN = pl.lit("open")
_CLOSED = ("won", "lost")
# HubSpot stamps a deal's first stage some milliseconds before its creation.
_SAME_ACT = pl.duration(minutes=1)
# HubSpot does not say how many values of a property it keeps; if it forgets, then not before so many.
_MAYBE_CUT = 20


@dataclass(frozen=True)
class Asked:
    """What a night asks of every deal, and how its values are understood; JSON can hold it.

    columns: what a deal's row has: properties, `company.` and a company's property, OUTCOME, CLOSED_AT.
    history: properties whose changes are told.
    instants, days: those of the properties that are dates with and without a time of day.
    stages: stage -> won, lost, open or unclear.
    until: the moment that rows speak for, as HubSpot writes it.
    is_first: whether nothing was read before, so that nobody knows what a history may have forgotten.
    """

    columns: tuple[str, ...]
    history: tuple[str, ...]
    instants: tuple[str, ...]
    days: tuple[str, ...]
    stages: Mapping[str, str]
    until: str
    is_first: bool = False

    @property
    def properties(self) -> list[str]:
        """The deals' properties to ask for."""
        return list(
            dict.fromkeys([*(name for name in self.columns if "." not in name), *NEEDED, *self.history])
        )

    @property
    def of_companies(self) -> list[str]:
        """The companies' properties to ask for."""
        return [name.removeprefix(COMPANY) for name in self.columns if name.startswith(COMPANY)]


def deal_rows(
    things: Sequence[Thing], companies: Mapping[str, Thing], asked: Asked
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The deals that were there at the moment, in `asked.columns`, and their changes in HISTORY's columns.

    `companies`: by deal, the company it is mainly with. All text or null.
    """
    until = instants(pl.lit(asked.until))
    is_later = instants(pl.col("createdAt")) > until
    deals = text_frame(things, asked.properties).filter(~is_later.fill_null(False))
    created = deals.select(pl.col("id").alias("deal_id"), instants(pl.col("createdAt")).alias("created"))
    items = _items(things, asked).join(created, on="deal_id", maintain_order="left")
    deals = _set_back(deals, items, until, asked)
    deals = deals.with_columns(_read(name, pl.col(name), asked) for name in asked.properties)
    changes = _changes(items.filter((pl.col("at") <= until).fill_null(True)), asked)
    outcomes = _outcomes(changes.filter(pl.col("field") == "dealstage"), deals, asked)
    rows = _with_outcome(deals, outcomes, asked)
    if asked.of_companies:
        rows = rows.hstack(_of_companies(rows["id"], companies, asked))
    history = pl.concat([changes.select(HISTORY), outcomes.select(HISTORY)])
    rows = rows.with_columns(pl.col("id").alias("hs_object_id"))
    return rows.select(asked.columns), history.sort("deal_id", "field", "changed_at", maintain_order=True)


def _items(things: Iterable[Thing], asked: Asked) -> pl.DataFrame:
    """Each value a property took: deal_id, field, nth (0 is the newest), of, changed_at, at, value."""
    told: list[tuple[str, str, int, str | None, str | None]] = [
        (thing["id"], name, nth, as_text(item.get("timestamp")), as_text(item.get("value")))
        for thing in things
        for name in asked.history
        for nth, item in enumerate((thing.get("propertiesWithHistory") or {}).get(name) or [])
    ]
    names = {
        "deal_id": pl.String,
        "field": pl.String,
        "nth": pl.Int64,
        "changed_at": pl.String,
        "value": pl.String,
    }
    items = pl.DataFrame(told, schema=names, orient="row")
    items = items.with_columns(instant_text(pl.col("changed_at")))
    fields = [
        pl.when(pl.col("field") == name).then(_read(name, pl.col("value"), asked)) for name in asked.history
    ]
    return items.with_columns(
        pl.coalesce(fields).alias("value") if fields else pl.col("value"),
        instants(pl.col("changed_at")).alias("at"),
        pl.len().over("deal_id", "field").alias("of"),
    )


def _read(name: str, value: pl.Expr, asked: Asked) -> pl.Expr:
    """A value in one form; nothing but blanks is nothing."""
    bare = value.str.strip_chars()
    value = pl.when(bare != "").then(bare)
    if name in asked.instants:
        value = instant_text(value)
    elif name in asked.days:
        value = day_text(value)
    return value.alias(name)


def _set_back(deals: pl.DataFrame, items: pl.DataFrame, until: pl.Expr, asked: Asked) -> pl.DataFrame:
    """What moved after the moment has the value it had then."""
    moved = items.filter(pl.col("at") > until).select("deal_id", "field").unique()
    if moved.is_empty():
        return deals
    before = items.filter(pl.col("at") <= until).sort("at", "nth", descending=[False, True])
    then = before.group_by("deal_id", "field").agg(pl.col("value").last())
    values = moved.join(then, on=["deal_id", "field"], how="left").with_columns(is_moved=pl.lit(True))
    for name in (name for name in asked.history if name in deals.columns):
        own = values.filter(pl.col("field") == name).select("deal_id", "value", "is_moved")
        deals = deals.join(own, left_on="id", right_on="deal_id", how="left", maintain_order="left")
        deals = deals.with_columns(pl.when("is_moved").then("value").otherwise(name).alias(name))
        deals = deals.drop("value", "is_moved")
    return deals


def _changes(items: pl.DataFrame, asked: Asked) -> pl.DataFrame:
    """The items oldest first, each with the value before it; one that sets what is there is no change.

    Of a long history the oldest item may have been told before, with a value before it that is forgotten by
    now: unless it was there from the creation on, it is told only as the value before the next.
    """
    own = ["deal_id", "field"]
    rows = items.sort(*own, "at", "nth", descending=[False, False, False, True], nulls_last=True)
    is_oldest = pl.int_range(pl.len()).over(own) == 0
    is_long = (pl.col("of") >= _MAYBE_CUT) & pl.lit(not asked.is_first)
    is_cut = is_oldest & is_long & (pl.col("at") > pl.col("created") + _SAME_ACT)
    rows = rows.with_columns(pl.col("value").shift(1).over(own).alias("old_value"))
    is_change = pl.col("value").ne_missing(pl.col("old_value")) & ~is_cut.fill_null(False)
    return rows.filter(is_change).rename({"value": "new_value"})


def _outcomes(stages: pl.DataFrame, deals: pl.DataFrame, asked: Asked) -> pl.DataFrame:
    """Each time a deal's stage closed it, or opened it again; a deal begins open.

    A deal whose very first stage was a closed one came from elsewhere: it closed on its close date, if that
    lies between its creation and that first stage.
    """
    known = {stage: word for stage, word in asked.stages.items() if word != "unclear"}
    is_oldest = pl.int_range(pl.len()).over("deal_id") == 0
    rows = stages.with_columns(
        pl.lit(OUTCOME).alias("field"),
        _looked_up(pl.col("new_value"), known).alias("new_value"),
        _looked_up(pl.col("old_value"), known).alias("old_value"),
        (is_oldest & pl.col("old_value").is_null()).alias("is_first"),
    ).filter(pl.col("new_value").is_not_null())
    before = pl.coalesce(pl.col("new_value").shift(1).over("deal_id"), "old_value", _OPEN)
    rows = rows.with_columns(before.alias("old_value")).filter(pl.col("new_value") != pl.col("old_value"))
    created = instants(pl.col("createdate"))
    own = deals.select(
        pl.col("id").alias("deal_id"),
        pl.coalesce(created, instants(pl.col("createdAt"))).alias("created"),
        instants(pl.col("closedate")).alias("planned"),
    )
    rows = rows.drop("created").join(own, on="deal_id", how="left", maintain_order="left")
    came_closed = pl.col("is_first") & pl.col("planned").is_between(pl.col("created"), pl.col("at"))
    is_creation = pl.col("created").is_between(pl.col("at"), pl.col("at") + _SAME_ACT)
    at = pl.when(came_closed).then("planned").when(is_creation).then("created").otherwise("at")
    return rows.with_columns(written(at).fill_null(pl.col("changed_at")).alias("changed_at"))


def _with_outcome(deals: pl.DataFrame, outcomes: pl.DataFrame, asked: Asked) -> pl.DataFrame:
    """With what the stage means, by the pipelines' metadata alone, and since when it is closed."""
    last = outcomes.group_by("deal_id", maintain_order=True).agg(pl.col("new_value", "changed_at").last())
    rows = deals.join(last, left_on="id", right_on="deal_id", how="left", maintain_order="left")
    stage = pl.col("dealstage")
    word = pl.when(stage.is_not_null()).then(_looked_up(stage, asked.stages).fill_null(UNKNOWN))
    is_closed = word.is_in(_CLOSED)
    closed_at = pl.when(pl.col("new_value") == word).then("changed_at").otherwise("closedate")
    return rows.with_columns(
        word.alias(OUTCOME),
        pl.when(is_closed).then(closed_at).alias(CLOSED_AT),
        # A creation date that is not there is when HubSpot made the record.
        pl.coalesce("createdate", instant_text(pl.col("createdAt"))).alias("createdate"),
    )


def _of_companies(deal_ids: pl.Series, companies: Mapping[str, Thing], asked: Asked) -> pl.DataFrame:
    found = [companies.get(deal_id, {}).get("properties") or {} for deal_id in deal_ids]
    return pl.DataFrame(
        [
            pl.Series(COMPANY + name, [properties.get(name) or None for properties in found], dtype=pl.String)
            for name in asked.of_companies
        ]
    )


def _looked_up(word: pl.Expr, known: Mapping[str, str]) -> pl.Expr:
    """The known meaning of a word, or null."""
    return word.replace_strict(list(known), list(known.values()), default=None, return_dtype=pl.String)
