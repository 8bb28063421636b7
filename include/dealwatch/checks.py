"""What people write into settings about places and addresses, and what to write instead when it is none."""

import re
from math import isfinite
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_QUARTER = re.compile(r"(FY)?\d{4}Q[1-4]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,127}")


def plain_names(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        plain_name(name)
    return names


def is_plain_name(name: str) -> bool:
    """Whether we write it into SQL as a name; SQLAlchemy quotes it where that is needed."""
    return _NAME.fullmatch(name) is not None


def plain_name(name: str | None) -> str | None:
    if name is not None and not is_plain_name(name):
        raise ValueError(f"{name!r} is no name of letters, digits and _; make a view that has one")
    return name


def zone(name: str | None) -> str | None:
    if name is not None:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"{name!r} is no IANA time zone; write for example Europe/Berlin") from error
    return name


def countries(by_zone: dict[str, str]) -> dict[str, str]:
    """Zones, and the calendars of their holidays; an empty calendar has none."""
    for place, name in by_zone.items():
        zone(place)
        if name:
            _check_calendar(place, name)
    return by_zone


def _check_calendar(place: str, name: str) -> None:
    from holidays import list_supported_countries  # costs a tenth of a second, and few settings need it

    known = list_supported_countries(include_aliases=False)
    country, dash, part = name.partition("-")
    if country not in known:
        raise ValueError(f"{place} = {name!r} is no country whose holidays are known; write its code, as DE")
    if dash and part not in known[country]:
        parts = ", ".join(known[country]) or "none"
        raise ValueError(f"{place} = {name!r} is no part of {country}; its parts are: {parts}")


def slack_channel(text: str | None) -> str | None:
    """A channel's id: its name may change, and a message to a person is not meant."""
    if text is not None and not _is_slack_channel(text):
        raise ValueError(f"{text!r} is no Slack channel id; copy it from the channel's details, as C0123ABCD")
    return text


def email(text: str | None) -> str | None:
    if text is not None and ("@" not in text or any(mark.isspace() for mark in text)):
        raise ValueError(f"{text!r} is no e-mail address; write one, as emea@example.com")
    return text


def leaders(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """E-mail addresses, and ids of Slack channels."""
    for text in addresses:
        if "@" in text:
            email(text)
        elif not _is_slack_channel(text):
            raise ValueError(f"{text!r} is neither an e-mail address nor a Slack channel id, as C0123ABCD")
    return addresses


def review_places(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """E-mail addresses, ids of Slack channels, and webhooks of Teams."""
    for text in addresses:
        if "@" in text:
            _mailbox(text)
        elif not _is_slack_channel(text) and not re.fullmatch(r"teams:\S+", text):
            raise ValueError(
                f"{text!r} is no place for a review; write an e-mail address, a Slack channel id, as C0123, "
                "or teams:NAME of a webhook in [teams]; a person in Slack is reached by e-mail address"
            )
    return _each_once(addresses)


def managers(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """E-mail addresses and ids of people in Slack; never a channel, which others read."""
    for text in addresses:
        if "@" in text:
            _mailbox(text)
        elif _is_slack_channel(text) or text.startswith("teams:"):
            raise ValueError(
                f"{text!r} is a channel, and the managers' version names reps; write e-mail addresses or the "
                "ids of people in Slack, as U0123ABCD, and put the channel into review.to"
            )
        elif re.fullmatch(r"[UW][A-Z0-9]{2,}", text) is None:
            raise ValueError(
                f"{text!r} is neither an e-mail address nor a person's id in Slack; copy it from their "
                "profile, as U0123ABCD"
            )
    return _each_once(addresses)


def _each_once(addresses: tuple[str, ...]) -> tuple[str, ...]:
    found: dict[str, str] = {}
    for text in addresses:
        found.setdefault(text.lower(), text)
    return tuple(found.values())


def _mailbox(text: str) -> None:
    if not text.isprintable() or re.fullmatch(r"[^@\s,;<>]+@[^@\s,;<>]+", text) is None:
        raise ValueError(f"{text!r} is no e-mail address; write one for each reader, as cro@example.com")


def targets(by_quarter: dict[str, float]) -> dict[str, float]:
    """Money by fiscal quarter, named as the review does."""
    for name, money in by_quarter.items():
        if not _QUARTER.fullmatch(name):
            raise ValueError(f"{name!r} is no quarter; write it as the review does: 2026Q4, or FY2027Q1")
        if not (isfinite(money) and money > 0):
            raise ValueError(f"the target of {name} is {money}; write money above 0, or leave it out")
    return by_quarter


def _is_slack_channel(text: str) -> bool:
    return text[:1] in ("C", "G") and text.isascii() and text.isalnum() and text == text.upper()
