"""# Retrain the model, once a month

Trains a Random Forest on deals as they were known on past mornings, with the outcomes known by this run's
moment. It becomes the champion only if it passes the gate on deals later than those it learned from;
`model_versions` says what was decided and why.

A past morning is scored by the model that was champion then, so retraining changes no past score.

**It cannot be backfilled** as a range. For a past month, trigger it with `as_of` = the 1st of that month.

**When it fails**: too few closed deals fail nothing; the model is refused with a reason, rules score alone.
"""

from datetime import timedelta

from airflow.sdk import dag, task
from dealwatch_socket import AS_OF, COMMON, at, moment, settings


@dag(
    schedule=at("0 3 1 * *"),
    params={"as_of": AS_OF},
    max_active_runs=1,
    allowed_run_types=["scheduled", "manual", "operator_triggered"],
    doc_md=__doc__,
    tags=["dealwatch", "monthly"],
    **COMMON,
)
def retrain_model():
    @task(execution_timeout=timedelta(hours=2))
    def train(dag_run=None, params=None):
        from dealwatch import jobs

        return jobs.train(settings(), as_of=moment(dag_run, params))

    train()


retrain_model()
