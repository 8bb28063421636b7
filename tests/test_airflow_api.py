"""What we ask Airflow is asked again while its database is busy, and made once; no Airflow runs here."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import pytest

from dealwatch.errors import NotReady
from dealwatch.launch.airflow_api import AirflowApi

BUSY = httpx.Response(500, json={"detail": {"reason": "Database error", "statement": "hidden"}})
LOCKED = httpx.Response(503, json={"detail": "Database is locked."})
CONFLICT = httpx.Response(409, json={"detail": {"reason": "Unique constraint violation"}})
FIRST, LAST = datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 6, tzinfo=UTC)


def told(**content: object) -> httpx.Response:
    return httpx.Response(200, json=content)


class Airflow:
    """Gives the prepared answers in turn, the last one for ever, and remembers what it was asked."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.slept: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(f"{request.method} {request.url.path.removeprefix('/api/v2')}")
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return httpx.Response(answer.status_code, content=answer.content)

    def api(self, check: Callable[[], None] = lambda: None) -> AirflowApi:
        network = httpx.MockTransport(self)
        return AirflowApi(
            "http://airflow", login="", password="", check=check, sleep=self.slept.append, transport=network
        )


def test_a_question_is_asked_again_while_the_database_is_busy() -> None:
    airflow = Airflow(BUSY, LOCKED, told(dags=[]))
    assert airflow.api().get("/dags") == {"dags": []}
    assert airflow.asked == ["GET /dags"] * 3
    assert airflow.slept == sorted(airflow.slept) and len(airflow.slept) == 2


def test_a_database_that_stays_busy_is_reported_after_a_few_tries() -> None:
    airflow = Airflow(BUSY)
    with pytest.raises(NotReady, match="Airflow answered 500 .*Database error"):
        airflow.api().get("/dags")
    assert len(airflow.asked) == 6 and sum(airflow.slept) < 10


@pytest.mark.parametrize("status", [400, 403, 404, 500])
def test_any_other_refusal_is_reported_at_once(status: int) -> None:
    airflow = Airflow(httpx.Response(status, text="no"))
    with pytest.raises(NotReady, match=f"Airflow answered {status} .*: no"):
        airflow.api().get("/dags")
    assert len(airflow.asked) == 1


def test_an_airflow_that_has_died_is_noticed_between_the_tries() -> None:
    def check() -> None:
        raise NotReady("Airflow's api-server ended with 1")

    airflow = Airflow(BUSY)
    with pytest.raises(NotReady, match="ended with 1"):
        airflow.api(check).get("/dags")
    assert len(airflow.asked) == 1


def test_a_run_that_was_made_although_airflow_answered_with_an_error_is_not_made_twice() -> None:
    airflow = Airflow(BUSY, CONFLICT, told(state="queued"), told(state="success"))
    airflow.api().run("extract_crm", "first", {})
    there = "/dags/extract_crm/dagRuns/first"
    assert airflow.asked == ["POST /dags/extract_crm/dagRuns"] * 2 + [f"GET {there}"] * 2


def test_a_run_that_failed_before_is_cleared_and_one_that_succeeded_is_left_alone() -> None:
    failed = Airflow(CONFLICT, told(state="failed"), BUSY, told(), told(state="success"))
    failed.api().run("extract_crm", "first", {})
    cleared = "POST /dags/extract_crm/dagRuns/first/clear"
    assert failed.asked[2:4] == [cleared] * 2
    succeeded = Airflow(CONFLICT, told(state="success"))
    succeeded.api().run("extract_crm", "first", {})
    assert cleared not in succeeded.asked


def test_a_logical_date_that_another_run_holds_is_a_conflict() -> None:
    airflow = Airflow(CONFLICT, httpx.Response(404))
    with pytest.raises(NotReady, match="Airflow answered 409"):
        airflow.api().trigger("score_deals", "mine", {}, logical_date="2026-03-02T05:00:00Z")


@pytest.mark.parametrize("refusal", [BUSY, LOCKED, CONFLICT])
def test_a_backfill_that_airflow_is_too_busy_for_is_not_made_and_the_dag_goes_on(
    refusal: httpx.Response,
) -> None:
    paused: list[bool] = []

    def airflow(request: httpx.Request) -> httpx.Response:
        if request.method == "PATCH":
            paused.append(json.loads(request.content)["is_paused"])
            return told()
        return httpx.Response(refusal.status_code, content=refusal.content)

    network = httpx.MockTransport(airflow)
    api = AirflowApi("http://airflow", login="", password="", check=lambda: None, transport=network)
    assert api.ask_backfill("score_deals", FIRST, LAST) is False
    assert paused == [True, False]


def test_a_dag_is_not_left_paused_when_the_network_fails() -> None:
    paused: list[bool] = []

    def airflow(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            raise httpx.ReadTimeout("too late")
        paused.append(json.loads(request.content)["is_paused"])
        return told()

    network = httpx.MockTransport(airflow)
    api = AirflowApi("http://airflow", login="", password="", check=lambda: None, transport=network)
    with pytest.raises(httpx.ReadTimeout):
        api.ask_backfill("score_deals", FIRST, LAST)
    assert paused == [True, False]
