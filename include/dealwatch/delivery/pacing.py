"""How fast one place is written to: a provider that lets us post once a second is not asked twice."""

from collections.abc import Callable
from datetime import datetime, timedelta

_LONGEST_REST = timedelta(seconds=60)  # Slack counts by the minute: a look-up by e-mail 50 times in each
_PATIENCE = timedelta(minutes=5)  # of all rests; the task that delivers has ten


class Pace:
    """When each place was written to last; clock and waiting are given, so that a test need not wait."""

    def __init__(self, now: Callable[[], datetime], sleep: Callable[[float], None]) -> None:
        self._now, self._sleep = now, sleep
        self._patience = _PATIENCE
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

    def pause(self, pause: timedelta) -> None:
        """Wait so long, whoever is written to next."""
        self._sleep(pause.total_seconds())

    def rest(self, pause: timedelta) -> bool:
        """Wait out a provider's rate limit, if that is a short one; whether it was."""
        if pause > min(_LONGEST_REST, self._patience):
            return False
        self._patience -= pause
        self._sleep(pause.total_seconds())
        return True
