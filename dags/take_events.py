"""# Take what CRMs told meanwhile

HubSpot's webhooks and Salesforce's outbound messages say **which** deals changed (`crm_events`). Every five
minutes those deals are read in full from the CRM, remembered as by an extract, and scored as of that minute
(`event_scores`). An event is a hint, never data: doubled, late or out of order it does no harm.

**Nobody is messaged by an event.** Alerts, messages and records are the next morning's, and they read
`deal_scores`, which this DAG does not touch. The daily extract stays the truth.

It has a schedule only where a source has `[sources.NAME.events]` (docs/hubspot.md, docs/salesforce.md).
Triggered without one, it does nothing. When no event waits, a run is one question to the warehouse.

**It cannot be backfilled**: a CRM tells what is true now.

**When it fails**: the warehouse did not answer, or scoring found a fault; its log says which. Events are
marked only with what they led to, so the next run goes on. A CRM that is down, out of requests or
misconfigured fails nothing here: events wait, the log says why, and `extract_crm` says it aloud.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import dag, task
from dealwatch_socket import ONCE, at, settings

WHEN = at("*/5 * * * *") if settings(connected=False).has_events else None


@dag(schedule=WHEN, doc_md=__doc__, tags=["dealwatch", "events"], **ONCE)
def take_events():
    @task(execution_timeout=timedelta(minutes=30))
    def take():
        from dealwatch import jobs

        return jobs.take_events(settings(), now=datetime.now(UTC))

    take()


take_events()
