"""What a drop is like as a whole, summed up batch by batch while it is taken in."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import polars as pl
from sqlalchemy import Connection, select

from dealwatch.crm.sheets import Batch
from dealwatch.crm.stages import Stage, described
from dealwatch.tables import quarantine
from dealwatch.warehouse import frame

_MOMENTS = {
    "deals": ("created_at", "closed_at"),
    "deal_history": ("changed_at",),
    "activities": ("happened_at",),
}
_NO_STAGE = " is no stage of the sales process"


@dataclass
class Measures:
    """deals: those usable; of the open ones their number and, of each column, how many lack a value.

    amounts, priced: by currency ("" where none is told), the open deals' sum and how many have an amount.
    newest: the last instant that any row tells, in the contract's text.
    """

    deals: int = 0
    open: int = 0
    amounts: dict[str, float] = field(default_factory=dict)
    priced: Counter[str] = field(default_factory=Counter)
    empty: Counter[str] = field(default_factory=Counter)
    newest: str = ""

    def add(self, batch: Batch) -> None:
        for name in _MOMENTS.get(batch.object, ()):
            last = batch.rows[name].max() if name in batch.rows.columns else None
            self.newest = max(self.newest, str(last or ""))
        if batch.object != "deals":
            return
        open_ = batch.rows.filter(pl.col("outcome") == "open")
        self.deals += batch.rows.height
        self.open += open_.height
        if "amount" in open_.columns:
            self._add_amounts(open_)
        told = [name for name in open_.columns if name not in ("row", "record", "closed_at", "outcome")]
        self.empty.update({name: open_[name].null_count() for name in told})

    def _add_amounts(self, open_: pl.DataFrame) -> None:
        code = pl.col("currency").fill_null("") if "currency" in open_.columns else pl.lit("")
        amount = pl.col("amount").cast(pl.Float64)
        sums = open_.filter(amount.is_not_null()).group_by(code.alias("code"))
        for code_, total, many in sums.agg(amount.sum().alias("total"), pl.len()).iter_rows():
            self.amounts[code_] = self.amounts.get(code_, 0.0) + total
            self.priced[code_] += many


@dataclass(frozen=True)
class Faults:
    """How many of a drop's deals could not be used, for the reasons that tell of the drop as a whole."""

    unknown_stages: dict[str, int]
    repeated: int
    closed_before_created: int

    def told_by(self, stages: Sequence[Stage]) -> "Faults":
        """With what the source says of the stages that are unknown to us."""
        told = {described(name, stages): many for name, many in self.unknown_stages.items()}
        return replace(self, unknown_stages=told)


def faults_of(connection: Connection, extract_id: str) -> Faults:
    c = quarantine.c
    found = frame(
        connection, select(c.field, c.reason).where(c.extract_id == extract_id, c.object == "deals")
    )
    field, reason = pl.col("field"), pl.col("reason")
    stages = found.filter(field == "stage", reason.str.ends_with(_NO_STAGE))["reason"]
    is_before = reason.str.contains(" is before created_at ", literal=True)
    return Faults(
        unknown_stages=dict(stages.str.strip_suffix(_NO_STAGE).value_counts(sort=True).iter_rows()),
        repeated=found.filter(reason.str.contains(" is already on ", literal=True)).height,
        closed_before_created=found.filter(field == "closed_at", is_before).height,
    )
