"""Deals that a list left out: the source is asked by id whether they are gone or the list was short."""

import polars as pl
from sqlalchemy import Connection, Engine, select

from dealwatch.crm.contract import Object
from dealwatch.crm.pages import Lister, Reader
from dealwatch.errors import SourceDown
from dealwatch.history.gather import refuse
from dealwatch.history.staging import Held, kept_rows
from dealwatch.history.terms import id_column_of
from dealwatch.tables import deals
from dealwatch.warehouse import frame, reading

_MOST = 2_000  # questions: where more are absent, `max_vanished_share` judges


def check_absent(engine: Engine, held: Held, reader: Reader) -> None:
    """Ask a source that counts its deals only roughly about those told neither as there nor as gone.

    Raises SourceDown, with the pages let go, when one of them is there after all: the list broke off, and
    what it lacks would count as deleted.
    """
    if not isinstance(reader, Lister) or held.plan.covers != "all":
        return
    with reading(engine) as connection:
        known = frame(
            connection, select(deals.c.deal_id).where(deals.c.source == held.source, ~deals.c.is_deleted)
        )["deal_id"]
        told = [*_ids(connection, held, "deals"), *_ids(connection, held, "deletions")]
    absent = known.filter(~known.is_in(pl.concat(told).implode())).sort().head(_MOST)
    there = sorted({*reader.still_there(absent.to_list())} & {*absent}) if len(absent) else []
    if there:
        refuse(engine, held.extract_id)
        raise SourceDown(
            f"{held.source}: its list left out {len(there):,} deals that are there, such as {there[0]}: it "
            "broke off on the way. Nothing was kept, and the next try reads anew"
        )


def _ids(connection: Connection, held: Held, object_: Object) -> list[pl.Series]:
    """The ids that the extract's pages tell, a page at a time."""
    return [
        page[id_column_of(table.mapping)].rename("deal_id")
        for table in held.plan.feeding(object_)
        for page in kept_rows(connection, held.extract_id, table, [id_column_of(table.mapping)])
    ]
