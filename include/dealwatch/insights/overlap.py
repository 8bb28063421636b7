"""Which claims tell one thing twice: accounts of the same change by columns that go together.

A change by product type shows again by deal size where products differ in price. Accounts by two columns are
never added up; of two that overlap, the one that explains more is told and the other refused.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import polars as pl

from dealwatch.insights.known import Known
from dealwatch.insights.money import refusal
from dealwatch.insights.review import Finding
from dealwatch.insights.segments import AMOUNT_BAND, COLUMNS, with_bands
from dealwatch.insights.windows import Window

TOGETHER = 0.3  # Cramer's V of two columns from which one is told by the other
_KINDS = ("mix_shift", "mix_of_created", "segment_moved", "segments_differ")


def told_once(said: Sequence[Finding], known: Known, window: Window) -> tuple[list[Finding], list[Finding]]:
    """What is left, and what is refused as another account of what is left, by deals closed in a window."""
    pairs = _going_together(known, window)
    kept: list[Finding] = []
    dropped: list[Finding] = []
    for found in sorted(said, key=lambda one: (-one.importance, one.subject)):
        by = _column(found)
        other = next(
            (one for one in kept if one.kind == found.kind and frozenset((by, _column(one))) in pairs), None
        )
        if by and other is not None:
            v = pairs[frozenset((by, _column(other)))]
            reason = (
                f"another account of what {_column(other)} tells, which explains more (Cramer's V {v:.2f})"
            )
            dropped.append(replace(found, state="refused", refusal=reason))
        else:
            kept.append(found)
    return kept, dropped


def _column(found: Finding) -> str:
    """The column by which a claim is made; empty when it is by none."""
    return found.subject.split(":")[0] if found.kind in _KINDS else ""


def _going_together(known: Known, window: Window) -> dict[frozenset[str], float]:
    """Pairs of columns with their Cramer's V, where it reaches TOGETHER."""
    rows = known.closed.filter(window.holds("closed_at"))
    rows = with_bands(rows, refused=refusal(rows, known.settings))
    columns = [name for name in (*COLUMNS, AMOUNT_BAND) if name != "owner_id"]
    found = {frozenset(pair): cramers_v(rows, *pair) for pair in combinations(columns, 2)}
    return {pair: v for pair, v in found.items() if v >= TOGETHER}


def cramers_v(rows: pl.DataFrame, first: str, second: str) -> float:
    """How closely two columns go together, from 0 to 1, less what chance makes (Bergsma's correction)."""
    counts = rows.drop_nulls([first, second]).group_by(first, second).len()
    n = float(counts["len"].sum())
    if n < 2:
        return 0.0
    table = counts.pivot(on=second, index=first, values="len").drop(first).fill_null(0).to_numpy()
    of = table.sum(axis=1, keepdims=True) @ table.sum(axis=0, keepdims=True) / n
    chi2 = float(((table - of) ** 2 / of).sum())
    r, k = table.shape
    phi2 = max(0.0, chi2 / n - (r - 1) * (k - 1) / (n - 1))
    room = min(r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)) - 1
    return float(np.sqrt(phi2 / room)) if room > 0 else 0.0
