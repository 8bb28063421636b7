"""Read by Airflow at its start: loads the heavy libraries once, before somebody waits for them.

Task processes are forked from where they were loaded: each inherits them and saves seconds. Only import here:
a frame computed before the fork would start threads of Polars, which a fork does not copy, and hang the task.
Importing `coalitions` compiles it, which starts no thread and saves each task that scores over a second.
"""

import sys

if any(name in sys.argv for name in ("scheduler", "worker")):
    import joblib  # noqa: F401
    import polars  # noqa: F401
    import pyarrow  # noqa: F401
    import pydantic_settings  # noqa: F401
    import sklearn.ensemble  # noqa: F401
    import sqlalchemy  # noqa: F401

    import dealwatch.scoring.coalitions  # noqa: F401

if "api-server" in sys.argv:
    import dealwatch.board.answers_app  # noqa: F401  Slack waits three seconds, for the first click as well
