"""Hangs the reviews into Airflow's web server and its navigation, behind Airflow's login.

Airflow asks for no login below a plugin's address, so the app gets its check of rights passed in: who may
read the DAG review_pipeline reads reviews, and who may edit it sees figures of reps.
"""

import asyncio
from functools import cache
from typing import Any, Literal

from airflow.plugins_manager import AirflowPlugin

DAG_ID = "review_pipeline"


@cache
def _reviews() -> Any:
    from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
    from dealwatch_board import connection
    from fastapi import HTTPException, Request

    from dealwatch.board.reviews_app import reviews_app
    from dealwatch.settings import load

    may_read, may_edit = (requires_access_dag(method, param_dag_id=DAG_ID) for method in ("GET", "PUT"))

    def audience(request: Request, user: GetUserDep) -> Literal["everyone", "managers"]:
        may_read(request, user)
        try:
            may_edit(request, user)
        except HTTPException:  # 403, which raises nothing else
            return "everyone"
        return "managers"

    return reviews_app(load(connection=connection), audience)


async def reviews(scope: Any, receive: Any, send: Any) -> None:
    """The app, made in a thread of its own: other requests are served meanwhile."""
    app = await asyncio.to_thread(_reviews)
    await app(scope, receive, send)


class DealwatchReviews(AirflowPlugin):
    name = "dealwatch_reviews"
    fastapi_apps = [{"app": reviews, "url_prefix": "/dealwatch-board", "name": "dealwatch reviews"}]
    external_views = [
        {
            "name": "Reviews",
            "href": "dealwatch-board/",
            "destination": "nav",
            "url_route": "dealwatch-reviews",
            "nav_top_level": True,
        }
    ]
