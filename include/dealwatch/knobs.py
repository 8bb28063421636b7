"""The settings' sections: every knob with its type, its default and a sentence. `settings.py` reads them."""

from datetime import time
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

PROJECT = Path(__file__).resolve().parents[2]


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"{name!r} is no IANA time zone; write for example Europe/Berlin") from error
    return name


def _store(url: str) -> str:
    """A store's URL is told in messages and logs, so it may hold no secret."""
    parts = urlsplit(url)
    if ":" in parts.netloc.rpartition("@")[0] or parts.query:
        raise ValueError(
            "the URL of scoring.model_store holds credentials; put them into DEALWATCH_MODEL_STORE_OPTIONS "
            """as JSON, such as {"key": "...", "secret": "..."}, or into the connection dealwatch_models"""
        )
    return url


ZoneName = Annotated[str, AfterValidator(_zone)]
Share = Annotated[float, Field(gt=0, lt=1)]
SegmentColumn = Literal["industry", "region", "product_type", "lead_source"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Join(_Section):
    """Columns fetched from a second file of the same drop, by an equal key."""

    file: str = Field(description="The file that holds the columns, such as accounts.csv.")
    on: dict[str, str] = Field(
        description="Our file's column = the other file's column; the other is unique."
    )
    take: dict[str, str] = Field(description="Canonical name = the other file's column.")


class FileMapping(_Section):
    """How one file of a drop becomes records of the contract."""

    file: str = Field(description="File name in the drop; .csv or .csv.gz.")
    columns: dict[str, str] = Field(
        default_factory=dict, description="Canonical name = source column. Unnamed columns keep their name."
    )
    values: dict[str, dict[str, str]] = Field(
        default_factory=dict, description="Per canonical column: source word = our word. Words unnamed stay."
    )
    known_only_at_close: tuple[str, ...] = Field(
        default=(), description="Canonical columns whose value exists only once a deal is closed."
    )
    ignore: tuple[str, ...] = Field(default=(), description="Source columns left out on purpose.")
    joins: tuple[Join, ...] = Field(default=(), description="Columns fetched from other files of the drop.")
    delimiter: str = Field(default=",", min_length=1, max_length=1, description="One of , ; | or a tab.")
    encoding: Literal["utf-8", "cp1252", "latin-1"] = Field(
        default="utf-8", description="The file's text encoding; a byte-order mark is tolerated."
    )
    decimal: Literal[".", ","] = Field(
        default=".", description="The decimal mark of amounts; with a comma, points may part thousands."
    )
    date_format: str | None = Field(
        default=None, description="strptime format of dates and instants when they are not ISO, as %d/%m/%Y."
    )


class Source(_Section):
    """One place deals come from."""

    kind: Literal["files"] = Field(default="files", description="What it is: a folder of file drops.")
    path: Path = Field(
        description="Folder of the drop: the files themselves, or one folder a day named YYYY-MM-DD."
    )
    deals: FileMapping = FileMapping(file="deals.csv")
    deal_history: FileMapping | None = Field(
        default=FileMapping(file="deal_history.csv"), description="Absent file: changes come from comparing."
    )
    activities: FileMapping | None = FileMapping(file="activities.csv")
    owners: FileMapping | None = FileMapping(file="owners.csv")
    max_vanished_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="A drop that lacks more than this share of open deals is refused.",
    )


class Pipeline(_Section):
    """The sales process, in the CRM's own words."""

    stages: tuple[str, ...] = Field(
        default=(), description="Open stages in order. Empty: learned from history, and no stage is refused."
    )
    won_stages: tuple[str, ...] = Field(default=(), description="Stages that mean won.")
    lost_stages: tuple[str, ...] = Field(default=(), description="Stages that mean lost.")
    segment_by: tuple[SegmentColumn, ...] = Field(
        default=("product_type", "region"),
        description="Columns that make a segment for norms; small segments are pooled from the right.",
    )
    norm_minimum: int = Field(default=30, ge=5, description="Fewest finished spells for a norm of its own.")
    large_deal_quantile: Share = Field(
        default=0.9, description="A deal above this quantile of amount is large."
    )
    fiscal_year_starts: int = Field(default=1, ge=1, le=12, description="Month in which quarters begin.")


class Scoring(_Section):
    """The score: bands, panel, forest and gate."""

    bands: tuple[int, int, int] = Field(default=(25, 50, 75), description="Top of Low, Medium and High.")
    panel_every_days: int = Field(
        default=7, ge=1, description="Days between snapshots of the training panel, at most."
    )
    panel_months: int = Field(default=24, ge=1, description="How far back the training panel reaches.")
    trees: int = Field(default=200, ge=10, description="Trees in the forest.")
    max_depth: int = Field(default=8, ge=2, description="Depth of a tree; explanation pays for nodes.")
    min_leaf_weight_share: float = Field(
        default=0.001, gt=0, lt=0.5, description="Least share of the panel's weight in a leaf."
    )
    max_samples: float = Field(
        default=0.5, gt=0, le=1, description="Snapshots a tree draws, as a share of their weight in sum."
    )
    seed: int = Field(default=20120116, description="Seed of everything random in training and intervals.")
    train_minimum: int = Field(default=40, ge=10, description="Fewest won and fewest lost deals to train on.")
    alert_minimum: int = Field(default=200, ge=10, description="Fewest won and lost to alert on the model.")
    gate_auc_low: float = Field(default=0.55, description="The AUC's lower bound out of time must pass this.")
    gate_slope_off: float = Field(
        default=0.5,
        ge=0,
        description="How far from 1 the calibration slope may be for certain; 0.5 is from 0.67 to 1.5.",
    )
    gate_bias_off: float = Field(
        default=0.1, ge=0, description="How much more or less may be lost, for certain, than was said."
    )
    threads: int = Field(default=2, ge=1, description="Threads for training; predicting takes one.")
    model_store: Annotated[str, AfterValidator(_store)] = Field(
        default="",
        description="Where models live: empty is `models` in `home`; else a URL, as s3://bucket/dealwatch.",
    )
    auto_approve: bool = Field(
        default=False, description="Promote a better model without asking a person, within the bound below."
    )
    auto_approve_band_changes: float = Field(
        default=0.25, ge=0, le=1, description="Largest share of open deals that may change band unasked."
    )
    champion_days: int = Field(
        default=90, ge=1, description="A champion older than this gives way to a model that is as good."
    )
    approval_days: float = Field(
        default=7, gt=0, description="How long a new model waits for a person; then it is rejected."
    )
    late_after_hours: float = Field(
        default=4, gt=0, description="A training not done so long after its run was queued is late."
    )
    compare_minimum: int = Field(
        default=40, ge=10, description="Fewest won and lost deals to compare two models on."
    )


class Alerts(_Section):
    """When an alert may speak."""

    rules: Path = Field(default=PROJECT / "include" / "rules", description="Folder of rule files.")
    daily_budget: int = Field(default=3, ge=0, description="Single messages an owner gets per morning.")
    digest_top: int = Field(
        default=10, ge=1, le=10, description="Deals a digest lists before it says how many more."
    )
    reopen_days: int = Field(
        default=14, ge=0, description="An episode that returns within this is the same one."
    )
    max_reminders: int = Field(
        default=2, ge=0, description="Reminders before an alert lives in digests only."
    )
    amount_escalation_pct: int = Field(
        default=25, ge=1, description="Growth of the amount that breaks a cooldown."
    )
    close_date_near_days: int = Field(
        default=14, ge=0, description="A close date this near breaks a cooldown."
    )
    evidence_minimum: int = Field(
        default=100, ge=10, description="Resolved episodes before a rule can be proven."
    )
    evidence_months: int = Field(default=12, ge=1, description="How far back a rule's record reaches.")
    evidence_confidence: Share = Field(default=0.99, description="Confidence of the lift's interval.")
    plan_max_alerts_per_owner_week: float = Field(
        default=10,
        gt=0,
        description="`plan` fails above so many single messages per owner and week; 10: two a working day.",
    )
    late_after_minutes: float = Field(
        default=60, gt=0, description="A morning not scored so long after its run was queued is late."
    )
    stale_after_hours: int = Field(
        default=20, ge=1, description="Without an extract this close to the morning, or later, it is stale."
    )


class Delivery(_Section):
    """How messages travel."""

    channels: tuple[Literal["slack", "email", "folder"], ...] = Field(
        default=("slack", "email"), description="Used when connected, in this order; with none, the folder."
    )
    window_opens: time = Field(default=time(8), description="Earliest minute in the recipient's own zone.")
    window_closes: time = Field(default=time(20), description="Latest minute in the recipient's own zone.")
    expires_after_hours: int = Field(
        default=96, ge=1, description="A message older than this is not sent; a weekend must fit in."
    )
    lease_seconds: int = Field(default=60, ge=30, description="How long a claim on a message lasts.")
    timeout_seconds: int = Field(
        default=10, ge=1, le=10, description="How long a channel waits for each answer of its provider."
    )
    max_attempts: int = Field(
        default=5, ge=1, description="Tries before a message is given up, with its reason."
    )
    operations_email: str | None = Field(default=None, description="Who hears that data is stale, by e-mail.")
    operations_slack: str | None = Field(default=None, description="Channel id that hears it, in Slack.")
    revops_email: str | None = Field(
        default=None, description="Who hears of deals without an owner, by e-mail."
    )
    revops_slack: str | None = Field(
        default=None, description="Channel id for deals without an owner, in Slack."
    )
    sender: str = Field(default="dealwatch@localhost", description="From address of e-mails.")
    crm_deal_url: str | None = Field(
        default=None,
        description="Link to a deal, with {deal_id} in it, as https://crm.example.com/deal/{deal_id}.",
    )


class Smtp(_Section):
    """Where e-mail goes out; filled from the Airflow connection `smtp_default` when there is one."""

    host: str = Field(description="Name or address of the server.")
    port: int = Field(
        default=587, ge=1, le=65535, description="587 with STARTTLS, 465 with TLS from the start."
    )
    user: str | None = Field(default=None, description="Who logs in; none: no login.")
    password: SecretStr | None = Field(default=None, description="The login's password.")
    starttls: bool = Field(default=True, description="Turn to TLS after connecting.")
    ssl: bool = Field(default=False, description="TLS from the start; then no STARTTLS.")
    verify: bool = Field(
        default=True, description="Check the server's certificate; off only for a trusted net."
    )
