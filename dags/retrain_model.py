"""# Retrain the model, once a month

Trains a Random Forest on deals as they were known on past mornings, with the outcomes known by the last
morning before this run. What passes the gate and betters the champion **waits in `approve` for a person**,
with its model card (*Required Actions*). *Approve* lets it serve from that minute on; *Reject*, or no
answer for `scoring.approval_days`, leaves the champion in force. Nobody is asked about what the gate
refused, what is no better, or what `scoring.auto_approve` lets pass. `measure_alerts` says each week
whether a retrain is due.

**It cannot be backfilled** as a range. For a past month, trigger it with `as_of` = the 1st of that month.

**When it fails**: too few closed deals fail nothing; the model is refused with a reason, rules score alone.
"""

from datetime import timedelta

from airflow.sdk import dag, task
from dealwatch_approval import MACROS, answer, approval
from dealwatch_late import late
from dealwatch_socket import AS_OF, ONCE, at, moment, settings

DEADLINE = late(timedelta(hours=settings(connected=False).scoring.late_after_hours), unless="is_trained")
RUNS = {"deadline": DEADLINE, "user_defined_macros": MACROS, "tags": ["dealwatch", "monthly"], **ONCE}
SHORT = {"execution_timeout": timedelta(minutes=10)}


@dag(schedule=at("0 3 1 * *"), params={"as_of": AS_OF}, doc_md=__doc__, **RUNS)
def retrain_model():
    @task(execution_timeout=timedelta(hours=2))
    def train(dag_run=None, params=None):
        from dealwatch import jobs

        told = jobs.train(settings(), as_of=moment(dag_run, params, is_past=True))
        return {name: told[name] for name in ("version", "decision", "reason")}

    @task.short_circuit(**SHORT)
    def ask(ti=None):
        return ti.xcom_pull(task_ids="train")["decision"] == "ask"

    @task(**SHORT)
    def promote(ti=None):
        from dealwatch import jobs

        return jobs.promote(settings(), **answer(ti))

    @task(trigger_rule="all_skipped", **SHORT)  # a no skips what follows `approve`, so this follows `promote`
    def reject(ti=None):
        from dealwatch import jobs

        said = answer(ti)
        return jobs.reject(settings(), version=said["version"], by=said["by"])

    train() >> ask() >> approval() >> promote() >> reject()


retrain_model()
