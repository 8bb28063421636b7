"""One message of each kind, and names that try to be more than names."""

from datetime import date

from dealwatch.delivery.messages import DealCard, Message

HOSTILE_NAMES = (
    '<!channel> "Acme" & Söhne {name} {{ 7*7 }} <script>alert(1)</script>',
    "x" * 300,
    "",
    '=cmd()|"/c calc"!A1',
    "&" * 300,
    '&<>"*_~`' * 40,
    "Line one\nBcc: all@example.com\r\nline two \u202egnp.exe *bold* _it_ `code` <https://evil.test|click>",
)


def card(name: str = "Warehouse rollout", **changes: object) -> DealCard:
    values: dict[str, object] = {
        "deal_id": "D-1007",
        "name": name,
        "account": "Acme Corp",
        "amount": 45_000.0,
        "currency": "EUR",
        "stage": "Proposal",
        "close_date": date(2026, 3, 12),
        "score": 82,
        "band": "Critical",
        "headline": "41 days in Proposal; four of five deals that went on to win left it within 18.",
        "reasons": ("days in stage 41 (+18)", "no touch for 16 days (+11)", "close date pushed twice (+9)"),
        "record": "last 12 months: 88 of 142 such deals lost, 62%; similar deals 41%.",
        "action": "Book a next step with the buyer before the 12 Mar close date.",
        "url": "https://crm.example.com/deal/D-1007",
    }
    return DealCard.model_validate({**values, **changes})


FOOTER = (
    "As known on 2 Mar 2026, 06:00 Europe/Berlin · model v7 · rule stage_stall. dealwatch tells you once."
)

ALERT = Message(
    kind="alert",
    title="Book a next step: Warehouse rollout has stood still for 41 days",
    cards=(card(),),
    footer=FOOTER,
)

DIGEST = Message(
    kind="digest",
    title="Five deals need a next step this week",
    intro="Ranked by value at risk. The first three are told in full.",
    cards=tuple(
        card(name, band=band, score=score, amount=amount, deal_id=f"D-{n}")
        for n, (name, band, score, amount) in enumerate(
            zip(
                (*HOSTILE_NAMES[:4], HOSTILE_NAMES[-1]),
                ("Critical", "High", "High", "Medium", "Low"),
                (91, 74, 66, 48, 22),
                (1_250_000.0, 45_500.0, None, 950.0, 3e9),
                strict=True,
            )
        )
    ),
    more=7,
    footer=FOOTER,
)

OPERATIONS = Message(
    kind="operations",
    title="Deal alerts are silent: the CRM extract is 31 hours old",
    intro="The newest extract of source “crm” is from 1 Mar 2026, 05:02. Scores of 1 Mar stay in place. "
    "Run extract_crm, then clear this morning's score_deals; the alerts follow by themselves.",
    footer="As of 2 Mar 2026, 06:00 Europe/Berlin.",
)

SAMPLES = {"alert": ALERT, "digest": DIGEST, "operations": OPERATIONS}
