"""A person's word on a new model: the question with its card, and the answer."""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from dealwatch_notices import tell_engineers
from dealwatch_socket import settings

TRAINED = "ti.xcom_pull(task_ids='train')"
SILENCE = "nobody answered within scoring.approval_days"


class Approval(ApprovalOperator):
    """Airflow's keeps a yes as its XCom and loses a no with the tasks that it skips; this keeps both."""

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        person = event.get("responded_by_user")
        said = {"as_of": event.get("responded_at"), "by": person["name"] if person else SILENCE}
        context["ti"].xcom_push(key="answer", value=said)
        return super().execute_complete(context, event)


def approval() -> Approval:
    """Ask whether the version that `train` returned may score; silence counts as no.

    The DAG needs `MACROS`. XCom carries the version; the card is read when the question is put.
    """
    return Approval(
        task_id="approve",
        subject=f"Let model {{{{ {TRAINED}['version'] }}}} score from now on?",
        body=f"{{{{ model_card({TRAINED}['version']) }}}}",
        defaults=Approval.REJECT,
        response_timeout=timedelta(days=settings(connected=False).scoring.approval_days),
        execution_timeout=timedelta(minutes=10),  # until the question is put
        notifiers=[tell_waiting],
    )


def model_card(version: str) -> str:
    from dealwatch import jobs

    return jobs.card(settings(), version=version)


MACROS = {"model_card": model_card}


def answer(ti: Any) -> dict[str, Any]:
    """The version, when the word on it was given (`as_of`) and by whom; however often it is asked."""
    return {
        "version": ti.xcom_pull(task_ids="train")["version"],
        **ti.xcom_pull(task_ids="approve", key="answer"),
    }


def tell_waiting(context: Any) -> None:
    """Engineers hear where to answer."""
    task = context["task"]
    tell_engineers(f"{task.subject} Answer here: {task.generate_link_to_ui_from_context(context=context)}")
