"""Where a message goes by e-mail when its own channel fails: to the same recipient, or to nobody else."""

from sqlalchemy import Engine, select

from dealwatch.delivery.claims import Claim
from dealwatch.settings import Settings
from dealwatch.tables import owners
from dealwatch.warehouse import reading

_FROM = ("slack", "teams")  # a file needs no fallback, and e-mail is the last


def mailbox_of(engine: Engine, claim: Claim, settings: Settings) -> str:
    """The recipient's e-mail address, or nothing: a channel that many read has no mailbox.

    By the address, not by the recipient's name: an owner's id in the CRM may be a word of ours.
    """
    if claim.channel not in _FROM or settings.smtp is None or "email" not in settings.delivery.channels:
        return ""
    if "@" in claim.address:
        return claim.address
    roles = settings.delivery
    for slack, teams, mailbox in (
        (roles.operations_slack, roles.operations_teams, roles.operations_email),
        (roles.revops_slack, roles.revops_teams, roles.revops_email),
    ):
        if claim.address == (slack if claim.channel == "slack" else teams):
            return mailbox or ""
    if claim.channel != "slack":
        return ""
    person = select(owners.c.email).where(
        owners.c.owner_id == claim.recipient,
        owners.c.slack_user_id == claim.address,
        owners.c.is_active,
    )
    with reading(engine) as connection:
        return connection.execute(person).scalars().first() or ""
