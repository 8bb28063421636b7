"""How good past scores were, judged on outcomes that came later: what a newcomer reads before trusting us.

Reads the stored scores of a range of mornings and what became of those deals. Deals still open are counted,
not judged. Intervals come from drawing whole deals anew (`quality`).
"""

from dataclasses import dataclass
from datetime import date

import polars as pl
from sqlalchemy import Connection, and_, select

from dealwatch.moments import morning_of
from dealwatch.scoring.quality import Quality, quality
from dealwatch.settings import Settings
from dealwatch.tables import deal_scores, deal_snapshots, deals
from dealwatch.warehouse import frame

_LEAST_FOR_A_STAGE = 20  # won and lost deals; below, a stage's numbers say nothing


@dataclass(frozen=True)
class Slice:
    """Quality of one method's scores on some rows: the score's ranking, and p_loss where there is one."""

    method: str
    stage: str
    score: Quality
    p_loss: Quality | None


@dataclass(frozen=True)
class Report:
    """Scores of the mornings from `first` to `last` against outcomes that came later."""

    first: date
    last: date
    unresolved: int  # rows of deals that are still open
    pooled: tuple[Slice, ...]
    stages: tuple[Slice, ...]

    def text(self) -> str:
        """The report as lines for a terminal."""
        title = f"Scores from {self.first} to {self.last}, judged on outcomes that came later"
        if not self.pooled:
            return f"{title}\n  nothing to judge: no scored deal of these mornings has an outcome yet.\n"
        lines = [title, f"  {self.unresolved:,} deal-mornings are left out: those deals are still open.", ""]
        for part in self.pooled:
            lines += [*_pooled_lines(part), ""]
        if self.stages:
            lines += ["By stage", _row(*_HEADERS), *(_stage_line(part) for part in self.stages), ""]
        lines.append(
            "AUC: 0.5 is a coin. Brier skill: 0 is always saying the loss rate, 1 is knowing the outcome."
        )
        return "\n".join(lines) + "\n"


def evaluate(connection: Connection, first: date, last: date, settings: Settings) -> Report:
    """Judge the stored scores of the mornings from `first` to `last`, both included."""
    scored = _scored(connection, first, last, settings)
    judged = scored.filter(pl.col("outcome").is_not_null() & (pl.col("closed_at") > pl.col("as_of")))
    unresolved = scored.filter(pl.col("outcome").is_null()).height
    seed = settings.scoring.seed
    pooled = [_slice(rows, method, "", seed) for method, rows in _by(judged, "method")]
    stages = [
        _slice(rows, method, stage, seed)
        for method, of_method in _by(judged, "method")
        for stage, rows in _by(of_method, "stage")
    ]
    enough = [part for part in stages if min(part.score.won, part.score.lost) >= _LEAST_FOR_A_STAGE]
    return Report(first, last, unresolved, tuple(pooled), tuple(enough))


def _scored(connection: Connection, first: date, last: date, settings: Settings) -> pl.DataFrame:
    same = and_(
        deal_snapshots.c.as_of == deal_scores.c.as_of, deal_snapshots.c.deal_id == deal_scores.c.deal_id
    )
    query = (
        select(
            deal_scores.c.as_of,
            deal_scores.c.deal_id,
            deal_scores.c.score,
            deal_scores.c.p_loss,
            deal_scores.c.method,
            deal_snapshots.c.stage,
            deals.c.outcome,
            deals.c.closed_at,
        )
        .join_from(deal_scores, deals, deals.c.deal_id == deal_scores.c.deal_id)
        .join(deal_snapshots, same, isouter=True)
        .where(
            deal_scores.c.as_of >= morning_of(first, settings),
            deal_scores.c.as_of <= morning_of(last, settings),
            deals.c.is_deleted.is_(False),
        )
    )
    return frame(connection, query).sort("as_of", "deal_id")


def _by(rows: pl.DataFrame, column: str) -> list[tuple[str, pl.DataFrame]]:
    named = rows.with_columns(pl.col(column).fill_null("(unknown)"))
    return [(name, named.filter(pl.col(column) == name)) for name in named[column].unique().sort()]


def _slice(rows: pl.DataFrame, method: str, stage: str, seed: int) -> Slice:
    lost, deal = (rows["outcome"] == "lost").to_numpy(), rows["deal_id"].to_numpy()
    score = quality(lost, deal, rows["score"].to_numpy(), p=None, seed=seed)
    if rows["p_loss"].null_count():
        return Slice(method, stage, score, None)
    p_loss = rows["p_loss"].to_numpy()
    return Slice(method, stage, score, quality(lost, deal, p_loss, p=p_loss, seed=seed))


_HEADERS = ("stage", "method", "rows", "won", "lost", "loss rate", "AUC", "Brier skill")


def _pooled_lines(part: Slice) -> list[str]:
    of = part.score
    lines = [
        f"Method {part.method}: {of.rows:,} deal-mornings of {of.deals:,} deals,"
        f" {of.won:,} won and {of.lost:,} lost; {_number(of.loss_rate)} of the deal-mornings ended lost"
    ]
    lines.append(f"  AUC of the score    {_interval(of.auc, of.auc_low, of.auc_high)}")
    if part.p_loss is None:
        return [*lines, "  rules alone: no probability, hence no Brier score"]
    p = part.p_loss
    return [
        *lines,
        f"  AUC of p_loss       {_interval(p.auc, p.auc_low, p.auc_high)}",
        f"  Brier of p_loss     {_number(p.brier)}, a constant {_number(p.brier_constant)}",
        f"  Brier skill         {_interval(p.brier_skill, p.brier_skill_low, p.brier_skill_high)}",
    ]


def _stage_line(part: Slice) -> str:
    best = part.p_loss or part.score
    skill = _interval(best.brier_skill, best.brier_skill_low, best.brier_skill_high)
    counts = (f"{best.rows:,}", f"{best.won:,}", f"{best.lost:,}")
    return _row(
        part.stage,
        part.method,
        *counts,
        _number(best.loss_rate),
        _interval(best.auc, best.auc_low, best.auc_high),
        skill,
    )


def _row(*cells: str) -> str:
    widths = (24, 8, 8, 6, 6, 9, 24, 24)
    padded = [
        cell.ljust(w) if n < 2 else cell.rjust(w)
        for n, (cell, w) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  " + " ".join(padded).rstrip()


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f} ({low:.3f} to {high:.3f})"
