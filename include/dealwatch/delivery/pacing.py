"""How fast one place is written to: a provider that lets us post once a second is not asked twice."""

from collections.abc import Callable
from datetime import datetime, timedelta


class Pace:
    """When each place was written to last; clock and waiting are given, so that a test need not wait."""

    def __init__(self, now: Callable[[], datetime], sleep: Callable[[float], None]) -> None:
        self._now, self._sleep = now, sleep
        self._last: dict[str, datetime] = {}

    def wait(self, place: str, pause: timedelta) -> None:
        """Return when the place may be written to, and take that for the moment it is."""
        if not pause:
            return
        last = self._last.get(place)
        left = last + pause - self._now() if last is not None else timedelta()
        if left > timedelta():
            self._sleep(min(left, pause).total_seconds())
        self._last[place] = self._now()
