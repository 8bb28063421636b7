"""Every stored table, declared once; `migrations/` is kept equal to this file by a test.

Instants are `Instant` columns: timezone-aware UTC in Python on every dialect. `known_at` is when a well-run
morning would have known; `recorded_at` is when we wrote, for audit only.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.types import TypeDecorator


class Instant(TypeDecorator[datetime]):
    """An aware instant; SQLite, which forgets zones, keeps its UTC clock reading."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        return dialect.type_descriptor(DateTime(timezone=dialect.name != "sqlite"))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"instant without a time zone: {value}")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _key(name: str, type_: Any = String) -> Column[Any]:
    return Column(name, type_, primary_key=True)


def _must(name: str, type_: Any = String) -> Column[Any]:
    return Column(name, type_, nullable=False)


# --- land -----------------------------------------------------------------------------------------

extract_runs = Table(
    "extract_runs",
    metadata,
    _key("extract_id"),  # digest of source, drop and content: reading a drop again is the same run
    _must("source"),
    _must("drop_name"),
    _must(
        "extracted_at", Instant
    ),  # the moment the records speak for; known_at of changes found by comparing
    _must(
        "state"
    ),  # reading (pages come in), landed (raw records stored), remembered (in the ledger); replayed: no drop
    _must("records", Integer),
    _must("quarantined", Integer),
    _must("changes", Integer),
    Column("deals", Integer),  # usable rows of the deals' file; a sudden fall is an incident
    Column("fault", Text),  # why a later drop could not be used, until one can
    # all, open or ids: what the absence of a deal means (null: all); some: named by events; none: of a replay
    Column("covers", String),
    Column("cursor", Instant),  # of a live source: its own clock when the extract began
    Column("plan", JSON(none_as_null=True)),  # of a live source: what was asked for, and how it is mapped
    Column("asked_by", String),  # digest of the settings that the plan was made by
    _must("recorded_at", Instant),
    comment="One row per drop read; its content digest makes a second reading a no-op.",
)

extract_tables = Table(
    "extract_tables",
    metadata,
    _key("extract_id"),
    _key("name"),
    _must("number", Integer),  # its place in the plan
    _must("pages", Integer),
    _must("rows", Integer),
    Column("total", Integer),  # how many rows there are by the source's own count
    Column("place", Text),  # where the next page begins; null before the first one and after the last
    _must("is_complete", Boolean),
    Column("read_at", Instant),  # the source's own clock when its last page was told
    comment="How far each table of a live extract is read; gone once the extract has landed.",
)

extract_pages = Table(
    "extract_pages",
    metadata,
    _key("extract_id"),
    _key("name"),
    _key("number", Integer),
    _must("rows", Integer),
    _must("payload", LargeBinary),  # the page's rows as the source told them, compressed
    comment="Pages of a live extract that has not landed yet; gone once it has.",
)

crm_events = Table(
    "crm_events",
    metadata,
    _key("event_id"),  # digest of what the CRM calls the event: told again, it is the same row
    _must("source"),
    _must("deal_id"),
    _must("what"),  # created, stage, amount, close_date, owner, deleted, restored, merged, changed
    _must("happened_at", Instant),  # as the CRM says; where it does not, when it was received
    _must("received_at", Instant),
    _must("state"),  # waiting, landed (the deal was read), scored, overtaken (by an extract of all)
    Column("extract_id", String),  # the run that read the deal
    Index(None, "state", "source"),
    comment="What CRMs told of the moment it happened: hints to read a deal again, never its data.",
)

drop_files = Table(
    "drop_files",
    metadata,
    _key("source"),
    _key("path"),
    _must("size", BigInteger),
    _must("modified_at", Instant),
    _must("version"),  # what the store calls this content, where it does
    _must("sha256"),
    Column("rows", Integer),
    _must("read_by"),  # digest of the settings by which it was understood
    _must("recorded_at", Instant),
    comment="Files fetched from where drops lie and read, as they were last; unchanged ones stay there.",
)

extract_gates = Table(
    "extract_gates",
    metadata,
    _key("source"),
    _key("extracted_at", Instant),
    _key("gate"),  # rows, amount, empty, unknown_stages, repeated_ids, closed_before_created, quiet_hours
    _key("subject"),  # the column of empty, what rows counts, the currency of amount; else empty
    _must("verdict"),  # pass, warn, block
    _must("value", Float),
    Column("usual", Float),  # the median of the last seven drops taken in; null where nothing is usual yet
    _must("sentence", Text),  # what is wrong and what to do; empty when nothing is
    _must("is_kept", Boolean),  # false of a drop that a gate kept out
    _must("recorded_at", Instant),
    comment="What each gate measured of each drop, and what it said.",
)

raw_records = Table(
    "raw_records",
    metadata,
    _key("extract_id"),
    _key("object"),  # deals, deal_history, activities, owners
    _key("row", Integer),  # line number in the file, the header being line 1
    _must("record", JSON),
    comment="Landed records in the contract's names, before they are remembered.",
)

quarantine = Table(
    "quarantine",
    metadata,
    _key("extract_id"),
    _key("object"),
    _key("row", Integer),
    _must("source"),
    _must("file"),
    _must("field"),
    _must("reason", Text),
    _must("remedy", Text),
    _must("record", JSON),
    Column("settled_at", Instant),  # null while it waits; else the moment of the extract or replay below
    Column("settled_by", String),  # the extract or replay that took it up, or told its deal again
    Column("settled_as", String),  # replayed: it is in the ledger; overtaken: newer word of it was told
    _must("recorded_at", Instant),
    Index(None, "source", "settled_by"),
    comment="Rows that could not be used, whole, with the reason and the remedy.",
)

# --- remember -------------------------------------------------------------------------------------

_READ_OF_CHANGES = ("deal_id", "field", "known_at", "happened_at", "seq", "new_value")


def _only_on(dialect: str, index: Index) -> Index:
    """An index that only one kind of warehouse has; `info` tells those who compare schemas."""
    index.info["dialect"] = dialect
    return index.ddl_if(dialect=dialect)


deal_changes = Table(
    "deal_changes",
    metadata,
    _key("change_id"),  # digest of the change itself: the same change twice is one row
    _must("deal_id"),
    _must("field"),
    Column("old_value", Text),
    Column("new_value", Text),
    _must("happened_at", Instant),
    _must("known_at", Instant),
    _must("seq", Integer),  # order among changes of one deal and field at one instant
    _must("recorded_at", Instant),
    _must("source"),
    Index(None, "known_at"),
    _only_on("postgresql", Index(None, "deal_id", "field")),
    # All that a reading asks for: no row itself is fetched. PostgreSQL refuses long values in an index.
    _only_on("sqlite", Index("ix_deal_changes_reading", *_READ_OF_CHANGES)),
    comment="The ledger: every value a deal's field ever took. Append-only.",
)

deals = Table(
    "deals",
    metadata,
    _key("deal_id"),
    _must("source"),
    Column("name", Text),
    Column("account", Text),
    Column("amount", Float),
    Column("currency", String),
    Column("stage", String),
    Column("owner_id", String),
    _must("created_at", Instant),
    Column("close_date", Date),
    Column("next_step_on", Date),
    Column("closed_at", Instant),
    Column("outcome", String),  # won, lost, null = open
    Column("industry", String),
    Column("region", String),
    Column("product_type", String),
    Column("lead_source", String),
    Column("attributes", JSON),
    _must("is_deleted", Boolean),
    comment="Current state of each deal, derived from the ledger.",
)

activities = Table(
    "activities",
    metadata,
    _key("activity_id"),
    _must("deal_id"),
    _must("happened_at", Instant),
    _must("known_at", Instant),
    Column("kind", String),
    Column("direction", String),
    Column("by", String),
    _must("source"),
    Index(None, "known_at"),
    comment="Touches of a deal. Append-only.",
)

owners = Table(
    "owners",
    metadata,
    _key("owner_id"),
    _must("source"),
    Column("name", Text),
    Column("email", String),
    Column("manager_id", String),
    Column("time_zone", String),
    Column("slack_user_id", String),
    _must("is_active", Boolean),
    comment="People who own deals, as the last extract told them; used for routing, never for facts.",
)

# --- score ----------------------------------------------------------------------------------------

deal_snapshots = Table(
    "deal_snapshots",
    metadata,
    _key("as_of", Instant),
    _key("deal_id"),
    Column("name", Text),
    Column("account", Text),
    Column("stage", String),
    Column("amount", Float),
    Column("currency", String),
    Column("owner_id", String),
    Column("close_date", Date),
    Column("next_step_on", Date),
    Column("industry", String),
    Column("region", String),
    Column("product_type", String),
    Column("lead_source", String),
    _must("created_at", Instant),
    _must("stage_entered_at", Instant),
    Column("age_days", Float),
    Column("days_in_stage", Float),
    comment="Every open deal as known on a morning.",
)

deal_features = Table(
    "deal_features",
    metadata,
    _key("as_of", Instant),
    _key("deal_id"),
    _must("facts", JSON),
    comment="All facts of every open deal on a morning, by name; docs/facts.md explains each.",
)


def _scored() -> tuple[Column[Any], ...]:
    """The columns of a score, for each table of scores."""
    return (
        _key("as_of", Instant),
        _key("deal_id"),
        _must("score", Integer),
        _must("band"),
        Column("p_loss", Float),
        Column("p_loss_30", Float),  # the chance of being lost within so many days; null when not to be told
        Column("p_loss_60", Float),
        Column("p_loss_90", Float),
        _must("method"),  # hybrid, rules
        Column("model_version", String),
        _must("points", JSON),  # list of {name, points, kind}; sums to score
        _must("reasons", JSON),  # up to three {group, sentence, points}
        Column("action", Text),
    )


deal_scores = Table(
    "deal_scores",
    metadata,
    *_scored(),
    comment="The risk score of every open deal on a morning; the points sum to the score.",
)

event_scores = Table(
    "event_scores",
    metadata,
    *_scored(),
    comment="Scores between mornings of deals that an event named; no alert, fold or measure reads them.",
)

scored_mornings = Table(
    "scored_mornings",
    metadata,
    _key("as_of", Instant),
    _must("deals", Integer),
    _must("is_folded", Boolean),  # false from each scoring until the alert fold has taken its signals in
    comment="Mornings that were scored, those without an open deal included.",
)

model_versions = Table(
    "model_versions",
    metadata,
    _key("version"),
    _must("trained_as_of", Instant),
    _must("status"),  # champion, challenger, retired, refused, rejected
    _must("metrics", JSON),
    _must("sha256"),  # of the artefact in the model store; empty when nothing could be trained
    _must("reason", Text),  # the gate's verdict
    _must("decision", Text),  # what was decided of it since, by whom and why
    Column("card", Text),  # Markdown
    _must("recorded_at", Instant),
    comment="Every model trained, with what it could do and what was decided.",
)

model_health = Table(
    "model_health",
    metadata,
    _key("measured_as_of", Instant),
    _key("model_version"),  # the champion then; empty for scores of all models together
    _key("kind"),  # prediction, score, fact (PSI); auc, brier, brier_skill, slope, bias; proposal
    _key("subject"),  # a column of the open deals, "overall" or a stage; "retrain" for the proposal
    Column("value", Float),  # for the proposal, how many findings there are
    Column("low", Float),
    Column("high", Float),
    _must("n", Integer),  # deals; for the proposal, how many comparisons were judged
    Column("expected", Float),  # what the model's trial promised
    Column("threshold", Float),  # chance alone passes it once in a hundred comparisons
    Column("q", Float),  # after false-discovery control among the week's comparisons of its sort
    _must("is_finding", Boolean),  # chance explains neither this week's value nor the last one's
    _must("sentence", Text),
    comment="Each week's health of the champion: what moved, what came true, whether to retrain.",
)

model_promotions = Table(
    "model_promotions",
    metadata,
    _key("promoted_as_of", Instant),
    _key("number", Integer),  # 0 for the first decision of that moment
    _must("version"),
    _must("kind"),  # promoted, rolled_back
    _must("decided_by"),
    _must("reason", Text),
    _must("recorded_at", Instant),
    comment="Append-only: which version serves from which moment on; champions are read from it.",
)

# --- speak up -------------------------------------------------------------------------------------

alert_signals = Table(
    "alert_signals",
    metadata,
    _key("as_of", Instant),
    _key("rule"),
    _key("deal_id"),
    _must("level", Integer),
    _must("scope"),  # the stage spell for a stall, empty for most
    _must("owner_id", String),  # empty when nobody owns the deal
    _must("amount", Float),
    _must("score", Integer),
    comment="Which rule held for which deal on which morning, at which level. Pure.",
)

alerts = Table(
    "alerts",
    metadata,
    _key("alert_id"),  # digest of the fingerprint and the opening moment
    _must("fingerprint"),
    _must("rule"),
    _must("deal_id"),  # empty where it is about a stage or segment
    _must("scope"),  # the stage spell for a stall; `stage: Proposal` without a deal; empty for most
    _must("opened_at", Instant),
    _must("last_seen_at", Instant),
    _must("level", Integer),
    _must("state"),  # open, acknowledged, snoozed, resolved
    Column("owner_id", String),  # who owned the deal when the alert was last seen
    Column("quiet_until", Instant),  # until when somebody's answer keeps it quiet, unless it gets worse
    Column("is_held_out", Boolean),  # drawn to stay silent, so that the effect of telling can be measured
    Column("resolved_at", Instant),
    Column("resolution", String),  # cleared, won, lost, deleted, rule_retired
    Index(None, "deal_id"),
    comment="Episodes: runs of signals under one fingerprint, opening to resolution. Derived.",
)

alert_events = Table(
    "alert_events",
    metadata,
    _key("alert_id"),
    _key("at", Instant),
    _key("kind"),  # opened, escalated, reopened, handed_over, acknowledged, snoozed, resolved, held
    _must("reason"),
    _must("fingerprint"),  # the alert's: it outlives the alert_id, which an earlier morning can change
    comment="What happened to an episode and why; every silence is a row with its reason.",
)

deliveries = Table(
    "deliveries",
    metadata,
    _key("delivery_id"),  # digest of alert or digest, moment, kind, recipient, channel and address
    Column("alert_id", String),  # null for digests, operations notices and when the alert is no more
    Column(
        "fingerprint", String
    ),  # the alert's: it outlives the alert_id, which an earlier morning can change
    _must("as_of", Instant),
    _must("kind"),  # alert, digest, manager_digest, channel_digest, trend, review, update, operations
    _must("recipient"),
    _must("channel"),
    _must("address"),
    _must("state"),  # not_sent, queued, sending, sent, uncertain, dead, cancelled
    _must("reason"),  # empty when it was or will be sent
    _must("message", JSON),
    _must("not_before", Instant),
    _must("expires_at", Instant),
    _must("attempts", Integer),
    Column("claim_token", String),
    Column("first_claimed_at", Instant),
    Column("lease_until", Instant),
    Column("sent_at", Instant),
    Column("provider_ref", String),
    Column("last_error", Text),
    Column("edits", String),  # the delivery whose message this one changes
    Column("follows", String),  # the delivery in whose thread this one stands
    Column("first_channel", String),  # the channel that failed, when this one stands in for it
    Index(None, "state", "not_before"),
    Index(None, "as_of"),
    comment="The outbox: each message once, sent or not, with the reason and the provider's receipt.",
)

pictures = Table(
    "pictures",
    metadata,
    _key("sha256"),  # of the PNG: the same picture is one row
    _must("png", LargeBinary),
    comment="The pictures that messages of `deliveries` show, as they were composed.",
)

alert_actions = Table(
    "alert_actions",
    metadata,
    _key("action_id"),  # digest of the answer and of how many came before it: a second click is the same row
    _must("at", Instant),
    _must("fingerprint"),
    _must("rule"),
    _must("deal_id"),  # empty where the alert is about a stage or segment
    _must("kind"),  # acknowledged, snoozed, already_knew, false_alarm, useful
    _must("choice"),  # of a snooze: 1, 3 or 7 (days), next_step, close_date; else empty
    _must("reason", Text),
    _must("by"),  # who answered, as the way they came in proves it
    _must("via"),  # slack, email, shell, board
    _must("until", Instant),  # the end of the quiet it asked for, as it was promised then
    Column("close_date", Date),  # the deal's, of a snooze until the close date moves
    Column("delivery_id", String),  # the message that was answered
    _must("recorded_at", Instant),
    Index(None, "fingerprint"),
    comment="Append-only: what people answered to alerts; the fold and the evidence read it.",
)

recipient_choices = Table(
    "recipient_choices",
    metadata,
    _key("choice_id"),
    _must("at", Instant),
    _must("recipient"),
    _must("choice"),  # everything, digest_only, nothing
    Column("until", Date),  # the last day it holds; null: until another choice
    _must("by"),
    _must("via"),
    _must("recorded_at", Instant),
    Index(None, "recipient"),
    comment="Append-only: how people want to be told; the newest choice of a person holds.",
)

rule_books = Table(
    "rule_books",
    metadata,
    _key("digest"),
    _key("in_force_from", Instant),  # the first live morning it was used on
    _must("rules", JSON),  # text of each rule file by name
    _must("settings", JSON),  # the settings that decide who is told what; never a secret
    comment="The rules and settings that live mornings were decided by; `plan` compares with the newest.",
)

alert_mornings = Table(
    "alert_mornings",
    metadata,
    _key("as_of", Instant),
    _must(
        "is_live", Boolean
    ),  # messages were queued for real: a later fold leaves them and their silences alone
    comment="Mornings the alert fold has taken in.",
)

tellings = Table(
    "tellings",
    metadata,
    _key("delivery_id"),
    _key("fingerprint"),
    _must("as_of", Instant),
    _must("kind"),  # new, escalated, reminder
    _must("level", Integer),
    _must("amount", Float),
    _must("is_close_near", Boolean),
    Column("scored", Text),  # the deal's points and model then, as JSON: the next message tells what changed
    Index(None, "as_of"),
    comment="Which alerts a delivery tells about, and how they stood then; cooldowns go by it.",
)

rule_evidence = Table(
    "rule_evidence",
    metadata,
    _key("rule"),
    _key("level", Integer),
    _key("segment"),  # empty for all deals together, which is what proves a rule
    _key("measured_as_of", Instant),
    _must("alerted", Integer),  # deals alerted and resolved
    _must("lost", Integer),
    Column("base_rate", Float),
    Column("lift", Float),
    Column("lift_low", Float),
    Column("lift_high", Float),
    Column("losses", Integer),  # lost deals that the rule could have found
    Column("recall", Float),  # share of them alerted seven days or more before the loss
    Column("recall_low", Float),
    Column("recall_high", Float),
    Column("lead_days", Float),  # median days from the first alert to the loss
    Column("alerts_per_owner_week", Float),  # episodes opened
    Column("reopened_share", Float),  # of resolved episodes, reopened within alerts.reopen_days
    _must("proven", Boolean),
    _must("months", Integer),
    Column("condition", String),  # digest of what the rule held for; a changed rule has this record no more
    comment="Each rule's record by replay, against comparable deals.",
)

# --- write back -----------------------------------------------------------------------------------

written_back = Table(
    "written_back",
    metadata,
    _key("source"),
    _key("deal_id"),
    _must("state"),  # written, refused (not sent again until it changes); busy, gone, failed: sent again
    _must("digest"),  # of what the CRM said this to: values, fields, account
    _must("code"),  # the CRM's own word for why not; empty when it was written
    _must("as_of", Instant),  # the morning whose values they were
    _must("recorded_at", Instant),
    comment="What each deal's fields in the CRM were last told, and what the CRM said to it.",
)

# --- explain --------------------------------------------------------------------------------------


def _figure() -> list[Column[Any]]:
    """What every figure has beside its keys; a null value has its reason in `why`."""
    return [
        Column("value", Float),
        _must("n", Integer),  # deals it rests on
        Column("n_eff", Float),  # equal deals that would tell as much, where deals weigh differently
        Column("low", Float),  # of the 95% interval
        Column("high", Float),
        _must("why"),  # why there is no value, or no interval; else empty
        _must("kind"),  # share, points, money, money_a_day, days, count, ratio, index
    ]


def _of_review() -> list[Column[Any]]:
    return [_key("as_of", Instant), _key("period")]  # week, month


reviews = Table(
    "reviews",
    metadata,
    *_of_review(),
    _must("span"),  # the week or month that was over: 2026-W40, 2026-09
    _must("first_on", Date),
    _must("last_on", Date),
    _must("said", Integer),
    _must("refused", Integer),
    _must("review", JSON),  # all of it: findings, refusals, headline, frames, caveats; has figures of reps
    comment="Each review as it was composed; for managers, because figures of reps are in it.",
)

pipeline_metrics = Table(
    "pipeline_metrics",
    metadata,
    *_of_review(),
    _key("name"),  # see docs/metrics.md
    _key("scope"),  # window, before, year before, span, year, now; a week, quarter, or variant of forecast
    *_figure(),
    comment="Each review's figures of all deals together.",
)

segment_metrics = Table(
    "segment_metrics",
    metadata,
    *_of_review(),
    _key("name"),
    _key("dimension"),  # the column that makes the segments; stage; quarter_created
    _key("segment"),
    _key("scope"),  # year, before, after, change, year before
    *_figure(),
    Column("p", Float),  # that chance alone makes it
    Column("q", Float),  # that, adjusted for the comparisons beside it
    comment="Each review's figures by part of the business, stage and quarter of creation; never by rep.",
)

rep_metrics = Table(
    "rep_metrics",
    metadata,
    *_of_review(),
    _key("owner_id"),  # empty for all reps together
    _key("name"),
    Column("closed", Integer),
    Column("won", Integer),
    Column("expected", Float),  # wins of anybody who had been given these deals
    *_figure(),
    comment="Each review's figures by rep, over the past year; for managers only.",
)

trends = Table(
    "trends",
    metadata,
    _key("as_of", Instant),
    _key("rule"),  # stage_leaking, segment_falling
    _key("subject"),  # `stage: Proposal`, `industry: Retail`
    _must("fingerprint"),  # of the alert that it would be
    Column("level", Integer),  # 1: worse than chance explains; 0: still worse than the year before; else null
    _must("sentence", Text),  # empty where it is refused
    _must("refusal", Text),
    _must("n", Integer),
    Column("value", Float),  # the change in points against the 13 weeks before
    Column("low", Float),
    Column("high", Float),
    Column("p", Float),
    Column("q", Float),  # p, adjusted for all stages and segments of the week
    Column("has_lasted", Boolean),  # still worse than what an alert of 13 weeks ago compared with
    comment="Every stage and segment of each weekly review, and whether it got worse.",
)

trend_mornings = Table(
    "trend_mornings",
    metadata,
    _key("as_of", Instant),
    _must("is_live", Boolean),  # messages were queued for real: a later fold leaves them alone
    comment="Mondays whose trends the alert fold has taken in.",
)

NO_DEAL = ""  # the deal_id of an alert about a stage or segment; its scope says which

# Columns that tell when we wrote rather than what we know; two equal histories may differ in them.
WALL_CLOCK_COLUMNS = frozenset({"recorded_at", "settled_at"})
