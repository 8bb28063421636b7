"""A first night of a Salesforce into PostgreSQL beside a bare COPY of the same rows: part of `make bench`.

`python tests/bench_crm.py DEALS STATES`. The stand-in and PostgreSQL are processes of their own; ours reads,
keeps, lands and remembers, as a first night does. COPY writes the same opportunities and states, as the same
text, from memory into two tables without a key. CPU is ours and PostgreSQL's: what to compare where the
machine has other work.
"""

import io
import logging
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import psycopg
from pydantic import SecretStr

import postgresql
from bench_salesforce import BEGAN, large_org, serve
from dealwatch import migrations
from dealwatch.crm.readers import READERS, open_reader
from dealwatch.history.gather import gather
from dealwatch.history.landing import land_pages
from dealwatch.history.remember import remember
from dealwatch.knobs import Access
from dealwatch.settings import Settings
from dealwatch.sources import Salesforce
from dealwatch.warehouse import connect
from standins.salesforce import CLIENT_ID, CLIENT_SECRET

KEYS = {"consumer_key": SecretStr(CLIENT_ID), "consumer_secret": SecretStr(CLIENT_SECRET)}


@dataclass(frozen=True)
class Cost:
    """Seconds of the clock, and of CPU: ours and PostgreSQL's."""

    seconds: float
    cpu: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.seconds + other.seconds, self.cpu + other.cpu)

    def told(self, what: str, rows: int) -> str:
        speed = f"{rows / self.seconds:>10,.0f} rows/s"
        return f"{what:22} {self.seconds:8.1f} s {speed} {self.cpu:8.1f} s of CPU"


class Meter:
    """Measures what is done with one server."""

    def __init__(self, url: str) -> None:
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            (pid,) = connection.execute("SELECT pg_backend_pid()").fetchone() or (0,)
            self.server = psutil.Process(pid).parent()

    def spent(self) -> float:
        """Seconds of CPU so far, of processes that ended too."""
        processes = [psutil.Process(), self.server, *self.server.children()]
        return sum(sum(process.cpu_times()[:4]) for process in processes)

    def cost(self, work: Callable[[], Any]) -> tuple[Any, Cost]:
        began, cpu = time.perf_counter(), self.spent()
        made = work()
        return made, Cost(time.perf_counter() - began, self.spent() - cpu)


def copied(meter: Meter, url: str, deals: int, states: int) -> Cost:
    """What a bare COPY of the same rows costs."""
    org = large_org(deals, states, field_by_field=True)
    cost = Cost(0, 0)
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        for name in ("Opportunity", "OpportunityHistory"):
            rows = org.tables[name]
            rows = rows.select(one.name for one in rows if one.null_count() < rows.height)
            columns = ", ".join(f'"{column}" text' for column in rows.columns)
            connection.execute(f'CREATE TABLE "{name}" ({columns})'.encode())
            told = io.BytesIO()
            rows.with_columns(pl.col(pl.Datetime).dt.to_string("iso:strict")).write_csv(told)
            cost += meter.cost(partial(_copy, connection, name, told.getvalue()))[1]
    return cost


def _copy(connection: psycopg.Connection, name: str, rows: bytes) -> None:
    with connection.cursor().copy(f'COPY "{name}" FROM STDIN CSV HEADER'.encode()) as copy:
        copy.write(rows)
    connection.commit()


def read(meter: Meter, server: str, url: str, rows: int) -> Cost:
    """What a first night costs, told part by part."""
    with tempfile.TemporaryDirectory() as folder:
        source = Salesforce(kind="salesforce", access=Access(host=server, extra=KEYS))
        settings = Settings(home=Path(folder), warehouse_url=SecretStr(url)).model_copy(
            update={"time_zone": "UTC", "sources": {"crm": source}}
        )
        engine = connect(settings)
        migrations.upgrade(engine)
        reader = open_reader("crm", "salesforce", settings=settings, readers=READERS)
        given: dict[str, Any] = {"settings": settings, "now": BEGAN + timedelta(hours=1)}
        held, first = meter.cost(partial(gather, engine, "crm", reader, source, **given))
        print(first.told("read and kept", rows), flush=True)
        landed, second = meter.cost(partial(land_pages, engine, held, source, **given))
        assert (landed.quarantined, landed.records > rows) == (0, True), landed
        print(second.told("landed", rows), flush=True)
        told, third = meter.cost(partial(remember, engine, landed.extract_id, "crm", source, **given))
        print(third.told("remembered", rows), flush=True)
        engine.dispose()
    print(f"{told['changes']:,} changes of {told['deals']:,} deals in the ledger")
    return first + second + third


def main(deals: int, states: int) -> None:
    if postgresql.programs() is None:
        print("PostgreSQL is not installed, so no night of a CRM is measured.")
        return
    print(f"A first night of {deals:,} opportunities with {states:,} states from Salesforce into PostgreSQL")
    logging.disable(logging.INFO)
    context = multiprocessing.get_context("spawn")
    told, over = context.Queue(), context.Event()
    served = partial(serve, deals, states, told, over, field_by_field=True)
    process = context.Process(target=served, daemon=True)
    process.start()
    rows = deals + states
    try:
        with postgresql.running() as server:
            url = postgresql.new_database(server, "bench")
            meter = Meter(url)
            ours = read(meter, told.get(), url, rows)
            theirs = copied(meter, postgresql.new_database(server, "copied"), deals, states)
    finally:
        over.set()
        process.join()
    print(ours.told("in all", rows))
    print(theirs.told("a bare COPY", rows))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    ratios = f"{ours.seconds / theirs.seconds:.0f} by the clock, {ours.cpu / theirs.cpu:.0f} by CPU"
    print(f"Times a bare COPY: {ratios}; at most {peak:,.0f} MB, the baseline's rows among them")


if __name__ == "__main__":
    main(*(int(number) for number in (sys.argv[1:] or ["20000", "160000"])))
