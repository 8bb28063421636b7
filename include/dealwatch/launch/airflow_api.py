"""What we ask Airflow over its REST API: health, runs and backfills."""

import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx

from dealwatch.errors import NotReady

_PAUSE_SECONDS = 1.0
_ASK_AGAIN_SECONDS = 5.0
_BUSY_PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)  # seconds before each further try


class AirflowApi:
    """A logged-in client of one Airflow; `check` is called while waiting and raises when Airflow has died.

    `sleep` passes so many seconds; `transport` stands in for the network.
    """

    def __init__(
        self,
        address: str,
        *,
        login: str,
        password: str,
        check: Callable[[], None],
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.check = check
        self.sleep = sleep
        self.login = {"username": login, "password": password}
        # trust_env would send requests for 127.0.0.1 through the shell's proxy.
        self.http = httpx.Client(base_url=address, timeout=60, trust_env=False, transport=transport)

    def close(self) -> None:
        self.http.close()

    def wait_until_healthy(self, parts: tuple[str, ...], *, seconds: float) -> None:
        """Wait until the named parts report as healthy, then log in."""

        def is_healthy() -> bool:
            try:
                answer = self.http.get("/api/v2/monitor/health")
            except httpx.TransportError:
                return False
            if answer.is_error:
                return False
            state = answer.json()
            return all(state[part]["status"] == "healthy" for part in parts)

        self.wait(is_healthy, seconds=seconds, what="Airflow to answer")
        token = self.http.post("/auth/token", json=self.login).raise_for_status().json()["access_token"]
        self.http.headers["Authorization"] = f"Bearer {token}"

    def wait_for_dags(self, dag_ids: set[str], *, seconds: float) -> None:
        """Wait until Airflow knows the DAGs; raise at once with the message of one that cannot be read."""

        def are_known() -> bool:
            known = {dag["dag_id"] for dag in self.get("/dags", limit=100)["dags"]}
            errors = self.get("/importErrors")["import_errors"]
            if errors and not dag_ids <= known:
                raise NotReady("\n".join(f"{e['filename']}: {e['stack_trace']}" for e in errors))
            return dag_ids <= known

        self.wait(are_known, seconds=seconds, what="Airflow to read the DAGs")

    def wait(self, is_so: Callable[[], bool], *, seconds: float, what: str) -> None:
        """Ask again and again; NotReady when the time is over."""
        deadline = time.monotonic() + seconds
        while not is_so():
            self.check()
            if time.monotonic() > deadline:
                raise NotReady(f"waited {seconds:.0f} s for {what}")
            self.sleep(_PAUSE_SECONDS)

    def get(self, path: str, **query: Any) -> Any:
        """The answer to a question; NotReady when Airflow refuses it."""
        return _content(self._ask("GET", path, params=query))

    def trigger(
        self, dag_id: str, run_id: str, conf: dict[str, Any], *, logical_date: str | None = None
    ) -> dict[str, Any]:
        """Start a run under a name of its own, once: a run of that name that is there is left alone.

        Returns the run as Airflow tells it.
        """
        path = f"/dags/{dag_id}/dagRuns"
        body = {"dag_run_id": run_id, "logical_date": logical_date, "conf": conf}
        answer = self._ask("POST", path, json=body)
        if answer.status_code == httpx.codes.CONFLICT:
            there = self._ask("GET", f"{path}/{run_id}")
            answer = answer if there.is_error else there  # another run may hold the logical date
        run: dict[str, Any] = _content(answer)
        return run

    def clear(self, dag_id: str, run_id: str, *, only_failed: bool) -> None:
        """Have a run's tasks run again: all, or those that failed."""
        body = {"dry_run": False, "only_failed": only_failed}
        _content(self._ask("POST", f"/dags/{dag_id}/dagRuns/{run_id}/clear", json=body))

    def run(self, dag_id: str, run_id: str, conf: dict[str, Any], *, seconds: float = 3600) -> None:
        """Run a DAG under a name of its own, once: a run of that name that succeeded is not repeated."""
        if self.trigger(dag_id, run_id, conf)["state"] == "failed":
            self.clear(dag_id, run_id, only_failed=True)
        self.wait_for_run(dag_id, run_id, seconds=seconds)

    def wait_for_run(self, dag_id: str, run_id: str, *, seconds: float = 3600) -> None:
        """Wait until a run has succeeded; NotReady when it fails."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}"
        self.wait(lambda: self._is_done(self.get(path)), seconds=seconds, what=f"{dag_id} to finish")

    @staticmethod
    def _is_done(run: dict[str, Any]) -> bool:
        if run["state"] == "failed":
            raise NotReady(f"run {run['dag_run_id']} of {run['dag_id']} failed; its task log says why")
        return bool(run["state"] == "success")

    def backfill(
        self,
        dag_id: str,
        first: datetime,
        last: datetime,
        *,
        runs: int,
        progress: Callable[[int], None] = lambda done: None,
        seconds: float = 3600,
        **options: Any,
    ) -> Counter[str]:
        """Have Airflow backfill the range, wait until all its runs have ended, and count how they did.

        On SQLite a busy Airflow may refuse, or give up after it has made some of the runs: then it is asked
        again, and adds what is missing.
        """
        asked_again_at = [0.0]
        has_asked = [False]

        def has_ended() -> bool:
            states = self.states(dag_id, first, last)
            progress(states["success"] + states["failed"])
            if states["queued"] or states["running"]:
                return False
            # Runs that failed in an earlier attempt are asked for once more; after that, failed is failed.
            is_lacking = states.total() < runs or (states["failed"] and not has_asked[0])
            if is_lacking and time.monotonic() >= asked_again_at[0]:
                asked_again_at[0] = time.monotonic() + _ASK_AGAIN_SECONDS
                has_asked[0] = True
                self.ask_backfill(dag_id, first, last, **options)
                return False
            return states.total() >= runs

        self.wait(has_ended, seconds=seconds, what=f"the backfill of {dag_id}")
        return self.states(dag_id, first, last)

    def ask_backfill(self, dag_id: str, first: datetime, last: datetime, **options: Any) -> bool:
        """Ask once for a backfill; False when Airflow was busy, or calls another one unfinished.

        The DAG is paused while the runs are made, because a scheduler that touches a run half made has been
        seen to end with an error.
        """
        body = {"dag_id": dag_id, "from_date": first.isoformat(), "to_date": last.isoformat(), **options}
        self.pause(dag_id, is_paused=True)
        try:
            answer = self.http.post("/api/v2/backfills", json=body)
        finally:
            self.pause(dag_id, is_paused=False)
        if _is_busy(answer) or answer.status_code == httpx.codes.CONFLICT:
            return False
        _content(answer)
        return True

    def pause(self, dag_id: str, *, is_paused: bool) -> None:
        """Pause a DAG, or let it go on."""
        _content(self._ask("PATCH", f"/dags/{dag_id}", json={"is_paused": is_paused}))

    def states(self, dag_id: str, first: datetime, last: datetime) -> Counter[str]:
        """The states of a DAG's runs whose logical dates lie in the range."""
        found = self.get(
            f"/dags/{dag_id}/dagRuns",
            logical_date_gte=first.isoformat(),
            logical_date_lte=last.isoformat(),
            limit=100,
        )
        return Counter(run["state"] for run in found["dag_runs"])

    def _ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """The answer to a request that may be repeated; while Airflow's own database is busy, ask again.

        SQLite refuses at once, whatever its timeout, a transaction that read before another one wrote.
        """
        answer = self.http.request(method, f"/api/v2{path}", **request)
        for pause in _BUSY_PAUSES:
            if not _is_busy(answer):
                break
            self.check()
            self.sleep(pause)
            answer = self.http.request(method, f"/api/v2{path}", **request)
        return answer


def _is_busy(answer: httpx.Response) -> bool:
    """Whether Airflow failed over its own database, as its error handlers tell it."""
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        return True
    return answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR and "Database error" in answer.text


def _content(answer: httpx.Response) -> Any:
    if answer.is_error:
        raise NotReady(f"Airflow answered {answer.status_code} to {answer.request.url}: {answer.text}")
    return answer.json() if answer.content else None
