"""The verb about rows that could not be used, for the shell: list them, and replay them after a fix."""

import argparse
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from dealwatch import jobs
from dealwatch.errors import SettingsError
from dealwatch.history.quarantine import by_reason
from dealwatch.questions import Answer
from dealwatch.settings import Settings

_FEW = 20


def add_quarantine(verb: Callable[..., argparse.ArgumentParser], *, clock: Callable[[], datetime]) -> None:
    """Add `quarantine` to the parser; `clock` tells when a replayed row is learnt."""

    def run(options: argparse.Namespace, settings: Settings) -> Any:
        if options.replay:
            if options.file or options.reason or options.settled:
                raise SettingsError("--replay takes all that can be used; only --source narrows it")
            return jobs.replay(settings, source=options.source, now=clock())
        which = {name: getattr(options, name) for name in ("source", "file", "reason", "settled")}
        rows = jobs.quarantine(settings, **which)
        return rows if options.json or not rows else Answer(_text(rows))

    quarantine = verb("quarantine", run, "List the rows that could not be used, or replay them after a fix.")
    quarantine.add_argument("--source", help="rows of this source only")
    quarantine.add_argument("--file", help="rows of this file or table only, such as deals.csv")
    quarantine.add_argument("--reason", metavar="WORDS", help="rows whose reason holds these words")
    quarantine.add_argument(
        "--settled", action="store_true", help="those too that were taken up or overtaken"
    )
    quarantine.add_argument("--replay", action="store_true", help="take up what can be used by now")
    quarantine.add_argument("--json", action="store_true", help="for machines")


def _text(rows: Sequence[dict[str, Any]]) -> str:
    """By reason with counts, the most first; the rows themselves when they are few."""
    lines = [f"{len(rows):,} row{'s' * (len(rows) != 1)}"]
    for one in by_reason(rows):
        where = ", ".join(part for part in (f"{one['source']} {one['file']}", one["field"]) if part)
        lines += [f"{one['rows']:>8,}  {where}: such as: {one['such_as']}", f"{'':10}-> {one['remedy']}"]
    if len(rows) <= _FEW:
        lines.append("")
        for row in rows:
            settled = f" ({row['settled_as']})" if row.get("settled_as") else ""
            lines.append(
                f"{row['source']} {row['drop_name']} {row['file']} {row['row']}: {row['reason']}{settled}"
            )
    lines += ["", "After a fix: `python -m dealwatch quarantine --replay`. Whole records: --json."]
    return "\n".join(lines)
