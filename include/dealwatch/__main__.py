"""The verbs of `jobs.py` from a shell: `python -m dealwatch VERB`. The clock is read here, not deeper."""

import argparse
import json
import logging
import os
import sys
import unicodedata
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.exc import OperationalError

from dealwatch import jobs
from dealwatch.alerts.evidence.record_table import record_table
from dealwatch.answering import add_answers
from dealwatch.errors import DealwatchError, SettingsError, SourceDown, WarehouseDown
from dealwatch.moments import newest_business_morning, not_to_come, parse_moment
from dealwatch.questions import Answer, add_verbs
from dealwatch.setting_right import add_quarantine
from dealwatch.settings import Settings, load


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; 0 when it did what it says, 2 when it could not, with the reason on standard error.

    1 is a plan that is over its budget.
    """
    options = _parser().parse_args(arguments)
    told = logging.StreamHandler(sys.stderr)
    told.setFormatter(_Shown("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[told])
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        answer = options.run(options, load(options.settings))
    except (DealwatchError, SourceDown, WarehouseDown) as error:
        reason = str(error)
    except OperationalError as error:
        reason = f"the warehouse failed on the way: {error.orig}; mend that and run the same again"
    except OSError as error:
        if error.filename is None:
            raise
        reason = f"{error.filename}: {error.strerror}; mend that and run the same again"
    else:
        found = answer if isinstance(answer, Answer) else Answer(answer)
        is_text = isinstance(found.said, str)
        _print(_shown(found.said) if is_text else json.dumps(found.said, indent=2, default=str))
        return found.code
    print(_shown(f"{options.verb}: {reason}"), file=sys.stderr)
    return 2


def _print(text: str) -> None:
    """Print, and end quietly where the reader has read enough, as `head` does."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # What is left in the buffer is flushed at the end once more: nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _shown(text: str) -> str:
    """Without what a terminal would obey or nobody would see: words of the CRM and of files are in it."""
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c)[0] != "C")


class _Shown(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return _shown(super().format(record))


def _simulate(options: argparse.Namespace, _: Settings) -> Any:
    until = options.until or datetime.now(UTC).date()
    return jobs.simulate(
        options.world,
        _folder(options.out),
        deals=options.deals,
        days=options.days,
        seed=options.seed,
        until=until,
    )


def _upgrade(_: argparse.Namespace, settings: Settings) -> Any:
    return jobs.upgrade(settings)


def _extract(options: argparse.Namespace, settings: Settings) -> Any:
    if options.drop is not None:
        settings = jobs.with_drop(settings, options.source, options.drop)
    now = parse_moment(options.at, settings) if options.at else datetime.now(UTC)
    return jobs.extract(settings, source=options.source, now=now)


def _take_events(_: argparse.Namespace, settings: Settings) -> Any:
    return jobs.take_events(settings, now=datetime.now(UTC))


def _event_address(options: argparse.Namespace, settings: Settings) -> Any:
    return jobs.event_address(settings, source=options.source)


def _train(options: argparse.Namespace, settings: Settings) -> Any:
    as_of = _as_of(options, settings)
    trained = jobs.train(settings, as_of=as_of)
    jobs.measure(settings, as_of=as_of)
    return {"model": trained, "rules": jobs.track_records(settings, as_of=as_of)}


def _measure(options: argparse.Namespace, settings: Settings) -> Any:
    as_of = _as_of(options, settings)
    jobs.measure(settings, as_of=as_of)
    records = jobs.track_records(settings, as_of=as_of, segments=options.segments)
    return records if options.json else record_table(records)


def _drift(options: argparse.Namespace, settings: Settings) -> Any:
    return jobs.drift(settings, as_of=_as_of(options, settings))


def _promote(options: argparse.Namespace, settings: Settings) -> Any:
    return jobs.promote(settings, version=options.version, as_of=_from(options, settings), by=options.by)


def _reject(options: argparse.Namespace, settings: Settings) -> Any:
    return jobs.reject(settings, version=options.version, by=options.by)


def _rollback(options: argparse.Namespace, settings: Settings) -> Any:
    return jobs.rollback(settings, as_of=_from(options, settings), to=options.to, by=options.by)


def _card(options: argparse.Namespace, settings: Settings) -> Any:
    return jobs.card(settings, version=options.version)


def _score(options: argparse.Namespace, settings: Settings) -> Any:
    as_of = _as_of(options, settings)
    until = _begun(options.until, settings) if options.until else None
    scored = jobs.score(settings, as_of=as_of, until=until)
    told = jobs.alert(settings, as_of=until or as_of, now=datetime.now(UTC), notify=options.notify)
    return {**scored, **told}


def _deliver(options: argparse.Namespace, settings: Settings) -> Any:
    return jobs.deliver(settings, now=lambda: datetime.now(UTC), dry=options.dry)


def _write_back(options: argparse.Namespace, settings: Settings) -> Any:
    as_of = _as_of(options, settings)
    return jobs.write_back(settings, as_of=as_of, now=datetime.now(UTC), dry=options.dry)


def _evaluate(options: argparse.Namespace, settings: Settings) -> Any:
    out = _folder(options.out) if options.out else None
    return jobs.evaluate(settings, first=options.first, until=options.until, out=out)


def _reference(options: argparse.Namespace, _: Settings) -> Any:
    from dealwatch.reference import write

    return {"written": [str(path) for path in write(_folder(options.out))]}


def _folder(out: Path) -> Path:
    """The folder of --out, made when missing, before work is put into what goes there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"--out {out}: {error.strerror}; name a folder that we may write to") from None
    return out


def _as_of(options: argparse.Namespace, settings: Settings) -> datetime:
    if options.as_of:
        return _begun(options.as_of, settings)
    return newest_business_morning(datetime.now(UTC), settings)


def _from(options: argparse.Namespace, settings: Settings) -> datetime:
    """A person's decision holds from the moment it is made, unless they name one."""
    return _begun(options.as_of, settings) if options.as_of else datetime.now(UTC)


def _begun(text: str, settings: Settings) -> datetime:
    return not_to_come(parse_moment(text, settings), datetime.now(UTC), settings)


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = date.min
    if not 1970 <= day.year < 2200:
        raise argparse.ArgumentTypeError(f"{text!r} is no day; write it as 2026-03-29")
    return day


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dealwatch", description="Pipeline risk and alerts.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, run: Any, description: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=description, description=description)
        added.add_argument("--settings", type=Path, help="settings file (default: $DEALWATCH_SETTINGS)")
        added.set_defaults(run=run)
        return added

    simulate = verb("simulate", _simulate, "Write a made-up company's file drop, and the truth about it.")
    simulate.add_argument("--world", choices=["planted", "null", "leaking"], default="planted")
    simulate.add_argument("--deals", type=int, default=6000)
    simulate.add_argument("--days", type=int, default=548)
    simulate.add_argument("--seed", type=int, default=1)
    simulate.add_argument("--until", type=_day, help="last day (default: today)")
    simulate.add_argument("--out", type=Path, required=True)

    database = verb("db", _upgrade, "Bring the warehouse's schema up to date.")
    database.add_argument("step", choices=["upgrade"])

    extract = verb("extract", _extract, "Land what the sources have and remember it in the ledger.")
    extract.add_argument("--source", help="one source (default: all)")
    extract.add_argument("--drop", type=Path, help="read this folder instead of the source's path")
    extract.add_argument("--at", help="the moment the files speak for (default: now)")

    verb("take-events", _take_events, "Read the deals that CRMs told of meanwhile, and score them at once.")
    address = verb("event-address", _event_address, "Show where a source's CRM has to send its events.")
    address.add_argument("source", help="as in the settings")

    for name, run, description in (
        ("train", _train, "Train and judge a model and measure the rules, as of a moment."),
        ("drift", _drift, "Measure whether the champion still fits, and say whether to retrain."),
    ):
        verb(name, run, description).add_argument(
            "--as-of", help="moment (default: the newest business morning)"
        )

    measure = verb("measure", _measure, "Replay the rules over the past months and write their track record.")
    measure.add_argument("--as-of", help="moment (default: the newest business morning)")
    measure.add_argument("--segments", action="store_true", help="print the record within each segment too")
    measure.add_argument("--json", action="store_true", help="for machines")

    promote = verb("promote", _promote, "Let a model that passed the gate serve from now on.")
    reject = verb("reject", _reject, "Turn a challenger down; the champion stays.")
    rollback = verb("rollback", _rollback, "Return to the champion before, from now on.")
    card = verb("card", _card, "Show what to know before deciding about a model.")
    for decision in (promote, reject, card):
        decision.add_argument("version", help="as in the table model_versions")
    for decision in (promote, reject, rollback):
        decision.add_argument("--by", default="", help="who decides, for the log")
    for decision in (promote, rollback):
        decision.add_argument("--as-of", help="moment from which it holds (default: now)")
    rollback.add_argument("--to", metavar="VERSION", help="a former champion (default: the one before)")

    score = verb("score", _score, "Score the open deals of one morning, or of each morning up to --until.")
    score.add_argument("--as-of", help="moment (default: the newest business morning)")
    score.add_argument("--until", help="last morning of a range")
    score.add_argument("--notify", choices=["auto", "dry", "force"], default="auto")

    deliver = verb("deliver", _deliver, "Send what is queued and due.")
    deliver.add_argument("--dry", action="store_true", help="say what would be sent; send nothing")

    written = verb("write-back", _write_back, "Write this morning's scores into the CRM's own fields.")
    written.add_argument("--as-of", help="moment (default: the newest business morning; no other is written)")
    written.add_argument("--dry", action="store_true", help="check the fields, say what would be written")

    add_answers(verb, clock=lambda: datetime.now(UTC))

    evaluate = verb("evaluate", _evaluate, "Judge past scores by the outcomes that came later.")
    evaluate.add_argument("--from", dest="first", type=_day, required=True)
    evaluate.add_argument("--until", type=_day, required=True)
    evaluate.add_argument("--out", type=Path, help="folder for a report with plots (HTML and PNG)")

    add_verbs(verb, as_of=_as_of, day=_day, clock=lambda: datetime.now(UTC))

    reference = verb("reference", _reference, "Write the reference pages of the docs from the code.")
    reference.add_argument("--out", type=Path, required=True)

    add_quarantine(verb, clock=lambda: datetime.now(UTC))
    return parser


if __name__ == "__main__":
    sys.exit(main())
