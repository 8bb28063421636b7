"""Deadlines: who hears of a run that is not done in time."""

import logging
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from airflow.sdk import DeadlineAlert, SyncCallback
from dealwatch_notices import allowed_connection, tell_engineers

log = logging.getLogger(__name__)


def late(after: timedelta, *, unless: str = "") -> DeadlineAlert:
    """A run not done so long after it was queued is told of, unless the verb of `jobs` finds it done."""
    from dealwatch_deadlines import WhenQueued

    # On the executor: that needs no triggerer, and knows our path.
    return DeadlineAlert(WhenQueued(), after, SyncCallback(tell_late, kwargs={"unless": unless}))


def tell_late(context: Any, unless: str) -> None:
    run = SimpleNamespace(**context["dag_run"])
    if run.run_type != "backfill" and not (unless and is_done(run, unless)):
        tell_engineers(f"Look at {run.dag_id}: run {run.dag_run_id} is late; its tasks say where it stands.")


def is_done(run: Any, verb: str) -> bool:
    """What the warehouse says of the run's moment; no when it cannot be asked, for whatever reason."""
    from dealwatch_socket import moment

    from dealwatch import jobs, settings

    try:
        as_of = moment(run, {"as_of": None, **(run.conf or {})}, is_past=True)
        return getattr(jobs, verb)(settings.load(connection=allowed_connection), as_of=as_of)
    except Exception:  # a warehouse that does not answer is why a run is late
        log.warning("cannot ask whether %s is done", run.dag_run_id, exc_info=True)
        return False
