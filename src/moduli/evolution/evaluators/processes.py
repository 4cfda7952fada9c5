"""Jobs in processes of this machine, by the library pebble."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import torch
from pebble import ProcessExpired, ProcessPool

from moduli.errors import InputError
from moduli.evolution.evaluators.base import Death, Function, Job, Workers
from moduli.evolution.evaluators.sent import Sent, to_bytes


class Processes:
    """Does jobs in some processes of this machine.

    Function and data are pickled once and sent to every worker when it starts. A worker that dies is
    replaced, and its job is done again. Workers end with the process that started them, however that ends.

    Processes are spawned: a script that uses this does so under `if __name__ == "__main__":`.

    Args:
        workers: how many; each imports torch, which takes some seconds and some 300 MB.
        threads: of torch in each.
        retries: how often a job is done again because its worker died.
    """

    def __init__(self, workers: int = 2, threads: int = 1, retries: int = 2):
        if threads < 1:
            raise InputError(f"threads is {threads}: give at least 1")
        self.workers, self.threads, self.retries = workers, threads, retries

    def open(self, function: Function, shared: Any = None) -> Workers:
        """See `Evaluator`."""
        sent = Sent(function, shared)
        return Workers(lambda number: _Process(sent, self.threads), self.workers, self.retries)


class _Process:
    """A pool of one process: so it is known which job is where, and its death does not touch the others."""

    def __init__(self, sent: Sent, threads: int):
        context: Any = multiprocessing.get_context("spawn")
        self._pool = ProcessPool(1, initializer=_prepare, initargs=(sent, threads), context=context)

    def submit(self, job: Job) -> Future[str]:
        content = to_bytes(f"job {job.id!r}", job.content)
        try:
            return self._pool.schedule(_attempt, [content])
        except RuntimeError:  # the process died while it had nothing to do
            future: Future[str] = Future()
            future.set_exception(BrokenProcessPool())
            return future

    def death(self, error: BaseException) -> Death | None:
        if isinstance(error, BrokenProcessPool):
            return Death("its process ended before it took the job", started=False)
        if isinstance(error, ProcessExpired):
            return Death(f"exit code {error.exitcode}")
        # A training that was told to stop by a signal: as good as dead.
        return Death(f"{error}") if isinstance(error, KeyboardInterrupt) else None

    def stop(self) -> None:
        self._pool.stop()
        self._pool.join()


# ------------------------------------------------------------------ in the worker

_sent: Sent  # what this worker works with


def _prepare(sent: Sent, threads: int) -> None:
    global _sent
    _sent = sent
    torch.set_num_threads(threads)
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # Ctrl-C in a terminal is for the process that started this one
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker that outlives a killed search would go on writing to files that its successor writes to."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _attempt(content: bytes) -> str:
    return _sent.attempt(content)
