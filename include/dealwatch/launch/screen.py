"""What the launcher says while it works: one line a step, moving on a terminal, plain in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

Say = Callable[[str], None]


class Screen:
    """Numbers the steps and tells how long each took."""

    def __init__(self, console: Console, *, steps: int) -> None:
        self.console = console
        self.steps = steps
        self.step_number = 0
        self.began = time.monotonic()

    @contextmanager
    def step(self, what: str) -> Iterator[Say]:
        """Show that a step is under way; the block may say how far it is."""
        self.step_number += 1
        label = f"\\[{self.step_number}/{self.steps}] {what}"
        began = time.monotonic()
        told = [""]
        if not self.console.is_terminal:
            self.console.print(f"{label} ...", highlight=False)
        with self.console.status(label) as status:

            def say(progress: str) -> None:
                if progress == told[0]:
                    return
                told[0] = progress
                if self.console.is_terminal:
                    status.update(f"{label}: {progress}")
                else:
                    self.console.print(f"      {progress}", highlight=False)

            yield say
        ending = f", {told[0]}" if told[0] else ""
        self.console.print(f"{label}{ending} [dim]{time.monotonic() - began:.0f} s[/dim]", highlight=False)

    def seconds(self) -> float:
        """Since the screen was made."""
        return time.monotonic() - self.began
