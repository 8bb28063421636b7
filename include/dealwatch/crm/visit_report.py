"""What a visit found, for people and for machines."""

import textwrap
from dataclasses import asdict
from typing import Any

from dealwatch.crm.connecting import Finding, Visit
from dealwatch.crm.drafting import draft
from dealwatch.settings import Settings

_WIDTH = 110


def report_of(name: str, settings: Settings, visit: Visit) -> str:
    """A line a check, with its remedy below; the verdict; the draft."""
    source = settings.sources[name]
    lines = [line for finding in visit.findings for line in _told(finding)]
    lacking = sum(one.verdict == "missing" for one in visit.findings)
    verdict = (
        "An extract would work." if visit.works else f"An extract would NOT work: {lacking} missing (above)."
    )
    asked = f" The source was asked {visit.requests} times; nothing was landed." if visit.requests else ""
    written = draft(name, settings, visit)
    parts = [f"{name} ({source.kind})", "", *lines, "", verdict + asked, _next(name, visit, written)]
    return "\n".join([*parts, "", written.rstrip()] if written else parts)


def machine_of(name: str, settings: Settings, visit: Visit) -> dict[str, Any]:
    """The same as values."""
    return {
        "source": name,
        "kind": settings.sources[name].kind,
        "works": visit.works,
        "requests": visit.requests,
        "findings": [asdict(one) for one in visit.findings],
        "stages": [asdict(one) for one in visit.stages],
        "fields": [asdict(one) for one in visit.fields],
        "draft": draft(name, settings, visit),
    }


def _next(name: str, visit: Visit, written: str) -> str:
    """What to run after it."""
    paste = "paste what fits of the draft below, then " if written else ""
    if visit.works:
        told = f"{paste}`python -m dealwatch db upgrade` and `python -m dealwatch extract`."
    else:
        told = f"mend what is missing, {paste}`python -m dealwatch connect {name}` once more."
    return f"Next: {told}"


def _told(finding: Finding) -> list[str]:
    head = f"{finding.verdict:<8}{finding.check}: "
    shown = textwrap.wrap(f"{head}{finding.says}", _WIDTH, subsequent_indent=" " * 10, break_on_hyphens=False)
    remedy = finding.remedy and textwrap.wrap(
        f"-> {finding.remedy}",
        _WIDTH,
        initial_indent=" " * 8,
        subsequent_indent=" " * 11,
        break_on_hyphens=False,
    )
    return [*shown, *(remedy or [])]
