"""The summary of a morning as tables on a terminal."""

import re
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dealwatch.launch.summary import Summary
from dealwatch.settings import Settings

# In a leader's words; the code reads "12 alerts " and then one of these.
_HELD = {
    "past_day": "belonged to a past day",
    "not_business_day": "wait for Monday",
    "dry_run": "were part of a dry run",
    "unconfirmed": "wait for another morning in a row",
    "rule_retired": "come from a rule that was taken away",
    "scored_again": "came when a morning was scored again after it was told",
    "holdout": "are about deals drawn to stay silent",
    "acknowledged": "were answered and did not get worse",
    "snoozed": "were put off and did not get worse",
    "cooldown": "repeat what was said lately and did not get worse",
    "budget": "had less at risk than the few a person is told at once",
    "unproven_rule": "come from a rule without a proven record: digest only",
    "stale_extract": "rest on CRM data that is too old",
    "no_route": "have nobody to be told",
    "folded": "are part of a message about the deal's critical score",
    "reminders_used": "were repeated often enough: digest only",
    "expired": "were out of date before they could go out",
    "no_longer_wanted": "were settled before they went out",
}
_STATES = {
    "sent": "sent",
    "queued": "waiting",
    "not_sent": "not sent",
    "dead": "could not be sent",
    "cancelled": "no longer wanted",
    "uncertain": "perhaps sent",
    "sending": "being sent",
}
_KINDS = {
    "alert": "single alerts",
    "digest": "digests",
    "manager_digest": "digests to managers",
    "channel_digest": "digests to channels",
    "review": "reviews",
    "update": "changes of messages",
    "operations": "notices to operations",
}
_SENTENCES = 3  # of a review; the rest is on its page
_COLOURS = {"Critical": "red", "High": "yellow", "Medium": "cyan", "Low": "green"}


def print_summary(console: Console, summary: Summary, settings: Settings, *, ui: str = "make ui") -> None:
    """Print all of it, and where to look next; `ui` is the command that serves Airflow."""
    day = summary.as_of.astimezone(settings.zone).date()
    console.rule(f"[bold]The pipeline on {day:%A, %d %B %Y}")
    _print_told(console, summary)
    _print_bands(console, summary, settings)
    _print_riskiest(console, summary)
    _print_alerts(console, summary)
    _print_past(console, summary)
    _print_review(console, summary)
    page = settings.home / "outbox" / "index.html"
    console.print("\n[bold]Look further")
    console.print(f"  The messages as their readers see them: {_link(page)}", highlight=False, soft_wrap=True)
    console.print(f"  The runs in Airflow: {ui}", highlight=False)
    if summary.review is not None:
        review = settings.home / "reviews" / f"{summary.review.span.name}.html"
        console.print(f"  The whole review: {_link(review)}", highlight=False, soft_wrap=True)
        console.print(f"  All reviews: {ui}, then Reviews in Airflow's navigation", highlight=False)


def _link(page: Path) -> str:
    return page.as_uri() if page.exists() else f"{page} (nothing was written)"


def _kind(kind: str, number: int) -> str:
    """`1 review`, `23 digests`, `2 digests to managers`."""
    words = _KINDS.get(kind, kind)
    return re.sub(r"s(?= to | of |$)", "", words, count=1) if number == 1 else words


def _print_told(console: Console, summary: Summary) -> None:
    told = summary.told
    aside = f"{told.quarantined:,} rows could not be used" if told.quarantined else "every row could be used"
    console.print(
        f"\nThe CRM told of [bold]{told.deals:,} deals[/] with {told.changes:,} changes and "
        f"{told.touches:,} touches; {aside}.",
        highlight=False,
    )


def _print_bands(console: Console, summary: Summary, settings: Settings) -> None:
    total = sum(band.deals for band in summary.bands)
    amount = sum(band.amount for band in summary.bands)
    currency = "/".join(summary.currencies) or settings.currency
    console.print(f"\n[bold]{total:,} deals are open[/], worth {amount:,.0f} {currency}.", highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    table.add_column("  Risk")
    table.add_column("Deals", justify="right")
    table.add_column(f"Amount, {currency}", justify="right")
    table.add_column("")
    for band in summary.bands:
        bar = "█" * round(30 * band.deals / total) if total else ""
        colour = _COLOURS[band.name]
        table.add_row(f"  {band.name}", f"{band.deals:,}", f"{band.amount:,.0f}", f"[{colour}]{bar}")
    console.print(table)
    console.print(Padding(f"[dim]{escape(summary.model)}", (0, 0, 0, 2), expand=False), highlight=False)


def _print_riskiest(console: Console, summary: Summary) -> None:
    console.print(f"\n[bold]The {len(summary.riskiest)} riskiest deals")
    for deal in summary.riskiest:
        amount = "no amount" if deal.amount is None else f"{deal.amount:,.0f} {deal.currency}"
        colour = _COLOURS[deal.band]
        console.print(
            f"\n  [{colour}]{deal.score:>3}[/] [bold]{escape(deal.name)}[/], {amount}, {escape(deal.stage)}, "
            f"{escape(deal.owner)}",
            highlight=False,
        )
        for reason in deal.reasons:
            _print_point(console, "-", _briefly(reason, deal.name))
        if deal.action:
            _print_point(console, "[bold]->[/]", deal.action)


def _briefly(reason: str, name: str) -> str:
    """The reason without the deal's name, which stands above it."""
    return f"It {reason.removeprefix(name).lstrip()}" if reason.startswith(name) else reason


def _print_point(console: Console, mark: str, text: str) -> None:
    point = Table.grid(padding=(0, 1))
    point.add_row(mark, Text(text))
    console.print(Padding(point, (0, 0, 0, 6), expand=False), highlight=False)


def _print_alerts(console: Console, summary: Summary) -> None:
    console.print("\n[bold]Alerts this morning")
    console.print(
        f"  {summary.alerts_opened:,} opened; {summary.alerts_open:,} are open in all.", highlight=False
    )
    for (kind, state), number in summary.messages.items():
        console.print(f"  {number:,} {_kind(kind, number)}: {_STATES.get(state, state)}.", highlight=False)
    for reason, number in sorted(summary.held.items(), key=lambda item: -item[1]):
        console.print(f"  {number:,} held: they {_HELD.get(reason, reason)}.", highlight=False)


def _print_past(console: Console, summary: Summary) -> None:
    console.print("\n[bold]The days that were backfilled")
    would = ", ".join(f"{number:,} {_kind(kind, number)}" for kind, number in summary.past_messages.items())
    console.print(
        f"  They would have sent {would or 'nothing'}; they sent {summary.past_sent:,}.", highlight=False
    )


def _print_review(console: Console, summary: Summary) -> None:
    """The first sentences of the week's review; none when it was not made."""
    if summary.review is None:
        return
    console.print(f"\n[bold]The week {summary.review.span.name} in review")
    for finding in summary.review.top()[:_SENTENCES]:
        _print_point(console, "-", finding.sentence)
    refused = len(summary.review.refused)
    console.print(
        f"  {refused:,} more claims were looked at and are not said, each for a reason.", highlight=False
    )
