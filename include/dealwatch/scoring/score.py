"""The score of a morning: 40 points from rules at most, 60 from the forest, every point accounted for.

score = round(60 x p_loss + rule points). Its parts are a base, one per fact group and one per rule that
holds; each is rounded down and the points left over go to the largest remainders, so whole numbers sum to
the score shown. Without a model the rules' points are stretched to 0..100 and the row is marked `method =
rules`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dealwatch.scoring.bands import band
from dealwatch.scoring.explain import Explanation, explain
from dealwatch.scoring.facts import GROUPS
from dealwatch.scoring.horizons import chances_within
from dealwatch.scoring.reasons import GROUP_WORDS, sentence
from dealwatch.scoring.registry import Model
from dealwatch.settings import Settings
from dealwatch.tables import deal_scores
from dealwatch.warehouse import as_json, schema_of

Floats = NDArray[np.float64]
RULE_POINTS, MODEL_POINTS = 40, 60
REASONS = 3
_KEYS = ["as_of", "deal_id"]
_AT_ONCE = 5_000  # deals put in words at a time: an object for each fact of each would take hundreds of MB


@dataclass(frozen=True)
class Part:
    """One term of a score, before rounding."""

    name: str
    kind: str  # base, group, rule
    about: str  # the fact group it speaks of; parts about the same are one reason
    size: float
    sentence: str = ""
    action: str = ""


def score(
    facts: pl.DataFrame, model: Model | None, rule_points: pl.DataFrame, *, settings: Settings
) -> pl.DataFrame:
    """The rows of `deal_scores` for the rows of `facts`, sorted by as_of and deal_id.

    rule_points: as_of, deal_id, rule, about, points, sentence, action; a row per rule that holds.
    """
    ordered = facts.sort(_KEYS)
    explained = explain(model.bundle, ordered) if model else None
    within = chances_within(model.bundle, ordered, explained.p_loss) if model and explained else {}
    parts = [
        _scored(ordered[start : start + _AT_ONCE], start, explained, model, rule_points, settings)
        for start in range(0, max(ordered.height, 1), _AT_ONCE)
    ]
    return pl.concat(parts).with_columns(pl.Series(k, v) for k, v in within.items())


def _scored(
    facts: pl.DataFrame,
    first: int,
    explained: Explanation | None,
    model: Model | None,
    rule_points: pl.DataFrame,
    settings: Settings,
) -> pl.DataFrame:
    """The rows of some deals, the first of which is the `first` in the explanation."""
    rules = _rules_of(rule_points.join(facts.select(_KEYS), on=_KEYS, how="semi"))
    rows = []
    for n, row in enumerate(_named_rows(facts), first):
        held = rules.get((row["as_of"], row["deal_id"]), [])
        parts = _rule_parts(held, 1.0 if explained else 100 / RULE_POINTS)
        if explained:
            parts = [*_model_parts(explained.base, explained.contributions[n]), *parts]
        points = whole_points([part.size for part in parts])
        reasons = _reasons(parts, points, row)
        total = sum(points)
        rows.append(
            {
                "as_of": row["as_of"],
                "deal_id": row["deal_id"],
                "score": total,
                "band": band(total, settings.scoring.bands),
                "p_loss": float(explained.p_loss[n]) if explained else None,
                "method": "hybrid" if explained else "rules",
                "model_version": model.version if model else None,
                "points": as_json(
                    [
                        {"name": p.name, "kind": p.kind, "points": n}
                        for p, n in zip(parts, points, strict=True)
                    ]
                ),
                "reasons": as_json(reasons),
                "action": reasons[0]["action"] if reasons else None,
            }
        )
    return pl.DataFrame(rows, schema=schema_of(deal_scores))


def whole_points(sizes: list[float]) -> list[int]:
    """Whole numbers that sum to the rounded sum of `sizes`, each less than one away from its size.

    Halves are rounded up; of equal remainders the first is served first.
    """
    floors = [int(np.floor(size)) for size in sizes]
    remainders = [size - floor for size, floor in zip(sizes, floors, strict=True)]
    left = int(np.floor(sum(remainders) + 0.5))
    served = sorted(range(len(sizes)), key=lambda n: -remainders[n])[:left]
    return [floor + (n in served) for n, floor in enumerate(floors)]


def _model_parts(base: float, contributions: Floats) -> list[Part]:
    parts = [Part("base", "base", "", MODEL_POINTS * base)]
    for group, share in zip(GROUPS, contributions, strict=True):
        parts.append(
            Part(group, "group", group, MODEL_POINTS * float(share), action=GROUP_WORDS[group].action)
        )
    return parts


def _rule_parts(held: list[Mapping[str, Any]], stretch: float) -> list[Part]:
    """The rules that hold; above the cap all shrink alike."""
    scale = stretch * RULE_POINTS / max(RULE_POINTS, sum(rule["points"] for rule in held))
    return [
        Part(rule["rule"], "rule", rule["about"], scale * rule["points"], rule["sentence"], rule["action"])
        for rule in held
    ]


def _reasons(parts: list[Part], points: list[int], row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What adds most to the risk, in words; what rounds to nothing is no reason.

    The model and a rule may both speak of the same thing; that is one reason, with the points of both. It is
    told in the model's words where the model agrees, for it compares with deals like this one.
    """
    by_topic: dict[str, list[tuple[Part, int]]] = {}
    for part, n in zip(parts, points, strict=True):
        if part.kind != "base":
            by_topic.setdefault(part.about, []).append((part, n))
    reasons = []
    for topic, found in by_topic.items():
        raising = [part for part, n in found if n > 0]
        total = sum(n for _, n in found)
        if not raising or total <= 0:
            continue
        first = raising[0]  # the model's part stands before the rules'
        words = first.sentence or sentence(first.name, row)
        size = sum(part.size for part, _ in found)
        reasons.append((-size, {"group": topic, "sentence": words, "points": total, "action": first.action}))
    return [reason for _, reason in sorted(reasons, key=lambda pair: pair[0])][:REASONS]


def _rules_of(rule_points: pl.DataFrame) -> dict[tuple[Any, Any], list[Mapping[str, Any]]]:
    found: dict[tuple[Any, Any], list[Mapping[str, Any]]] = {}
    for rule in _named_rows(rule_points.sort(*_KEYS, "rule")):
        found.setdefault((rule["as_of"], rule["deal_id"]), []).append(rule)
    return found


def _named_rows(frame: pl.DataFrame) -> Iterator[Mapping[str, Any]]:
    return frame.iter_rows(named=True)
