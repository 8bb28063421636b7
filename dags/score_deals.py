"""# Score this morning's deals

What was known at 06:00 becomes a risk score for each open deal (`deal_scores`), the rules' signals, and the
messages worth sending, which `deliver_alerts` then takes from their queue. This DAG itself sends nothing.

**Score past days again**: *Trigger*, then *Run this Dag for a range of dates*.
1. The to-date ends at its minute: until 4 November 00:00 leaves out the morning of the 4th. The form fills in
   23:59; on the command line write `--to-date 2026-11-04T23:59`.
2. *Missing Runs* fills gaps; *All Runs* also scores again what was scored before.
3. Raise *Max Active Runs* to 4: forwards, backwards or side by side, the rows end the same.
4. Leave `as_of` empty, or every run of the range scores that one moment.

**Nobody is messaged about the past**: what would have been sent becomes rows in `deliveries` with the reason
`past_day`. A run may be cleared or repeated at any time; it writes its own morning anew.

**Params**: `as_of` scores another moment. `notify`: `auto` queues messages on the newest business day only;
`dry` never; `force` even for a past one.

**When it fails**: `NotReady` names what to run first. A stale extract fails nothing: deals are scored, their
alerts stay silent, and operations hears why.
"""

from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import Asset, Param, dag, task
from dealwatch_late import late
from dealwatch_socket import AS_OF, COMMON, at, moment, settings

SCORES = Asset(name="deal_scores", uri="dealwatch://warehouse/deal_scores")
NOTIFY = Param("auto", enum=["auto", "dry", "force"], description="Are this morning's messages queued?")
FORM = {"as_of": AS_OF, "notify": NOTIFY}
DEADLINE = late(timedelta(minutes=settings(connected=False).alerts.late_after_minutes))
RUNS = {"max_active_runs": 4, "deadline": DEADLINE, "tags": ["dealwatch", "daily"], **COMMON}


@dag(schedule=at("{minute} {hour} * * *"), params=FORM, doc_md=__doc__, **RUNS)
def score_deals():
    @task(outlets=[SCORES], execution_timeout=timedelta(minutes=30))
    def score(dag_run=None, params=None, outlet_events=None):
        from dealwatch import jobs

        outlet_events[SCORES].extra = {"as_of": moment(dag_run, params).isoformat()}
        return jobs.score(settings(), as_of=moment(dag_run, params))

    @task.short_circuit(execution_timeout=timedelta(minutes=15))
    def alert(dag_run=None, params=None):
        from dealwatch import jobs

        as_of, now = moment(dag_run, params), datetime.now(UTC)
        return jobs.alert(settings(), as_of=as_of, now=now, notify=params["notify"])["queued"]

    send = {"trigger_dag_id": "deliver_alerts", "execution_timeout": timedelta(minutes=5)}
    score() >> alert() >> TriggerDagRunOperator(task_id="deliver", **send)


score_deals()
