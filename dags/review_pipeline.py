"""# Why did the win rate move, and what should we do

Mondays at 07:00 (an hour after the morning) the review of the **week** that ended is composed, and on the
first workday of a month the review of the **month**. Both say what changed, whether chance explains it, where
it comes from, what is at risk and what is refused, from what was known by then, and write `reviews`,
`pipeline_metrics`, `segment_metrics` and `rep_metrics` (for managers).

**It can be backfilled**, in any order: a past week is composed from what was known in that week, writes its
own rows anew and sends nothing. For one review, trigger it with `as_of`, and with `period` on any other day.

**Who reads it** is set in `[review]`. It is queued while it is the newest of its period, once however often
it is made. `notify`: `dry` queues none, `force` a past one too.

**When it fails**: alerts are not touched, and the review before stays. Clear the run when it is mended.
Without the morning's scores the forecast goes by the newest ones there are.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import Param, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from dealwatch_socket import AS_OF, COMMON, at, moment, settings

PERIOD = Param(
    None,
    type=["null", "string"],
    enum=[None, "week", "month"],
    description="Empty: what is due that day, if anything; else the newest week or month that was over.",
)

NOTIFY = Param("auto", enum=["auto", "dry", "force"], description="Is the review queued for its readers?")


@dag(
    # A cron with both a day of the month and a weekday runs on either; `reviews_due` says which review it is.
    schedule=at("{minute} {hour} 1-3 * 1", hours_early=-1),
    params={"as_of": AS_OF, "period": PERIOD, "notify": NOTIFY},
    max_active_runs=1,
    doc_md=__doc__,
    tags=["dealwatch", "weekly"],
    **COMMON,
)
def review_pipeline():
    @task(execution_timeout=timedelta(hours=1))
    def review(dag_run=None, params=None):
        from dealwatch import jobs

        when = {"as_of": moment(dag_run, params), "now": datetime.now(UTC)}
        told = jobs.reviews_due(settings(), **when, period=params["period"], notify=params["notify"])
        if not told:
            raise AirflowSkipException("no review is due on this day; to have one, name its period")
        return told

    review()


review_pipeline()
