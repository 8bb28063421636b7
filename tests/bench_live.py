"""How much memory and time a large live source takes: `python tests/bench_live.py DEALS HISTORY PAGE URL`.

Pages are made on the fly, so what is measured is keeping, landing and remembering them.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from pydantic import SecretStr

from dealwatch import migrations
from dealwatch.crm.pages import Page, Past, Plan, Table
from dealwatch.history.gather import gather
from dealwatch.history.landing import land_pages
from dealwatch.history.remember import remember
from dealwatch.knobs import Join, RecordMapping
from dealwatch.settings import Settings
from dealwatch.sources import Salesforce
from dealwatch.warehouse import connect

NOW = datetime(2026, 3, 2, 4, tzinfo=UTC)
DEALS = RecordMapping(
    columns={
        "deal_id": "Id",
        "name": "Name",
        "account": "AccountId",
        "stage": "StageName",
        "amount": "Amount",
        "owner_id": "OwnerId",
        "created_at": "CreatedDate",
        "close_date": "CloseDate",
        "closed_at": "ClosedAt",
        "lead_source": "LeadSource",
    },
    joins=(Join(file="Account", on={"AccountId": "Id"}, take={"industry": "Industry"}),),
)
HISTORY = RecordMapping(
    columns={
        "deal_id": "DealId",
        "changed_at": "At",
        "field": "Field",
        "old_value": "Old",
        "new_value": "New",
    }
)
WON = ("Won", "Lost")


def padded(prefix: str, number: pl.Expr) -> pl.Expr:
    return pl.lit(prefix) + number.cast(pl.String).str.zfill(15)


class Large:
    """So many deals, nine of ten closed, and so many changes of stage."""

    def __init__(self, deals: int, history: int, page: int) -> None:
        self.sizes = {"Account": deals // 10, "Deals": deals, "History": history}
        self.rows_of = {"Account": self.accounts, "Deals": self.opportunities, "History": self.history}
        self.deals, self.page = deals, page

    def close(self) -> None:
        """Nothing is held open."""

    def plan(self, past: Past) -> Plan:
        names = tuple(DEALS.columns.values())
        tables = (
            Table("Account", ("Id", "Industry")),
            Table("Deals", names, "deals", DEALS),
            Table("History", tuple(HISTORY.columns.values()), "deal_history", HISTORY),
        )
        return Plan(tables, NOW, tracked=("stage",))

    def pages(self, table: Table, place: str | None) -> Iterator[Page]:
        size = self.sizes[table.name]
        for start in range(int(place or 0), size, self.page):
            end = min(start + self.page, size)
            n = pl.int_range(start, end, eager=True)
            rows = self.rows_of[table.name](pl.DataFrame({"n": n}))
            yield Page(table.name, rows, str(end) if end < size else None, size)

    def accounts(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.select(Id=padded("001", pl.col("n")), Industry=pl.lit("Software"))

    def opportunities(self, rows: pl.DataFrame) -> pl.DataFrame:
        n = pl.col("n")
        is_open = n % 10 == 0
        return rows.select(
            Id=padded("006", n),
            Name=pl.lit("A deal of some length, number ") + n.cast(pl.String),
            AccountId=padded("001", n % max(1, self.deals // 10)),
            StageName=pl.when(is_open).then(pl.lit("Demo")).when(n % 2 == 1).then(pl.lit("Won")).otherwise(
                pl.lit("Lost")
            ),
            Amount=(n % 90_000).cast(pl.String),
            OwnerId=padded("005", n % 300),
            CreatedDate=pl.lit("2025-01-05T09:00:00.000Z"),
            CloseDate=pl.lit("2026-05-01"),
            ClosedAt=pl.when(~is_open).then(pl.lit("2025-09-05T09:00:00.000Z")),
            LeadSource=pl.lit("Web"),
        )  # fmt: skip

    def history(self, rows: pl.DataFrame) -> pl.DataFrame:
        n = pl.col("n")
        hour = (n // self.deals).cast(pl.String).str.zfill(2)
        return rows.select(
            DealId=padded("006", n % self.deals),
            At=pl.lit("2025-02-05T") + hour + pl.lit(":00:00.000Z"),
            Field=pl.lit("stage"),
            Old=pl.lit("New"),
            New=pl.lit("Demo"),
        )


def peak() -> int:
    """Megabytes of memory held at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main(deals: int, history: int, page: int, url: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        crm = Salesforce(kind="salesforce")
        settings = Settings(home=Path(folder), warehouse_url=SecretStr(url) if url else None)
        settings = settings.model_copy(
            update={
                "time_zone": "UTC",
                "pipeline": settings.pipeline.model_copy(
                    update={"stages": ("New", "Demo"), "won_stages": ("Won",), "lost_stages": ("Lost",)}
                ),
            }
        )
        engine = connect(settings)
        migrations.upgrade(engine)
        began = time.monotonic()

        def tell(what: str, rows: int) -> None:
            nonlocal began
            seconds = time.monotonic() - began
            print(
                f"{what}: {seconds:.1f} s, {rows / seconds:,.0f} rows a second, peak {peak():,} MB",
                flush=True,
            )
            began = time.monotonic()

        print(f"begins with {peak():,} MB", flush=True)
        later = NOW + timedelta(hours=1)
        reader = Large(deals, history, page)
        held = gather(engine, "crm", reader, crm, settings=settings, now=later)
        rows = deals + history + deals // 10
        tell("kept", rows)
        landed = land_pages(engine, held, crm, settings=settings, now=later)
        assert (landed.records, landed.quarantined) == (deals + history, 0), landed
        tell("landed", rows)
        if "--land" not in sys.argv:
            counts = remember(engine, landed.extract_id, "crm", crm, settings=settings, now=later)
            print(counts)
            tell("remembered", rows)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else "")
