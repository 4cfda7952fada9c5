"""Adaptive scheduling: more of the tasks that lag behind what they reach alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from moduli.errors import InputError, did_you_mean
from moduli.scheduling.sampling import Sampling
from moduli.types import Scores, State


class Adaptive(Sampling):
    """Favours tasks whose validation score is far below that of a single-task model.

    With rho_k = min(1, S_k / b_k), where S_k is the last validation score of task k and b_k what a
    single-task model reaches, tasks are drawn with p_k = u_k / sum_j u_j and

        inverse: u_k = 1 / (rho_k^alpha + eps)
        simple:  u_k = 1 + eps - rho_k^alpha

    Where lower is better, rho_k = min(1, b_k / S_k). A score that is unknown, not a number or negative
    counts as 0, so drawing starts uniform. A baseline of 0 or below gives rho_k = 1.

    The form `implicit` draws uniformly instead, and multiplies the learning rate of a step on task k by
    K p_k, K tasks, with p of the inverse form: the same expected change, without drawing one task over and
    over.

    From Jean, Firat & Johnson 2019, "Adaptive scheduling for multi-task learning"; the two explicit forms and
    their defaults as in the authors' implementation, which knows two tasks only. The paper's implicit
    schedule bounds the change of the learning rate and has constants of its own; ours reuses the explicit
    rule and has none.

    Args:
        baselines: b_k by task name, on the validation split, in the task's own metric; see
            `moduli.evaluation.baselines`.
        form: "inverse", "simple" or "implicit".
        alpha: the higher, the more a task that lags behind is favoured.
        eps: keeps every probability above 0.
        seed: of the draws.

    Raises:
        InputError: if a task has no baseline or one that is no number, or an argument makes no sense.
    """

    def __init__(
        self,
        baselines: Mapping[str, float],
        form: Literal["inverse", "simple", "implicit"] = "inverse",
        alpha: float = 1.0,
        eps: float = 0.05,
        seed: int = 0,
    ):
        super().__init__(1, seed)
        if form not in (forms := ("inverse", "simple", "implicit")):
            raise InputError(f"unknown form {form!r}, {did_you_mean(form, forms)}")
        for name, value in (("alpha", alpha), ("eps", eps)):
            if not 0 < value < math.inf:
                raise InputError(f"{name} is {value}: give a number above 0")
        for task, value in baselines.items():
            if not math.isfinite(value):
                raise InputError(f"the baseline of task {task!r} is {value}: give a number")
        self.baselines = dict(baselines)
        self.form, self.alpha, self.eps = form, alpha, eps
        self._ratios: dict[str, float] = {}
        self._tasks: list[str] = []  # that were last chosen from; needed between `choose` and `rate` only

    def attach(self, model: Any) -> None:
        self._check(model.input_of)

    def observe(self, scores: Scores) -> None:
        self._ratios = {
            task: ratio(scores.value(task), baseline, scores.higher_is_better[task])
            for task, baseline in self.baselines.items()
            if task in scores.metrics
        }

    def probabilities(self, tasks: Sequence[str]) -> Tensor:
        """p_k of some tasks, `[T]` in float64."""
        self._check(tasks)
        rho = torch.tensor([self._ratios.get(task, 0.0) for task in tasks], dtype=torch.float64)
        reached = rho**self.alpha
        u = 1 + self.eps - reached if self.form == "simple" else 1 / (reached + self.eps)
        return u / u.sum()

    def chances(self, tasks: Sequence[str], step: int) -> Tensor:
        self._tasks = list(tasks)
        p = self.probabilities(tasks)
        return torch.ones_like(p) if self.form == "implicit" else p

    def rate(self, tasks: Sequence[str]) -> float:
        if self.form != "implicit":
            return 1.0
        p = self.probabilities(self._tasks)
        return len(p) * float(p[self._tasks.index(tasks[0])])

    def _check(self, tasks: Sequence[str] | Mapping[str, Any]) -> None:
        for task in tasks:
            if task not in self.baselines:
                raise InputError(
                    f"task {task!r} has no single-task baseline: give one, or compute all "
                    "with moduli.evaluation.single_task_scores"
                )

    def state_dict(self) -> State:
        return {**super().state_dict(), "ratios": dict(self._ratios)}

    def load_state_dict(self, state: State, /) -> None:
        super().load_state_dict(state)
        self._ratios = dict(state["ratios"])


def ratio(score: float, baseline: float, higher_is_better: bool) -> float:
    """rho: how much of the baseline a score reaches, from 0 to 1."""
    if math.isnan(score):
        return 0.0
    if baseline <= 0:
        return 1.0
    if higher_is_better:
        return min(1.0, max(0.0, score / baseline))
    return 1.0 if score <= baseline else baseline / score
