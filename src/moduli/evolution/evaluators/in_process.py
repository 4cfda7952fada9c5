"""Jobs one after another, in this process."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from moduli.evolution.evaluators.base import Death, Function, Job, Workers, attempt


class InProcess:
    """Does jobs one after another, in this process. Nothing has to be sent anywhere."""

    def open(self, function: Function, shared: Any = None) -> Workers:
        """See `Evaluator`."""
        return Workers(lambda number: _Here(function, shared), number=1)


class _Here:
    def __init__(self, function: Function, shared: Any):
        self._function, self._shared = function, shared

    def submit(self, job: Job) -> Future[str]:
        future: Future[str] = Future()
        future.set_result(attempt(self._function, self._shared, job.content))
        return future

    def death(self, error: BaseException) -> Death | None:
        return None

    def stop(self) -> None: ...
