"""What is known of a few deals, as literals: closed ones in rows, the rest as a ledger would tell it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from dealwatch.insights.known import ENDINGS, Known, known_of
from dealwatch.insights.windows import Window
from dealwatch.knobs import Pipeline
from dealwatch.settings import Settings
from ledger_rows import at, ledger

SETTINGS = Settings(time_zone="UTC", pipeline=Pipeline(stages=("A", "B", "C")))
T = at("2026-07-01 06:00")
FIRST = Window("first", at("2026-01-01"), at("2026-04-01"))
SECOND = Window("second", at("2026-04-01"), at("2026-07-01"))
IN_FIRST, IN_SECOND = at("2026-02-01"), at("2026-05-01")


def closed_deal(won: bool, when: datetime = IN_SECOND, *, days: float = 10, **told: Any) -> dict[str, Any]:
    """One closed deal; what is not told is unknown, and its amount is 1."""
    return {
        "created_at": when - timedelta(days=days),
        "closed_at": when,
        "won": won,
        "amount": 1.0,
        "cycle_days": days,
    } | told


def many(won: int, lost: int, when: datetime = IN_SECOND, **told: Any) -> list[dict[str, Any]]:
    """So many won and lost deals that are alike otherwise."""
    return [closed_deal(is_won, when, **told) for is_won, n in ((True, won), (False, lost)) for _ in range(n)]


def known(
    *closed: dict[str, Any], spells: Sequence[tuple[Any, ...]] = (), settings: Settings = SETTINGS
) -> Known:
    """These closed deals, by number, and spells: deal_id, stage, entered_at, left_at, to, nth."""
    nothing = known_of(ledger({}), T, settings)
    numbered = [{"deal_id": f"{n:06}", **row} for n, row in enumerate(closed)]
    stays = pl.DataFrame(list(spells), schema=nothing.spells.schema | {"to": pl.String()}, orient="row")
    stages = tuple(name for name in settings.pipeline.stages if name in set(stays["stage"]))
    return Known(
        as_of=T,
        closed=pl.DataFrame(numbered, schema=nothing.closed.schema),
        open=nothing.open,
        spells=stays.with_columns(pl.col("to").cast(ENDINGS)),
        moves=nothing.moves,
        stages=stages,
        settings=settings,
    )
