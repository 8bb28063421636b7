"""A first night of a Salesforce into PostgreSQL beside a bare COPY of the same rows: part of `make bench`.

`python tests/bench_crm.py DEALS STATES`. The stand-in and PostgreSQL are processes of their own; ours reads,
keeps, lands and remembers, as a first night does. COPY writes the same opportunities and states, as the same
text, from memory into two tables without a key. Seconds are of the clock.
"""

import io
import logging
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
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


def timed(what: str, rows: int, work: Callable[[], Any]) -> tuple[Any, float]:
    began, cpu = time.perf_counter(), time.process_time()
    made = work()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(f"{what:22} {seconds:8.1f} s {rows / seconds:>10,.0f} rows/s, {cpu:.1f} s of our CPU", flush=True)
    return made, seconds


def copied(url: str, deals: int, states: int) -> float:
    """Seconds that a bare COPY of the same rows takes."""
    org = large_org(deals, states, field_by_field=True)
    seconds = 0.0
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        for name in ("Opportunity", "OpportunityHistory"):
            rows = org.tables[name]
            rows = rows.select(one.name for one in rows if one.null_count() < rows.height)
            columns = ", ".join(f'"{column}" text' for column in rows.columns)
            connection.execute(f'CREATE TABLE "{name}" ({columns})'.encode())
            told = io.BytesIO()
            rows.with_columns(pl.col(pl.Datetime).dt.to_string("iso:strict")).write_csv(told)
            began = time.perf_counter()
            with connection.cursor().copy(f'COPY "{name}" FROM STDIN CSV HEADER'.encode()) as copy:
                copy.write(told.getvalue())
            connection.commit()
            seconds += time.perf_counter() - began
    return seconds


def read(server: str, url: str, rows: int) -> float:
    """Seconds of a first night, told part by part."""
    later = BEGAN + timedelta(hours=1)
    with tempfile.TemporaryDirectory() as folder:
        access = Access(host=server, extra=KEYS)
        source = Salesforce(kind="salesforce", access=access)
        settings = Settings(home=Path(folder), warehouse_url=SecretStr(url)).model_copy(
            update={"time_zone": "UTC", "sources": {"crm": source}}
        )
        engine = connect(settings)
        migrations.upgrade(engine)
        reader = open_reader("crm", "salesforce", settings=settings, readers=READERS)
        given: dict[str, Any] = {"settings": settings, "now": later}
        held, first = timed("read and kept", rows, partial(gather, engine, "crm", reader, source, **given))
        landed, second = timed("landed", rows, partial(land_pages, engine, held, source, **given))
        assert (landed.quarantined, landed.records > rows) == (0, True), landed
        told, third = timed(
            "remembered", rows, partial(remember, engine, landed.extract_id, "crm", source, **given)
        )
        engine.dispose()
    print(f"{told['changes']:,} changes of {told['deals']:,} deals in the ledger")
    return first + second + third


def main(deals: int, states: int) -> None:
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
            ours = read(told.get(), url, rows)
            theirs = copied(postgresql.new_database(server, "copied"), deals, states)
    finally:
        over.set()
        process.join()
    print(f"{'in all':22} {ours:8.1f} s {rows / ours:>10,.0f} rows/s")
    print(f"{'a bare COPY':22} {theirs:8.1f} s {rows / theirs:>10,.0f} rows/s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{ours / theirs:.0f} times a bare COPY; at most {peak:,.0f} MB, the baseline's rows among them")


if __name__ == "__main__":
    main(*(int(number) for number in (sys.argv[1:] or ["200000", "1600000"])))
