"""# Write scores into the CRM

Puts each open deal's score, band and first reason into the fields that `[sources.NAME.write_back]` names, an
hour after the morning that is scored. Only what changed is sent, the greatest risk first.

**It is off** until a source names fields: then it has a schedule. And it is `dry` until the settings say
`dry = false`: the log says how many deals of each band would be written, and whether the fields fit.

**It cannot be backfilled**, and no other morning than the newest business day's is ever written. When data is
not fit to alert on (stale, incomplete), the fields keep what they hold, and the date beside it.

**Params**: `dry` writes nothing, whatever the settings say.

**When it fails**: alerts do not wait for it. `SettingsError` names a field that is missing or does not fit.
`SourceDown`: the CRM does not answer, or enough of its requests are used. What was written is remembered,
and the next run goes on. Single deals that the CRM refuses fail nothing: `written_back` holds its code.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import Param, dag, task
from dealwatch_socket import ONCE, at, settings

DRY = Param(False, type="boolean", description="Only say what would be written.")
IS_ON = any(getattr(one, "write_back", None) for one in settings(connected=False).sources.values())
AN_HOUR_LATER = at("{minute} {hour} * * *", hours_early=-1)


@dag(
    schedule=AN_HOUR_LATER if IS_ON else None,
    params={"dry": DRY},
    doc_md=__doc__,
    tags=["dealwatch", "daily"],
    **ONCE,
)
def write_back():
    @task(execution_timeout=timedelta(hours=2))
    def write(params=None):
        from dealwatch import jobs
        from dealwatch.moments import newest_business_morning

        now = datetime.now(UTC)
        as_of = newest_business_morning(now, settings())
        return jobs.write_back(settings(), as_of=as_of, now=now, dry=params["dry"])

    write()


write_back()
