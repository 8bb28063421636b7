"""`python -m dealwatch.launch run | ui | fresh`: what `make` calls. Here are the clock and the signals."""

import argparse
import os
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from dealwatch.errors import DealwatchError
from dealwatch.knobs import PROJECT
from dealwatch.launch import diary, story
from dealwatch.launch.airflow_home import LocalAirflow, require_free
from dealwatch.launch.demo import FROM_FILES, Demo
from dealwatch.launch.places import LOGIN, Places, without_ours
from dealwatch.launch.report import print_summary
from dealwatch.launch.screen import Screen
from dealwatch.launch.summary import read_summary
from dealwatch.moments import local_day, morning_of, newest_business_morning
from dealwatch.settings import Settings, load
from dealwatch.warehouse import connect, reading

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ALL_PARTS = ("scheduler", "dag-processor", "triggerer")


def main(arguments: list[str] | None = None, *, demo: Demo = FROM_FILES) -> int:
    """Run one story; 0 when it ended well, 1 when it could not, 130 when it was cut short."""
    options = _parser().parse_args(arguments)
    options.demo = demo
    console = Console(width=None if sys.stdout.isatty() else 110)
    places = Places(options.home.expanduser().resolve())
    _forget_other_systems(places)
    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    try:
        with diary.alone(places):
            options.story(options, places, load(diary.settings_file(places, demo.example)), console)
    except DealwatchError as error:
        console.print(f"[bold red]{options.name} stopped:[/] ", end="")
        console.print(str(error), markup=False, highlight=False)
        return 1
    except _Stopped:
        console.print("Every process has been stopped; the same command carries on.")
        return 0 if options.name == "ui" else 130
    return 0


class _Stopped(BaseException):
    """Not KeyboardInterrupt: one that passes an `exec` of text ends CPython by the signal, though caught."""


def _interrupt(*_: Any) -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not interrupt the stopping
    print("\nStopping ...", flush=True)
    raise _Stopped


def _forget_other_systems(places: Places) -> None:
    """Neither Airflow nor the jobs run here may meet a warehouse or a Slack that this shell knows."""
    ours = {**without_ours(os.environ), "DEALWATCH_HOME": str(places.home)}
    os.environ.clear()
    os.environ.update(ours)


def _run(options: argparse.Namespace, places: Places, settings: Settings, console: Console) -> None:
    newest = newest_business_morning(datetime.now(UTC), settings)
    demo: Demo = options.demo
    known = story.begin(places, settings, newest, demo)
    if not known.is_finished:
        screen = Screen(console, steps=story.steps(demo))
        story.play(places, settings, known, screen, demo=demo, deals=options.deals)
        console.print(f"Done in {screen.seconds():.0f} s.\n")
    engine = connect(settings)
    with reading(engine) as connection:
        summary = read_summary(connection, morning_of(known.morning_on, settings), settings)
    engine.dispose()
    print_summary(console, summary, settings, ui=demo.ui)
    if known.morning_on != local_day(newest, settings):
        console.print(f"This is the demo's morning, {known.morning_on}. For today's: {demo.afresh}")


def _ui(options: argparse.Namespace, places: Places, settings: Settings, console: Console) -> None:
    require_free(options.port)
    with LocalAirflow(places, port=options.port, has_schedules=options.schedules) as airflow:
        with Screen(console, steps=1).step("Start Airflow"):
            airflow.begin_database()
            airflow.start(_ALL_PARTS)
        console.print(f"\n  Airflow   http://localhost:{options.port}")
        console.print(f"  Login     {LOGIN}")
        console.print(f"  Password  {airflow.password}", highlight=False)
        console.print(f"  Data      {settings.home}", highlight=False)
        if not options.schedules:
            console.print("\nNo schedule starts a run here; start runs by hand, or: make ui SCHEDULES=on")
        if diary.read(places) is None:
            console.print("There is no demo yet: make run")
        console.print("Ctrl-C stops everything.")
        while True:
            airflow.children.check()
            time.sleep(1)


def _fresh(_: argparse.Namespace, places: Places, settings: Settings, console: Console) -> None:
    diary.forget(places, settings)
    console.print(f"Removed the demo in {places.home}.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dealwatch.launch", description="A local Airflow.")
    parser.add_argument(
        "--home", type=Path, default=Path(os.environ.get("DEALWATCH_HOME") or PROJECT / "var")
    )
    stories = parser.add_subparsers(dest="name", required=True, metavar="STORY")
    run = stories.add_parser("run", help="the demo, from nothing to messages")
    run.set_defaults(story=_run)
    run.add_argument("--deals", type=int, default=story.DEALS, help="how many the company has")
    stories.add_parser("fresh", help="remove the demo").set_defaults(story=_fresh)
    ui = stories.add_parser("ui", help="serve Airflow until Ctrl-C")
    ui.set_defaults(story=_ui)
    ui.add_argument("--port", type=int, default=8080)
    ui.add_argument("--schedules", action="store_true", help="let the schedules start runs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
