"""The one loop over jobs, and what it needs to know of a worker.

An evaluator is opened with a function and the data that all of its jobs share. What comes out does jobs:

    with Processes(workers=2).open(function, shared) as workers:
        for result in workers.run([Job("a", 1), Job("b", 2)]):
            print(result.id, result.value)

Each worker does one job at a time, so it is known which job is where, and which one is lost when a worker
dies: that job is done again.
"""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from moduli.errors import InputError, RunError, SaveError
from moduli.evolution.evaluators.journal import Journal
from moduli.evolution.evaluators.watch import Unwatched, Watcher

Function = Callable[[Any, Any], Any]
"""`function(shared, content)` gives JSON data. Workers on other processes need it at the top of a module."""


@dataclass(frozen=True)
class Job:
    """One call of the function: with what, and an id that no other job has."""

    id: str
    content: Any = None


@dataclass(frozen=True)
class Result:
    """What came of a job: the JSON data that the function gave, or the type and text of its error.

    ``seconds`` is how long the call took, ``worker`` who did it.
    """

    id: str
    value: Any
    error: str | None
    seconds: float
    worker: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Result:
        return cls(**data)


@dataclass(frozen=True)
class Death:
    """Why a worker died, and whether it had begun to work."""

    reason: str
    started: bool = True


class Worker(Protocol):
    """Does one job at a time, somewhere."""

    def submit(self, job: Job) -> Future[str]:
        """Begins a job; the future will hold what `attempt` gives."""
        ...

    def death(self, error: BaseException) -> Death | None:
        """What an error of such a future says: that the worker died, or something else (None)."""
        ...

    def stop(self) -> None:
        """Ends the worker, in the middle of a job if need be."""
        ...


class Evaluator(Protocol):
    """Where jobs are done."""

    def open(self, function: Function, shared: Any = None) -> Workers:
        """Workers for `function(shared, content)`. They start when there are jobs for them.

        Raises:
            InputError: if the function or the data cannot be sent to other processes.
        """
        ...


class Workers:
    """Workers that are ready for jobs, as long as the `with` block lasts.

    Args:
        start: makes worker number n.
        number: how many.
        retries: how often a job is done again because its worker died.
    """

    def __init__(self, start: Callable[[int], Worker], number: int, retries: int = 0):
        if number < 1:
            raise InputError(f"workers is {number}: give at least 1")
        if retries < 0:
            raise InputError(f"retries is {retries}: give at least 0")
        self._start, self.number, self.retries = start, number, retries
        self._workers: dict[int, Worker] = {}
        self._in_vain = 0  # workers that ended before they took a job, since the last result

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop(list(self._workers))

    def run(
        self,
        jobs: Sequence[Job],
        watcher: Watcher | None = None,
        journal: Journal | None = None,
        title: str = "jobs",
    ) -> Iterator[Result]:
        """Does jobs, and yields their results in whatever order they come.

        An exception in the function is a failure of that job alone. A job whose worker died is done again;
        when it was lost more than `retries` times, it has failed as well. Ctrl-C stops all workers, after
        what they had finished was yielded.

        Args:
            jobs: begun in this order.
            watcher: is told what runs where.
            journal: keeps every result; those of jobs that it has are yielded first, without doing the jobs.
            title: what the watcher calls these jobs.

        Raises:
            InputError: if two jobs have one id.
            RunError: if workers cannot start, or cannot read what they were sent.
            SaveError: if the function, or the journal, could not write a file.
        """
        twice = [id_ for id_, count in Counter(job.id for job in jobs).items() if count > 1]
        if twice:
            raise InputError(f"two jobs are called {twice[0]!r}: give each its own id")
        results = journal.results() if journal is not None else {}
        kept = [Result.from_json(results[job.id]) for job in jobs if job.id in results]
        watcher = watcher or Unwatched()
        watcher.begin(title, len(jobs), len(kept))
        try:
            yield from kept
            for result in self._run([job for job in jobs if job.id not in results], watcher):
                if journal is not None:
                    journal.add(result.to_json())
                watcher.finished(result)
                yield result
        finally:
            watcher.end()

    # -------------------------------------------------------------- the loop

    def _run(self, jobs: Sequence[Job], watcher: Watcher) -> Iterator[Result]:
        waiting = deque(_Turn(job) for job in jobs)
        free = deque(range(1, self.number + 1))
        running: dict[Future[str], _Turn] = {}
        try:
            while waiting or running:
                while waiting and free:
                    turn = waiting.popleft().on(free.popleft())
                    watcher.started(turn.job.id, turn.name)
                    running[self._worker(turn.worker).submit(turn.job)] = turn
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    turn = running.pop(future)
                    free.append(turn.worker)
                    result = self._result(future, turn)
                    if result is None:
                        waiting.appendleft(turn)
                    else:
                        yield result
        except KeyboardInterrupt:
            for future in [future for future in running if future.done() and not future.exception()]:
                yield _read(future, running.pop(future))
            raise
        finally:
            self._stop([turn.worker for turn in running.values()])

    def _result(self, future: Future[str], turn: _Turn) -> Result | None:
        """None if the job is to be done again."""
        error = future.exception()
        if error is None:
            self._in_vain = 0
            return _read(future, turn)
        if isinstance(error, SaveError):
            raise SaveError(str(error)) from error
        death = self._workers[turn.worker].death(error)
        if death is None:
            raise RunError(
                f"{turn.name} cannot read what it was sent ({_told(error)}): define the function, and the "
                "classes of its data, in a module that workers can import"
            ) from error
        self._stop([turn.worker])
        if not death.started:
            self._in_vain += 1
            turn.tries -= 1  # not the job's fault
            if self._in_vain > self.number + self.retries:  # all may have died while there was nothing to do
                raise RunError(
                    f"{turn.name} does not start ({death.reason}): a script that starts workers does so "
                    "under `if __name__ == '__main__':`"
                ) from error
        if turn.tries <= self.retries:
            return None
        text = f"the worker died {turn.tries} times, the last time with {death.reason}"
        return Result(turn.job.id, None, text, time.monotonic() - turn.began, turn.name)

    def _worker(self, number: int) -> Worker:
        if number not in self._workers:
            self._workers[number] = self._start(number)
        return self._workers[number]

    def _stop(self, numbers: Sequence[int]) -> None:
        stopped = [self._workers.pop(number) for number in numbers if number in self._workers]
        with ThreadPoolExecutor(max_workers=len(stopped) or 1) as threads:  # each may take a few seconds
            list(threads.map(lambda worker: worker.stop(), stopped))


@dataclass
class _Turn:
    """A job, how often it was begun, and the number of the worker that has it now."""

    job: Job
    tries: int = 0
    worker: int = 0
    began: float = 0.0

    def on(self, worker: int) -> _Turn:
        return _Turn(self.job, self.tries + 1, worker, time.monotonic())

    @property
    def name(self) -> str:
        return f"worker {self.worker}"


# ------------------------------------------------------------------ in the worker


def attempt(function: Function, shared: Any, content: Any) -> str:
    """Calls the function; value, error and seconds as JSON.

    JSON in every case, so that a result is the same whoever found it and whether or not it was kept.
    """
    began = time.monotonic()
    value, error = None, None
    try:
        value = json.loads(json.dumps(function(shared, content)))
    except SaveError:
        raise  # a full disk: going on makes no sense
    except Exception as problem:
        error = _told(problem)
    return json.dumps([value, error, time.monotonic() - began])


def _read(future: Future[str], turn: _Turn) -> Result:
    value, error, seconds = json.loads(future.result())
    return Result(turn.job.id, value, error, seconds, turn.name)


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
