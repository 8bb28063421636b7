"""What the CRM's fields are to hold for each deal of a morning. Pure.

Score, band and the subject of the first reason decide whether a deal is written again. The sentence counts
days, so it would differ every morning; it goes along when one of those changes, with the date it speaks of.
"""

import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import date

import polars as pl

from dealwatch.alerts.rules.rule import Rule
from dealwatch.crm.writing import Plain, Row, Target
from dealwatch.scoring.facts import FACTS
from dealwatch.warehouse import as_json

# What is said of the deal's owner is for the owner: everybody who sees the deal sees its fields.
_PRIVATE = "owner"
_OF_OWNERS = frozenset(fact.name for fact in FACTS if fact.group == _PRIVATE)


def tellers(rules: Sequence[Rule]) -> dict[str, str]:
    """Rules whose sentence may tell about a deal's owner, and the subject of each."""
    return {
        rule.name: rule.about
        for rule in rules
        if any(name in _OF_OWNERS for level in rule.levels for name in level.say.names)
    }


def first_reason(reasons: str, points: str, telling: Mapping[str, str]) -> tuple[str, str | None]:
    """Subject and sentence of the first reason that everybody may read; "" and None when there is none.

    `reasons` and `points` are JSON as in `deal_scores`.
    """
    silent = {_PRIVATE}
    if telling:
        held = {part["name"] for part in json.loads(points) if part["kind"] == "rule"}
        silent |= {about for rule, about in telling.items() if rule in held}
    for reason in json.loads(reasons):
        if reason["group"] not in silent:
            return reason["group"], reason["sentence"]
    return "", None


def plain(text: str) -> str:
    """The text on one line, without what a screen would obey or nobody would see."""
    kept = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text)
    return " ".join(kept.split())


def wanted(
    scores: pl.DataFrame, fields: Mapping[str, str], *, place: str, telling: Mapping[str, str]
) -> pl.DataFrame:
    """deal_id, score, band, reason and the digest of what decides, the greatest risk first.

    scores: deal_id, score, band, reasons, points of `deal_scores`. fields: the CRM's field by our value.
    place: the account; what was written to another one counts for nothing here.
    """
    told = [
        first_reason(why, parts, telling) for why, parts in scores.select("reasons", "points").iter_rows()
    ]
    head = [place, sorted(fields.items())]
    digests = [
        _digest([*head, *_deciding(fields, score, band, about)])
        for (score, band), (about, _) in zip(scores.select("score", "band").iter_rows(), told, strict=True)
    ]
    return scores.select(
        "deal_id",
        "score",
        "band",
        pl.Series("reason", [sentence for _, sentence in told], dtype=pl.String),
        pl.Series("digest", digests, dtype=pl.String),
    ).sort("score", "deal_id", descending=[True, False])


def _deciding(fields: Mapping[str, str], score: int, band: str, about: str) -> list[Plain]:
    told: dict[str, Plain] = {"score": score, "band": band, "reason": about}
    return [told[value] for value in ("score", "band", "reason") if value in fields]


def _digest(told: object) -> str:
    return hashlib.sha256(as_json(told).encode()).hexdigest()[:32]


def rows_of(wishes: pl.DataFrame, targets: Mapping[str, Target], *, day: date) -> list[Row]:
    """The wishes in the CRM's own fields; `day` is that of the morning."""
    found = []
    for wish in wishes.iter_rows(named=True):
        reason = None if wish["reason"] is None else plain(wish["reason"])
        told: dict[str, Plain] = {**wish, "reason": reason, "as_of": day.isoformat()}
        values = {target.name: target.shown(told[value]) for value, target in targets.items()}
        found.append(Row(wish["deal_id"], values))
    return found
