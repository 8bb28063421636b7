"""Senders that can be killed.

`python tests/sender.py SETTINGS_JSON NOW` delivers once at a fixed moment. With a third argument, SPEED, it
is a nursery: for each line it reads it forks a sender that delivers until the outbox is empty, and answers
the sender's process id. Their clock begins at NOW and runs so many times as fast, so that a lease is short.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from pydantic import SecretStr
from sqlalchemy import func, select

from dealwatch.delivery.chart import chart_png
from dealwatch.delivery.outbox import deliver
from dealwatch.settings import Settings
from dealwatch.tables import deliveries
from dealwatch.warehouse import connect
from delivery_samples import ALERT

UNSETTLED = ("queued", "sending", "uncertain")


def settings_from(text: str) -> Settings:
    values = json.loads(text)
    for name in ("slack_token", "warehouse_url"):
        if values.get(name):
            values[name] = SecretStr(values[name])
    return Settings.model_validate(values)


def empty(settings: Settings, now: Callable[[], datetime]) -> None:
    """Deliver again and again until nothing is left to send."""
    engine = connect(settings)
    left = select(func.count()).where(deliveries.c.state.in_(UNSETTLED))
    while True:
        deliver(engine, settings=settings, now=now)
        with engine.connect() as connection:
            if connection.execute(left).scalar_one() == 0:
                return
        time.sleep(0.2)


def nursery(settings: Settings, begin: datetime, speed: float) -> None:
    chart_png(ALERT)  # what is loaded and built once is inherited by the senders
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead are buried by the system
    started = time.monotonic()

    def now() -> datetime:
        return begin + timedelta(seconds=(time.monotonic() - started) * speed)

    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                empty(settings, now)
            finally:
                os._exit(0)
        print(child, flush=True)


if __name__ == "__main__":
    ours, moment = settings_from(sys.argv[1]), datetime.fromisoformat(sys.argv[2])
    if len(sys.argv) > 3:
        nursery(ours, moment, float(sys.argv[3]))
    else:
        print(deliver(connect(ours), settings=ours, now=lambda: moment))
