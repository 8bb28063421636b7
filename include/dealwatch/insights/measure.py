"""A figure that says how sure it is, or why there is none: what every metric of the review comes as.

A figure never stands alone. It carries how many deals it rests on and a 95% interval, and what is not defined
is null with the reason, never 0.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from math import isfinite, isnan
from typing import Any, Literal, Self

import numpy as np
import polars as pl

from dealwatch.insights.statistics import Floats, bootstrap, wilson

Kind = Literal["share", "points", "money", "money_a_day", "days", "count", "ratio", "index"]
NOTHING_CLOSED = "no deal was closed in this time"
NO_AMOUNTS = "no deal closed in this time has an amount"
TOO_FEW = "too few deals for an interval"
NO_SPREAD = "all deals are alike, so chance cannot be told from certainty"


@dataclass(frozen=True)
class Measure:
    """One figure.

    name: which metric, by its name in docs/metrics.md. value: null when it is not defined; `why` says why.
    n: the deals it rests on. n_eff: how many equal deals would tell as much, where deals weigh differently.
    low, high: the 95% interval; null together, and `why` says why when there is a value.
    kind: what the value counts: a share from 0 to 1, percentage points, money in the deals' currency (or that
        a day), days, a number, a ratio, or an index of which 100 is usual.
    """

    name: str
    value: float | None
    n: int
    n_eff: float | None = None
    low: float | None = None
    high: float | None = None
    why: str = ""
    kind: Kind = "share"

    def __post_init__(self) -> None:
        told = [one for one in (self.value, self.n_eff, self.low, self.high) if one is not None]
        if not all(isfinite(one) for one in told):
            raise ValueError(f"{self.name}: {told} are no figures; null is what is not defined")
        if self.n < 0:
            raise ValueError(f"{self.name}: of {self.n} deals")
        if (self.low is None) != (self.high is None):
            raise ValueError(f"{self.name}: half an interval, {self.low} to {self.high}")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"{self.name}: an interval from {self.low} to {self.high}")
        if self.value is None and self.low is not None:
            raise ValueError(f"{self.name}: an interval around nothing")
        if self.low is None and not self.why:
            raise ValueError(
                f"{self.name}: without {'an interval' if self.value is not None else 'a value'} "
                "and without a reason"
            )

    @classmethod
    def null(cls, name: str, why: str, *, n: int = 0, kind: Kind = "share") -> Self:
        """A figure that is not defined, and why."""
        return cls(name, None, n, why=why, kind=kind)

    @property
    def is_known(self) -> bool:
        """Whether there is a value with an interval: only such a figure may be said in a sentence."""
        return self.value is not None and self.low is not None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for tables and JSON."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


def share_of(name: str, successes: int, n: int, *, why: str) -> Measure:
    """So many of n, with Wilson's interval; of none there is no share, and `why` says of what."""
    if not n:
        return Measure.null(name, why)
    low, high = wilson(successes, n)
    return Measure(name, successes / n, n, n_eff=float(n), low=float(low), high=float(high))


def sampled(
    name: str,
    rows: Floats,
    statistic: Callable[[Floats], Floats],
    *,
    seed: int,
    n_eff: float | None = None,
    kind: Kind = "share",
) -> Measure:
    """A statistic of sums over deals (one row each) with the interval of drawing deals; see `bootstrap`.

    The statistic has to be defined for the deals as they are.
    """
    value = float(np.asarray(statistic(rows.sum(axis=0, keepdims=True))).item())
    low, high = (float(one) for one in bootstrap(rows, statistic, seed=seed)[:, 0])
    return with_interval(name, value, low, high, n=len(rows), n_eff=n_eff, kind=kind)


def with_interval(
    name: str, value: float, low: float, high: float, *, n: int, n_eff: float | None = None, kind: Kind
) -> Measure:
    """A value with the interval that was drawn for it; none, and why, where it is NaN or a point.

    Where all deals are alike, all samples are: that is no certainty.
    """
    if isnan(low) or low == high:
        why = TOO_FEW if isnan(low) else NO_SPREAD
        return Measure(name, float(value), n, n_eff=n_eff, why=why, kind=kind)
    return Measure(name, float(value), n, n_eff=n_eff, low=float(low), high=float(high), kind=kind)


SCHEMA: Mapping[str, pl.DataType] = {
    "name": pl.String(),
    "value": pl.Float64(),
    "n": pl.Int64(),
    "n_eff": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "why": pl.String(),
    "kind": pl.String(),
}


def measured(measures: Iterable[Measure], **keys: list[Any]) -> pl.DataFrame:
    """Measures as rows in the columns of SCHEMA, behind columns that say what each is of, as a segment."""
    rows = pl.DataFrame([one.as_dict() for one in measures], schema=dict(SCHEMA))
    return rows.select(*(pl.Series(name, of) for name, of in keys.items()), pl.all())


def measures_of(rows: pl.DataFrame) -> list[Measure]:
    """The rows of such a frame as measures, each checked."""
    return [Measure(**row) for row in rows.select(list(SCHEMA)).iter_rows(named=True)]
