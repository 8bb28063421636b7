"""The verbs by which somebody at a shell answers what others answer by a button."""

import argparse
import getpass
from collections.abc import Callable
from datetime import datetime

from dealwatch import jobs
from dealwatch.alerts.episodes.answers import CHOICE_WORDS, FEEDBACK
from dealwatch.settings import Settings


def add_answers(verb: Callable[..., argparse.ArgumentParser], *, clock: Callable[[], datetime]) -> None:
    """Add `acknowledge`, `snooze` and `feedback` to the parser; `clock` tells when an answer is given."""

    def answered(options: argparse.Namespace, settings: Settings) -> str:
        said = {name: getattr(options, name) for name in ("kind", "choice", "reason") if name in options}
        said["by"] = options.by or _login()
        return jobs.answer(settings, options.deal, said, rule=options.rule, now=clock())

    acknowledge = verb("acknowledge", answered, "Say that somebody sees to a deal's alerts.")
    snooze = verb("snooze", answered, "Keep a deal's alerts quiet for a while.")
    feedback = verb("feedback", answered, "Say what a deal's alerts were worth.")
    for answer in (acknowledge, snooze, feedback):
        answer.add_argument("deal", help="the deal's id in the CRM")
        answer.add_argument("--rule", help="only the alert of this rule (default: all that are open)")
        answer.add_argument("--by", default="", help="who answers (default: your login)")
    acknowledge.set_defaults(kind="acknowledged")
    snooze.set_defaults(kind="snoozed")
    snooze.add_argument(
        "--for", dest="choice", choices=list(CHOICE_WORDS), required=True, help="days, or until when"
    )
    snooze.add_argument("--reason", required=True, help="why this may wait")
    feedback.add_argument("--as", dest="kind", choices=FEEDBACK, required=True, help="what it was")


def _login() -> str:
    """Who is at the shell; a container may know nobody by that number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
