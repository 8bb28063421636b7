"""One message of each kind, and names that try to be more than names."""

import hashlib
import io
from datetime import UTC, date, datetime, timedelta

from PIL import Image

from dealwatch.alerts.speaking.content import operations_message
from dealwatch.delivery.messages import (
    COMPOSED,
    DealCard,
    Entry,
    Message,
    PathPoint,
    Picture,
    Section,
    Told,
    told_again,
)
from dealwatch.delivery.replies import Links
from dealwatch.history.freshness import Incident
from dealwatch.settings import Settings

HOSTILE_NAMES = (
    '<!channel> "Acme" & Söhne {name} {{ 7*7 }} <script>alert(1)</script>',
    "x" * 300,
    "",
    '=cmd()|"/c calc"!A1',
    "&" * 300,
    '&<>"*_~`' * 40,
    "Line one\nBcc: all@example.com\r\nline two \u202egnp.exe *bold* _it_ `code` <https://evil.test|click>",
    "[x](javascript:alert(1)) <@U0ANN> <!here> {{ days_in_stage }} {owner}",
)
FINGERPRINT = "5f1c7a0e9b"
DELIVERY = "d41d8cd98f00b204"
TODAY = date(2026, 3, 2)
FOOTER = "Data as of Mon 2 Mar 2026, 06:00 Europe/Berlin · model v7 · rule stage_stall"
_STEPS = (
    (56, 54),
    (49, 55),
    (41, 57),
    (33, 61),
    (27, 60),
    (20, 63),
    (13, 64),
    (7, 68),
    (4, 71),
    (2, 78),
    (0, 82),
)
PATH = tuple(PathPoint(on=TODAY - timedelta(days=ago), score=score) for ago, score in _STEPS)


def card(name: str = "Warehouse rollout", **changes: object) -> DealCard:
    values: dict[str, object] = {
        "deal_id": "D-1007",
        "fingerprint": FINGERPRINT,
        "name": name,
        "account": "Acme Corp",
        "amount": 45_000.0,
        "currency": "EUR",
        "stage": "Proposal",
        "close_date": date(2026, 3, 12),
        "score": 82,
        "was_score": 68,
        "was_on": date(2026, 2, 23),
        "band": "Critical",
        "headline": "In Proposal for 41 days; four in five deals move on within 18.",
        "changes": (
            "Stage timing +9",
            "rule Stalled in its stage +8",
            "Activity -2",
            "everything else -1",
        ),
        "reasons": (
            "41 days in Proposal (+18)",
            "no touch for 16 days (+11)",
            "close date pushed twice (+9)",
        ),
        "record": "last 12 months: 88 of 142 such deals lost (62%); similar deals 41%",
        "action": "Agree a dated next step with the buyer, or move the deal out.",
        "action_evidence": "effect not yet measured",
        "path": PATH,
        "url": "https://crm.example.com/deal/D-1007",
    }
    return DealCard.model_validate({**values, **changes})


ALERT = Message(
    kind="alert",
    title="Warehouse rollout: agree a dated next step with the buyer",
    cards=(card(),),
    footer=FOOTER,
)

ESCALATION = Message(
    kind="alert",
    title="Warehouse rollout is more urgent: agree a dated next step with the buyer",
    cards=(
        card(
            news="More urgent: amount +40%, from slow to stuck",
            amount=63_000.0,
            headline="In Proposal for 41 days; nineteen in twenty deals move on within 35.",
        ),
    ),
    footer=FOOTER,
)

RESOLUTION = told_again(ALERT, "Resolved 24 Mar 2026: won", is_over=True)

_MANY = (
    ("Warehouse rollout", "Acme Corp", "Critical", 91, 1_250_000.0, "Stalled in its stage", False),
    ("Renewal 2026", "Söhne & Co", "High", 74, 45_500.0, "Close date has passed", False),
    ("Pilot, three sites", "Globex", "High", 66, None, "Older than deals that are won", True),
    ("Licences", "Initech", "Medium", 48, 9_950.0, "Stalled in its stage", True),
    ("Data platform", "Umbrella", "Medium", 41, 4_200.0, "Older than deals that are won", True),
)


def _listed(url: bool = True, **changes: object) -> tuple[DealCard, ...]:
    return tuple(
        card(
            name,
            deal_id=f"D-{n}",
            fingerprint="",
            account=account,
            band=band,
            score=score,
            amount=amount,
            headline=f"{rule}.",
            news="New" if n else "More urgent: amount +40%",
            record="unproven: no such deal of the last 12 months can be judged"
            if is_unproven
            else "last 12 months: 88 of 142 such deals lost (62%); similar deals 41%",
            is_unproven=is_unproven,
            path=(),
            was_score=None if n == 2 else score - 6,
            changes=() if n == 2 else ("Stage timing +4", "Activity +3", "everything else -1"),
            url=f"https://crm.example.com/deal/D-{n}",
            **changes,
        )
        for n, (name, account, band, score, amount, rule, is_unproven) in enumerate(_MANY)
    )


DIGEST = Message(
    kind="digest",
    title="Look at these 12 deals this morning",
    intro="1 more urgent, 11 new; EUR 1.9M at risk in them; 5 of them listed.",
    sections=(
        Section(
            title="Ended since Fri 27 Feb",
            entries=(
                Entry(
                    word="Resolved", name="Spare parts", about="EUR 7k · Stalled in its stage: no longer so"
                ),
                Entry(
                    word="Won", name="Office move", about="EUR 18k", url="https://crm.example.com/deal/D-9"
                ),
            ),
        ),
        Section(
            title="Due today",
            entries=(
                Entry(word="Next step", name="Licences", about="EUR 9.95k"),
                Entry(word="Snooze ends", name="Fleet", about="EUR 30k · Stalled in its stage"),
            ),
            is_after=True,
        ),
    ),
    cards_title="What is new first, then by value at risk, 3 told in full",
    cards=_listed(),
    more=7,
    more_url="https://dealwatch.example.com/dealwatch",
    footer="Data as of Mon 2 Mar 2026, 06:00 Europe/Berlin · model v7 · rules close_date_passed,"
    " lifecycle_breach, stage_stall",
)

MANAGER_DIGEST = Message(
    kind="manager_digest",
    title="Look at these 4 deals of your team this morning",
    intro="1 more urgent, 3 new; EUR 1.18M at risk in them. Your team has 9 deals with an open alert.",
    sections=(
        Section(
            title="Ada Lovelace: news of 2 of 4 deals with an open alert",
            entries=(
                Entry(
                    word="More urgent",
                    name="Warehouse rollout",
                    about="Critical 91 · EUR 1.25M · Stalled in its stage",
                    url="https://crm.example.com/deal/D-0",
                ),
                Entry(
                    word="New",
                    name="Licences",
                    about="Medium 48 · EUR 9.95k · Stalled in its stage (unproven rule)",
                ),
            ),
        ),
        Section(
            title="Grace Hopper: news of 2 of 5 deals with an open alert",
            entries=(
                Entry(word="New", name="Renewal 2026", about="High 74 · EUR 45.5k · Close date has passed"),
                Entry(
                    word="New",
                    name="Pilot, three sites",
                    about="High 66 · no amount · Older than deals that are won (unproven rule)",
                ),
            ),
        ),
        Section(
            title="Ended since Fri 27 Feb",
            entries=(Entry(word="Won", name="Office move", about="EUR 18k"),),
        ),
    ),
    cards_title="Most at risk",
    cards=(*_listed(owner="Ada Lovelace")[:1], *_listed(owner="Grace Hopper")[1:3]),
    footer=DIGEST.footer,
)

CHANNEL_DIGEST = Message(
    kind="channel_digest",
    title="Look at these 5 deals of this channel this morning",
    intro="1 more urgent, 4 new; EUR 1.18M at risk in them.",
    cards_title=DIGEST.cards_title,
    cards=_listed(),
    footer=DIGEST.footer,
)

_STALE = Incident(
    "stale",
    "The last extract is older than 26 hours: crm (2026-03-01 05:02).",
    "Look into the runs of extract_crm and whether the export wrote its files.",
)
OPERATIONS = operations_message(
    _STALE, datetime(2026, 3, 2, 5, tzinfo=UTC), settings=Settings(time_zone="Europe/Berlin")
)


def _png(shade: int) -> bytes:
    picture = io.BytesIO()
    Image.new("L", (8, 4), shade).save(picture, "PNG")
    return picture.getvalue()


PNGS = {"bridge": _png(10), "stages": _png(20), COMPOSED: _png(30)}


def pictures_of(pngs: dict[str, bytes]) -> tuple[Picture, ...]:
    """As a message names them."""
    return tuple(
        Picture(
            name=name,
            sha256=hashlib.sha256(png).hexdigest(),
            title=f"The {name}",
            words=f"What the {name} shows: 22.3% to 39.0%.",
        )
        for name, png in pngs.items()
    )


REVIEW = Message(
    kind="review",
    title="Pipeline review of the week to 1 Mar 2026",
    intro="Deals created in 2026Q1 were not followed for long enough to tell how long they take.",
    told=(
        Told(
            sentence="More Starter deals closed (from 22.3% to 39.0% of closed deals): the mix by product"
            " type moved the win rate by \u22123.5 points (\u22124.6 to \u22122.5, 2,182 deals).",
            action="Look where the new deals come from before judging how they are sold.",
            action_evidence="suggested; its effect has not been measured",
            picture="bridge",
        ),
        Told(
            sentence="Deals are lost from Legal more often: 14.1% (11.0% to 17.9%, 390 entries) left it as"
            " lost, 8.2% (6.1% to 10.9%, 512 entries) before.",
            action="Read the last ten losses in Legal.",
            action_evidence="suggested; its effect has not been measured",
            picture="stages",
        ),
        Told(sentence="Deals worth EUR 1.2m (31 deals) have no next step.", picture="stages"),
    ),
    pictures=pictures_of(PNGS),
    unsaid="4 more findings in the whole review. 12 claims looked at and not said: chance explains 9; 3 rest"
    " on too little or would mislead.",
    more_url="https://airflow.example.com/dealwatch-board/review/week/2026-03-02T06:00:00Z",
    footer="As known at 2026-03-02 06:00 (Europe/Berlin): 4,318 closed and 402 open deals.",
)

SAMPLES = {
    "alert": ALERT,
    "escalation": ESCALATION,
    "resolution": RESOLUTION,
    "digest": DIGEST,
    "manager_digest": MANAGER_DIGEST,
    "channel_digest": CHANNEL_DIGEST,
    "review": REVIEW,
    "operations": OPERATIONS,
}

_TOKEN = "https://dealwatch.example.com/dealwatch/answer/"  # an address, no secret
LINKS = Links(
    answers={
        FINGERPRINT: {
            "acknowledged": f"{_TOKEN}got-it",
            "snoozed": f"{_TOKEN}snooze",
            "already_knew": f"{_TOKEN}already-knew",
            "false_alarm": f"{_TOKEN}false-alarm",
        }
    },
    settings="https://dealwatch.example.com/dealwatch/settings/me",
)
