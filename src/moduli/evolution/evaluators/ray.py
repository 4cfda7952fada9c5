"""Jobs on a Ray cluster, or on a Ray of one's own on this machine."""

from __future__ import annotations

import os
import sys
from concurrent.futures import Future
from typing import Any

from moduli.errors import InputError, MissingExtra, RunError
from moduli.evolution.evaluators.base import Death, Function, Job, Workers
from moduli.evolution.evaluators.sent import Sent, to_bytes


class Ray:
    """Does jobs on a Ray cluster; without an address, on a Ray that is started on this machine for them.

    Every worker is an actor that gets function and data once. An actor that dies is replaced, wherever there
    is room, and its job is done again. What was started here is shut down at the end: a Ray of one's own as a
    whole, of a cluster only the actors. A Ray that this process is connected to already is used as it is.

    Every machine of a cluster needs moduli, and whatever the function imports.

    Args:
        address: of a cluster, such as "auto", "10.0.0.1:6379" or "ray://10.0.0.1:10001"; None for this
            machine.
        workers: jobs at a time; None for as many as there is room for.
        cpus: processors for each, and threads of torch.
        gpus: GPUs for each; a part of one may be given.
        retries: how often a job is done again because its worker died.

    Raises:
        MissingExtra: if the package ray is not installed.
    """

    def __init__(
        self,
        address: str | None = None,
        workers: int | None = None,
        cpus: int = 1,
        gpus: float = 0,
        retries: int = 2,
    ):
        try:
            import ray  # noqa: F401
        except ImportError as error:
            raise MissingExtra("Ray", "ray", "ray") from error
        if cpus < 1:
            raise InputError(f"cpus is {cpus}: give at least 1")
        if gpus < 0:
            raise InputError(f"gpus is {gpus}: give at least 0")
        self.address, self.workers, self.cpus, self.gpus, self.retries = address, workers, cpus, gpus, retries

    def open(self, function: Function, shared: Any = None) -> Workers:
        """See `Evaluator`."""
        import ray.cloudpickle

        pickle: Any = ray.cloudpickle  # also takes functions of a script or notebook
        return _RayWorkers(self, Sent(function, shared, pickle.dumps))


class _RayWorkers(Workers):
    """Workers that connect to Ray when they are entered, and leave it as they found it."""

    def __init__(self, evaluator: Ray, sent: Sent):
        super().__init__(self._actor, evaluator.workers or 1, evaluator.retries)
        self._evaluator, self._sent = evaluator, sent
        self._connected = False

    def __enter__(self) -> Workers:
        import ray

        if not ray.is_initialized():
            _connect(self._evaluator)
            self._connected = True
        self.number = self._evaluator.workers or self._room()
        self._reference = ray.put(self._sent)
        return self

    def __exit__(self, *exception: object) -> None:
        import ray

        super().__exit__(*exception)
        del self._reference
        if self._connected:
            ray.shutdown()

    def _actor(self, number: int) -> _Actor:
        return _Actor(self._reference, self._evaluator.cpus, self._evaluator.gpus)

    def _room(self) -> int:
        """How many workers fit into the cluster."""
        import ray

        there = ray.cluster_resources()
        room = int(there.get("CPU", 0) // self._evaluator.cpus)
        if self._evaluator.gpus:
            room = min(room, int(there.get("GPU", 0) / self._evaluator.gpus))
        if room < 1:
            raise InputError(
                f"Ray has {there.get('CPU', 0):g} CPUs and {there.get('GPU', 0):g} GPUs, a worker "
                f"asks for {self._evaluator.cpus} and {self._evaluator.gpus:g}: ask for less"
            )
        return room


def _connect(evaluator: Ray) -> None:
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if evaluator.address is None:
        cpus = max(os.cpu_count() or 1, (evaluator.workers or 1) * evaluator.cpus)
        options |= {"num_cpus": cpus, "include_dashboard": False}
    try:
        ray.init(evaluator.address or "local", **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise RunError(f"cannot connect to Ray at {evaluator.address or 'this machine'}: {reason}") from error


class _Actor:
    def __init__(self, sent: Any, cpus: int, gpus: float):
        import ray

        actor: Any = ray.remote(_RayWorker)
        self._actor: Any = actor.options(num_cpus=cpus, num_gpus=gpus).remote(sent, cpus, sys.path)

    def submit(self, job: Job) -> Future[str]:
        return self._actor.attempt.remote(to_bytes(f"job {job.id!r}", job.content)).future()

    def death(self, error: BaseException) -> Death | None:
        from ray.exceptions import RayActorError, RayError, RayTaskError

        if isinstance(error, RayTaskError) or not isinstance(error, RayError):
            return None
        started = not getattr(error, "actor_init_failed", False) if isinstance(error, RayActorError) else True
        return Death(type(error).__name__, started)

    def stop(self) -> None:
        import ray

        ray.kill(self._actor)


# ------------------------------------------------------------------ in the worker


class _RayWorker:
    """An actor: gets function and data once, then one job after another."""

    def __init__(self, sent: Sent, threads: int, path: list[str]):
        import torch

        sys.path += [folder for folder in path if folder not in sys.path]
        torch.set_num_threads(threads)
        self._sent = sent

    def attempt(self, content: bytes) -> str:
        return self._sent.attempt(content)
