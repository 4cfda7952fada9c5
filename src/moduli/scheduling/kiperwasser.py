"""Schedules that depend on time alone: more, or less, of a main task as training goes on."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from moduli.errors import InputError, did_you_mean
from moduli.scheduling.sampling import Sampling, check_complete, check_known


class MainTask(Sampling):
    """Draws a main task with a probability that depends on time; the others share the rest equally.

    Of Kiperwasser & Ballesteros 2018, "Scheduled multi-task learning: from syntax to translation". The paper
    has one auxiliary task.
    """

    def __init__(self, main: str, seed: int):
        super().__init__(1, seed)
        self.main = main

    @abstractmethod
    def probability(self, step: int) -> float:
        """P, that of the main task."""
        ...

    def attach(self, model: Any) -> None:
        check_known("main task", [self.main], model.input_of)

    def chances(self, tasks: Sequence[str], step: int) -> Tensor:
        p, others = self.probability(step), max(len(tasks) - 1, 1)
        chances = [p if task == self.main else (1 - p) / others for task in tasks]
        return torch.tensor(chances, dtype=torch.float64)


class ConstantShare(MainTask):
    """Draws the main task with the fixed probability P = a.

    Args:
        main: name of the main task.
        a: its probability.
        seed: of the draws.

    Raises:
        InputError: if `a` is not between 0 and 1.
    """

    def __init__(self, main: str, a: float = 0.5, seed: int = 0):
        super().__init__(main, seed)
        if not 0 <= a <= 1:
            raise InputError(f"a is {a}: give a probability between 0 and 1")
        self.a = a

    def probability(self, step: int) -> float:
        return self.a


class GrowingShare(MainTask):
    """Draws a main task with a probability that grows with the time t in epochs."""

    def __init__(self, main: str, epoch: float, a: float = 0.5, seed: int = 0):
        super().__init__(main, seed)
        self.rate_per_step = per_step(a, epoch)


class ExponentialShare(GrowingShare):
    """Draws the main task with P(t) = 1 - exp(-a t), from 0 towards 1; t is the time in epochs.

    Args:
        main: name of the main task.
        epoch: steps in an epoch, such as the samples of the main task over the batch size.
        a: how fast. The paper tunes it for each setting; 0.1, 0.3, 0.5 and 1 are worth a try.
        seed: of the draws.

    Raises:
        InputError: if `epoch` or `a` is not above 0.
    """

    def probability(self, step: int) -> float:
        return -math.expm1(-self.rate_per_step * step)


class SigmoidShare(GrowingShare):
    """Draws the main task with P(t) = 1 / (1 + exp(-a t)), from 1/2 towards 1; t is the time in epochs.

    Args:
        main: name of the main task.
        epoch: steps in an epoch, such as the samples of the main task over the batch size.
        a: how fast. The paper tunes it for each setting; 0.1, 0.3, 0.5 and 1 are worth a try.
        seed: of the draws.

    Raises:
        InputError: if `epoch` or `a` is not above 0.
    """

    def probability(self, step: int) -> float:
        return 1 / (1 + math.exp(-self.rate_per_step * step))


class ShiftingShares(Sampling):
    """Moves the probabilities of any number of tasks from `start` to `end`; t is the time in epochs.

        exponential: p_k(t) ~ end_k + (start_k - end_k) exp(-a t)
        sigmoid:     p_k(t) ~ end_k + (2 start_k - end_k) exp(-a t)

    With two tasks, start (0, 1) and end (1, 0), the first is `ExponentialShare`; with start (1/2, 1/2), the
    second is `SigmoidShare`. The general form is that of Lingvo, an open framework for sequence models.

    Args:
        start: by task name, proportional to the probabilities at the start.
        end: to those at the end, where they go.
        epoch: steps in an epoch.
        a: how fast.
        form: "exponential" or "sigmoid".
        seed: of the draws.

    Raises:
        InputError: if start and end name different tasks or are no probabilities, `epoch` or `a` is not above
            0, or the form is unknown.
    """

    def __init__(
        self,
        start: Mapping[str, float],
        end: Mapping[str, float],
        epoch: float,
        a: float = 0.5,
        form: Literal["exponential", "sigmoid"] = "exponential",
        seed: int = 0,
    ):
        super().__init__(1, seed)
        if start.keys() != end.keys():
            odd = sorted(start.keys() ^ end.keys())[0]
            raise InputError(f"task {odd!r} is in one of start and end only: name the same tasks in both")
        if form not in (forms := ("exponential", "sigmoid")):
            raise InputError(f"unknown form {form!r}, {did_you_mean(form, forms)}")
        self.start, self.end = fractions("start", start), fractions("end", end)
        self.factor = 2.0 if form == "sigmoid" else 1.0
        self.rate_per_step = per_step(a, epoch)

    def attach(self, model: Any) -> None:
        check_known("start and end", self.start, model.input_of)
        check_complete("start and end", self.start, model.input_of)

    def chances(self, tasks: Sequence[str], step: int) -> Tensor:
        left = math.exp(-self.rate_per_step * step)
        chances = [self.end[t] + (self.factor * self.start[t] - self.end[t]) * left for t in tasks]
        return torch.tensor(chances, dtype=torch.float64)


def per_step(a: float, epoch: float) -> float:
    """The rate a per epoch as a rate per step."""
    for name, value in (("a", a), ("epoch", epoch)):
        if not 0 < value < math.inf:
            raise InputError(f"{name} is {value}: give a number above 0")
    return a / epoch


def fractions(what: str, values: Mapping[str, float]) -> dict[str, float]:
    """Values divided by their sum."""
    for task, value in values.items():
        if not 0 <= value < math.inf:
            raise InputError(f"{what} of task {task!r} is {value}: give a number of at least 0")
    if not (total := sum(values.values())):
        raise InputError(f"{what} is 0 for every task: give one of them more")
    return {task: value / total for task, value in values.items()}
