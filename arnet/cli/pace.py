"""When long work says a line where no progress bar can be shown, such as in a log file."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

_LONG = 300.0
"""Seconds without a line that look as if nothing went on."""


class Pace:
    """Counts what is done: a line for every tenth, and one where nothing was said for minutes."""

    def __init__(
        self, done: int = 0, clock: Callable[[], float] = time.monotonic, quiet: float = 0.0
    ) -> None:
        """Begin.

        Args:
            done: what was there before, which took no time of this run.
            clock: seconds.
            quiet: seconds at the beginning without a line: what takes no longer needs none.
        """
        self._quiet = quiet
        self._first = self._told = done
        self._clock = clock
        self._began = self._spoke = clock()

    def due(self, done: int, total: int) -> bool:
        """Whether a line is to be said now; if so, it counts as said."""
        tenth = 10 * done // total > 10 * self._told // total
        if self._clock() - self._began < self._quiet:
            return False
        if done > self._told and (tenth or self._clock() - self._spoke >= _LONG):
            self._told, self._spoke = done, self._clock()
            return True
        return False

    def left(self, done: int, total: int) -> str:
        """The time left in words, with a comma before; nothing at the end."""
        if done == total or done == self._first:
            return ""
        seconds = (self._clock() - self._began) / (done - self._first) * (total - done)
        return f", {seconds / 60:.1f} minutes left"


class Teller:
    """Shows work as a progress bar that comes with its first step and goes with its last.

    Where there is no terminal it says a line now and then.
    """

    def __init__(self, bar: Progress, doing: str, said: str, quiet: float = 0.0) -> None:
        """Begin.

        Args:
            bar: what shows it.
            doing: beside the bar, such as "episodes".
            said: a line without the time left, such as "scored {done} of {total} episodes".
            quiet: see ``Pace``.
        """
        self._bar = bar
        self._said = said
        self._task = bar.add_task(doing, total=None, visible=False)
        self._pace = Pace(quiet=quiet)

    def __call__(self, done: int, total: int | None) -> None:
        """Tell that so many steps of all are done; None if it is not known of how many."""
        visible = total is None or done < total
        self._bar.update(self._task, completed=done, total=total, visible=visible)
        if self._bar.disable and total and self._pace.due(done, total):
            left = self._pace.left(done, total)
            self._bar.console.print(self._said.format(done=done, total=total) + left)
