"""Every knob of dealwatch: one TOML file, with `DEALWATCH_*` environment variables over it.

Read once by `load`, passed down, never changed. Nested names join with two underscores in the environment:
`DEALWATCH_ALERTS__DAILY_BUDGET=5`. Relative paths in the file are relative to the file.
"""

import json
import os
import tomllib
from collections.abc import Callable, Mapping
from datetime import time
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as Unparsed

from dealwatch import environment
from dealwatch.errors import SettingsError

PROJECT = Path(__file__).resolve().parents[2]


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"{name!r} is no IANA time zone; write for example Europe/Berlin") from error
    return name


KEY_LENGTH = 32  # characters


def _key(key: SecretStr | None) -> SecretStr | None:
    if key is not None and len(key.get_secret_value()) < KEY_LENGTH:
        raise ValueError(
            f"a signing key has {KEY_LENGTH} characters or more; make one with "
            """python3 -c "import secrets; print(secrets.token_hex(48))" """.rstrip()
        )
    return key


def _store(url: str) -> str:
    """A store's URL is told in messages and logs, so it may hold no secret."""
    parts = urlsplit(url)
    if ":" in parts.netloc.rpartition("@")[0] or parts.query:
        raise ValueError(
            "the URL of scoring.model_store holds credentials; put them into DEALWATCH_MODEL_STORE_OPTIONS "
            """as JSON, such as {"key": "...", "secret": "..."}, or into the connection dealwatch_models"""
        )
    return url


def _options(text: SecretStr | None) -> SecretStr | None:
    try:
        is_table = text is None or isinstance(json.loads(text.get_secret_value()), dict)
    except ValueError:
        is_table = False
    if not is_table:
        raise ValueError("""model_store_options is no JSON table; write {"key": "...", "secret": "..."}""")
    return text


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


class Settings(BaseSettings):
    """All settings. `load` reads them; nothing else in the package touches the environment."""

    model_config = SettingsConfigDict(
        env_prefix="DEALWATCH_", env_nested_delimiter="__", extra="forbid", frozen=True, env_ignore_empty=True
    )

    home: Path = Field(default=PROJECT / "var", description="Where files live: ledger, models, outbox.")
    tenant: str = Field(default="default", description="Part of every alert's fingerprint.")
    time_zone: ZoneName = Field(
        default="Europe/Berlin", description="The organisation's zone: 06:00 is meant here."
    )
    morning: time = Field(
        default=time(6), description="When a day's scores are taken, in the organisation's zone."
    )
    currency: str = Field(
        default="EUR", description="Currency that amounts are shown in when a deal names none."
    )
    warehouse_url: SecretStr | None = Field(
        default=None, description="SQLAlchemy URL of the warehouse; without it, SQLite in `home`."
    )
    signing_key: Annotated[SecretStr | None, AfterValidator(_key)] = Field(
        default=None,
        description="Signs model manifests; 32 characters or more; without it, a key made once in `home`.",
    )
    model_store_options: Annotated[SecretStr | None, AfterValidator(_options)] = Field(
        default=None,
        description="JSON options of the model store's driver; else Airflow's `dealwatch_models`.",
    )
    slack_token: SecretStr | None = Field(
        default=None, description="Bot token; else Airflow's `slack_default`."
    )
    slack_url: str = Field(
        default="https://slack.com/api/", description="Slack's API; tests point it elsewhere."
    )
    smtp: Smtp | None = Field(default=None, description="Mail server; else Airflow's `smtp_default`.")
    sources: dict[str, Source] = Field(default_factory=dict, description="Where deals come from, by name.")
    pipeline: Pipeline = Pipeline()
    scoring: Scoring = Scoring()
    alerts: Alerts = Alerts()
    delivery: Delivery = Delivery()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, which `load` passes as keyword arguments."""
        return env_settings, init_settings

    @model_validator(mode="after")
    def _bands_rise(self) -> Self:
        low, medium, high = self.scoring.bands
        if not 0 < low < medium < high < 100:
            raise ValueError("scoring.bands must rise between 0 and 100, as [25, 50, 75]")
        return self

    @model_validator(mode="after")
    def _shared_models_have_a_shared_key(self) -> Self:
        if self.scoring.model_store and self.signing_key is None:
            raise ValueError(
                "scoring.model_store is shared: set DEALWATCH_SIGNING_KEY, the same for all workers"
            )
        return self

    @model_validator(mode="after")
    def _window_is_open(self) -> Self:
        if self.delivery.window_opens >= self.delivery.window_closes:
            raise ValueError("delivery.window_opens must come before delivery.window_closes")
        return self

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    @property
    def url(self) -> str:
        """The warehouse's SQLAlchemy URL, password included: for `warehouse.connect` only."""
        if self.warehouse_url is not None:
            return _sqlalchemy_url(self.warehouse_url.get_secret_value())
        return f"sqlite:///{self.home / 'dealwatch.db'}"


def load(path: Path | None = None, *, connection: Callable[[str], Any] | None = None) -> Settings:
    """Settings from `path`, else from the file that DEALWATCH_SETTINGS names, else the defaults.

    `connection` looks an Airflow connection up by id and answers None when there is none; what the settings
    leave open is filled from `dealwatch_warehouse`, `dealwatch_models`, `slack_default` and `smtp_default`.
    Raises SettingsError naming the file and the key, or the variable, and what is wrong with it.
    """
    environment.check_names(os.environ, Settings)
    if path is None and os.environ.get("DEALWATCH_SETTINGS"):
        path = Path(os.environ["DEALWATCH_SETTINGS"])
    values = _read(path) if path else {}
    try:
        settings = Settings(**values)
    except Unparsed:
        raise SettingsError(
            f"environment variable {_unparsed()}: not JSON; write a list or a table as JSON, as in\n"
            """  DEALWATCH_SCORING__BANDS='[25, 50, 75]'"""
        ) from None
    except ValidationError as error:
        told = [_said(path, e) for e in error.errors(include_input=False)]
        raise SettingsError("\n  ".join(["these settings cannot be used:", *told])) from None
    return settings if connection is None else _with_connections(settings, connection)


def _said(path: Path | None, error: Any) -> str:
    """Where a setting that cannot be used was written, and what is wrong with it."""
    place, words = error["loc"], error["msg"].removeprefix("Value error, ")
    name = environment.origin(place, words, os.environ) or ("" if path else environment.variable(place))
    where = [f"environment variable {name}" if name else str(path), ".".join(map(str, place))]
    what = "there is no such setting" if error["type"] == "extra_forbidden" else words
    return ": ".join(part for part in (*where, what) if part)


def _unparsed() -> str:
    """Which variable is not the JSON it should be: each is asked alone."""
    source = EnvSettingsSource(Settings)
    for name, value in sorted(source.env_vars.items()):
        source.env_vars = {name: value}
        try:
            source()
        except Unparsed:
            return name.upper()
    return "DEALWATCH_*"


def _read(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            f"{path}: no such settings file; check --settings or DEALWATCH_SETTINGS"
        ) from None
    except OSError as error:
        raise SettingsError(f"{path}: the settings file cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not a TOML file: {error}") from error
    here = path.resolve().parent
    if isinstance(values.get("home"), str):
        values["home"] = here / values["home"]
    if isinstance(values.get("alerts"), Mapping) and isinstance(values["alerts"].get("rules"), str):
        values["alerts"] = {**values["alerts"], "rules": here / values["alerts"]["rules"]}
    if isinstance(values.get("sources"), Mapping):
        values["sources"] = {
            name: {**source, "path": here / source["path"]}
            if isinstance(source, Mapping) and isinstance(source.get("path"), str)
            else source
            for name, source in values["sources"].items()
        }
    return values


def _with_connections(settings: Settings, connection: Callable[[str], Any]) -> Settings:
    found: dict[str, Any] = {}
    if settings.warehouse_url is None and (warehouse := connection("dealwatch_warehouse")) is not None:
        found["warehouse_url"] = SecretStr(_sqlalchemy_url(warehouse.get_uri()))
    if settings.slack_token is None and (slack := connection("slack_default")) is not None:
        if slack.password:  # a connection without a token cannot send, so it does not count
            found["slack_token"] = SecretStr(slack.password)
        if base_url := slack.extra_dejson.get("base_url"):
            found["slack_url"] = base_url
    if settings.model_store_options is None and (models := connection("dealwatch_models")) is not None:
        found["model_store_options"] = SecretStr(json.dumps(models.extra_dejson))
    if settings.smtp is None and (smtp := connection("smtp_default")) is not None:
        extra = smtp.extra_dejson
        ssl = not _is_true(extra.get("disable_ssl", False))  # the provider's own default
        found["smtp"] = Smtp(
            host=smtp.host,
            port=smtp.port or (465 if ssl else 587),
            user=smtp.login,
            password=SecretStr(smtp.password) if smtp.password else None,
            starttls=not ssl and not _is_true(extra.get("disable_tls", False)),
            ssl=ssl,
            verify=extra.get("ssl_context") != "none",
        )
        if extra.get("from_email"):
            found["delivery"] = settings.delivery.model_copy(update={"sender": extra["from_email"]})
    return settings.model_copy(update=found)


def _is_true(value: Any) -> bool:
    """A switch of a connection's extra: written in a URI it arrives as text."""
    return str(value).strip().lower() in {"1", "true", "t", "yes", "y", "on"}


def _sqlalchemy_url(uri: str) -> str:
    """Airflow writes postgres://, SQLAlchemy wants a dialect and we want its psycopg 3 driver."""
    scheme, separator, rest = uri.partition("://")
    return ("postgresql+psycopg" if scheme in {"postgres", "postgresql"} else scheme) + separator + rest
