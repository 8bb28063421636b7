"""# Measure rules and model, once a week

Every rule is replayed over the past twelve months and its record renewed (`rule_evidence`): a rule that is
not proven may speak in digests only. Then the champion is looked at (`model_health`): have its predictions
and facts moved, and did what it promised come true? What is found two weeks in a row **proposes** a retrain,
as a row, in the log and to operations; nothing is retrained here. `retrain_model` does that, on the 1st or
when triggered.

It runs on Sundays, two hours after the morning it measures, which has been extracted and scored by then.

**It can be backfilled**, in any order: it sends nothing, and each run writes its own week anew from what was
known by then. Score the mornings of those weeks first, for what came true is judged on the scores in the
warehouse. For one past week, trigger it with `as_of`.

**When it fails**: nothing else does; rules keep their last record. Without a champion there is nothing to
watch, and `drift` says so and succeeds.
"""

from datetime import timedelta

from airflow.sdk import dag, task
from dealwatch_notices import tell_engineers
from dealwatch_socket import AS_OF, COMMON, at, moment, settings


@dag(
    schedule=at("{minute} {hour} * * 0", hours_early=-2),
    params={"as_of": AS_OF},
    max_active_runs=1,
    max_active_tasks=1,  # measuring takes 1.6 GB at 100,000 deals
    doc_md=__doc__,
    tags=["dealwatch", "weekly"],
    **COMMON,
)
def measure_alerts():
    @task(execution_timeout=timedelta(hours=1))
    def measure(dag_run=None, params=None):
        from dealwatch import jobs

        return jobs.measure(settings(), as_of=moment(dag_run, params))

    @task(execution_timeout=timedelta(hours=1))
    def drift(dag_run=None, params=None):
        from dealwatch import jobs

        told = jobs.drift(settings(), as_of=moment(dag_run, params))
        if told["findings"] and dag_run.run_type == "scheduled":
            tell_engineers(f"Look at the model's health: {told['proposal']}")
        return told

    measure()
    drift()


measure_alerts()
