"""What stands on a live morning only since it was scored again, after its messages were decided."""

from collections.abc import Set
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, and_, select

from dealwatch.alerts.episodes.keeping import Folded
from dealwatch.tables import alert_events, tellings
from dealwatch.warehouse import frame


def came_late(connection: Connection, folded: Folded, *, worked_out: Set[datetime]) -> list[dict[str, Any]]:
    """Silences of live mornings that are not worked out anew: what stands and was neither told nor held.

    A signal that waits to be confirmed is one of them: the order in which earlier days come leaves no trace.
    """
    decided = sorted(folded.live - worked_out)
    stands = pl.concat(
        rows.filter(pl.col("as_of").is_in(decided)).select("as_of", "fingerprint", "alert_id")
        for rows in (folded.standing, folded.pending)
    )
    if stands.is_empty():
        return []
    c = alert_events.c
    is_held = and_(c.at >= folded.start, c.kind == "held")
    for known in (
        select(tellings.c.as_of, tellings.c.fingerprint).where(tellings.c.as_of >= folded.start),
        select(c.at.label("as_of"), c.fingerprint).where(is_held),
    ):
        stands = stands.join(frame(connection, known), on=["as_of", "fingerprint"], how="anti")
    return [
        {"alert_id": alert_id, "at": at, "kind": "held", "reason": "scored_again", "fingerprint": fingerprint}
        for at, fingerprint, alert_id in stands.iter_rows()
    ]
