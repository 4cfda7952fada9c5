"""Telling the user how far a run is."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol


class Progress(Protocol):
    """Where a run reports to."""

    def start(self, title: str, step: int, steps: int) -> None: ...

    def wants_losses(self) -> bool:
        """Whether it is time to show something: losses are fetched from the device only then."""
        ...

    def update(self, step: int, losses: Mapping[str, float]) -> None: ...

    def stop(self) -> None: ...


class Silent:
    """Says nothing."""

    def start(self, title: str, step: int, steps: int) -> None: ...

    def wants_losses(self) -> bool:
        return False

    def update(self, step: int, losses: Mapping[str, float]) -> None: ...

    def stop(self) -> None: ...


class Bar:
    """A progress bar in a terminal, or a line every few seconds where there is none."""

    def __init__(self, every: float = 0.5, every_line: float = 10.0):
        self._terminal = sys.stderr.isatty()
        self._every = every if self._terminal else every_line
        self._bar: Any = None
        self._next = 0.0

    def start(self, title: str, step: int, steps: int) -> None:
        self._title, self._steps, self._first = title, steps, step
        self._began = time.monotonic()
        self._next = self._began + self._every
        if self._terminal:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress as RichProgress,
                TextColumn,
                TimeRemainingColumn,
            )
            from rich.table import Column

            rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")  # on a narrow screen, cut here first
            self._bar = RichProgress(
                TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(),
                TextColumn("{task.fields[speed]}"), TimeRemainingColumn(),
                TextColumn("{task.fields[losses]}", table_column=rest),
                console=Console(stderr=True), transient=True, expand=True,
            )  # fmt: skip
            self._row = self._bar.add_task(title, total=steps, completed=step, speed="", losses="")
            self._bar.start()

    def wants_losses(self) -> bool:
        return time.monotonic() >= self._next

    def update(self, step: int, losses: Mapping[str, float]) -> None:
        now = time.monotonic()
        self._next = now + self._every
        rate = (step - self._first) / max(now - self._began, 1e-9)
        speed, shown = f"{rate:,.0f} steps/s", _shown(losses)
        if self._bar is not None:
            self._bar.update(self._row, completed=step, speed=speed, losses=shown)
        else:
            left = (self._steps - step) / max(rate, 1e-9)
            line = f"{self._title}: step {step}/{self._steps}, {speed}, at most {left:.0f} s left, {shown}"
            print(line, file=sys.stderr, flush=True)

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _shown(losses: Mapping[str, float], most: int = 3) -> str:
    parts = [f"{name} {value:.3f}" for name, value in list(losses.items())[:most]]
    more = f" +{len(losses) - most} tasks" if len(losses) > most else ""
    total = sum(losses.values()) / max(1, len(losses))
    return f"mean loss {total:.3f} ({', '.join(parts)}{more})"
