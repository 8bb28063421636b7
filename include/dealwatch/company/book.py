"""The state of the demo company's deals, and the record of what happened to them."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from dealwatch.company.calendar import DAY_SECONDS, OPENS, Bools, Floats, Ints

STAGE, AMOUNT, CLOSE_DATE, OWNER, NEXT_STEP = range(5)
FIELDS = ("stage", "amount", "close_date", "owner_id", "next_step_on")
KINDS = ("email", "call", "meeting")
KIND_SHARES = (0.55, 0.85)  # up to the first an e-mail, up to the second a call, else a meeting
NONE = -1


@dataclass
class Book:
    """The state of every deal; changes from day to day. Days are day numbers, `NONE` where there is none."""

    stage: Ints
    stage_since: Ints
    last_touch: Ints
    close_on: Ints
    next_step_on: Ints
    amount: Ints
    owner: Ints
    pushes: Ints
    is_quiet: Bools
    closed_at: Ints


@dataclass(frozen=True)
class Day:
    """One day's open deals, how much gets done on it, and when (local seconds) work on each deal ends."""

    number: int
    pace: float
    deals: Ints
    is_staying: Bools
    ends: Ints
    offset: Ints
    chance: Floats = field(repr=False)

    def hits(self, row: int, odds: Floats | float) -> Bools:
        """Which deals something befalls; each kind of event has its own row of chances."""
        return np.asarray(self.chance[row] < odds * self.pace)

    def instants(self, at: Bools | Ints, share: Floats) -> Ints:
        """Moments within the day, in UTC seconds; `share` 0 is the opening of business, 1 the deal's end."""
        local = OPENS + ((self.ends[at] - OPENS) * share).astype(np.int64)
        return np.asarray(self.number * DAY_SECONDS + local - self.offset[at], dtype=np.int64)


@dataclass(frozen=True)
class History:
    """Rows of deal_history.csv as numbers; what `old` and `new` mean depends on `field`."""

    deal: npt.NDArray[np.int32]
    at: Ints
    field: npt.NDArray[np.int8]
    old: npt.NDArray[np.int32]
    new: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Activities:
    """Rows of activities.csv as numbers."""

    deal: npt.NDArray[np.int32]
    at: Ints
    by: npt.NDArray[np.int8]
    is_inbound: Bools
    kind: npt.NDArray[np.int8]


class Log:
    """Collects what happens, in the order in which it is told."""

    def __init__(self) -> None:
        self._changes: list[History] = []
        self._touches: list[Activities] = []

    def change(self, tracked: int, deal: Ints, at: Ints, old: Ints, new: Ints) -> None:
        """Each of `deal` changed its field `tracked` from `old` to `new`."""
        codes = np.full(len(deal), tracked, dtype=np.int8)
        self._changes.append(
            History(deal.astype(np.int32), at, codes, old.astype(np.int32), new.astype(np.int32))
        )

    def touch(self, deal: Ints, at: Ints, by: Ints, is_inbound: Bools, chance: Floats) -> None:
        """Somebody wrote, called or met; `chance` decides which of these it was."""
        kind = np.searchsorted(KIND_SHARES, chance, side="right").astype(np.int8)
        self._touches.append(Activities(deal.astype(np.int32), at, by.astype(np.int8), is_inbound, kind))

    def history(self) -> History:
        """All changes, oldest first; changes of the same moment by deal and field."""
        told = self._changes
        deal, at = np.concatenate([rows.deal for rows in told]), np.concatenate([rows.at for rows in told])
        tracked = np.concatenate([rows.field for rows in told])
        order = np.lexsort((tracked, deal, at))
        old, new = np.concatenate([rows.old for rows in told]), np.concatenate([rows.new for rows in told])
        return History(deal[order], at[order], tracked[order], old[order], new[order])

    def activities(self) -> Activities:
        """All touches, oldest first."""
        told = self._touches
        deal, at = np.concatenate([rows.deal for rows in told]), np.concatenate([rows.at for rows in told])
        by, kind = np.concatenate([rows.by for rows in told]), np.concatenate([rows.kind for rows in told])
        is_inbound = np.concatenate([rows.is_inbound for rows in told])
        order = np.lexsort((deal, at))
        return Activities(deal[order], at[order], by[order], is_inbound[order], kind[order])
