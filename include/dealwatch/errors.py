"""The errors dealwatch raises on purpose; anything else is a bug.

DealwatchError
├── SettingsError       a settings, mapping or rule file says something we cannot follow
├── LinkRefused         a link of a message was changed, is too old, or is not ours
├── ExtractRefused      a source is unusable as a whole (missing file, column, right); nothing of it was kept
│   └── Declined        a CRM says no for good (drawn in crm/api.py, with its status and code)
├── NotReady            a job was asked before what it needs exists (no ledger, no schema)
├── ModelUnusable       a stored model failed verification or loading; scoring falls back
├── DecisionRefused     a model or an alert may not be decided on as asked
├── NotFound            a deal, a person or a version that was asked for by name is not there, or is several
└── ChannelDown         a channel refuses our account, so its messages wait until somebody mends it

Of no kind above, because trying again may help:
WarehouseDown           the warehouse does not answer
SourceDown              a CRM does not answer, or takes no more questions for a while
"""

from datetime import timedelta


class DealwatchError(Exception):
    """Base of every error a user can cause and mend; the message names the place and the remedy."""


class SettingsError(DealwatchError):
    """A settings, mapping or rule file cannot be followed: names file, key or line, and the remedy."""


class LinkRefused(DealwatchError):
    """A link cannot be followed: says why, and where to answer instead."""


class ExtractRefused(DealwatchError):
    """A source cannot be read at all: names the file or the request, the reason and the remedy."""


class NotReady(DealwatchError):
    """What the job needs is not there yet: names the verb that makes it."""


class ModelUnusable(DealwatchError):
    """A stored model failed its check or could not be loaded: names the version and the reason."""


class DecisionRefused(DealwatchError):
    """A decision about a model, or an answer to an alert, cannot be followed: says why, and the remedy."""


class NotFound(DealwatchError):
    """What was asked for by name is not there, or several are: names them and how to ask for one."""


class ChannelDown(DealwatchError):
    """A channel takes no message of ours until its account or address is mended: names both."""


class WarehouseDown(Exception):
    """The warehouse does not answer: names where it is and the reason. Airflow tries again."""


class SourceDown(Exception):
    """A CRM does not answer or asks us to come back: names the request and the reason. Airflow tries again.

    `after` is how long to wait at least, where the CRM says so.
    """

    def __init__(self, words: str, *, after: timedelta | None = None) -> None:
        super().__init__(words)
        self.after = after
