"""What each rule would have held for, morning by morning, as facts, norms and scores stood then.

Facts are worked out by the slice of mornings and cut down at once to a few small numbers for each open deal,
so that a year of a large company fits in memory.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from dealwatch.alerts.rules.rule import Rule
from dealwatch.alerts.rules.signals import signals
from dealwatch.moments import local_day, mornings
from dealwatch.scoring.facts import facts_of
from dealwatch.scoring.known import History, microseconds_of
from dealwatch.scoring.spells import in_slices
from dealwatch.settings import Settings
from dealwatch.tables import deal_scores
from dealwatch.warehouse import INSTANT, schema_of

Scores = Callable[[pl.DataFrame], pl.DataFrame]  # facts in; scores of the mornings that have some out
AGE_BANDS = (7.0, 14.0, 30.0, 60.0, 90.0, 180.0, 365.0)  # days; deals between two are about the same age
EVERYONE = ""  # the segment of all deals together
SCORED = schema_of(deal_scores, "as_of", "deal_id", "score", "band", "p_loss")
_ROWS_AT_ONCE = 200_000  # pairs of deal and morning whose facts are in memory together
_KEYS = ["as_of", "deal_id"]
_ROWS: dict[str, Any] = {
    "morning": pl.Int32,
    "deal": pl.Int32,
    "stage": pl.Int32,
    "band": pl.Int8,
    "segment": pl.Int32,
}
_HELD: dict[str, Any] = {
    "rule": pl.Int16,
    "morning": pl.Int32,
    "deal": pl.Int32,
    "level": pl.Int8,
    "scope": pl.UInt64,
}
_OWNERS: dict[str, Any] = {"morning": pl.Int32, "segment": pl.String, "owners": pl.Int64}


@dataclass(frozen=True)
class Replay:
    """Past mornings, numbered; a `deal` is its place in `deal_ids`, a `rule` its place in `rules`.

    rows: each deal open on each morning, in order: morning, deal, stage and segment as numbers, band of age.
    held: which rule held: rule, morning, deal, level (the highest; 0 only keeps open), scope as a number.
    owners: how many owners had open deals, by morning and segment.
    segments: the names of each segment, from all deals down to the narrowest: segment, name_0, name_1 ...
    scored: the mornings that have scores, which are the only ones for rules about the score.
    """

    moments: tuple[datetime, ...]
    rules: tuple[Rule, ...]
    deal_ids: pl.Series
    rows: pl.DataFrame
    held: pl.DataFrame
    owners: pl.DataFrame
    segments: pl.DataFrame
    scored: frozenset[int]

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """How many columns make a segment, from none on; those that part nothing are passed over."""
        parts = [self.segments[name].n_unique() for name in self.segments.columns[1:]]
        return (0, *(n for n in range(1, len(parts)) if parts[n] > parts[n - 1]))

    def mornings_of(self, rule: Rule) -> list[int]:
        """The mornings on which the rule could have held."""
        return sorted(self.scored) if rule.uses_score else list(range(len(self.moments)))

    def until(self, moment: datetime) -> "Replay":
        """The mornings before a moment alone."""
        count = sum(one < moment for one in self.moments)
        is_before = pl.col("morning") < count
        return Replay(
            moments=self.moments[:count],
            rules=self.rules,
            deal_ids=self.deal_ids,
            rows=self.rows.filter(is_before),
            held=self.held.filter(is_before),
            owners=self.owners.filter(is_before),
            segments=self.segments,
            scored=frozenset(n for n in self.scored if n < count),
        )


def replayed(as_of: datetime, settings: Settings) -> list[datetime]:
    """Every morning of the months that a record rests on, the last one the day before the moment."""
    last = local_day(as_of, settings)
    return mornings(_months_before(last, settings.alerts.evidence_months), last - timedelta(days=1), settings)


def replay(
    history: History,
    moments: Sequence[datetime],
    rules: Sequence[Rule],
    *,
    settings: Settings,
    scores: Scores | None = None,
) -> Replay:
    """Which rules would have held on the mornings, of a history that was made for them.

    scores: the scores (as in SCORED) for facts of some mornings; none for mornings that have no scores.
    """
    made = _Notes(history, tuple(moments), tuple(rules), settings)
    for part in _slices(history, moments):
        facts = facts_of(history, part, settings=settings)
        given = pl.DataFrame(schema=SCORED) if scores is None else scores(facts).select(list(SCORED))
        made.note(facts, given)
    return made.replay()


def _months_before(day: date, months: int) -> date:
    return day - timedelta(days=round(months * 365.25 / 12))


def _slices(history: History, moments: Sequence[datetime]) -> Iterator[Sequence[datetime]]:
    """The moments in runs that hold so many open deals together, and one moment at least."""
    start = 0
    for part in in_slices(history.lives.timeline, microseconds_of(moments), rows=_ROWS_AT_ONCE):
        yield moments[start : start + len(part)]
        start += len(part)


class _Numbers:
    """Numbers for values, given in the order in which they are first met."""

    def __init__(self) -> None:
        self.known: dict[Any, int] = {}

    def of(self, values: pl.Series) -> pl.Series:
        """The values' numbers; unknown is a value like others."""
        distinct = values.unique(maintain_order=True)
        numbers = [self.known.setdefault(value, len(self.known)) for value in distinct.to_list()]
        table = pl.DataFrame({"value": distinct, "number": pl.Series(numbers, dtype=pl.Int32)})
        asked = values.alias("value").to_frame()
        return asked.join(table, on="value", how="left", nulls_equal=True, maintain_order="left")["number"]


class _Notes:
    """What is kept of each slice of mornings."""

    def __init__(
        self, history: History, moments: tuple[datetime, ...], rules: tuple[Rule, ...], settings: Settings
    ) -> None:
        self.moments, self.rules, self.settings = moments, rules, settings
        self.deal_ids = history.deal_ids
        self.numbered = history.deal_ids.to_frame("deal_id").with_columns(
            deal=pl.int_range(pl.len(), dtype=pl.Int32)
        )
        places = {"as_of": list(moments), "morning": list(range(len(moments)))}
        self.places = pl.DataFrame(places, schema={"as_of": INSTANT, "morning": pl.Int32})
        self.stages, self.segments = _Numbers(), _Numbers()
        self.rows = [pl.DataFrame(schema=_ROWS)]
        self.held = [pl.DataFrame(schema=_HELD)]
        self.owners = [pl.DataFrame(schema=_OWNERS)]
        self.scored: set[int] = set()

    def note(self, facts: pl.DataFrame, given: pl.DataFrame) -> None:
        """Keep what a slice of mornings tells."""
        keys = facts.select(_KEYS).join(self.places, on="as_of", how="left", maintain_order="left")
        keys = keys.join(self.numbered, on="deal_id", how="left", maintain_order="left")
        band = np.searchsorted(AGE_BANDS, facts["age_days"].to_numpy(), side="right")
        segment = facts.select("deal_id", *_labels(self.settings)).select(pl.struct(pl.exclude("deal_id")))
        self.rows.append(
            keys.select(
                "morning",
                "deal",
                stage=self.stages.of(facts["stage"]),
                band=pl.Series(band, dtype=pl.Int8),
                segment=self.segments.of(segment.to_series().struct.json_encode()),
            )
        )
        self.owners += self._owners(facts, keys["morning"])
        self.scored |= set(given.join(self.places, on="as_of")["morning"].unique())
        self._note_held(facts, given, keys)

    def _note_held(self, facts: pl.DataFrame, given: pl.DataFrame, keys: pl.DataFrame) -> None:
        unscored = facts.select(_KEYS).join(given, on=_KEYS, how="left", maintain_order="left")
        held = signals(self.rules, facts, unscored)
        names = {rule.name: n for n, rule in enumerate(self.rules)}
        number = pl.col("rule").replace_strict(names, return_dtype=pl.Int16)
        told = held.with_columns(rule=number).join(keys, on=_KEYS, how="left", maintain_order="left")
        scope = pl.when(pl.col("scope") != "").then(pl.col("scope").hash(seed=0)).otherwise(0)
        self.held.append(
            told.with_columns(scope=scope).select(pl.col(name).cast(type_) for name, type_ in _HELD.items())
        )

    def _owners(self, facts: pl.DataFrame, morning: pl.Series) -> Iterator[pl.DataFrame]:
        labels = _labels(self.settings)
        rows = facts.select("owner_id", *labels).with_columns(morning)
        for name in rows.columns[1:-1]:
            counted = rows.group_by("morning", segment=pl.col(name)).agg(owners=pl.col("owner_id").n_unique())
            yield counted.select(pl.col(name).cast(type_) for name, type_ in _OWNERS.items())

    def replay(self) -> Replay:
        """All slices together."""
        names = {f"name_{n}": pl.String for n in range(len(self.settings.pipeline.segment_by) + 1)}
        known = pl.Series("text", list(self.segments.known), dtype=pl.String)
        segments = known.str.json_decode(pl.Struct(names)).struct.unnest()
        return Replay(
            moments=self.moments,
            rules=self.rules,
            deal_ids=self.deal_ids,
            rows=pl.concat(self.rows),
            held=pl.concat(self.held).sort("rule", "deal", "morning"),
            owners=pl.concat(self.owners),
            segments=segments.with_row_index("segment").cast({"segment": pl.Int32}),
            scored=frozenset(self.scored),
        )


def _labels(settings: Settings) -> list[pl.Expr]:
    """A row's segment in words, from all deals together down to the narrowest, as norms are learned."""
    columns = settings.pipeline.segment_by
    parts = [pl.format("{}={}", pl.lit(name), pl.col(name).fill_null("(unknown)")) for name in columns]
    return [
        (pl.concat_str(parts[:n], separator=", ") if n else pl.lit(EVERYONE)).alias(f"name_{n}")
        for n in range(len(columns) + 1)
    ]
