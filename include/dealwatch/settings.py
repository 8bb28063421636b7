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
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as Unparsed

from dealwatch import environment
from dealwatch.errors import SettingsError
from dealwatch.knobs import PROJECT, Alerts, Delivery, Pipeline, Review, Scoring, Smtp, ZoneName
from dealwatch.sources import KINDS, AnySource, Gates, connected, tells_events
from dealwatch.written_fields import check_nothing_is_read_back

KEY_LENGTH = 32  # characters


def _key(key: SecretStr | None) -> SecretStr | None:
    if key is not None and len(key.get_secret_value()) < KEY_LENGTH:
        raise ValueError(
            f"a signing key has {KEY_LENGTH} characters or more; make one with "
            """python3 -c "import secrets; print(secrets.token_hex(48))" """.rstrip()
        )
    return key


def _options(text: SecretStr | None) -> SecretStr | None:
    try:
        is_table = text is None or isinstance(json.loads(text.get_secret_value()), dict)
    except ValueError:
        is_table = False
    if not is_table:
        raise ValueError("""model_store_options is no JSON table; write {"key": "...", "secret": "..."}""")
    return text


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
        description="Signs model manifests and links; 32 characters or more; without it, a key made once "
        "in `home`.",
    )
    model_store_options: Annotated[SecretStr | None, AfterValidator(_options)] = Field(
        default=None,
        description="JSON options of the model store's driver; else Airflow's `dealwatch_models`.",
    )
    slack_token: SecretStr | None = Field(
        default=None, description="Bot token; else Airflow's `slack_default`."
    )
    slack_signing_secret: SecretStr | None = Field(
        default=None,
        description="Proves that a click comes from Slack; else `signing_secret` in the extra of Airflow's "
        "`slack_default`. Without it no click is taken.",
    )
    slack_url: str = Field(
        default="https://slack.com/api/", description="Slack's API; tests point it elsewhere."
    )
    smtp: Smtp | None = Field(default=None, description="Mail server; else Airflow's `smtp_default`.")
    teams: dict[str, SecretStr] = Field(
        default_factory=dict,
        description="URLs of Teams workflows by name, as DEALWATCH_TEAMS__SALES; else Airflow's "
        "`teams_default`.",
    )
    sources: dict[str, AnySource] = Field(default_factory=dict, description="Where deals come from, by name.")
    gates: Gates = Gates()
    pipeline: Pipeline = Pipeline()
    scoring: Scoring = Scoring()
    alerts: Alerts = Alerts()
    delivery: Delivery = Delivery()
    review: Review = Review()

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
    def _events_have_an_address(self) -> Self:
        telling = [name for name, source in self.sources.items() if tells_events(source)]
        if telling and self.delivery.public_url is None:
            raise ValueError(f"sources.{telling[0]}.events go to an address of ours: set delivery.public_url")
        return self

    @model_validator(mode="after")
    def _targets_name_our_quarters(self) -> Self:
        is_calendar = self.pipeline.fiscal_year_starts == 1
        for name in self.review.targets:
            if name.startswith("FY") == is_calendar:
                shown = name.removeprefix("FY") if is_calendar else f"FY{name}"
                raise ValueError(
                    f"review.targets.{name} is no quarter of ours: with pipeline.fiscal_year_starts = "
                    f"{self.pipeline.fiscal_year_starts} the review calls quarters as {shown}"
                )
        return self

    @model_validator(mode="after")
    def _window_is_open(self) -> Self:
        if self.delivery.window_opens >= self.delivery.window_closes:
            raise ValueError("delivery.window_opens must come before delivery.window_closes")
        return self

    @model_validator(mode="after")
    def _nothing_written_is_read(self) -> Self:
        check_nothing_is_read_back(self.sources)
        return self

    @property
    def has_events(self) -> bool:
        """Whether some source tells of changes at once."""
        return any(map(tells_events, self.sources.values()))

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
    leave open is filled from `dealwatch_warehouse`, `dealwatch_models`, `slack_default`, `teams_default` and
    `smtp_default`, and how a live source is reached from the connection that it names, or of its own name.
    Without it, a shell that has no Airflow, sources are reached by AIRFLOW_CONN_<ID> of the environment.
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
    if connection is not None:
        return _with_connections(settings, connection)
    return settings.model_copy(
        update={"sources": _reached(settings, lambda name: environment.connection_of(name, os.environ))}
    )


def _said(path: Path | None, error: Any) -> str:
    """Where a setting that cannot be used was written, and what is wrong with it."""
    place, words = _written_place(error["loc"]), error["msg"].removeprefix("Value error, ")
    name = environment.origin(place, words, os.environ) or ("" if path else environment.variable(place))
    where = [f"environment variable {name}" if name else str(path), ".".join(map(str, place))]
    what = "there is no such setting" if error["type"] == "extra_forbidden" else words
    return ": ".join(part for part in (*where, what) if part)


def _written_place(place: tuple[Any, ...]) -> tuple[Any, ...]:
    """Where a person wrote it: pydantic names the kind of a source on the way, which no file does."""
    is_source = place[:1] == ("sources",) and len(place) > 2 and place[2] in KINDS
    return (*place[:2], *place[3:]) if is_source else place


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


def _reached(settings: Settings, connection: Callable[[str], Any]) -> dict[str, AnySource]:
    return {name: connected(name, one, connection) for name, one in settings.sources.items()}


def _with_connections(settings: Settings, connection: Callable[[str], Any]) -> Settings:
    found: dict[str, Any] = {"sources": _reached(settings, connection)}
    if settings.warehouse_url is None and (warehouse := connection("dealwatch_warehouse")) is not None:
        found["warehouse_url"] = SecretStr(_sqlalchemy_url(warehouse.get_uri()))
    is_open = None in (settings.slack_token, settings.slack_signing_secret)
    if is_open and (slack := connection("slack_default")) is not None:
        found |= _of_slack(settings, slack)
    if not settings.teams and (teams := connection("teams_default")) is not None:
        found["teams"] = {name: SecretStr(str(url)) for name, url in teams.extra_dejson.items()}
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


def _of_slack(settings: Settings, slack: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if settings.slack_token is None:
        if slack.password:  # a connection without a token cannot send, so it does not count
            found["slack_token"] = SecretStr(slack.password)
        if base_url := slack.extra_dejson.get("base_url"):
            found["slack_url"] = base_url
    if settings.slack_signing_secret is None and (secret := slack.extra_dejson.get("signing_secret")):
        found["slack_signing_secret"] = SecretStr(secret)
    return found


def _is_true(value: Any) -> bool:
    """A switch of a connection's extra: written in a URI it arrives as text."""
    return str(value).strip().lower() in {"1", "true", "t", "yes", "y", "on"}


def _sqlalchemy_url(uri: str) -> str:
    """Airflow writes postgres://, SQLAlchemy wants a dialect and we want its psycopg 3 driver."""
    scheme, separator, rest = uri.partition("://")
    return ("postgresql+psycopg" if scheme in {"postgres", "postgresql"} else scheme) + separator + rest
