"""What a digest says: an owner's, a manager's, a shared channel's. Pure.

An owner reads what ended since the last working day, then the deals, what is new first, then what is due
today. A manager reads the same by owner, in the order of names: nobody is ranked. A shared channel reads of
deals only. Counts and sums are of all the deals with news, those that are not listed too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from urllib.parse import quote

from dealwatch.alerts.speaking.decisions import Planned, Share
from dealwatch.alerts.speaking.since_yesterday import Day, Note
from dealwatch.delivery.messages import DealCard, Entry, Message, Section
from dealwatch.delivery.wording import EXPANDED_CARDS, money, weekday
from dealwatch.settings import Settings

_MOST_NOTES = 3  # of a kind; a digest is about its deals
_HELPS = {"Reminder": "again"}


@dataclass(frozen=True)
class ItemLine:
    """A deal of a digest as a line: what is new about it, and by which rule."""

    owner_id: str
    word: str
    rule: str
    at_risk: float
    currency: str


def digest_of(
    planned: Planned,
    cards: Sequence[DealCard],
    lines: Sequence[ItemLine],
    day: Day | None,
    titles: Mapping[str, str],
    *,
    settings: Settings,
) -> Message:
    """The digest of a plan, without its footer. `titles` are the rules' titles by name.

    There is a card for each deal that is listed; `lines` go on with those that are not.
    """
    count, listed = len(lines), list(zip(cards, lines, strict=False))
    whose = {"manager_digest": " of your team", "channel_digest": " of this channel"}.get(planned.kind, "")
    title = f"Look at {'this deal' if count == 1 else f'these {count} deals'}{whose} this morning"
    intro, more = _intro(lines, len(cards)), count - len(cards)
    theirs = {line.owner_id for _, line in listed}
    if planned.kind == "manager_digest":
        ended = _ended(day, theirs, titles, settings) if day else ()
        return _manager(planned.team, listed, ended, title=title, intro=intro, more=more)
    owners = {planned.route.recipient}
    if not planned.is_bystanders:  # who stands in for others has their deals to work on
        owners |= theirs
    is_personal = planned.kind == "digest" and not planned.route.is_shared
    return Message(
        kind=planned.kind,
        title=title,
        intro=intro,
        sections=_beside(day, owners, titles, settings) if is_personal else (),
        cards_title=_cards_title(len(cards)),
        cards=tuple(
            card if card.news else card.model_copy(update={"news": line.word}) for card, line in listed
        ),
        more=more,
    )


def deal_url(deal_id: str, settings: Settings) -> str | None:
    """Where the CRM shows a deal."""
    url = settings.delivery.crm_deal_url
    return url.replace("{deal_id}", quote(deal_id, safe="")) if url else None


def _intro(lines: Sequence[ItemLine], listed: int) -> str:
    """What is new, counted, and how much is at risk; amounts of several currencies have no sum."""
    parts = [_counted(line.word for line in lines)]
    if total := _sum(lines):
        parts.append(f"{total} at risk in {'it' if len(lines) == 1 else 'them'}")
    if listed < len(lines):
        parts.append(f"{listed} of them listed")
    return "; ".join(parts) + "."


def _counted(words: Iterable[str]) -> str:
    """`2 new, 1 more urgent`."""
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return ", ".join(f"{count} {_HELPS.get(word, word.lower())}" for word, count in counts.items())


def _cards_title(count: int) -> str:
    if count <= 1:
        return ""
    told = f", {EXPANDED_CARDS} told in full" if count > EXPANDED_CARDS else ""
    return f"What is new first, then by value at risk{told}"


def _sum(lines: Sequence[ItemLine]) -> str:
    currencies = {line.currency for line in lines}
    total = sum((line.at_risk for line in lines), 0.0)
    return money(total, currencies.pop()) if len(currencies) == 1 and total else ""


def _manager(
    team: Sequence[Share],
    listed: Sequence[tuple[DealCard, ItemLine]],
    ended: tuple[Section, ...],
    *,
    title: str,
    intro: str,
    more: int,
) -> Message:
    """By owner, then the three deals with most at risk in full."""
    by_owner: dict[str, list[tuple[DealCard, ItemLine]]] = {}
    for card, line in listed:
        by_owner.setdefault(line.owner_id, []).append((card, line))
    sections = [
        Section(title=_share_title(share), entries=tuple(_entry(*one) for one in by_owner[share.owner_id]))
        for share in team
        if share.owner_id in by_owner
    ]
    worst = sorted(listed, key=lambda one: -one[1].at_risk)[:EXPANDED_CARDS]
    deals = sum(share.deals for share in team)
    return Message(
        kind="manager_digest",
        title=title,
        intro=f"{intro} Your team has {deals} {_deals(deals)} with an open alert.",
        sections=(*sections, *ended),
        cards_title="Most at risk" if len(listed) > 1 else "",
        cards=tuple(card for card, _ in worst),
        more=more,
    )


def _share_title(share: Share) -> str:
    return f"{share.name}: news of {share.told} of {share.deals} {_deals(share.deals)} with an open alert"


def _entry(card: DealCard, line: ItemLine) -> Entry:
    mark = " (unproven rule)" if card.is_unproven else ""
    about = f"{card.band} {card.score} · {money(card.amount, card.currency)} · {line.rule}{mark}"
    return Entry(word=line.word, name=card.name, about=about, url=card.url)


def _beside(
    day: Day | None, owners: set[str], titles: Mapping[str, str], settings: Settings
) -> tuple[Section, ...]:
    """What ended, above the deals, and what is due today, below them."""
    if day is None:
        return ()
    due = [note for note in day.due if note.owner_id in owners]
    below = (_section("Due today", due, titles, settings, is_after=True),) if due else ()
    return (*_ended(day, owners, titles, settings), *below)


def _ended(day: Day, owners: set[str], titles: Mapping[str, str], settings: Settings) -> tuple[Section, ...]:
    ended = [note for note in day.ended if note.owner_id in owners]
    return (_section(f"Ended since {weekday(day.since)}", ended, titles, settings),) if ended else ()


def _section(
    title: str,
    notes: Sequence[Note],
    titles: Mapping[str, str],
    settings: Settings,
    *,
    is_after: bool = False,
) -> Section:
    """At most a few of each kind, so that one kind does not hide another."""
    shown = [
        note
        for _, alike in groupby(sorted(notes, key=lambda one: one.word), key=lambda one: one.word)
        for note in list(alike)[:_MOST_NOTES]
    ]
    entries = tuple(
        Entry(
            word=note.word,
            name=note.name,
            about=" · ".join([money(note.amount, note.currency or settings.currency), *_rule(note, titles)]),
            url=deal_url(note.deal_id, settings),
        )
        for note in shown
    )
    return Section(title=title, entries=entries, more=len(notes) - len(shown), is_after=is_after)


def _rule(note: Note, titles: Mapping[str, str]) -> list[str]:
    title = titles.get(note.rule, note.rule)
    told = {"Resolved": f"{title}: no longer so", "Snooze ends": title}
    return [told[note.word]] if note.word in told else []


def _deals(count: int) -> str:
    return "deal" if count == 1 else "deals"
