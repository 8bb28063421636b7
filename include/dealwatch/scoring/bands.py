"""The bands of a score: which one it falls into, how they fill, and where to cut them when one holds most."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

Tops = tuple[int, int, int]  # the highest scores of Low, Medium and High
BANDS = ("Low", "Medium", "High", "Critical")
_WANTED = (0.6, 0.3, 0.1)  # share of scores above the tops of Low, Medium and High when they are cut anew
_CROWDED = 0.5  # a band that holds more than this says little


@dataclass(frozen=True)
class Advice:
    """How scores fill the bands, what is wrong with it if anything, and tops that would part them better."""

    shares: dict[str, float]
    fault: str = ""
    cut: Tops | None = None
    filled: dict[str, float] = field(default_factory=dict)  # by the new tops

    @property
    def sentence(self) -> str:
        if not self.fault:
            return "no band holds most of them, so the cuts may stay."
        if self.cut is None:
            return f"{self.fault}. The scores are too much alike to part them better."
        return f"{self.fault}. `scoring.bands = {list(self.cut)}` would give {in_words(self.filled)}."


def band(points: int, tops: Tops) -> str:
    """Low, Medium, High or Critical."""
    return BANDS[sum(points > top for top in tops)]


def advice(scores: ArrayLike, tops: Tops) -> Advice:
    """What to say of bands with these tops, for one score or more; at fault are a crowd and an empty end."""
    shares = _filled(scores, tops)
    fullest = max(BANDS, key=lambda name: shares[name])
    if shares[fullest] > _CROWDED:
        fault = f"{fullest} holds most of them and tells little"
    elif not shares[BANDS[-1]]:
        fault = f"{BANDS[-1]} stays empty"
    else:
        return Advice(shares)
    cut = recut(scores)
    return Advice(shares, fault, cut, _filled(scores, cut) if cut else {})


def recut(scores: ArrayLike) -> Tops | None:
    """Tops that leave about `_WANTED` above each; None when the scores do not part."""
    ordered = np.sort(np.asarray(scores))
    tops = np.arange(1, 100)
    above = 1 - np.searchsorted(ordered, tops, side="right") / len(ordered)
    cut: list[int] = []
    for share in _WANTED:
        left = tops > (cut[-1] if cut else 0)
        if not left.any():
            return None
        cut.append(int(tops[left][np.argmin(np.abs(above[left] - share))]))  # the lowest of those alike
    found = (cut[0], cut[1], cut[2])
    return found if max(_filled(scores, found).values()) <= _CROWDED else None


def in_words(shares: dict[str, float]) -> str:
    """Low 40%, Medium 30%, and so on."""
    return ", ".join(f"{name} {share:.0%}" for name, share in shares.items())


def _filled(scores: ArrayLike, tops: Sequence[int]) -> dict[str, float]:
    places = np.searchsorted(tops, np.asarray(scores), side="left")
    counts = np.bincount(places, minlength=len(BANDS))
    return dict(zip(BANDS, (counts / counts.sum()).tolist(), strict=True))
