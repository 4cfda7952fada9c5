"""Dynamic task prioritization."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from moduli.balancing.focal import Focal
from moduli.balancing.given import check_given
from moduli.balancing.weighting import Weighting
from moduli.errors import InputError
from moduli.functional import focal_weight
from moduli.tasks import Task
from moduli.types import Losses, Model, Scores

Kpi = Callable[[Scores, str], float]


def validation_kpi(scores: Scores, task: str) -> float:
    """How well a task does, from 0 to 1: the default of `DynamicTaskPriority`.

    Its own metric if more of it is better and 1 is the most (accuracy, F1, AUROC, R², where less than 0
    counts as 0); 1 - error for an error rate; exp(-loss) else. NaN if the split has no label of the task.
    """
    value = scores.value(task)
    if scores.higher_is_better[task] and not value > 1:
        return max(value, 0.0)
    if scores.primary[task] == "error":
        return 1.0 - value
    return math.exp(-scores.loss[task])


class DynamicTaskPriority(Weighting):
    """Dynamic task prioritization (DTP): difficult tasks, and difficult samples, count more.

    Follows sum_t FL(k_t; gamma) L*_t with FL(p; g) = -(1 - p)^g log p. k_t is the moving average of a key
    performance indicator (KPI) of the task, measured on the validation split after every phase:
    k_t <- new_weight KPI + (1 - new_weight) k_t, first the KPI itself. L*_t is the mean focal loss of the
    task with gamma_samples, see `Focal`; with gamma_samples = 0 it is the task's loss.

    Before the first phase is over there is no KPI: until then all tasks weigh 1. FL is then usually below
    1, so the losses become smaller; Adam does not mind. A KPI of NaN leaves the average as it is.

    Differences from the source: k_t is clipped, so that no task weighs infinitely much and none nothing at
    all. Samples of regression tasks all count the same, since their loss has no probability of the truth.

    Args:
        tasks: all tasks of the model; their kinds decide the treatment of samples.
        gamma: the greater, the less a task counts that does well.
        gamma_samples: the same for samples; 0 treats all alike.
        new_weight: the share of the new KPI in the average. Some programs call the share of the *old* one
            alpha; 0.3 is ours, the source's value is not known to us.
        kpi: from validation scores and a task's name to a number from 0 to 1; it need not be
            differentiable.
        clip: the least and greatest k_t that are used.

    Raises:
        InputError: for numbers out of range, tasks that are not those of the model, or, after a phase, a
            KPI that is not from 0 to 1.

    Source: Guo et al. (2018), "Dynamic task prioritization for multitask learning", section 3.
    """

    kept = ("_weights", "_average")

    def __init__(
        self,
        tasks: Sequence[Task],
        gamma: float = 1.0,
        gamma_samples: float = 2.0,
        new_weight: float = 0.3,
        kpi: Kpi = validation_kpi,
        clip: tuple[float, float] = (1e-3, 1 - 1e-3),
    ):
        super().__init__()
        for name, value in (("gamma", gamma), ("gamma_samples", gamma_samples)):
            if not value >= 0:
                raise InputError(f"{name} is {value}: give a number of at least 0")
        if not 0 < new_weight <= 1:
            raise InputError(f"new_weight is {new_weight}: give a number above 0, of at most 1")
        if not (len(clip) == 2 and 0 < clip[0] <= clip[1] <= 1):
            raise InputError(f"clip is {clip}: give the least and the greatest KPI, from above 0 to 1")
        self.gamma, self.new_weight, self.kpi, self.clip = gamma, new_weight, kpi, clip
        self.samples = Focal(tasks, gamma_samples)

    def attach(self, model: Model) -> None:
        check_given(self.samples.kinds, model, self)

    def begin(self, losses: Tensor) -> None:
        self._weights = torch.ones_like(losses)
        self._average = losses.clone()  # NaN: no KPI yet

    def weigh(self, losses: Tensor) -> Tensor:
        return self._weights

    def objectives(self, losses: Losses) -> Mapping[str, Tensor]:
        return self.samples.objectives(losses)

    def observe(self, scores: Scores) -> None:
        """Measures the KPIs and makes new weights of them."""
        if not self.tasks:
            return
        kpis = self._average.new_tensor([self._kpi(scores, task) for task in self.tasks])
        average = torch.where(
            self._average.isnan(), kpis, self.new_weight * kpis + (1.0 - self.new_weight) * self._average
        )
        self._average = torch.where(kpis.isnan(), self._average, average)
        weights = focal_weight(self._average.clamp(*self.clip), self.gamma)
        self._weights = torch.where(weights.isnan(), 1.0, weights)

    def _kpi(self, scores: Scores, task: str) -> float:
        kpi = self.kpi(scores, task)
        if kpi < 0 or kpi > 1:
            raise InputError(f"the KPI of task {task!r} is {kpi}: it must be a number from 0 to 1")
        return kpi
