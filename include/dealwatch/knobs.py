"""The settings' sections: every knob with its type, its default and a sentence. `settings.py` reads them."""

from datetime import time
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from dealwatch import checks

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


def _drop_url(url: str) -> str:
    """Where drops lie is told in messages and logs, so it may hold no secret."""
    parts = urlsplit(url)
    if url and (parts.scheme not in {"s3", "sftp"} or not parts.hostname or parts.query or parts.fragment):
        raise ValueError("url is s3://BUCKET/FOLDER or sftp://HOST/FOLDER; name a folder here by path")
    if "@" in parts.netloc:
        raise ValueError("url holds a user or a password; put them into the source's connection")
    return url.rstrip("/")


def _address(url: str | None) -> str | None:
    """Where people reach us, without the slash at its end; links in messages are made of it."""
    if url is None:
        return None
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise ValueError("it is an address such as https://airflow.example.com")
    if parts.query or parts.fragment:
        raise ValueError("it ends with the host or a path, without ? and #")
    return url.rstrip("/")


ZoneName = Annotated[str, AfterValidator(_zone)]
Share = Annotated[float, Field(gt=0, lt=1)]
VanishedShare = Annotated[
    float,
    Field(gt=0, le=1, description="A drop that lacks more than this share of open deals is refused."),
]
SegmentColumn = Literal["industry", "region", "product_type", "lead_source"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Join(Section):
    """Columns fetched from a second file of the same drop, by an equal key."""

    file: str = Field(description="The file that holds the columns, such as accounts.csv.")
    on: dict[str, str] = Field(
        description="Our file's column = the other file's column; the other is unique."
    )
    take: dict[str, str] = Field(description="Canonical name = the other file's column.")


class RecordMapping(Section):
    """How records of a source, in its own columns and words, become records of the contract."""

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
    decimal: Literal[".", ","] = Field(
        default=".", description="The decimal mark of amounts; with a comma, points may part thousands."
    )
    date_format: str | None = Field(
        default=None, description="strptime format of dates and instants when they are not ISO, as %d/%m/%Y."
    )


class FileMapping(RecordMapping):
    """How one file of a drop becomes records of the contract."""

    file: str = Field(description="File name in the drop; .csv or .csv.gz.")
    delimiter: str = Field(default=",", min_length=1, max_length=1, description="One of , ; | or a tab.")
    encoding: Literal["utf-8", "cp1252", "latin-1"] = Field(
        default="utf-8", description="The file's text encoding; a byte-order mark is tolerated."
    )


class Access(Section):
    """Where a live source is and as whom it is read; what is blank counts as not said."""

    host: str | None = Field(default=None, description="Host of the source, where its kind asks for one.")
    port: int | None = Field(default=None, ge=1, le=65535, description="Its port, where it is no usual one.")
    login: str | None = Field(default=None, description="Who reads.")
    password: SecretStr | None = Field(default=None, description="The password or token.")
    extra: dict[str, SecretStr] = Field(
        default_factory=dict, description="What else the connection says, such as consumer_secret."
    )


class Source(Section):
    """One place deals come from."""

    kind: Literal["files"] = Field(default="files", description="What it is: a folder of file drops.")
    path: Path = Field(
        default=Path(),
        description="Folder of the drop: the files themselves, or one folder a day named YYYY-MM-DD.",
    )
    url: Annotated[str, AfterValidator(_drop_url)] = Field(
        default="", description="Instead of path: s3://BUCKET/FOLDER or sftp://HOST/FOLDER."
    )
    connection: str | None = Field(
        default=None, description="Id of url's Airflow connection; without it, the source's own name."
    )
    access: Access | None = Field(
        default=None, description="What the connection says, where there is no Airflow to ask."
    )
    settle_minutes: int = Field(
        default=0, ge=0, description="A drop with a file changed within so many minutes is left for later."
    )
    ready_by: Literal["", "_SUCCESS", "sha256"] = Field(
        default="",
        description="What the exporter writes last: _SUCCESS beside the files, or FILE.sha256 for each.",
    )
    deals: FileMapping = FileMapping(file="deals.csv")
    deal_history: FileMapping | None = Field(
        default=FileMapping(file="deal_history.csv"), description="Absent file: changes come from comparing."
    )
    activities: FileMapping | None = FileMapping(file="activities.csv")
    owners: FileMapping | None = FileMapping(file="owners.csv")
    max_vanished_share: VanishedShare = 0.5

    @model_validator(mode="after")
    def _lies_in_one_place(self) -> Self:
        if bool(self.url) == ("path" in self.model_fields_set):
            raise ValueError("say where the files are: by path, or by url")
        return self

    @property
    def is_fetched(self) -> bool:
        """Whether its drops are looked at, and copied, before they are read."""
        return bool(self.url or self.settle_minutes or self.ready_by)


class Pipeline(Section):
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
    reason_column: str = Field(
        default="", description="Column that says why a deal was closed. Empty: no reason is read."
    )
    no_deal_reasons: tuple[str, ...] = Field(
        default=(),
        description="Reasons that mean there was no deal, as Duplicate: in no metric of the review.",
    )
    fiscal_year_starts: int = Field(default=1, ge=1, le=12, description="Month in which quarters begin.")


class Scoring(Section):
    """The score: bands, panel, forest and gate."""

    bands: tuple[int, int, int] = Field(default=(25, 50, 75), description="Top of Low, Medium and High.")
    panel_every_days: int = Field(
        default=7, ge=1, description="Days between snapshots of the training panel, at most."
    )
    panel_months: int = Field(default=24, ge=1, description="How far back the training panel reaches.")
    panel_deals: int = Field(
        default=160_000,
        ge=100,
        description="Deals open on the panel's mornings, at most; of more so many are drawn by lot.",
    )
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


class Alerts(Section):
    """When an alert may speak."""

    rules: Path = Field(default=PROJECT / "include" / "rules", description="Folder of rule files.")
    daily_budget: int = Field(default=3, ge=0, description="Single messages an owner gets per morning.")
    leadership_budget: int = Field(
        default=3, ge=0, description="Single messages an address of delivery.leadership gets per morning."
    )
    manager_digest: bool = Field(
        default=True, description="Managers get one message a morning with what is new in their team."
    )
    manager_budget: int = Field(default=10, ge=1, le=10, description="Deals a manager's digest lists.")
    unanswered_days: int = Field(
        default=2,
        ge=0,
        description="Business days until an unanswered critical alert goes to the manager; 0: never.",
    )
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
    acknowledged_days: int = Field(
        default=7, ge=1, description="Days an answered alert stays quiet unless it gets worse."
    )
    snooze_max_days: int = Field(
        default=60, ge=1, description="Days after which every snooze ends, whatever it waited for."
    )
    holdout_share: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of deals drawn to get no alerts, so that the effect of telling can be measured.",
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
    volume_fall_pct: int = Field(
        default=20, ge=1, le=100, description="Fall of a drop's deals that makes it incomplete."
    )
    volume_minimum: int = Field(
        default=50, ge=1, description="A source that usually tells of fewer deals may fall as it likes."
    )


class TeamChannel(Section):
    """A shared channel and the deals it hears of: one summary a morning, without the names of owners."""

    where: dict[SegmentColumn, str] = Field(
        description="The deals meant: column = value, all of them, in the CRM's words."
    )
    slack: Annotated[str | None, AfterValidator(checks.slack_channel)] = Field(
        default=None, description="Id of a Slack channel. One of slack, teams and email says where."
    )
    teams: str | None = Field(default=None, description="Name of a Teams channel.")
    email: Annotated[str | None, AfterValidator(checks.email)] = Field(
        default=None, description="Address of a mailing list."
    )
    time_zone: Annotated[str | None, AfterValidator(checks.zone)] = Field(
        default=None, description="Zone whose hours and holidays the channel keeps; else the organisation's."
    )

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        if not self.where:
            raise ValueError("""where is empty; write for example where = {region = "EMEA"}""")
        if sum(bool(way) for way in (self.slack, self.teams, self.email)) != 1:
            raise ValueError(
                """write one of slack = "C0123ABCD", teams = "name" and email = "a@example.com\""""
            )
        return self


class Delivery(Section):
    """How messages travel."""

    channels: tuple[Literal["slack", "email", "teams", "folder"], ...] = Field(
        default=("slack", "email", "teams"),
        description="Used when connected, in this order; with none, the folder.",
    )
    window_opens: time = Field(default=time(8), description="Earliest minute in the recipient's own zone.")
    window_closes: time = Field(default=time(20), description="Latest minute in the recipient's own zone.")
    expires_after_hours: int = Field(
        default=96,
        ge=1,
        le=720,
        description="A message older than this is not sent; a weekend must fit in, a month is the most.",
    )
    lease_seconds: int = Field(default=60, ge=30, description="How long a claim on a message lasts.")
    timeout_seconds: int = Field(
        default=10, ge=1, le=10, description="How long a channel waits for each answer of its provider."
    )
    max_attempts: int = Field(
        default=5, ge=1, description="Tries before a message is given up, with its reason."
    )
    fallback_after: int = Field(
        default=3, ge=1, description="Failed tries by Slack or Teams before a message goes by e-mail."
    )
    slack_pause_seconds: float = Field(
        default=1.0, ge=0, description="Seconds between two messages to one Slack channel."
    )
    teams_hosts: tuple[str, ...] = Field(
        default=("logic.azure.com", "environment.api.powerplatform.com"),
        description="Hosts that a Teams URL may lead to, with all below them.",
    )
    operations_email: str | None = Field(default=None, description="Who hears that data is stale, by e-mail.")
    operations_slack: str | None = Field(default=None, description="Channel id that hears it, in Slack.")
    revops_email: str | None = Field(
        default=None, description="Who hears of deals without an owner, by e-mail."
    )
    revops_slack: str | None = Field(
        default=None, description="Channel id for deals without an owner, in Slack."
    )
    channel_map: tuple[TeamChannel, ...] = Field(
        default=(), description="Shared channels and the deals each hears of."
    )
    leadership_amount: float | None = Field(
        default=None, gt=0, description="Alerts of deals of this amount or more go to leadership too."
    )
    leadership: Annotated[tuple[str, ...], AfterValidator(checks.leaders)] = Field(
        default=(), description="E-mail addresses and Slack channel ids of leadership."
    )
    holidays: bool = Field(
        default=True, description="Public holidays where the recipient works count as weekends do."
    )
    countries: Annotated[dict[str, str], AfterValidator(checks.countries)] = Field(
        default_factory=dict,
        description="Zone = country or part, as DE-BY, when the zone does not tell; empty: no holidays.",
    )
    public_url: Annotated[str | None, AfterValidator(_address)] = Field(
        default=None,
        description="Where people reach Airflow's web server, as https://airflow.example.com; e-mail "
        "gets its buttons and the link to a person's settings by it.",
    )
    operations_teams: str | None = Field(
        default=None, description="Name in [teams] of the webhook that hears it, in Teams."
    )
    revops_teams: str | None = Field(
        default=None, description="Name in [teams] of the webhook for deals without an owner."
    )
    sender: str = Field(default="dealwatch@localhost", description="From address of e-mails.")
    crm_deal_url: str | None = Field(
        default=None,
        description="Link to a deal, with {deal_id} in it, as https://crm.example.com/deal/{deal_id}.",
    )

    @model_validator(mode="after")
    def _leadership_is_whole(self) -> Self:
        if self.leadership_amount is not None and not self.leadership:
            raise ValueError(
                """leadership_amount is set and nobody is named; add leadership = ["cro@example.com"]"""
            )
        if self.leadership and self.leadership_amount is None:
            raise ValueError("leadership is set without an amount; add leadership_amount = 100000")
        return self


class Review(Section):
    """Who reads the review of the week and the month, and the alerts of stages and segments beside it."""

    to: Annotated[tuple[str, ...], AfterValidator(checks.review_places)] = Field(
        default=(),
        description="E-mail addresses, Slack channel ids and teams:NAME of webhooks that get everyone's "
        "version, which names no rep.",
    )
    managers: Annotated[tuple[str, ...], AfterValidator(checks.managers)] = Field(
        default=(),
        description="E-mail addresses and Slack user ids, never a channel, that get the version which names "
        "reps, and the alerts of stages and segments; without any, those go to whom others report to.",
    )
    board_url: Annotated[str | None, AfterValidator(_address)] = Field(
        default=None,
        description="Where readers, logged in, reach Airflow's web server, as https://airflow.example.com; "
        "the message links to the whole review by it.",
    )
    targets: Annotated[dict[str, float], AfterValidator(checks.targets)] = Field(
        default_factory=dict,
        description="Money to win in a fiscal quarter, by its name in the review, as 2026Q4 = 1200000.",
    )
    alerts: bool = Field(
        default=True, description="Whether managers are alerted when a stage or segment deteriorates."
    )
    alert_cooldown_days: int = Field(
        default=10, ge=5, le=90, description="Business days before such an alert is said again."
    )


class Smtp(Section):
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
