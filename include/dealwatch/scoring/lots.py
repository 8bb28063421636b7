"""Drawing deals by lot: a number made of a deal's name alone, so that every process draws the same deals.

Nothing known of a deal has a say in its lot, so those drawn are like the rest. In a company that grows, some
deals with the highest lots make room for others; the rest stay drawn, month after month.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray


@dataclass(frozen=True)
class Draw:
    """How many deals were drawn, of how many; all of them where nothing had to be drawn."""

    deals: int
    of: int

    @property
    def is_sample(self) -> bool:
        return self.deals < self.of


def lot(name: str) -> float:
    """A number from 0 to 1 made of a name: even over names, the same in every process and version."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def drawn(deal_ids: pl.Series, at_most: int, *, seed: int) -> NDArray[np.bool_]:
    """A mark on the `at_most` deals with the lowest lots, or on all where there are no more.

    deal_ids: each once, in any order. Among fewer deals all are drawn again that were drawn before.
    """
    if len(deal_ids) <= at_most:
        return np.ones(len(deal_ids), dtype=np.bool_)
    lots = np.array([lot(f"panel {seed} {deal_id}") for deal_id in deal_ids])
    marked: NDArray[np.bool_] = lots <= np.partition(lots, at_most - 1)[at_most - 1]
    return marked
