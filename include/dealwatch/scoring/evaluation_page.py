"""The judgement of past scores as a folder to look at: one HTML page that needs nothing else, and plots."""

import base64
import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from dealwatch.scoring import evaluation_text as words
from dealwatch.scoring import evaluation_verdict as sentences
from dealwatch.scoring import plots
from dealwatch.scoring.evaluate import Report
from dealwatch.settings import Settings
from dealwatch.templating import environment

_templates = environment("scoring")
_CAPTIONS = {
    "reliability": "Do the probabilities mean what they say?"
    " On the dashed line, of the deals given 70% risk 70% are lost.",
    "gains": "Looking at the riskiest so many first, how many of the losses are among them?",
    "scores": "Scores of deals that were lost and of those that were won. Dotted: the tops of the bands.",
    "weeks": "The ranking week by week, with 95% intervals.",
}


def write(report: Report, folder: Path, *, settings: Settings) -> Path:
    """Write index.html, the plots as PNG and the numbers as JSON; the same report gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = pictures_of(report, settings=settings)
    for name in _CAPTIONS:
        (folder / f"{name}.png").unlink(missing_ok=True)  # of an earlier report that had more to show
    for name, picture in pictures.items():
        (folder / f"{name}.png").write_bytes(picture)
    (folder / "numbers.json").write_text(json.dumps(_numbers(report), indent=1) + "\n", encoding="utf-8")
    page = folder / "index.html"
    page.write_text(html(report, pictures), encoding="utf-8")
    return page


def pictures_of(report: Report, *, settings: Settings) -> dict[str, bytes]:
    """The plots there is something to show in, by name."""
    main = report.main
    if main is None or main.score.auc is None:
        return {}
    rows = report.judged
    lost, score = rows["lost"].to_numpy().astype(np.float64), rows["score"].to_numpy().astype(np.float64)
    rankings = [("score", score)]
    found = {}
    if main.p_loss is not None:
        found["reliability"] = plots.reliability(main.p_loss.reliability)
        rankings.append(("p_loss alone", rows["p_loss"].to_numpy()))
    found["gains"] = plots.gains(lost, rankings)
    found["scores"] = plots.scores(score, lost, settings.scoring.bands)
    if len(report.weeks) > 1:
        found["weeks"] = plots.weeks(report.weeks)
    return found


def html(report: Report, pictures: dict[str, bytes]) -> str:
    """The page, its plots inside."""
    shown = [
        {"name": name, "caption": _CAPTIONS[name], "data": base64.b64encode(picture).decode()}
        for name, picture in pictures.items()
    ]
    return _templates.get_template("evaluation.html.j2").render(
        title=f"Scores from {report.first} to {report.last}, judged on what came later",
        empty="" if report.pooled else sentences.nothing(report),
        verdict=sentences.verdict(report),
        waiting=sentences.waiting(report),
        judged_on=sentences.judged_on(report),
        plots=shown,
        tables=_tables(report),
    )


def _tables(report: Report) -> list[dict[str, Any]]:
    found = [
        _table(f"Method {part.method}", ("measure", "value"), words.measure_rows(part), words.counts_of(part))
        for part in report.pooled
    ]
    headers = ("band", "deal-mornings", "deals", "share", "ended lost")
    found.append(_table("By band", headers, words.band_rows(report), " ".join(sentences.band_advice(report))))
    found.append(_table("By stage", words.STAGE_HEADERS, words.stage_rows(report)))
    found.append(_table("Lost within so many days", words.HORIZON_HEADERS, words.horizon_rows(report)))
    return [table for table in found if table["rows"]]


def _table(title: str, headers: tuple[str, ...], rows: Any, note: str = "") -> dict[str, Any]:
    return {"title": title, "headers": headers, "rows": rows, "note": note}


def _day(day: date | None) -> str | None:
    return day.isoformat() if day else None


def _numbers(report: Report) -> dict[str, Any]:
    """What another program may want to read; the names are those of `Quality`."""
    return {
        "first": report.first.isoformat(),
        "last": report.last.isoformat(),
        "scored": report.scored,
        "followed": {
            "known_until": _day(report.followed.known_until),
            "until": _day(report.followed.until),
            "mornings": report.followed.mornings,
            "rows": report.followed.rows,
            "unresolved": report.followed.unresolved,
            "too_recent": {
                "mornings": report.followed.recent_mornings,
                "rows": report.followed.recent_rows,
            },
        },
        "slices": [
            {
                "method": part.method,
                "stage": part.stage,
                "score": part.score.as_dict(),
                "p_loss": part.p_loss.as_dict() if part.p_loss else None,
                "ranks_better": part.better if part.p_loss else None,
            }
            for part in (*report.pooled, *report.stages)
        ],
        "horizons": [{"days": days, **of.as_dict()} for days, of in report.horizons],
    }
