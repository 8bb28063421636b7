"""The model card: what a person should read before a new model may score, as Markdown.

The verdict comes first, then what it rests on, then what would change on the morning after a yes. A number
that was not measured leaves its line or section out; nothing is guessed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from dealwatch.moments import local_day
from dealwatch.scoring.card_morning import alerts, band_changes, bands
from dealwatch.scoring.markdown import escaped, table
from dealwatch.settings import Settings

Measures = Mapping[str, Any]  # as Trained.metrics and Quality.as_dict name them
_RANKS = {
    "score": "the score",
    "p_loss": "`p_loss` alone",
    "no difference": "neither, beyond doubt",
}


@dataclass(frozen=True)
class Dossier:
    """What a card tells of.

    deals: the deals open at `as_of` under both models: deal_id, name, amount, currency, and score, band and
    p_loss with `_before` and `_after`. alerts: deal_id, title (of the rule), change (appears, vanishes).
    """

    version: str
    as_of: datetime
    verdict: str  # a sentence
    metrics: Measures  # of the trial
    champion: str | None = None
    ours: Measures | None = None  # this recipe on mornings that neither model learned from
    theirs: Measures | None = None  # the champion on the same rows
    difference: Measures | None = None  # ours minus theirs
    since: datetime | None = None  # where those mornings begin
    deals: pl.DataFrame | None = None
    alerts: pl.DataFrame | None = None
    ranks_better: Sequence[Measures] = ()  # as of `judgement.ranks_better`


def card(dossier: Dossier, *, settings: Settings) -> str:
    """The whole card."""
    day = local_day(dossier.as_of, settings)
    parts = [
        f"# Model {dossier.version}\n\n**{dossier.verdict}**",
        _data(dossier, str(day)),
        _quality(dossier.metrics),
        _beside_champion(dossier, settings),
        _reliability(dossier),
        _by("By stage", "Stage", dossier.metrics.get("by_stage")),
        _by("By amount", "Amount", dossier.metrics.get("by_amount")),
        _horizons(dossier.metrics.get("horizons")),
        _rivals(dossier.metrics.get("rivals")),
        _ranks_better(dossier.ranks_better),
    ]
    if dossier.deals is not None and not dossier.deals.is_empty():
        before = "the champion" if dossier.champion else "rules alone"
        parts.append(band_changes(dossier.deals, before=before, day=day))
        if dossier.alerts is not None:
            parts.append(alerts(dossier.deals, dossier.alerts))
        parts.append(bands(dossier.deals["score_after"].to_list(), settings.scoring.bands))
    return "\n\n".join(part for part in parts if part) + "\n"


def shown(measures: Measures, name: str, form: str = ".3f") -> str:
    """A number with its interval, as far as they are known."""
    value, low, high = (measures.get(key) for key in (name, f"{name}_low", f"{name}_high"))
    if value is None:
        return "–"
    known = low is not None and high is not None
    return f"{value:{form}} ({low:{form}} to {high:{form}})" if known else f"{value:{form}}"


def _data(dossier: Dossier, day: str) -> str:
    m = dossier.metrics
    lines = [f"Learned from what was known on {day}"]
    if "n_deals" in m:
        lines[0] += f": {m['n_won']:,} won and {m['n_lost']:,} lost deals"
    if "n_rows" in m:
        lines[0] += f", {m['n_rows']:,} rows of a deal on a morning"
    if m.get("first_morning"):
        lines.append(f"The mornings reach from {m['first_morning'][:10]} to {m['last_morning'][:10]}.")
    lines[0] += "."
    if "drawn_of" in m:
        lines.append(
            f"They are of a sample, drawn by lot: {m['drawn_deals']:,} of the {m['drawn_of']:,} deals that "
            "were open on its mornings, closed since or not. What follows was measured on it, too."
        )
    return "## Data\n\n" + " ".join(lines)


def _quality(m: Measures) -> str:
    if m.get("auc") is None:
        return ""
    seen = f"{m.get('deals', 0):,} later deals ({m.get('won', 0):,} won, {m.get('lost', 0):,} lost)"
    rows = [
        ["AUC: does it rank the lost above the won? 0.5 is chance", shown(m, "auc", ".3f")],
        ["Brier skill: better than always saying the loss rate? 0 is no better", shown(m, "brier_skill")],
        ["Calibration slope: 1 is right, less is too sure, more too timid", shown(m, "slope", ".2f")],
        ["Brier score (that of the constant)", f"{shown(m, 'brier')} ({shown(m, 'brier_constant')})"],
    ]
    told = (
        "What such a model can do: one made the same way of earlier history, judged on "
        f"{m.get('rows', 0):,} rows of {seen} that it had not learned from. This model has learned from them."
    )
    return f"## Quality\n\n{told} In brackets: 95% intervals, drawn by deal.\n\n" + table(
        ["Measure", "Its like"], [row for row in rows if not row[1].startswith("–")]
    )


def _beside_champion(dossier: Dossier, settings: Settings) -> str:
    if dossier.deals is None:
        return ""  # the gate refused it, and nobody compares
    if dossier.champion is None:
        return "## Beside the champion\n\nNo model serves; deals are scored by rules alone."
    heading = f"## Beside the champion {dossier.champion}"
    ours, theirs, apart = dossier.ours, dossier.theirs, dossier.difference or {}
    if ours is None or theirs is None or ours.get("auc") is None:
        return f"{heading}\n\nToo few deals were decided since it was trained to compare the two."
    since = f" since {local_day(dossier.since, settings)}" if dossier.since else ""
    told = (
        f"On the same {ours.get('rows', 0):,} rows of {ours.get('deals', 0):,} deals{since}, from which "
        "neither had learned. For this model stands its twin, made the same way of what was known then."
    )
    if apart.get("brier_low") == apart.get("brier_high") == 0:
        told += " The recipe is unchanged, so its twin is the champion itself; the new model only knows more."
    rows = [
        [title, shown(ours, name, form), shown(theirs, name, form), shown(apart, name, sign)]
        for title, name, form, sign in (
            ("AUC", "auc", ".3f", "+.3f"),
            ("Brier score (less is better)", "brier", ".4f", "+.4f"),
            ("Brier skill", "brier_skill", ".3f", "+.3f"),
            ("Calibration slope", "slope", ".2f", "+.2f"),
        )
    ]
    return f"{heading}\n\n{told}\n\n" + table(["Measure", "This model", "Champion", "Difference"], rows)


def _reliability(dossier: Dossier) -> str:
    """Both curves, side by side where both were measured on the same rows."""
    ours = (dossier.ours or {}).get("reliability") or dossier.metrics.get("reliability") or ()
    theirs = (dossier.theirs or {}).get("reliability") or ()
    if not ours:
        return ""
    titles, blank = ["Said", "Happened", "n"], ["", "", ""]
    names = [""] + [f"{title}" for title in titles]
    columns = [*names] if not theirs else [*names, *[f"Champion: {t.lower()}" for t in titles]]
    rows = []
    for n in range(max(len(ours), len(theirs))):
        row = [f"{n + 1}", *(_bin(ours[n]) if n < len(ours) else blank)]
        rows.append(row + (_bin(theirs[n]) if n < len(theirs) else blank) if theirs else row)
    told = (
        "Deals of like `p_loss` together: the share said to be lost, and the share lost (95% interval). "
        "The same as a picture: `card.png` beside the model's file."
    )
    return f"## Do the probabilities mean what they say?\n\n{told}\n\n" + table(columns, rows, left=0)


def _bin(part: Measures) -> list[str]:
    happened = f"{part['rate']:.0%} ({part['rate_low']:.0%} to {part['rate_high']:.0%})"
    return [f"{part['p']:.0%}", happened, f"{part['n']:,}"]


def _by(heading: str, title: str, found: Sequence[Measures] | None) -> str:
    if not found:
        return ""
    rows = [
        [
            escaped(part["name"]),
            f"{part['deals']:,}",
            shown(part, "auc", ".2f"),
            shown(part, "brier_skill", ".2f"),
            shown(part, "slope", ".2f"),
        ]
        for part in found
    ]
    return f"## {heading}\n\n" + table([title, "Deals", "AUC", "Brier skill", "Slope"], rows)


def _horizons(found: Sequence[Measures] | None) -> str:
    if not found:
        return ""
    rows = [
        [
            f"{part.get('days')} days",
            f"{part['n']:,}",
            shown(part, "auc", ".2f"),
            shown(part, "brier_skill", ".2f"),
            shown(part, "slope", ".2f"),
        ]
        for part in found
    ]
    return "## Lost within\n\n" + table(["Horizon", "Rows", "AUC", "Brier skill", "Slope"], rows)


def _rivals(found: Sequence[Measures] | None) -> str:
    if not found:
        return ""
    rows = [
        [
            escaped(part.get("name", "")),
            shown(part, "auc"),
            shown(part, "brier", ".4f"),
            shown(part, "auc_difference", "+.3f"),
            shown(part, "brier_difference", "+.4f"),
        ]
        for part in found
    ]
    told = (
        "Other ways to say the same, on the same rows; their probabilities as they come, without a curve. "
        "Ahead is this model's AUC less theirs."
    )
    titles = ["Rival", "AUC", "Brier", "Ahead by", "Brier less theirs"]
    return f"## Rivals\n\n{told}\n\n" + table(titles, rows)


def _ranks_better(found: Sequence[Measures]) -> str:
    if not found:
        return ""
    rows = [
        [
            escaped(part["name"] or "all"),
            f"{part['deals']:,}",
            shown(part, "auc", "+.3f"),
            _RANKS[part["better"]],
        ]
        for part in found
    ]
    told = "On the judged mornings, with the rules of today. Ahead is the score's AUC less that of `p_loss`."
    titles = ["Stage", "Deals", "Ahead by", "Ranks better"]
    return f"## Score or model alone?\n\n{told}\n\n" + table(titles, rows)
