"""# Deliver the queued messages

Sends what is queued (`deliveries` in state `queued`) to Slack, Teams, e-mail or the folder: every 15 minutes,
and at once when `score_deals` has queued something. Before each message it checks that it is still wanted and
not expired, that it is a business day between 08:00 and 20:00 where the recipient is, and after a crash that
it has not been sent already.

**It cannot be backfilled**: it knows the queue and the real clock only. Past mornings are never in the queue.

**Params**: `dry` says what would be sent and sends nothing.

**When it fails**: `ChannelDown` names a channel that refuses us (token, password, not invited) and the
remedy, once a day for each fault, with a notice to operations. Its messages go by e-mail or wait; the other
channels' are sent. Each row of `deliveries` keeps its attempts and last error, and the next run tries again;
a message given up is `dead`, with its reason.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import Param, dag, task
from dealwatch_socket import COMMON, at, settings

DRY = Param(False, type="boolean", description="Only say what would be sent.")


@dag(
    schedule=at("*/15 * * * *"),
    params={"dry": DRY},
    max_active_runs=1,
    allowed_run_types=["scheduled", "manual", "operator_triggered"],
    doc_md=__doc__,
    tags=["dealwatch", "delivery"],
    **COMMON,
)
def deliver_alerts():
    @task(execution_timeout=timedelta(minutes=10))
    def deliver(params=None):
        from dealwatch import jobs

        return jobs.deliver(settings(), now=lambda: datetime.now(UTC), dry=params["dry"])

    deliver()


deliver_alerts()
