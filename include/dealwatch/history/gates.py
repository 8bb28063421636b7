"""May a drop be taken in? Each gate passes, warns, or blocks it, by what the source's drops are usually like.

A blocked drop leaves the ledger as it was: yesterday's state stands, operations are told by the fault that is
kept, and the next drop that passes ends it. What a gate measured is kept, of blocked drops too.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Literal

import polars as pl
from sqlalchemy import Connection, Engine, select

from dealwatch.crm.sheets import Arrival
from dealwatch.errors import ExtractRefused
from dealwatch.history.measures import Faults, Measures
from dealwatch.settings import Settings
from dealwatch.tables import extract_gates
from dealwatch.warehouse import instant, put, rows_of, writing

Verdict = Literal["pass", "warn", "block"]
Usual = Mapping[tuple[str, str], float]
_USUAL_RUNS = 7
_LEAST_RUNS = 3  # fewer say nothing about what is usual


@dataclass(frozen=True)
class Finding:
    """What one gate measured. subject: the column, for a gate that has many; usual: None when nothing is.

    sentence: what is wrong and what to do, empty when nothing is.
    """

    gate: str
    subject: str
    verdict: Verdict
    value: float
    usual: float | None = None
    sentence: str = ""


class Blocked(ExtractRefused):
    """A drop that a gate keeps out."""

    def __init__(self, words: str, arrival: Arrival, findings: list[Finding]) -> None:
        super().__init__(words)
        self.arrival, self.findings = arrival, findings


def pass_gates(
    connection: Connection,
    arrival: Arrival,
    measures: Measures,
    faults: Faults,
    *,
    settings: Settings,
    now: datetime,
) -> None:
    """Keep what each gate found of a drop that is taken in; raises Blocked when one keeps it out."""
    usual = usual_values(connection, arrival.source)
    findings = list(judged(arrival, measures, faults, usual, settings))
    closed = [one for one in findings if one.verdict == "block"]
    if closed:
        raise Blocked(
            f"{arrival.place}: {' '.join(one.sentence for one in closed)} Nothing was kept, and what was "
            "known stands",
            arrival,
            findings,
        )
    _keep(connection, arrival, findings, is_kept=True, now=now)


def keep_blocked(engine: Engine, error: ExtractRefused, *, now: datetime) -> None:
    """Keep what the gates found of a drop that one of them kept out; nothing for other refusals."""
    if isinstance(error, Blocked):
        with writing(engine) as connection:
            _keep(connection, error.arrival, error.findings, is_kept=False, now=now)


def warnings(connection: Connection, source: str, extracted_at: datetime) -> list[str]:
    """What the gates warned of in a drop that was taken in."""
    c = extract_gates.c
    query = select(c.sentence).where(
        c.source == source, c.extracted_at == extracted_at, c.is_kept, c.verdict == "warn"
    )
    return list(connection.execute(query.order_by(c.gate, c.subject)).scalars())


def usual_values(connection: Connection, source: str) -> dict[tuple[str, str], float]:
    """By gate and subject, the median of the last seven drops taken in; of fewer than three, nothing."""
    c = extract_gates.c
    kept = (c.source == source, c.is_kept)
    last = select(c.extracted_at).where(*kept).distinct().order_by(c.extracted_at.desc())
    moments = list(connection.execute(last.limit(4 * _USUAL_RUNS)).scalars())
    query = select(c.gate, c.subject, c.value).where(*kept, c.extracted_at.in_(moments))
    told: dict[tuple[str, str], list[float]] = {}
    for row in rows_of(connection, query.order_by(c.extracted_at.desc())):
        told.setdefault((row.gate, row.subject), []).append(row.value)
    return {key: median(values[:_USUAL_RUNS]) for key, values in told.items() if len(values) >= _LEAST_RUNS}


def judged(
    arrival: Arrival, measures: Measures, faults: Faults, usual: Usual, settings: Settings
) -> Iterator[Finding]:
    """Every gate's finding about a drop."""
    is_large = measures.deals >= settings.alerts.volume_minimum
    yield _rows(arrival, measures, usual, settings)
    yield from _amounts(measures, usual, settings)
    yield from _empty(measures, usual, settings)
    yield _unknown_stages(measures, faults, settings, is_large=is_large)
    yield _repeated(arrival, measures, faults, settings, is_large=is_large)
    yield _closed_before_created(measures, faults, settings, is_large=is_large)
    yield _quiet(arrival, measures, settings, is_large=is_large)


def _rows(arrival: Arrival, measures: Measures, usual: Usual, settings: Settings) -> Finding:
    subject = "deals" if arrival.covers == "all" else "open deals"
    value = measures.deals if subject == "deals" else measures.open
    often = usual.get(("rows", subject))
    if often is None or often < settings.alerts.volume_minimum or value >= often:
        return Finding("rows", subject, "pass", value, often)
    fall = 100 * (1 - value / often)
    verdict: Verdict = "pass"
    if fall >= settings.alerts.volume_fall_pct:
        verdict = "block" if fall >= settings.gates.rows_block_pct else "warn"
    sentence = (
        f"{value:,} {subject} where {often:,.0f} are usual. Check the export's filter and what the account "
        "may see; if they are really gone, raise gates.rows_block_pct for this drop."
    )
    return Finding("rows", subject, verdict, value, often, "" if verdict == "pass" else sentence)


def _amounts(measures: Measures, usual: Usual, settings: Settings) -> Iterator[Finding]:
    """Each currency by itself: a sum across them would move with their mix and hide a jump in one."""
    for currency in sorted(measures.amounts):
        yield _amount(currency, measures.amounts[currency], measures.priced[currency], usual, settings)


def _amount(currency: str, amount: float, many: int, usual: Usual, settings: Settings) -> Finding:
    often = usual.get(("amount", currency))
    if not often or often < 0 or many < settings.alerts.volume_minimum or amount <= 0:
        return Finding("amount", currency, "pass", amount, often)
    factor = max(amount / often, often / amount)
    verdict: Verdict = "pass"
    if factor >= settings.gates.amount_warn_factor:
        verdict = "block" if factor >= settings.gates.amount_block_factor else "warn"
    of = f" in {currency}" if currency else ""
    sentence = (
        f"Open deals{of} are worth {amount:,.0f} where {often:,.0f} is usual. Check the currency and "
        "the unit of amounts; if it is so, raise gates.amount_block_factor for this drop."
    )
    return Finding("amount", currency, verdict, amount, often, "" if verdict == "pass" else sentence)


def _empty(measures: Measures, usual: Usual, settings: Settings) -> Iterator[Finding]:
    for name in sorted(measures.empty):
        share = measures.empty[name] / measures.open if measures.open else 0.0
        often = usual.get(("empty", name))
        rise = 0.0 if often is None else share - often
        verdict: Verdict = "pass"
        if measures.open >= settings.alerts.volume_minimum and rise >= settings.gates.empty_warn_share:
            verdict = "block" if rise >= settings.gates.empty_block_share else "warn"
        sentence = (
            f"{name} is empty in {share:.0%} of open deals where {often or 0:.0%} is usual. Check whether "
            "the field was renamed or hidden; if it is so, raise gates.empty_block_share for this drop."
        )
        yield Finding("empty", name, verdict, share, often, "" if verdict == "pass" else sentence)


def _unknown_stages(measures: Measures, faults: Faults, settings: Settings, *, is_large: bool) -> Finding:
    many = sum(faults.unknown_stages.values())
    names = "; ".join(list(faults.unknown_stages)[:3])
    sentence = (
        f"{_counted(many, 'deal')} in a stage that is not configured ({names}) stayed as known before. "
        "Add it to [pipeline], or translate it in the source's values.stage."
    )
    return _of_faults("unknown_stages", many, measures, sentence, settings, is_large=is_large)


def _repeated(
    arrival: Arrival, measures: Measures, faults: Faults, settings: Settings, *, is_large: bool
) -> Finding:
    many = faults.repeated + arrival.repeats
    sentence = (
        f"{_counted(many, 'id')} came more than once. Check the export's query for a join that repeats rows."
    )
    finding = _of_faults("repeated_ids", many, measures, sentence, settings, is_large=is_large)
    # A list that changes while it is paged through repeats a few.
    is_few = arrival.repeats and finding.value < settings.gates.repeated_warn_share
    return Finding("repeated_ids", "", "pass", finding.value) if is_few else finding


def _closed_before_created(
    measures: Measures, faults: Faults, settings: Settings, *, is_large: bool
) -> Finding:
    many = faults.closed_before_created
    sentence = f"{_counted(many, 'deal')} closed before being created. Check the columns and zones of both."
    return _of_faults("closed_before_created", many, measures, sentence, settings, is_large=is_large)


def _counted(many: int, what: str) -> str:
    return f"{many:,} {what}" if many == 1 else f"{many:,} {what}s"


def _of_faults(
    gate: str, many: int, measures: Measures, sentence: str, settings: Settings, *, is_large: bool
) -> Finding:
    """Any such row is worth a word; a share of them means that the drop, not the rows, is wrong."""
    share = many / (measures.deals + many) if many else 0.0
    if not many:
        return Finding(gate, "", "pass", share)
    is_blocked = is_large and share >= settings.gates.faulty_block_share
    if is_blocked:
        sentence += " If it is so, raise gates.faulty_block_share for this drop."
    return Finding(gate, "", "block" if is_blocked else "warn", share, None, sentence)


def _quiet(arrival: Arrival, measures: Measures, settings: Settings, *, is_large: bool) -> Finding:
    if not measures.newest:
        return Finding("quiet_hours", "", "pass", 0.0)
    newest = datetime.fromisoformat(measures.newest)
    newest = newest if newest.tzinfo else newest.replace(tzinfo=settings.zone)
    hours = max(0.0, (arrival.extracted_at - newest).total_seconds() / 3600)
    if not is_large or hours < settings.gates.quiet_warn_hours:
        return Finding("quiet_hours", "", "pass", hours)
    sentence = (
        f"Nothing in it is younger than {newest:%Y-%m-%d %H:%M}. "
        "Check whether what feeds the source still runs."
    )
    return Finding("quiet_hours", "", "warn", hours, None, sentence)


def _keep(
    connection: Connection, arrival: Arrival, findings: list[Finding], *, is_kept: bool, now: datetime
) -> None:
    rows = pl.DataFrame(
        [vars(one) for one in findings],
        schema={
            "gate": pl.String,
            "subject": pl.String,
            "verdict": pl.String,
            "value": pl.Float64,
            "usual": pl.Float64,
            "sentence": pl.String,
        },
    )
    stamp = [
        pl.lit(arrival.source).alias("source"),
        instant(arrival.extracted_at).alias("extracted_at"),
        pl.lit(is_kept).alias("is_kept"),
        instant(now).alias("recorded_at"),
    ]
    put(connection, extract_gates, rows.with_columns(stamp))
