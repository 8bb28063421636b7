"""Where deals come from: every kind of source with its settings, and what a connection says about a live one.

A live kind is a class here, a line in `AnySource` and a line in `crm/readers.py`.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, SecretStr, Tag, model_validator
from sqlalchemy import URL

from dealwatch.checks import plain_name, plain_names
from dealwatch.knobs import Access, RecordMapping, Section, Source, VanishedShare, ZoneName
from dealwatch.written_fields import WriteBack, named_like

Name = Annotated[str | None, AfterValidator(plain_name)]
Names = Annotated[tuple[str, ...], AfterValidator(plain_names)]


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


class WritableSource(LiveSource):
    """A source that takes our scores, when it is told which of its fields are for them."""

    write_back: WriteBack | None = Field(
        default=None, description="Fields of its deals that take our scores; without it, nothing is written."
    )

    @property
    def writer(self) -> tuple[str | None, Access | None]:
        """The connection that may write and what it says: the source's own unless another is named."""
        if self.write_back is None or (self.write_back.connection is None and self.write_back.access is None):
            return self.connection, self.access
        return self.write_back.connection, self.write_back.access


class SalesforceEvents(Section):
    """What Salesforce tells at once by outbound messages; the table's presence turns it on."""

    organisation: str = Field(
        pattern=r"^00D[A-Za-z0-9]{12}([A-Za-z0-9]{3})?$",
        description="Id of the org whose messages are taken, 00D...; of others none is.",
    )
    address: int = Field(
        default=1, ge=1, description="Raise it by one to make the address that messages go to worthless."
    )


class HubSpotEvents(Section):
    """What HubSpot tells at once by webhooks; the table's presence turns it on."""

    client_secret: SecretStr | None = Field(
        default=None,
        description="Of the app that sends the webhooks; else `client_secret` in the connection's extra.",
    )


class Salesforce(WritableSource):
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
    without: tuple[Literal["Task", "Event", "OpportunityHistory", "OpportunityFieldHistory"], ...] = Field(
        default=(), description="Objects that are not read, though the org shows them."
    )
    events: SalesforceEvents | None = None

    @model_validator(mode="after")
    def _can_be_written(self) -> Self:
        named_like(self.write_back, r"[A-Za-z][A-Za-z0-9_]*__c", "Deal_Risk__c")
        if self.write_back is not None and self.deals.columns.get("deal_id", "Id") != "Id":
            raise ValueError("write_back finds deals by their Id; take deal_id out of the mapping's columns")
        return self


class HubSpot(WritableSource):
    """HubSpot, listed in full every night."""

    kind: Literal["hubspot"] = Field(description="hubspot: listed in full every night.")
    version: str = Field(
        default="2026-09", description="HubSpot's API version, YYYY-MM; each is served for 18 months."
    )
    touches: tuple[Literal["calls", "emails", "meetings", "notes", "tasks"], ...] = Field(
        default=("calls", "emails", "meetings", "notes", "tasks"),
        description="Activities whose time, kind and direction are read; each needs a scope of its own.",
    )
    events: HubSpotEvents | None = None

    @property
    def client_secret(self) -> SecretStr | None:
        """What the app's webhooks are signed by, wherever it is said."""
        own = self.events.client_secret if self.events else None
        return own or (self.access.extra.get("client_secret") if self.access else None)

    @model_validator(mode="after")
    def _can_be_written(self) -> Self:
        named_like(self.write_back, r"(?!hs_|hubspot_)[a-z][a-z0-9_]*", "deal_risk, its internal name")
        return self


class SqlMapping(RecordMapping):
    """How a table of a warehouse becomes records of the contract."""

    table: Name = Field(default=None, description="The table or view; a preset knows its own.")
    key: Names = Field(
        default=(), description="Columns that put its rows in order, best those of its primary key."
    )
    deleted: Name = Field(default=None, description="A column that is true of rows that count as gone.")

    @model_validator(mode="after")
    def _names_are_plain(self) -> Self:
        for join in self.joins:
            for name in (join.file, *join.on, *join.on.values(), *join.take.values()):
                plain_name(name)
        for column in self.columns.values():
            for part in column.split("."):
                plain_name(part)
        if self.table is not None and not self.key:
            raise ValueError('a table is read by a key; name it, as key = ["id"]')
        return self


class Sql(LiveSource):
    """A warehouse that somebody else fills from the CRM, read in full every night."""

    kind: Literal["sql"] = Field(description="sql: tables or views of a warehouse.")
    url: SecretStr | None = Field(
        default=None, description="SQLAlchemy URL of a role that may only read; else the connection tells."
    )
    in_schema: Name = Field(
        default=None, description="Schema of the tables; without it, the connection's own."
    )
    preset: Literal["fivetran_salesforce", "fivetran_hubspot"] | None = Field(
        default=None, description="Whose tables they are; without it, every object names its table."
    )
    without: Names = Field(default=(), description="Tables of the preset that are left out, such as task.")
    page_rows: int = Field(default=20_000, ge=1, description="Rows kept at once.")
    statement_timeout_seconds: int = Field(
        default=600, ge=1, description="How long PostgreSQL may take for one answer."
    )
    stored_zone: ZoneName = Field(default="UTC", description="Zone of instants that are stored without one.")
    deals: SqlMapping = SqlMapping()
    deal_history: SqlMapping | None = None
    activities: SqlMapping | None = None
    owners: SqlMapping | None = None

    @property
    def is_mapped(self) -> bool:
        """Whether anything says which table is what; where nothing does, `connect` drafts it."""
        told = [one for one in (self.deal_history, self.activities, self.owners) if one is not None]
        return self.preset is not None or self.deals != SqlMapping() or bool(told)

    @model_validator(mode="after")
    def _tables_are_known(self) -> Self:
        others = {"deal_history": self.deal_history, "activities": self.activities, "owners": self.owners}
        told = {name: one for name, one in others.items() if one is not None}
        if self.preset is None:
            lacking = [name for name, one in {"deals": self.deals, **told}.items() if one.table is None]
            if lacking and self.is_mapped:
                raise ValueError(f"say which table tells the {lacking[0]}, as table = ..., or name a preset")
            if any("." in column for one in (self.deals, *told.values()) for column in one.columns.values()):
                raise ValueError("a column has no dot in its name; fetch columns of other tables by joins")
        elif told or self.deals.table or self.deals.joins or self.deals.key or self.deals.deleted:
            raise ValueError("a preset knows its tables; leave out table, key, deleted and joins")
        return self


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
    | Annotated[HubSpot, Tag("hubspot")]
    | Annotated[Sql, Tag("sql")],
    Discriminator(_kind),
]
KINDS = ("files", "salesforce", "hubspot", "sql")


def tells_events(source: AnySource) -> bool:
    """Whether the source tells of changes at once."""
    return isinstance(source, Salesforce | HubSpot) and source.events is not None


def connected(name: str, source: AnySource, connection: Callable[[str], Any]) -> AnySource:
    """A live source with what its Airflow connections say; others, and one told in full, as they are."""
    return _writing(_reading(name, source, connection), connection)


def _writing(source: AnySource, connection: Callable[[str], Any]) -> AnySource:
    """The source with what the connection says that its fields are written by."""
    wanted = source.write_back if isinstance(source, WritableSource) else None
    if wanted is None or wanted.connection is None or wanted.access is not None:
        return source
    found = connection(wanted.connection)
    if found is None:
        return source
    return source.model_copy(update={"write_back": wanted.model_copy(update={"access": _access(found)})})


def _reading(name: str, source: AnySource, connection: Callable[[str], Any]) -> AnySource:
    if source.access is not None or (isinstance(source, Source) and not source.url):
        return source
    if isinstance(source, Sql) and source.url is not None:
        return source
    found = connection(source.connection or name)
    if found is None:
        return source
    if isinstance(source, Sql):
        return source.model_copy(update={"url": SecretStr(_url(found))})
    return source.model_copy(update={"access": _access(found)})


def _url(found: Any) -> str:
    """What an Airflow connection says as a SQLAlchemy URL; `url` in its extra says all at once."""
    said = {str(key): value for key, value in found.extra_dejson.items() if value not in (None, "")}
    if said.get("url"):
        return str(said["url"])
    extra = {key: str(value) for key, value in said.items() if key not in _OF_AIRFLOW}
    url = URL.create(
        _DRIVERS.get(found.conn_type, found.conn_type),
        username=found.login or None,
        password=found.password or None,
        host=found.host or None,
        port=found.port or None,
        database=found.schema or None,
        query=extra,
    )
    return url.render_as_string(hide_password=False)


# What the extra of a connection says to Airflow's own hooks.
_OF_AIRFLOW = {"cursor", "iam", "aws_conn_id", "redshift", "client_log_level", "enable_log_db_messages"}
# Airflow's words for what SQLAlchemy calls otherwise.
_DRIVERS = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}


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
