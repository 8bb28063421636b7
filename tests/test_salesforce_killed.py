"""kill -9 at any moment of reading Salesforce, by the reader that the settings open, changes nothing."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from dealwatch.settings import Settings
from salesforce_company import org_of
from standins.salesforce import CLIENT_ID, CLIENT_SECRET, Salesforce, salesforce_server
from test_salesforce_nights import moves_made, moves_told, standing, truth

EXTRACT = """
import sys
from datetime import datetime
from pathlib import Path
from pydantic import SecretStr
from dealwatch.history.extract import extract
from dealwatch.knobs import RecordMapping
from dealwatch.settings import Settings
from dealwatch.sources import Access, Salesforce
from dealwatch.warehouse import connect

home, url, key, secret, now = sys.argv[1:]
access = Access(host=url, extra={"consumer_key": SecretStr(key), "consumer_secret": SecretStr(secret)})
own = RecordMapping(columns={"region": "Region__c", "next_step_on": "Next_Step_On__c"})
source = Salesforce(kind="salesforce", access=access, deals=own)
settings = Settings(home=Path(home), time_zone="UTC", sources={"crm": source})
print("ready", flush=True)
extract(connect(settings), "crm", settings=settings, now=datetime.fromisoformat(now))
"""


@pytest.fixture
def server() -> Iterator[Salesforce]:
    with salesforce_server(org_of(40)) as server:
        yield server


def run(server: Salesforce, home: Path, *, seconds: float | None) -> int:
    """One run of the extract, killed after so many seconds of it; its exit code."""
    words = [str(home), server.url, CLIENT_ID, CLIENT_SECRET, server.org.now.isoformat()]
    process = subprocess.Popen([sys.executable, "-c", EXTRACT, *words], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        if seconds is not None:
            time.sleep(seconds)
            os.kill(process.pid, signal.SIGKILL)
        process.stdout.read()
    return process.returncode


@pytest.mark.slow
def test_killed_anywhere_it_goes_on_and_ends_at_the_truth(
    engine: Engine, settings: Settings, server: Salesforce
) -> None:
    chance = random.Random(5)
    killed = 0
    for nth in range(8):
        seconds = chance.uniform(0.2, 1.0) + nth / 3
        killed += run(server, settings.home, seconds=seconds) == -signal.SIGKILL
        server.org.pass_to(server.org.now + timedelta(minutes=1))
    assert killed > 4
    assert run(server, settings.home, seconds=None) == 0

    assert standing(engine) == truth(server.org)
    assert moves_told(engine, "stage") == moves_made(server.org)
