"""A person's word on a new model: the question with its card, and the answer."""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from dealwatch_notices import tell_engineers
from dealwatch_socket import settings

TRAINED = "ti.xcom_pull(task_ids='train')"


def approval() -> ApprovalOperator:
    """Ask whether the version that `train` returned may score; silence counts as no.

    The DAG needs `MACROS`. XCom carries the version; the card is read when the question is put.
    """
    return ApprovalOperator(
        task_id="approve",
        subject=f"Let model {{{{ {TRAINED}['version'] }}}} score from now on?",
        body=f"{{{{ model_card({TRAINED}['version']) }}}}",
        defaults=ApprovalOperator.REJECT,
        response_timeout=timedelta(days=settings(connected=False).scoring.approval_days),
        execution_timeout=timedelta(minutes=10),  # until the question is put
        notifiers=[tell_waiting],
    )


def model_card(version: str) -> str:
    from dealwatch import jobs

    return jobs.card(settings(), version=version)


MACROS = {"model_card": model_card}


def answer(ti: Any) -> dict[str, Any]:
    """The version, when the word on it was given (`as_of`), and by whom; however often it is asked."""
    given = ti.xcom_pull(task_ids="approve")
    person = given["responded_by_user"]
    by = person["name"] if person else "nobody within scoring.approval_days"
    return {"version": ti.xcom_pull(task_ids="train")["version"], "as_of": given["responded_at"], "by": by}


def tell_waiting(context: Any) -> None:
    """Engineers hear where to answer."""
    task = context["task"]
    tell_engineers(f"{task.subject} Answer here: {task.generate_link_to_ui_from_context(context=context)}")
