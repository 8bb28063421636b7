"""Whether the champion still fits: have its predictions and facts moved, and did what it promised come true?

A week is measured from what was known at its moment alone, the week before included, so any past week can be
measured again with the same answer. Something is found when chance does not explain it two weeks in a row.
What is found proposes a retrain in words; nothing is retrained here.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import polars as pl
from sqlalchemy import Connection, Engine, and_, select

from dealwatch.errors import ModelUnusable
from dealwatch.history.ledger import Ledger, read_ledger
from dealwatch.knobs import SegmentColumn
from dealwatch.moments import local_day, morning_of
from dealwatch.scoring.facts import facts_at
from dealwatch.scoring.forest import MODEL_FACTS
from dealwatch.scoring.health_words import proposal, realised_words, stability_words
from dealwatch.scoring.realised import Realised, judged_at, realised
from dealwatch.scoring.registry import Model, champions_at
from dealwatch.scoring.stability import CHANCE, Stability, false_discovery, stability
from dealwatch.settings import Settings
from dealwatch.tables import deal_scores, deal_snapshots, model_health, scored_mornings
from dealwatch.warehouse import frame, instant, reading, rows_of, schema_of, writing
from dealwatch.warehouse import replace as write_anew

WEEK = timedelta(days=7)
REACH = timedelta(days=365)  # how far back scores are judged
REFERENCE_MORNINGS = 13  # four weeks apart: the year before the training
# A model may weather other facts, which is what it has them for, and a retrain mends no rule's points.
NO_REASON = ("score", "fact")
ALL_MODELS = ""  # model_version of rows about every model's scores
P_LOSS, SCORE = "p_loss", "score"
COLUMNS: tuple[str, ...] = tuple(
    dict.fromkeys([*(fact.name for fact in MODEL_FACTS), *get_args(SegmentColumn)])
)


@dataclass(frozen=True)
class Health:
    """One row of `model_health` but for its moment."""

    model_version: str
    kind: str  # prediction, score, fact, auc, brier, brier_skill, slope, bias, proposal
    subject: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    expected: float | None
    threshold: float | None
    q: float | None
    is_finding: bool
    sentence: str


def watch(engine: Engine, as_of: datetime, *, settings: Settings) -> list[Health]:
    """Measure the champion of the moment and write the week's rows of `model_health` anew.

    Raises ModelUnusable, and leaves the week as it is, when no champion can be loaded, or not the one that
    the week was measured of.
    """
    with reading(engine) as connection:
        (serving,) = champions_at(connection, settings, [as_of])
        model = serving.model
        if serving.unusable and (model is None or _was_measured(connection, as_of, serving.unusable)):
            raise ModelUnusable(f"the week's health stays as it is: {serving.reason}")
        ledger = read_ledger(connection, until=as_of)
        scored = _scored(connection, as_of, settings)
    rows = health(ledger, model, scored, as_of, settings=settings)
    keep(engine, as_of, rows)
    return rows


def _was_measured(connection: Connection, as_of: datetime, versions: Sequence[str]) -> bool:
    rows = model_health.c
    of_these = (rows.measured_as_of == as_of) & rows.model_version.in_(versions)
    return connection.execute(select(rows.kind).where(of_these)).first() is not None


def keep(engine: Engine, as_of: datetime, rows: Sequence[Health]) -> None:
    """Write the rows of a week in the place of those that were measured for it before."""
    table = pl.DataFrame(
        [{"measured_as_of": as_of, **asdict(row)} for row in rows],
        schema=schema_of(model_health),
    )
    with writing(engine, alone="health") as connection:
        write_anew(connection, model_health, model_health.c.measured_as_of == as_of, table)


def health(
    ledger: Ledger, model: Model | None, scored: pl.DataFrame, as_of: datetime, *, settings: Settings
) -> list[Health]:
    """The rows of a week, the proposal last; none without a champion, for there is nothing to judge.

    scored: past scores of models, one morning a week: as_of, deal_id, score, p_loss, model_version, stage.
    """
    if model is None:
        return []
    here = as_of.astimezone(settings.zone)
    weeks = [as_of, (here - WEEK).astimezone(UTC)]  # the same hour of the clock on either side of a change
    rows = _moved(ledger, model, scored, weeks, settings)
    rows += _came_true(ledger, model, scored, weeks, settings)
    findings = [row for row in rows if row.is_finding]
    reasons = [row.sentence for row in findings if row.kind not in NO_REASON]
    words = proposal(reasons, [row.subject for row in findings if row.kind in NO_REASON])
    judged = sum(row.q is not None for row in rows)
    numbers = (float(len(findings)), None, None, judged, None, None, None)
    last = Health(model.version, "proposal", "retrain", *numbers, bool(reasons), words)
    return [*rows, last]


def reference_mornings(ledger: Ledger, model: Model, *, settings: Settings) -> list[datetime]:
    """Mornings four weeks apart, of one weekday, back from the day before the training to the ledger's start.

    Made from dates, not from the panel: how closely that was sampled is no matter of months or weekdays.
    """
    earliest = ledger.changes["known_at"].min()
    if not isinstance(earliest, datetime):
        return []
    last = local_day(model.trained_as_of, settings) - timedelta(days=1)
    found = [morning_of(last - 4 * n * WEEK, settings) for n in reversed(range(REFERENCE_MORNINGS))]
    return [morning for morning in found if morning >= earliest]


def recent_morning(reference: Sequence[datetime], moment: datetime, *, settings: Settings) -> datetime | None:
    """The latest morning whole weeks after the reference: the same weekday, for weekends change facts."""
    last = local_day(reference[-1], settings)
    weeks = (local_day(moment, settings) - last).days // 7
    found = morning_of(last + weeks * WEEK, settings)
    if found > moment:
        weeks, found = weeks - 1, morning_of(last + (weeks - 1) * WEEK, settings)
    return found if weeks > 0 else None


def _moved(
    ledger: Ledger, model: Model, scored: pl.DataFrame, weeks: list[datetime], settings: Settings
) -> list[Health]:
    """Predictions and facts of this week's open deals against those of the year before the training."""
    reference = reference_mornings(ledger, model, settings=settings)
    if not reference or (now := recent_morning(reference, weeks[0], settings=settings)) is None:
        return []
    before = recent_morning(reference, weeks[1], settings=settings)
    mornings = [now] if before is None else [now, before]
    facts = facts_at(ledger, [*reference, *mornings], settings=settings)
    predicted = model.bundle.p_loss(facts)
    facts = facts.with_columns(pl.Series(P_LOSS, predicted))
    past = facts.filter(pl.col("as_of") <= instant(reference[-1]))
    found = [_compared(past, facts.filter(pl.col("as_of") == instant(morning))) for morning in mornings]
    for columns, week in zip(found, weeks, strict=False):
        usual = columns[P_LOSS].usual if P_LOSS in columns else 1.0
        if score := _of_scores(scored, model.version, week, usual):
            columns[SCORE] = score
    return _stability_rows(model.version, found[0], found[1] if before else {})


def _stability_rows(version: str, now: dict[str, Stability], before: dict[str, Stability]) -> list[Health]:
    rows: list[Health] = []
    for kind in ("prediction", "score", "fact"):
        names = [name for name in now if _kind(name) == kind]
        earlier = {name: found.p for name, found in before.items() if _kind(name) == kind}
        verdicts = _found([now[name].p for name in names], names, earlier)
        for name, (q, is_found) in zip(names, verdicts, strict=True):
            one = now[name]
            row = Health(
                version, kind, name, one.psi, None, None, one.deals, None, one.threshold, q, is_found, ""
            )
            rows.append(_told(row, stability_words))
    return rows


def _kind(name: str) -> str:
    return {P_LOSS: "prediction", SCORE: "score"}.get(name, "fact")


def _compared(past: pl.DataFrame, recent: pl.DataFrame) -> dict[str, Stability]:
    """Each column's stability. The model has seen how the earlier deals ended, and is surer of them than of
    open ones; so its predictions are compared with those of the last morning alone, whose deals were open.
    """
    found = {}
    for name in (P_LOSS, *COLUMNS):
        values = past.select("as_of", "deal_id", value=name)
        one = stability(values, recent[name], since="last" if name == P_LOSS else "year")
        if one is not None:
            found[name] = one
    return found


def _of_scores(scored: pl.DataFrame, version: str, week: datetime, usual: float) -> Stability | None:
    """The scores as shown: this model's latest morning against its first, at least four weeks before."""
    ours = scored.filter((pl.col("model_version") == version) & (pl.col("as_of") <= instant(week)))
    mornings = ours["as_of"].unique().sort()
    if len(mornings) < 2 or mornings[-1] - mornings[0] < 4 * WEEK:
        return None
    first, last = (ours.filter(pl.col("as_of") == instant(mornings[n])) for n in (0, -1))
    return stability(first.select("as_of", "deal_id", value=SCORE), last[SCORE], usual=usual)


def _came_true(
    ledger: Ledger, model: Model, scored: pl.DataFrame, weeks: list[datetime], settings: Settings
) -> list[Health]:
    """What outcomes say of the champion's own scores, and of all models' together, which only is history."""
    rows = judged_at(ledger, scored, weeks[0], settings=settings)
    own = pl.col("model_version") == model.version
    now = realised(rows.filter(own), model.metrics, settings=settings)
    judged = [one for one in now if one.p is not None]
    earlier: dict[str, float] = {}
    if any(one.p is not None and one.p <= CHANCE for one in judged):
        known = judged_at(ledger.known_at(weeks[1]), scored.filter(own), weeks[1], settings=settings)
        then = realised(known, model.metrics, settings=settings)
        earlier = {_name(one): one.p for one in then if one.p is not None}
    names, p = [_name(one) for one in judged], [one.p for one in judged if one.p is not None]
    verdicts = dict(zip(names, _found(p, names, earlier), strict=True))
    told = [_row(model.version, one, *verdicts.get(_name(one), (None, False))) for one in now]
    others = rows.filter(~own)
    everyone = realised(rows, None, settings=settings) if others.height else _unjudged(now)
    told += [_row(ALL_MODELS, one, None, False) for one in everyone]
    return [_told(row, realised_words) for row in told]


def _unjudged(found: list[Realised]) -> list[Realised]:
    """The same numbers beside no promise."""
    return [replace(one, expected=None, threshold=None, p=None) for one in found]


def _name(one: Realised) -> str:
    return f"{one.kind} {one.subject}"


def _row(version: str, one: Realised, q: float | None, is_found: bool) -> Health:
    values = (one.value, one.low, one.high, one.deals, one.expected, one.threshold)
    return Health(version, one.kind, one.subject, *values, q, is_found, "")


def _found(
    p: Sequence[float], names: Sequence[str], earlier: dict[str, float]
) -> Iterator[tuple[float, bool]]:
    """For each name its q-value, and whether chance explains neither this week's value nor the last one's."""
    before = dict(zip(earlier, false_discovery(list(earlier.values())), strict=True))
    for name, q in zip(names, false_discovery(p), strict=True):
        yield float(q), bool(q <= CHANCE and before.get(name, 1.0) <= CHANCE)


def _told(row: Health, words: Callable[[Any], str]) -> Health:
    return replace(row, sentence=words(row))


def _scored(connection: Connection, as_of: datetime, settings: Settings) -> pl.DataFrame:
    """Models' scores of the past year, of the first scored morning of each week."""
    since = select(scored_mornings.c.as_of).where(
        scored_mornings.c.as_of >= as_of - REACH, scored_mornings.c.as_of <= as_of
    )
    first: dict[tuple[int, int], datetime] = {}
    for moment in sorted(row.as_of for row in rows_of(connection, since)):
        first.setdefault(local_day(moment, settings).isocalendar()[:2], moment)
    same = and_(
        deal_snapshots.c.as_of == deal_scores.c.as_of, deal_snapshots.c.deal_id == deal_scores.c.deal_id
    )
    scores = deal_scores.c
    query = (
        select(
            *(scores.as_of, scores.deal_id, scores.score, scores.p_loss, scores.model_version),
            deal_snapshots.c.stage,
        )
        .join_from(deal_scores, deal_snapshots, same, isouter=True)
        .where(scores.as_of.in_(list(first.values())), scores.p_loss.is_not(None))
    )
    return frame(connection, query).sort("as_of", "deal_id")
