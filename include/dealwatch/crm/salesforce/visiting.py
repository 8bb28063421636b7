"""Visit a Salesforce org: where it is, whether it lets us in, and how much of the day's requests is left."""

import time
from datetime import datetime
from urllib.parse import urlsplit

from dealwatch.crm.api import Declined
from dealwatch.crm.connecting import Notes, Visit
from dealwatch.crm.salesforce.api import Salesforce
from dealwatch.crm.salesforce.login import NotLetIn, Session
from dealwatch.crm.salesforce.looking import Org
from dealwatch.crm.salesforce.opening import session_of
from dealwatch.errors import DealwatchError, ExtractRefused, SourceDown
from dealwatch.settings import Settings
from dealwatch.sources import Salesforce as Source

_NOT_LET_IN = {
    "invalid_client_id": "Correct consumer_key: the org knows no such app, or it is not installed there.",
    "invalid_client": "Correct consumer_secret, or consumer_key if it belongs to another app.",
    "invalid_grant": "Allow the flow in the app and pre-authorise its user; for JWT, check login, the "
    "certificate, and that a sandbox's user ends with its name.",
    "unsupported_grant_type": "Turn the flow on in the external client app.",
    "invalid_app_access": "Give the user access to the app by its permission set.",
}


def visit_salesforce(name: str, settings: Settings, *, now: datetime) -> Visit:
    """What we find in the org of that source."""
    source = settings.sources[name]
    if not isinstance(source, Source):
        raise TypeError(f"the source {name} is no Salesforce")
    notes = Notes()
    try:
        session = session_of(
            name,
            source,
            source.connection,
            source.access,
            sleep=time.sleep,
            most_quota_share=1.0,
            tries=3,
            read_seconds=30,
        )
    except DealwatchError as error:
        notes.refused("connection", error)
        return Visit(tuple(notes.findings))
    return visit_org(name, settings, source, session, now=now)


def visit_org(name: str, settings: Settings, source: Source, session: Session, *, now: datetime) -> Visit:
    """The same, over a session."""
    notes, wire = Notes(), Salesforce(session)
    with session:
        try:
            theirs = _let_in(notes, wire, source, now)
            found = None if theirs is None else Org(notes, wire, name, settings, source, theirs).visit()
        except (ExtractRefused, SourceDown) as error:
            notes.refused("requests", error)
            found = None
    fields, usual, stages = found or ((), {}, ())
    return Visit(
        tuple(notes.findings),
        fields,
        usual,
        ("closed_at", "outcome"),
        frozenset(notes.absent),
        stages,
        requests=session.asked,
    )


def _let_in(notes: Notes, wire: Salesforce, source: Source, now: datetime) -> datetime | None:
    """The org's clock, once it has let us in."""
    session = wire.session
    host = urlsplit(session.login.origin).hostname or ""
    notes.ok("address", f"{host}, {_edition(host)}; API version {session.version}")
    try:
        theirs = session.server_time()
    except SourceDown as error:
        notes.refused(
            "address", error, "Check domain in the connection (Setup, My Domain), proxy and firewall."
        )
        return None
    except ExtractRefused as error:
        notes.refused("API version", error, "Set api_version to one that the org offers.")
        return None
    try:
        quota = wire.daily_requests()
    except NotLetIn as error:
        remedy = _NOT_LET_IN.get(error.code, "Mend the connection, and what the app and its user may do.")
        notes.missing("login", f"the org does not let us in ({error.code or 'without a reason'})", remedy)
        return None
    except Declined as error:
        remedy = "Give the user API Enabled, and the app the scope api."
        notes.missing("permissions", f"the org answers {error.status} {error.code}", remedy)
        return None
    notes.ok("login", f"by {'JWT bearer' if session.login.key else 'client credentials'}")
    notes.clock(theirs, now)
    notes.quota(quota.used, quota.allowed, source.max_quota_share)
    return theirs


def _edition(host: str) -> str:
    if host in {"127.0.0.1", "localhost", "::1"}:
        return "a stand-in on this machine"
    kinds = ("sandbox", "scratch", "develop", "trailblaze", "demo", "patch", "free")
    kind = next((kind for kind in kinds if f".{kind}.my." in host), None)
    return "production" if kind is None else f"NOT production: a {kind} org"
