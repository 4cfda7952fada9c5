"""What single-task models reach: the measure of adaptive and learned schedules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from moduli.errors import InputError, RunError, did_you_mean
from moduli.evaluation.compare import compare
from moduli.evaluation.job import Build
from moduli.tasks import Task
from moduli.training import Progress
from moduli.types import Scores


def baselines_of(source: Mapping[str, Any] | Scores, method: str = "single") -> dict[str, float]:
    """The value of each task's own metric on the validation split, in the metric's unit.

    Args:
        source: the summary of a finished comparison, of which the mean over the seeds is taken; or scores.
        method: of the comparison.

    Raises:
        InputError: if the comparison has no such method, or it has no result on a task.
    """
    if isinstance(source, Scores):
        return {task: source.value(task) for task in source.metrics}
    methods = source["methods"]
    if method not in methods:
        raise InputError(f"the comparison has no method {method!r}, {did_you_mean(method, methods)}")
    found = {}
    for task, result in methods[method]["tasks"].items():
        values = [value for value in result["val"]["values"] if value is not None]
        if not values:
            raise InputError(f"method {method!r} has no validation score of task {task!r}: train it again")
        found[task] = sum(values) / len(values)
    return found


def single_task_scores(
    build: Build,
    tasks: Sequence[Task],
    seeds: int | Sequence[int] = 1,
    *,
    folder: str | Path | None = None,
    device: str | torch.device = "auto",
    progress: Progress | Callable[[], Progress] | None = None,
    **train: Any,
) -> dict[str, float]:
    """Trains single-task models and returns what each reaches on its validation split.

    This is a comparison of one method, so in a folder it can be stopped and called again, and once finished
    it is only read.

    Args:
        build: from a seed to a model that shares nothing, such as one on `single` routes.
        tasks, folder, device, progress: see `compare`.
        seeds: how many, or which; the mean over them is returned.
        **train: settings, see `Train`.

    Returns:
        The value of each task's own metric, by task.

    Raises:
        InputError: if settings make no sense, or the folder holds something else.
        RunError: if training fails.
    """
    comparison = compare(
        {"single": build}, tasks, seeds,
        folder=folder, name="single-task baselines", device=device, progress=progress, **train,
    )  # fmt: skip
    if comparison.failures:
        raise RunError(f"no single-task baselines: {comparison.failures[0].error}")
    return baselines_of(comparison.summary)
