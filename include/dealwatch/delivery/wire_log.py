"""Keeps addresses that are a permission in themselves out of the log of the HTTP client."""

import logging


class _Without(logging.Filter):
    def __init__(self, secret: str) -> None:
        super().__init__()
        self._secret = secret

    def filter(self, record: logging.LogRecord) -> bool:
        args = record.args if isinstance(record.args, tuple) else ()
        return not any(self._secret in str(arg) for arg in args)


def hide_addresses_with(secret: str) -> None:
    """Log no request whose address holds these characters."""
    logging.getLogger("httpx").addFilter(_Without(secret))
