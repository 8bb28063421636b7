"""When a failed task is tried again."""

from datetime import timedelta
from typing import Any

from airflow.sdk.definitions.retry_policy import ExceptionRetryPolicy, RetryAction, RetryDecision, RetryRule

# What a person must mend is not tried again; everything else (a busy file, a lost network) is.
MEND_FIRST = RetryRule(exception="dealwatch.errors.DealwatchError", action=RetryAction.FAIL)
DELAY = timedelta(minutes=1)


class Patience(ExceptionRetryPolicy):
    """A CRM that says when to come back (`SourceDown.after`) is not asked before."""

    def evaluate(self, exception: BaseException, *tries: Any, **more: Any) -> RetryDecision:
        after = getattr(exception, "after", None)
        if after is None:
            return super().evaluate(exception, *tries, **more)
        return RetryDecision.retry(max(after, DELAY), reason=f"asked to wait {after}")


RETRY = {"retry_delay": DELAY, "retry_policy": Patience([MEND_FIRST])}
