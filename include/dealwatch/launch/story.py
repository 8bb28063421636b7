"""The story of a demo: a made-up company's history, a real Airflow, and this morning's messages."""

from datetime import date, datetime, time, timedelta

from dealwatch import jobs
from dealwatch.errors import NotReady
from dealwatch.launch import diary
from dealwatch.launch.airflow_api import AirflowApi
from dealwatch.launch.airflow_home import READ_SELDOM, LocalAirflow, free_port, is_answering
from dealwatch.launch.demo import FROM_FILES, Demo
from dealwatch.launch.diary import Diary
from dealwatch.launch.places import Places
from dealwatch.launch.screen import Say, Screen
from dealwatch.moments import is_business_day, local_day, morning_of
from dealwatch.settings import Settings

_STEPS = 10
DEALS = 6000
DAYS = 548
SEED = 1
BACKFILLED_BUSINESS_DAYS = 10
_SERVE_SECONDS = 120.0


def steps(demo: Demo) -> int:
    """How many steps `play` tells."""
    return _STEPS + (demo.server is not None)


def begin(places: Places, settings: Settings, morning: datetime, demo: Demo = FROM_FILES) -> Diary:
    """The demo's diary; a demo begun for another morning and never finished is not carried on."""
    diary.refuse_other_data(settings)
    today = local_day(morning, settings)
    known = diary.read(places)
    if known is None:
        known = Diary(today)
        diary.write(places, known)
    if not known.is_finished and known.morning_on != today:
        raise NotReady(f"the demo of {known.morning_on} was never finished; start afresh: {demo.afresh}")
    return known


def play(
    places: Places,
    settings: Settings,
    known: Diary,
    screen: Screen,
    *,
    demo: Demo = FROM_FILES,
    deals: int = DEALS,
) -> None:
    """Everything from an empty folder to delivered messages; what an earlier try has done is not repeated."""
    port = free_port()
    connection = demo.server.connection(port) if demo.server else {}
    with LocalAirflow(places, port=free_port(), changes={**READ_SELDOM, **connection}) as airflow:
        airflow.begin_database()
        with screen.step("Make up a company: 18 months of deals") as say:
            _make_up(places, settings, known, say, deals=deals)
        with screen.step("Start Airflow: API server, scheduler, DAG processor"):
            api = airflow.start()
        if demo.server is not None:
            with screen.step(f"Start a stand-in for {demo.server.name} on 127.0.0.1:{port}"):
                command = demo.server.command(places.demo, port, exported_at(known, settings))
                airflow.children.start("crm", command)
                api.wait(lambda: is_answering(port), seconds=_SERVE_SECONDS, what="it to answer")
        _run(api, settings, known, screen, demo)
        with screen.step("Stop Airflow"):
            airflow.children.stop()
    diary.write(places, Diary(known.morning_on, is_finished=True))


def _make_up(places: Places, settings: Settings, known: Diary, say: Say, *, deals: int) -> None:
    if not (places.demo / "truth.json").exists():
        made = jobs.simulate(
            "planted", places.demo, deals=deals, days=DAYS, seed=SEED, until=known.morning_on
        )
        say(f"{made['won']:,} won, {made['lost']:,} lost, {made['open']:,} open")
    jobs.upgrade(settings)


def exported_at(known: Diary, settings: Settings) -> datetime:
    """The moment for which the CRM speaks."""
    return morning_of(known.morning_on, settings) - timedelta(hours=1)


def _run(api: AirflowApi, settings: Settings, known: Diary, screen: Screen, demo: Demo) -> None:
    """The demo's runs, under names of their own, so that each succeeds once."""
    days = backfilled_days(known.morning_on)
    first = datetime.combine(days[0], time.min, tzinfo=settings.zone)
    last = morning_of(known.morning_on, settings) - timedelta(minutes=1)
    with screen.step(f"extract_crm: {demo.read}"):
        api.run("extract_crm", "demo_extract", {"at": exported_at(known, settings).isoformat()})
    trained_on = days[0].replace(day=1)
    with screen.step(f"retrain_model: learn from what was known on {trained_on}"):
        api.run("retrain_model", "demo_train", {"as_of": trained_on.isoformat()})
    with screen.step("measure_alerts: replay each rule over the year before"):
        api.run("measure_alerts", "demo_measure", {"as_of": trained_on.isoformat()})
    with screen.step(f"score_deals: backfill {days[0]} to {days[-1]}") as say:
        mornings = (known.morning_on - days[0]).days  # weekends among them
        ended = api.backfill(
            "score_deals",
            first,
            last,
            runs=mornings,
            progress=lambda done: say(f"{done} of {mornings} mornings"),
            reprocess_behavior="failed",
            max_active_runs=4,
        )
        if ended["failed"]:
            raise NotReady(f"{ended['failed']} backfilled runs failed; their task logs say why")
    with screen.step(f"score_deals: this morning, {known.morning_on}"):
        api.run("score_deals", "demo_this_morning", {"as_of": known.morning_on.isoformat()})
    with screen.step("review_pipeline: why the win rate moved, and what to do"):
        api.run("review_pipeline", "demo_review", {"as_of": known.morning_on.isoformat(), "period": "week"})
    with screen.step("deliver_alerts: empty the queue"):
        api.run("deliver_alerts", "demo_deliver", {})


def backfilled_days(morning_on: date) -> list[date]:
    """The business days before the demo's morning."""
    days: list[date] = []
    day = morning_on
    while len(days) < BACKFILLED_BUSINESS_DAYS:
        day -= timedelta(days=1)
        if is_business_day(day):
            days.insert(0, day)
    return days
