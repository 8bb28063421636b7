"""How fast an org is read, and in how much memory: `python tests/bench_salesforce.py DEALS STATES`.

The stand-in serves from a process of its own; nothing is stored, so what is measured is asking and shaping.
"""

import multiprocessing
import resource
import sys
import time
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from dealwatch.crm.pages import Past
from dealwatch.crm.salesforce.api import Salesforce as Wire
from dealwatch.crm.salesforce.login import Session, login_of
from dealwatch.crm.salesforce.reader import SalesforceReader
from dealwatch.knobs import RecordMapping
from standins.salesforce import CLIENT_ID, CLIENT_SECRET, salesforce_server
from standins.salesforce_org import Org

BEGAN = datetime(2026, 3, 2, 4, tzinfo=UTC)
DAY = pl.lit(date(2026, 1, 1))
N = pl.col("n")
STAGE = pl.lit(pl.Series(["Qualify", "Propose", "Negotiate", "Closed Won", "Closed Lost"]).implode())


def numbered(prefix: str, number: pl.Expr) -> pl.Expr:
    """Ids as Salesforce has them: of 18 letters."""
    return pl.lit(prefix) + number.cast(pl.String).str.zfill(12) + pl.lit("AAA")


def large_org(deals: int, states: int, *, field_by_field: bool = False) -> Org:
    """So many deals, nine of ten closed, each with as many states as there are for it.

    A state differs from the one before in every field or, field by field, in one of the three in turn.
    """
    org = Org(now=BEGAN)
    org.load("User", pl.DataFrame({"Id": [f"005{i:012d}AAA" for i in range(50)], "Name": "Rep"}))
    accounts = max(deals // 10, 1)
    org.load(
        "Account",
        pl.select(n=pl.int_range(accounts)).select(
            Id=numbered("001", N), Name=pl.format("Account {}", N), Industry=pl.lit("Retail"), IsDeleted=False
        ),
    )
    org.load("Opportunity", pl.select(n=pl.int_range(deals)).select(**deal_fields(accounts)))
    each = states // deals
    past = pl.select(n=pl.int_range(deals * each)).with_columns(k=N // deals, d=N % deals)
    org.load("OpportunityHistory", past.select(**state_fields(pl.col("k"), pl.col("d"), field_by_field)))
    return org


def deal_fields(accounts: int) -> dict[str, pl.Expr | bool]:
    is_closed = N % 10 != 0
    changed = pl.lit(BEGAN) - pl.duration(hours=24) - pl.duration(minutes=N % 500_000)
    return {
        "Id": numbered("006", N),
        "Name": pl.format('Deal {}, quite "big"', N),
        "AccountId": numbered("001", N % accounts),
        "OwnerId": numbered("005", N % 50),
        "StageName": pl.when(is_closed).then(STAGE.list.get(3 + N % 2)).otherwise(STAGE.list.get(N % 3)),
        "Amount": (N * 7 % 90_000).cast(pl.Float64),
        "CloseDate": DAY + pl.duration(days=N % 300),
        "IsClosed": is_closed,
        "IsWon": is_closed & (N % 2 == 0),
        "CreatedDate": changed - pl.duration(days=90),
        "SystemModstamp": changed,
        "LastModifiedDate": changed,
        "LastStageChangeDate": changed,
        "LeadSource": pl.lit("Web"),
        "IsDeleted": False,
    }


def state_fields(k: pl.Expr, d: pl.Expr, field_by_field: bool) -> dict[str, pl.Expr | bool]:
    """The k-th state of the d-th deal."""
    stage, amount, day = ((k + n) // 3 for n in (2, 1, 0)) if field_by_field else (k, k, k)
    began = pl.lit(BEGAN) - pl.duration(days=80) - pl.duration(minutes=d % 500_000)
    return {
        "Id": numbered("008", N),
        "OpportunityId": numbered("006", d),
        "StageName": STAGE.list.get(stage % 3),
        "Amount": ((d * 7 + amount) % 90_000).cast(pl.Float64),
        "CloseDate": DAY + pl.duration(days=(d + day) % 300),
        "CreatedDate": began + pl.duration(days=k),
        "IsDeleted": False,
    }


def serve(deals: int, states: int, told: Any, over: Any, *, field_by_field: bool = False) -> None:
    with salesforce_server(large_org(deals, states, field_by_field=field_by_field)) as server:
        told.put(server.url)
        over.wait()


def main(deals: int, states: int) -> None:
    context = multiprocessing.get_context("spawn")
    told, over = context.Queue(), context.Event()
    process = context.Process(target=serve, args=(deals, states, told, over))
    process.start()
    url = told.get()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    known = {"consumer_key": CLIENT_ID, "consumer_secret": CLIENT_SECRET, "host": url}
    session = Session(login_of(known, "crm"), sleep=time.sleep)
    overlap = timedelta(hours=24)
    reader = SalesforceReader(Wire(session), own=RecordMapping(), where="sources.crm", overlap=overlap)
    began = time.perf_counter()
    for table in reader.plan(Past()).tables:
        start, cpu = time.perf_counter(), time.process_time()
        rows = sum(page.rows.height for page in reader.pages(table, None))
        took, cpu = time.perf_counter() - start, time.process_time() - cpu
        speed = f"{rows / took:>10,.0f} rows/s, {cpu:.1f} s of our CPU"
        print(f"{table.name:24} {rows:>10,} rows {took:8.1f} s {speed}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"in all {time.perf_counter() - began:.1f} s; memory {before:.0f} MB before, {peak:.0f} MB at most")
    over.set()
    process.join()


if __name__ == "__main__":
    main(*(int(number) for number in (sys.argv[1:] or ["200000", "1600000"])))
