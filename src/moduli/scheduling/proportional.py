"""Tasks in proportion to how much data they have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from moduli.errors import InputError
from moduli.scheduling.sampling import Sampling, check_complete
from moduli.tasks import Task, labelled_samples


class Proportional(Sampling):
    """Draws tasks in proportion to their training samples: p_k = n_k^(1/tau) / sum_j n_j^(1/tau).

    n_k counts the samples of task k that have a label, or all samples where the labels cannot be looked up.
    With tau = 1 every sample of every task is drawn equally often; the higher tau, the nearer to uniform, so
    that tasks with few data are drawn more often than their share. tau may change from `temperature` to
    `end` in a straight line over the first `steps` steps, and then stays.

    Args:
        tasks: all tasks.
        temperature: tau, at the start if there is an `end`.
        end: tau after `steps` steps; no change if None.
        steps: see `end`.
        count: tasks in a step; all tasks if there are fewer.
        seed: of the draws.

    Raises:
        InputError: if a temperature or `steps` is not above 0, or one of `end` and `steps` is missing.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        temperature: float = 1.0,
        end: float | None = None,
        steps: int | None = None,
        count: int = 1,
        seed: int = 0,
    ):
        super().__init__(count, seed)
        if (end is None) != (steps is None):
            raise InputError(f"end is {end} and steps is {steps}: give both, or none for a fixed temperature")
        for name, value in (("temperature", temperature), ("end", end), ("steps", steps)):
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"{name} is {value}: give a number above 0")
        self.samples = {task.name: labelled_samples(task, "train") for task in tasks}
        self.temperature, self.end, self.steps = temperature, end, steps

    def attach(self, model: Any) -> None:
        check_complete("tasks of the proportional schedule", self.samples, model.input_of)

    def temperature_at(self, step: int) -> float:
        """tau at a step."""
        if self.end is None or self.steps is None:
            return self.temperature
        done = min(step / self.steps, 1.0)
        return self.temperature + (self.end - self.temperature) * done

    def chances(self, tasks: Sequence[str], step: int) -> Tensor:
        n = torch.tensor([self.samples[task] for task in tasks], dtype=torch.float64)
        return (n.log() / self.temperature_at(step)).softmax(0)  # finite for any temperature
