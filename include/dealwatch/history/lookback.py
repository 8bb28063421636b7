"""Was there a past to learn from: do closed deals show how they moved before they closed?"""

from datetime import datetime

from sqlalchemy import Connection, func, select

from dealwatch.tables import deal_changes

_LEAST = 0.05  # share of closed deals that were seen to move; data with a history has most of them


def nothing_to_look_back_on(connection: Connection, moment: datetime) -> str:
    """That by the moment next to no closed deal is known to have changed stage, in a sentence; else nothing.

    An export of deals alone tells of a past deal how it ended, not what it looked like on the way.
    """
    closed, moved = (_closed(connection, moment, is_moved=is_moved) for is_moved in (False, True))
    if moved >= _LEAST * closed:
        return ""
    return (
        f"There was no history to look at: of {closed:,} deals closed by {moment:%Y-%m-%d}, {moved:,} are"
        " known to have changed stage on the way, so these numbers say little about dealwatch. Add"
        " deal_history.csv (and activities.csv) to the drop, or let coming extracts gather one."
    )


def _closed(connection: Connection, moment: datetime, *, is_moved: bool) -> int:
    """How many deals had an outcome by the moment; of them, those whose stage changed before."""
    changes = deal_changes.c
    ends = (
        select(
            changes.deal_id, func.max(changes.happened_at, type_=changes.happened_at.type).label("closed_at")
        )
        .where(changes.field == "outcome", changes.new_value.in_(["won", "lost"]), changes.known_at <= moment)
        .group_by(changes.deal_id)
        .subquery()
    )
    if not is_moved:
        return int(connection.execute(select(func.count()).select_from(ends)).scalar_one())
    stages = (
        select(changes.deal_id, func.count().label("n"))
        .join(ends, ends.c.deal_id == changes.deal_id)
        .where(changes.field == "stage", changes.happened_at < ends.c.closed_at)
        .group_by(changes.deal_id)
        .subquery()
    )
    query = select(func.count()).select_from(stages).where(stages.c.n > 1)
    return int(connection.execute(query).scalar_one())
