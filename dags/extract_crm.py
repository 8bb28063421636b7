"""# Extract the CRM

Reads every source of the settings, lands the records, remembers what changed (`deal_changes`) and derives the
current `deals`. Runs an hour before the morning that is scored.

**It cannot be backfilled**: a CRM tells what is true today, not what was true last week. Scores of past days
need no extract of their day, because the ledger keeps when each change became known: backfill `score_deals`.

Reading the same drop twice changes nothing, so a run may be cleared or repeated at any time.

**Params**: `source` reads one source only. `at` says when the records were exported, if that
is not now.

**When it fails**: `ExtractRefused` names file, column and remedy, and nothing of that drop was kept. Single
bad rows fail nothing; they wait in `quarantine`, each with reason and remedy. `SourceDown`: a live CRM does
not answer or takes no more questions for now. Airflow tries again, five times and not before the CRM says,
and goes on where it stopped; so does the run of the next day.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import Param, dag, task
from dealwatch_socket import COMMON, at, settings

SOURCE = Param(None, type=["null", "string"], description="Empty: every source. Else the name of one.")
AT = Param(None, type=["null", "string"], format="date-time", description="Empty: now. Else when exported.")


@dag(
    schedule=at("{minute} {hour} * * *", hours_early=1),
    params={"source": SOURCE, "at": AT},
    max_active_runs=1,
    allowed_run_types=["scheduled", "manual", "operator_triggered"],
    doc_md=__doc__,
    tags=["dealwatch", "daily"],
    **COMMON,
)
def extract_crm():
    @task(retries=5, execution_timeout=timedelta(hours=1))
    def extract(params=None):
        from dealwatch import jobs
        from dealwatch.moments import parse_moment

        now = parse_moment(params["at"], settings()) if params["at"] else datetime.now(UTC)
        return jobs.extract(settings(), source=params["source"], now=now)

    extract()


extract_crm()
