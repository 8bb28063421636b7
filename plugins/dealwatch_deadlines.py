"""A deadline counted from when a run was queued; unlike Airflow's own, it lets the run be cleared.

Airflow 3.3.2 answers 500 to the clearing of a run whose `DAGRUN_QUEUED_AT` deadline is still to come: it
takes the interval, which it stored as JSON, for a number of seconds. It does so for that reference alone.
"""

from datetime import datetime
from typing import Any

from airflow.plugins_manager import AirflowPlugin
from airflow.sdk.definitions.deadline import BaseDeadlineReference


class WhenQueued(BaseDeadlineReference):
    """The moment at which the run was queued first; a run that is cleared keeps its deadline."""

    required_kwargs = {"dag_id", "run_id"}

    def _evaluate_with(self, *, session: Any, dag_id: str, run_id: str) -> datetime | None:
        from airflow.models import DagRun
        from sqlalchemy import select

        of_run = (DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        return session.scalar(select(DagRun.queued_at).where(*of_run))


class DealwatchDeadlines(AirflowPlugin):
    name = "dealwatch_deadlines"
    deadline_references = [WhenQueued]
