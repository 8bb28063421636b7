"""Which file reads which kind of live source, and which visits it before anything is read.

Imported when asked, for each brings its own client.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from dealwatch.crm.connecting import Visitor
from dealwatch.crm.pages import NamedReader, Reader
from dealwatch.errors import SettingsError
from dealwatch.settings import Settings

if TYPE_CHECKING:
    from dealwatch.crm.hubspot.reader import HubSpotReader
    from dealwatch.crm.salesforce.reader import SalesforceReader

# Makes a reader of the source of that name in the settings.
Opener = Callable[[str, Settings], Reader]
NamedOpener = Callable[[str, Settings], NamedReader]


def _salesforce(name: str, settings: Settings) -> "SalesforceReader":
    from dealwatch.crm.salesforce.reader import open_salesforce

    return open_salesforce(name, settings)


def _hubspot(name: str, settings: Settings) -> "HubSpotReader":
    from dealwatch.crm.hubspot.reader import open_hubspot

    return open_hubspot(name, settings)


def _sql(name: str, settings: Settings) -> Reader:
    from dealwatch.crm.sql.reader import open_sql

    return open_sql(name, settings)


# One line a kind: a function that imports its file and opens a reader.
READERS: Mapping[str, Opener] = {"salesforce": _salesforce, "hubspot": _hubspot, "sql": _sql}
# Those that tell of deals at once, and whose deals can be asked for by id.
NAMED_READERS: Mapping[str, NamedOpener] = {"salesforce": _salesforce, "hubspot": _hubspot}


def open_reader(name: str, kind: str, *, settings: Settings, readers: Mapping[str, Opener]) -> Reader:
    """The reader of a source; SettingsError when nothing can read its kind."""
    if kind not in readers:
        raise SettingsError(f"[sources.{name}] kind = {kind!r} cannot be read by this dealwatch; use files")
    return readers[kind](name, settings)


def visitor_of(kind: str) -> Visitor:
    """What looks at a source of that kind; a line here for each."""
    match kind:
        case "salesforce":
            from dealwatch.crm.salesforce.visiting import visit_salesforce

            return visit_salesforce
        case "hubspot":
            from dealwatch.crm.hubspot.visiting import visit_hubspot

            return visit_hubspot
        case "sql":
            from dealwatch.crm.sql.visiting import visit_sql

            return visit_sql
        case "files":
            from dealwatch.crm.visiting_files import visit_files

            return visit_files
    raise SettingsError(f"a source of the kind {kind!r} cannot be visited")
