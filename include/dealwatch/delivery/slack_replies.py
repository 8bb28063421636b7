"""The way back to somebody who clicked in Slack: the address that came with the click, and no other host."""

import logging
from typing import Any

import httpx

from dealwatch.delivery.wire_log import hide_addresses_with

ADDRESS = "https://hooks.slack.com/"
_SECONDS = 2.0

log = logging.getLogger(__name__)
hide_addresses_with(ADDRESS)


def post_reply(response_url: str, payload: dict[str, Any]) -> None:
    """Post to the click's response_url; a failure is only logged, for the queued update says the same.

    The address is a secret for half an hour, so it is not logged.
    """
    if not response_url.startswith(ADDRESS):
        log.warning("a click's response_url does not begin with %s; nothing was posted there", ADDRESS)
        return
    try:
        answer = httpx.post(response_url, json=payload, timeout=_SECONDS, follow_redirects=False)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        log.warning("Slack was not told of the click (%s); the queued update will", type(error).__name__)
        return
    if answer.status_code != 200:
        log.warning("Slack did not take the message of a click (%s)", answer.status_code)
