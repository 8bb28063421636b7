"""Where deals come from: every kind of source with its settings, and what a connection says about a live one.

A live kind is a class here, a line in `AnySource` and a line in `crm/readers.py`.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, SecretStr, Tag

from dealwatch.knobs import RecordMapping, Section, Source, VanishedShare


class Access(Section):
    """Where a live source is and as whom it is read; what is blank counts as not said."""

    host: str | None = Field(default=None, description="Host of the source, where its kind asks for one.")
    port: int | None = Field(default=None, ge=1, le=65535, description="Its port, where it is no usual one.")
    login: str | None = Field(default=None, description="Who reads.")
    password: SecretStr | None = Field(default=None, description="The password or token.")
    extra: dict[str, SecretStr] = Field(
        default_factory=dict, description="What else the connection says, such as consumer_secret."
    )


class LiveSource(Section):
    """What every source that is asked over the network has in common."""

    kind: str
    connection: str | None = Field(
        default=None, description="Id of the Airflow connection; without it, the source's own name."
    )
    access: Access | None = Field(
        default=None, description="What the connection says, where there is no Airflow to ask."
    )
    max_vanished_share: VanishedShare = 0.5
    overlap_hours: int = Field(
        default=24, ge=1, description="How far before the last extract changes are asked for again."
    )
    max_quota_share: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Share of the day's requests that may be used, by all together; beyond, extracts wait.",
    )
    deals: RecordMapping = RecordMapping()

    @property
    def overlap(self) -> timedelta:
        return timedelta(hours=self.overlap_hours)


class Salesforce(LiveSource):
    """Salesforce, read by its Bulk and REST APIs."""

    kind: Literal["salesforce"] = Field(description="salesforce: read by its Bulk and REST APIs.")
    api_version: str = Field(
        default="64.0",
        pattern=r"^\d{2,3}\.0$",
        description="Version of the API; the org says which it offers.",
    )
    currency: str | None = Field(
        default=None,
        pattern="^[A-Z]{3}$",
        description="What amounts are brought to in an org of several currencies; without it, the org's own.",
    )


class HubSpot(LiveSource):
    """HubSpot, listed in full every night."""

    kind: Literal["hubspot"] = Field(description="hubspot: listed in full every night.")
    version: str = Field(
        default="2026-09", description="HubSpot's API version, YYYY-MM; each is served for 18 months."
    )
    touches: tuple[Literal["calls", "emails", "meetings", "notes", "tasks"], ...] = Field(
        default=("calls", "emails", "meetings", "notes", "tasks"),
        description="Activities whose time, kind and direction are read; each needs a scope of its own.",
    )


class Gates(Section):
    """What keeps a drop out that looks broken, beside `alerts.volume_fall_pct` and `volume_minimum`."""

    rows_block_pct: int = Field(
        default=50, ge=1, le=100, description="Fall of a drop's deals against the usual that blocks it."
    )
    empty_warn_share: float = Field(
        default=0.2, gt=0, le=1, description="Rise of a column's empty share among open deals that warns."
    )
    empty_block_share: float = Field(
        default=0.5, gt=0, le=1, description="Rise of a column's empty share that blocks the drop."
    )
    amount_warn_factor: float = Field(
        default=1.5, gt=1, description="Jump of the open deals' total amount, up or down, that warns."
    )
    amount_block_factor: float = Field(
        default=5.0, gt=1, description="Jump of the open deals' total amount that blocks the drop."
    )
    faulty_block_share: float = Field(
        default=0.2,
        gt=0,
        le=1,
        description="Share of deals in unknown stages, told twice or closed before created that blocks it.",
    )
    repeated_warn_share: float = Field(
        default=0.01, gt=0, le=1, description="Share of ids that a live source tells twice that warns."
    )
    quiet_warn_hours: int = Field(
        default=120, ge=1, description="A drop that tells of nothing younger than this warns."
    )


def _kind(source: Any) -> str:
    """Which kind a table of the settings, or a source made in Python, is; files where it does not say."""
    return str(source.get("kind", "files") if isinstance(source, Mapping) else getattr(source, "kind", ""))


AnySource = Annotated[
    Annotated[Source, Tag("files")]
    | Annotated[Salesforce, Tag("salesforce")]
    | Annotated[HubSpot, Tag("hubspot")],
    Discriminator(_kind),
]
KINDS = ("files", "salesforce", "hubspot")


def connected(name: str, source: AnySource, connection: Callable[[str], Any]) -> AnySource:
    """A live source with what its Airflow connection says; others, and one told in full, as they are."""
    if isinstance(source, Source) or source.access is not None:
        return source
    found = connection(source.connection or name)
    return source if found is None else source.model_copy(update={"access": _access(found)})


def _access(found: Any) -> Access:
    """Airflow hands over empty strings for fields left blank; a client takes those for a choice."""
    said = {str(key).rpartition("__")[2]: value for key, value in found.extra_dejson.items()}
    return Access(
        host=found.host or None,
        port=found.port or None,
        login=found.login or None,
        password=SecretStr(found.password) if found.password else None,
        extra={key: SecretStr(str(value)) for key, value in said.items() if value not in (None, "")},
    )
