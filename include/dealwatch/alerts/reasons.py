"""Why something was not said: the closed list, so that "why was I not told?" always has an answer."""

REASONS: dict[str, str] = {
    "past_day": "The morning was past when it was worked on, as in a backfill: no message is about the past.",
    "not_business_day": "The morning was a Saturday or Sunday; what still holds is said on Monday.",
    "dry_run": "The run was asked not to send anything.",
    "cooldown": "The owner was told, the rule's cooldown has not passed, and nothing got worse.",
    "budget": "The recipient's single messages for the morning were used up by deals with more at risk.",
    "unproven_rule": "The rule has no proven record, so it may not interrupt; it may only speak in a digest.",
    "stale_extract": "The CRM data was missing or too old; operations were told instead.",
    "no_route": "No owner, manager or RevOps address could be found to tell.",
    "folded": "The deal has a critical score, and this alert is part of that message.",
    "reminders_used": "The reminders are used up; the alert is listed in digests that go out anyway.",
    "expired": "The message could not be delivered before its news was old.",
    "no_longer_wanted": "The alert was resolved before the message went out.",
    "undeliverable": "The channel refused the message for good, or every try to hand it over failed.",
}
