"""Which file writes to which kind of live source; imported when asked, as readers are."""

from collections.abc import Callable, Mapping

from dealwatch.crm.writing import Writer
from dealwatch.settings import Settings

# Makes a writer of the source of that name in the settings.
Opener = Callable[[str, Settings], Writer]


def _salesforce(name: str, settings: Settings) -> Writer:
    from dealwatch.crm.salesforce.writer import open_writer

    return open_writer(name, settings)


def _hubspot(name: str, settings: Settings) -> Writer:
    from dealwatch.crm.hubspot.writer import open_writer

    return open_writer(name, settings)


# One line a kind: a function that imports its file and opens a writer.
WRITERS: Mapping[str, Opener] = {"salesforce": _salesforce, "hubspot": _hubspot}
