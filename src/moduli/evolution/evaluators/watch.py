"""Showing what runs where."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from moduli.evolution.evaluators.base import Result


class Watcher(Protocol):
    """Who is told of jobs."""

    def begin(self, title: str, jobs: int, done: int) -> None:
        """Some jobs are to be done, of which some were done before."""
        ...

    def started(self, job: str, worker: str) -> None:
        """A worker begins a job; again, if a worker died of it."""
        ...

    def finished(self, result: Result) -> None: ...

    def end(self) -> None: ...


class Unwatched:
    """Nobody looks."""

    def begin(self, title: str, jobs: int, done: int) -> None: ...

    def started(self, job: str, worker: str) -> None: ...

    def finished(self, result: Result) -> None: ...

    def end(self) -> None: ...


class Board:
    """A bar for all jobs and a line for every worker in a terminal, or a line for every result where none is.

    Args:
        every_line: where there is no terminal, at least so many seconds between two lines.
    """

    def __init__(self, every_line: float = 10.0):
        self._terminal = sys.stderr.isatty()
        self._every_line = every_line
        self._bars: Any = None

    def begin(self, title: str, jobs: int, done: int) -> None:
        """Shows how many jobs there are."""
        self._title, self._jobs, self._done, self._failures = title, jobs, done, 0
        self._rows: dict[str, Any] = {}
        self._next = time.monotonic() + self._every_line
        if self._terminal:
            from rich.console import Console
            from rich.progress import BarColumn, Progress as Bars, TextColumn, TimeElapsedColumn

            self._bars = Bars(
                TextColumn("{task.description}"), BarColumn(20), TextColumn("{task.fields[said]}"),
                TimeElapsedColumn(), console=Console(stderr=True), transient=True,
            )  # fmt: skip
            self._all = self._bars.add_task(title, total=jobs, completed=done, said=self._counts())
            self._bars.start()

    def started(self, job: str, worker: str) -> None:
        """Shows what a worker does."""
        if self._bars is None:
            return
        if worker not in self._rows:
            self._rows[worker] = self._bars.add_task(f"  {worker}", total=None, said=job)
        self._bars.reset(self._rows[worker], total=None, said=job, visible=True)

    def finished(self, result: Result) -> None:
        """Counts a result."""
        self._done += 1
        self._failures += result.error is not None
        if self._bars is not None:
            self._bars.update(self._all, completed=self._done, said=self._counts())
            self._bars.update(self._rows[result.worker], visible=False)
        elif time.monotonic() >= self._next or result.error is not None or self._done == self._jobs:
            self._next = time.monotonic() + self._every_line
            said = result.error or f"{result.seconds:.0f} s"
            line = f"{self._title}: {self._counts()}; {result.id} on {result.worker}: {said}"
            print(line, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leaves the terminal as it was."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def _counts(self) -> str:
        failed = f", {self._failures} failed" if self._failures else ""
        return f"{self._done} of {self._jobs}{failed}"
