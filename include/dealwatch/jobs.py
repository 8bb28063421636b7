"""Table of contents: every verb of dealwatch, one short function each.

Sockets (DAGs, the shell) call these and nothing deeper. Each is repeatable: the same call again changes no
row and sends nothing. What comes back is counts, small enough for XCom. Rooms are imported where they are
used, because `deliver` runs every quarter of an hour and does not need scikit-learn.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Engine, select

from dealwatch import migrations
from dealwatch.errors import DealwatchError, DecisionRefused, NotReady, SettingsError, SourceDown
from dealwatch.moments import end_of_day, local_day, morning_of, mornings
from dealwatch.settings import Settings
from dealwatch.tables import model_versions, rule_evidence
from dealwatch.warehouse import connect, reading, writing

if TYPE_CHECKING:
    from dealwatch.insights.review import Review

log = logging.getLogger(__name__)

Notify = Literal["auto", "dry", "force"]
Period = Literal["week", "month"]


def simulate(
    world: Literal["planted", "null", "leaking"], out: Path, *, deals: int, days: int, seed: int, until: date
) -> dict[str, Any]:
    """Write a made-up company's file drop and the truth about it."""
    from dealwatch.company.world import simulate as run

    return run(world, deals=deals, days=days, seed=seed, until=until, out=out, progress=log.info)


def upgrade(settings: Settings) -> dict[str, Any]:
    """Bring the warehouse's schema up to date."""
    engine = connect(settings)
    try:
        migrations.upgrade(engine)
        migrations.check(engine)
    finally:
        engine.dispose()
    return {"schema": "up to date"}


def extract(settings: Settings, *, source: str | None = None, now: datetime) -> dict[str, int]:
    """Land what each source has for us and remember it in the ledger.

    What is wrong with one source keeps no other from being read. Then the first error is raised, above all
    one after which trying again may help.
    """
    from dealwatch.history.extract import extract as run

    names = [source] if source else list(settings.sources)
    if not names:
        raise SettingsError("no source is configured; add a [sources.NAME] table to the settings file")
    total: dict[str, int] = {}
    failed: list[DealwatchError | SourceDown] = []
    with _warehouse(settings) as engine:
        for name in names:
            try:
                counts = run(engine, name, settings=settings, now=now)
            except (DealwatchError, SourceDown) as error:
                log.error("%s could not be extracted: %s", name, error)
                failed.append(error)
                continue
            for key, count in counts.items():
                total[key] = total.get(key, 0) + count
    if failed:
        raise next((error for error in failed if isinstance(error, SourceDown)), failed[0])
    if total.get("quarantined"):
        log.warning("%s rows wait in quarantine: `python -m dealwatch quarantine`", total["quarantined"])
    return _told("extract", now, total)


def visit(settings: Settings, *, source: str, now: datetime) -> tuple[str, dict[str, Any], bool]:
    """Look whether an extract of the source would work, and draft its mapping; no warehouse is needed.

    The report with the draft, the same for machines, and whether it would.
    """
    from dealwatch.crm.readers import visitor_of
    from dealwatch.crm.visit_report import machine_of, report_of

    if source not in settings.sources:
        names = ", ".join(sorted(settings.sources)) or "none"
        raise SettingsError(f"no source {source!r} is configured; there are: {names}")
    found = visitor_of(settings.sources[source].kind)(source, settings, now=now)
    return report_of(source, settings, found), machine_of(source, settings, found), found.works


def take_events(settings: Settings, *, now: datetime) -> dict[str, int]:
    """Read the deals that a CRM's events named since the last time, and score them as of now."""
    from dealwatch.alerts.intraday import take_events as run

    with _warehouse(settings) as engine:
        return _told("take-events", now, run(engine, settings=settings, now=now))


def event_address(settings: Settings, *, source: str) -> str:
    """Where a source's CRM sends its events; of Salesforce with the token that lets them in."""
    from dealwatch.delivery.links import event_address as address

    return address(settings, source)


def train(settings: Settings, *, as_of: datetime) -> dict[str, Any]:
    """Train and judge a forest as of the moment; say whether it serves, waits for a person, or is refused.

    decision: "refused" by the gate; "keep" the champion; "promoted" within the bounds of auto-approval;
    "ask" a person, by `promote` or `reject`.
    """
    from dealwatch.alerts.renewal.training import decide
    from dealwatch.history.lookback import nothing_to_look_back_on
    from dealwatch.history.stored import StoredLedger
    from dealwatch.scoring import leaks, panel, trial

    with _warehouse(settings) as engine:
        with reading(engine) as connection:
            lacking = nothing_to_look_back_on(connection, as_of)
            ledger = StoredLedger(connection, as_of)
            known = panel.read_panel(ledger, as_of, settings=settings)
            leaking = leaks.give_aways(leaks.some_known(ledger, known.deal_ids, settings=settings))
        if lacking:
            log.warning("%s", lacking)
        for _, warning in leaking:
            log.warning("%s", warning)
        trained = trial.train(known.rows, as_of, draw=known.draw, settings=settings)
        decided = decide(engine, known, trained, as_of, settings=settings)
    gate = {"gate": "passed" if trained.may_alert else "refused", "verdict": trained.reason}
    gate |= {"history": lacking} if lacking else {}
    numbers = {k: v for k, v in trained.metrics.items() if not isinstance(v, dict | list | tuple)}
    return _told("train", as_of, decided | gate | numbers)


def review(
    settings: Settings,
    *,
    as_of: datetime,
    period: Period = "week",
    audience: Literal["everyone", "managers"] = "everyone",
    out: Path | None = None,
) -> tuple[str, dict[str, Any]]:
    """Compose the newest review of a moment, write its tables and its pages: as text, and as counts.

    out: a folder for the text, the page, CSV and the review as JSON, for the audience. Sends nothing.
    """
    from dealwatch.insights import page, review_text
    from dealwatch.insights.keeping import keep, written

    with _warehouse(settings) as engine:
        found = keep(engine, as_of, period, settings=settings)
    counts = _counts_of(found)
    text = review_text.text(found, audience)
    archived = page.archive(found, settings)
    counts["archived"] = [str(path) for path in archived]
    if out is not None:
        files = [*written(found, text, out, audience), *page.written(found, out, audience)]
        counts["written"] = [str(path) for path in files]
    return f"{text}\n{page.where(archived, audience)}\n", _told("review", as_of, counts)


def _counts_of(found: "Review") -> dict[str, Any]:
    counts = {"period": found.period, "span": found.span.name, "said": len(found.findings)}
    return counts | {"refused": len(found.refused), "top": [one.sentence for one in found.top()]}


def reviews_due(
    settings: Settings,
    *,
    as_of: datetime,
    period: Period | None = None,
    now: datetime,
    notify: Notify = "auto",
) -> dict[str, Any]:
    """The reviews of a morning: the week's on Mondays, the month's on its first workday, or one by name.

    Each is written to its tables and the archive, and queued for its readers when it is the newest one at
    `now`; `dry` queues none, `force` a past one too. With a week's come the alerts of stages and segments
    that got worse: queued, or as a receipt. Raises NotReady, when all is written, if one is held for its data
    and operations have no address.
    """
    from dealwatch.alerts.trends.speaking import speak_of_trends
    from dealwatch.insights import page
    from dealwatch.insights.keeping import keep
    from dealwatch.insights.periods import due
    from dealwatch.insights.sending import drawn, queue_review, unheard

    if period not in (None, "week", "month"):
        raise SettingsError(f"there is no review of a {period}; name week or month")
    periods = due(as_of, settings) if period is None else [period]
    told: dict[str, Any] = {}
    fault = ""
    with _warehouse(settings) as engine:
        for one in periods:
            found = keep(engine, as_of, one, settings=settings)
            page.archive(found, settings)
            pictures = drawn(found, settings=settings, now=now, notify=notify)
            with writing(engine, alone="review") as connection:
                queued = queue_review(
                    connection, found, settings=settings, now=now, notify=notify, pictures=pictures
                )
                fault = unheard(connection, found, settings=settings, now=now, notify=notify) or fault
            told[one] = _told("review", as_of, _counts_of(found) | {"queued": queued})
            if one == "week":
                told[one]["trends"] = speak_of_trends(
                    engine, as_of=as_of, now=now, settings=settings, notify=notify
                )
    if fault:
        raise NotReady(
            f"the review is held for its data, and nobody is there to be told: set "
            f"delivery.operations_slack or delivery.operations_email. {fault}"
        )
    return told


def promote(settings: Settings, *, version: str, as_of: datetime, by: str = "") -> dict[str, Any]:
    """Let a version that passed the gate serve from the moment on."""
    from dealwatch.scoring import succession

    with _warehouse(settings) as engine, writing(engine, alone="models") as connection:
        told = succession.promote(connection, settings, version, as_of=as_of, by=by)
    return _told("promote", as_of, told)


def reject(settings: Settings, *, version: str, by: str = "") -> dict[str, Any]:
    """Turn a challenger down; the champion stays."""
    from dealwatch.scoring import succession

    with _warehouse(settings) as engine, writing(engine, alone="models") as connection:
        return succession.reject(connection, version, by=by)


def rollback(settings: Settings, *, as_of: datetime, to: str | None = None, by: str = "") -> dict[str, Any]:
    """Return to the champion before, or to a former one by name, from the moment on.

    A morning before the moment keeps its model, even when it is scored again.
    """
    from dealwatch.scoring import succession

    with _warehouse(settings) as engine, writing(engine, alone="models") as connection:
        told = succession.roll_back(connection, settings, as_of=as_of, to=to, by=by)
    return _told("rollback", as_of, told)


def card(settings: Settings, *, version: str) -> str:
    """What a person should read before deciding about a version, as Markdown."""
    from dealwatch.scoring import registry

    with _warehouse(settings) as engine, reading(engine) as connection:
        row = registry.found(connection, version)
    if row is None:
        raise DecisionRefused(f"there is no model {version!r}; the table model_versions lists them")
    return row.card or f"# Model {version}\n\n{row.reason}\n"


def is_trained(settings: Settings, *, as_of: datetime) -> bool:
    """Whether a training of this moment came to its end, whatever it found."""
    trained = select(model_versions.c.version).where(model_versions.c.trained_as_of == as_of)
    with _warehouse(settings) as engine, reading(engine) as connection:
        return connection.execute(trained).first() is not None


def measure(settings: Settings, *, as_of: datetime) -> dict[str, int]:
    """Replay every rule over the past months and write its track record."""
    from dealwatch.alerts.evidence.measure import measure as run

    with _warehouse(settings) as engine:
        return _told("measure", as_of, run(engine, as_of, settings=settings))


def drift(settings: Settings, *, as_of: datetime) -> dict[str, Any]:
    """Measure how the champion stands, one week; what is found proposes a retrain and does nothing else."""
    from dealwatch.scoring.drift import watch

    with _warehouse(settings) as engine:
        rows = watch(engine, as_of, settings=settings)
    found = [row for row in rows if row.is_finding and row.kind != "proposal"]
    for row in found:
        log.warning("%s", row.sentence)
    told = rows[-1].sentence if rows else "no champion serves this moment, so there is nothing to watch."
    return _told("drift", as_of, {"measured": len(rows), "findings": len(found), "proposal": told})


def track_records(settings: Settings, *, as_of: datetime, segments: bool = False) -> list[dict[str, Any]]:
    """What `measure` wrote for a moment: a row per rule and level, and per segment if asked.

    Beside it what people answered to the rule's alerts in the same months, up to the end of the moment's day.
    """
    from dealwatch.alerts.episodes.feedback import with_feedback

    c = rule_evidence.c
    found = select(rule_evidence).where(c.measured_as_of == as_of).order_by(c.rule, c.level, c.segment)
    if not segments:
        found = found.where(c.segment == "")
    with _warehouse(settings) as engine, reading(engine) as connection:
        rows = [dict(row) for row in connection.execute(found).mappings()]
        return with_feedback(connection, rows, end_of_day(as_of, settings), settings=settings)


def score(settings: Settings, *, as_of: datetime, until: datetime | None = None) -> dict[str, Any]:
    """Facts, scores and signals of every open deal on one morning, or on each morning up to `until`."""
    from dealwatch.alerts.morning import score_mornings
    from dealwatch.alerts.rules.rule import load_rules

    moments = [as_of] if until is None else _mornings_between(as_of, until, settings)
    rules = load_rules(settings.alerts.rules)
    with _warehouse(settings) as engine:
        return _told("score", as_of, score_mornings(engine, moments, rules=rules, settings=settings))


def alert(settings: Settings, *, as_of: datetime, now: datetime, notify: Notify = "auto") -> dict[str, int]:
    """Fold the signals into episodes; queue this morning's messages, or write what would have been sent.

    Raises NotReady when operations should hear that the data is not fit to alert on and have no address.
    """
    from dealwatch.alerts.speaking.queue import speak

    with _warehouse(settings) as engine:
        counts = speak(engine, settings=settings, as_of=as_of, now=now, notify=notify)
    if counts["unheard"]:
        raise NotReady(
            "the data is not fit to alert on, deal alerts are silent, and nobody is there to be told: "
            "set delivery.operations_slack or delivery.operations_email"
        )
    return _told("alert", as_of, counts)


def deliver(settings: Settings, *, now: Callable[[], datetime], dry: bool = False) -> dict[str, int]:
    """Send what is queued and due."""
    from dealwatch.delivery.outbox import deliver as run

    with _warehouse(settings) as engine:
        return _told("deliver", now(), run(engine, settings=settings, now=now, dry=dry))


def write_back(settings: Settings, *, as_of: datetime, now: datetime, dry: bool = False) -> dict[str, int]:
    """Tell the CRM's own fields the morning's scores, where the settings name any; counts over all sources.

    A source that fails keeps no other one from being written; its error is raised at the end.
    """
    from dealwatch.alerts.write_back.carrying import COUNTS, takers
    from dealwatch.alerts.write_back.carrying import write_back as run

    counts, failed = dict.fromkeys(COUNTS, 0), list[DealwatchError | SourceDown]()
    names = takers(settings)
    with _warehouse(settings) as engine:
        for name in names:
            try:
                found = run(engine, name, settings=settings, as_of=as_of, now=now, dry=dry)
            except (DealwatchError, SourceDown) as error:
                log.error("write-back %s: %s", name, error)
                failed.append(error)
            else:
                counts = {key: counts[key] + found[key] for key in counts}
    if failed:
        raise failed[0]
    return _told("write-back", as_of, {"sources": len(names), **counts})


def answer(
    settings: Settings, deal_id: str, said: dict[str, str], *, rule: str | None = None, now: datetime
) -> str:
    """Answer a deal's open alerts, or that of one rule; what holds since, in plain words.

    `said` has the answer's kind, by and, of a snooze, choice and reason.
    """
    from dealwatch.alerts.episodes.answers import Answer, record, standing_of

    with _warehouse(settings) as engine, writing(engine) as connection:
        told = [
            (name, record(connection, Answer(one, via="shell", at=now, **said), settings=settings))
            for one, name in standing_of(connection, deal_id, rule, now)
        ]
    return "\n".join(f"{deal_id}, {name}: {recorded.sentence}" for name, recorded in told)


def evaluate(settings: Settings, *, first: date, until: date, out: Path | None = None) -> str:
    """How past scores did against the outcomes that came later, as a text to read; in `out`, with plots."""
    from dealwatch.history.lookback import nothing_to_look_back_on
    from dealwatch.scoring.evaluate import evaluate as run

    _check_order(first, until)
    with _warehouse(settings) as engine, reading(engine) as connection:
        lacking = nothing_to_look_back_on(connection, morning_of(until, settings))
        report = replace(run(connection, first, until, settings), lacking=lacking)
    if out is None:
        return report.text()
    from dealwatch.scoring.evaluation_page import write

    return f"{report.text()}\nReport with plots: {write(report, out, settings=settings)}\n"


def plan(settings: Settings, *, days: int, as_of: datetime) -> tuple[str, dict[str, Any], bool]:
    """What this tree's rules and settings would change: as text, as values, and whether over budget."""
    from dealwatch.alerts.hindsight import plan as plans
    from dealwatch.alerts.hindsight import plan_text

    plans.check_days(days)
    with _warehouse(settings) as engine:
        found = plans.plan(engine, days=days, as_of=as_of, settings=settings)
    return plan_text.text(found), plan_text.machine(found), found.is_over_budget


def rehearse(settings: Settings, *, rule: Path, days: int, as_of: datetime) -> tuple[str, dict[str, Any]]:
    """How often one rule would have fired, for whom, and whether it was right: as text and as values."""
    from dealwatch.alerts.hindsight import rehearsal
    from dealwatch.alerts.hindsight.plan import check_days

    check_days(days)
    with _warehouse(settings) as engine:
        found = rehearsal.rehearse(engine, rule, days=days, as_of=as_of, settings=settings)
    return rehearsal.text(found), rehearsal.machine(found)


def why(settings: Settings, *, deal: str, on: date, now: datetime, to: str | None = None) -> str:
    """Why somebody was, or was not, told about a deal on a day, in plain words."""
    from dealwatch.alerts.hindsight.why import why as run

    with _warehouse(settings) as engine, reading(engine) as connection:
        return run(connection, deal, on, to=to, now=now, settings=settings)


def quarantine(settings: Settings, **which: Any) -> list[dict[str, Any]]:
    """The rows that could not be used and wait, newest drop first; `which` as `quarantined` takes it."""
    from dealwatch.history.quarantine import quarantined

    with _warehouse(settings) as engine, reading(engine) as connection:
        return quarantined(connection, **which)


def replay(settings: Settings, *, source: str | None = None, now: datetime) -> dict[str, Any]:
    """Take up rows of quarantine that can be used after a fix; what still cannot be waits on."""
    from dealwatch.history.replaying import replay as run

    if source is not None and source not in settings.sources:
        names = ", ".join(sorted(settings.sources)) or "none"
        raise SettingsError(f"no source {source!r} is configured; there are: {names}")
    total: dict[str, int] = {}
    with _warehouse(settings) as engine:
        for name in [source] if source else list(settings.sources):
            for key, count in run(engine, name, settings=settings, now=now).items():
                total[key] = total.get(key, 0) + count
    return _told("replay", now, total)


def with_drop(settings: Settings, source: str | None, folder: Path) -> Settings:
    """The settings with one source read from another folder."""
    name = source or next(iter(settings.sources), None)
    if name is None or name not in settings.sources:
        raise SettingsError(
            f"no source {name!r} is configured; there are: {', '.join(settings.sources) or 'none'}"
        )
    if settings.sources[name].kind != "files":
        raise SettingsError(f"the source {name!r} is no folder, so no other one can be read in its place")
    moved = settings.sources[name].model_copy(update={"path": folder, "url": ""})
    return settings.model_copy(update={"sources": {**settings.sources, name: moved}})


def _mornings_between(as_of: datetime, until: datetime, settings: Settings) -> list[datetime]:
    first, last = local_day(as_of, settings), local_day(until, settings)
    if [as_of, until] != [morning_of(first, settings), morning_of(last, settings)]:
        raise SettingsError("a range is of whole days; write --as-of and --until as 2026-03-29")
    _check_order(first, last)
    return mornings(first, last, settings)


def _check_order(first: date, last: date) -> None:
    if last < first:
        raise SettingsError(f"the range ends on {last}, before it begins on {first}")


@contextmanager
def _warehouse(settings: Settings) -> Iterator[Engine]:
    engine = connect(settings)
    try:
        migrations.check(engine)
        yield engine
    finally:
        engine.dispose()


def _told(verb: str, as_of: datetime, counts: dict[str, Any]) -> dict[str, Any]:
    brief = {
        k: f"{v:.3f}" if isinstance(v, float) else v
        for k, v in counts.items()
        if not isinstance(v, (dict, list))
    }
    log.info("%s %s: %s", verb, as_of.isoformat(), ", ".join(f"{k} {v}" for k, v in brief.items()))
    return counts
