"""What we ask Airflow over its REST API: health, runs and backfills."""

import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx

from dealwatch.errors import NotReady

_PAUSE_SECONDS = 0.5
_ASK_AGAIN_SECONDS = 5.0


class AirflowApi:
    """A logged-in client of one Airflow; `check` is called while waiting and raises when Airflow has died."""

    def __init__(self, address: str, *, login: str, password: str, check: Callable[[], None]) -> None:
        self.check = check
        self.login = {"username": login, "password": password}
        # trust_env would send requests for 127.0.0.1 through the shell's proxy.
        self.http = httpx.Client(base_url=address, timeout=60, trust_env=False)

    def close(self) -> None:
        self.http.close()

    def wait_until_healthy(self, parts: tuple[str, ...], *, seconds: float) -> None:
        """Wait until the named parts report as healthy, then log in."""

        def is_healthy() -> bool:
            try:
                state = self.http.get("/api/v2/monitor/health").json()
            except (httpx.TransportError, ValueError):
                return False
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
            time.sleep(_PAUSE_SECONDS)

    def get(self, path: str, **query: Any) -> Any:
        return self._answer(self.http.get(f"/api/v2{path}", params=query))

    def post(self, path: str, body: Any) -> Any:
        return self._answer(self.http.post(f"/api/v2{path}", json=body))

    def run(self, dag_id: str, run_id: str, conf: dict[str, Any], *, seconds: float = 900) -> None:
        """Run a DAG under a name of its own, once: a run of that name that succeeded is not repeated."""
        path = f"/dags/{dag_id}/dagRuns"
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf}
        answer = self.http.post(f"/api/v2{path}", json=body)
        if answer.status_code == httpx.codes.CONFLICT:
            if self.get(f"{path}/{run_id}")["state"] == "failed":
                self.post(f"{path}/{run_id}/clear", {"dry_run": False, "only_failed": True})
        else:
            self._answer(answer)
        self.wait(
            lambda: self._is_done(self.get(f"{path}/{run_id}")), seconds=seconds, what=f"{dag_id} to finish"
        )

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
        seconds: float = 1800,
        **options: Any,
    ) -> Counter[str]:
        """Have Airflow backfill the range, wait until all its runs have ended, and count how they did.

        On SQLite a busy Airflow may refuse, or give up after it has made some of the runs: then it is asked
        again, and adds what is missing. The DAG is paused while the runs are made, because a scheduler that
        touches a run half made has been seen to end with an error.
        """
        body = {"dag_id": dag_id, "from_date": first.isoformat(), "to_date": last.isoformat(), **options}
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
                self.pause(dag_id, is_paused=True)
                answer = self.http.post("/api/v2/backfills", json=body)
                self.pause(dag_id, is_paused=False)
                if answer.status_code not in (httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.CONFLICT):
                    self._answer(answer)
                return False
            return states.total() >= runs

        self.wait(has_ended, seconds=seconds, what=f"the backfill of {dag_id}")
        return self.states(dag_id, first, last)

    def pause(self, dag_id: str, *, is_paused: bool) -> None:
        """Pause a DAG, or let it go on."""
        self._answer(self.http.patch(f"/api/v2/dags/{dag_id}", json={"is_paused": is_paused}))

    def states(self, dag_id: str, first: datetime, last: datetime) -> Counter[str]:
        """The states of a DAG's runs whose logical dates lie in the range."""
        found = self.get(
            f"/dags/{dag_id}/dagRuns",
            logical_date_gte=first.isoformat(),
            logical_date_lte=last.isoformat(),
            limit=100,
        )
        return Counter(run["state"] for run in found["dag_runs"])

    @staticmethod
    def _answer(answer: httpx.Response) -> Any:
        if answer.is_error:
            raise NotReady(f"Airflow answered {answer.status_code} to {answer.request.url}: {answer.text}")
        return answer.json() if answer.content else None
