"""Self-paced learning."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from moduli.balancing.samples import sample_groups
from moduli.balancing.weighting import Weighting
from moduli.errors import InputError, did_you_mean
from moduli.functional import constant, self_paced_samples, self_paced_tasks
from moduli.types import Losses, Model, Scores, State

Level = Literal["task", "instance"]


class SelfPaced(Weighting):
    """Easy tasks, or easy samples, first; the others as the age lam grows.

    * "task": follows sum_t v_t L_t with v_t = clip((lam - L_t) / eta, 0, 1), which is what minimises
      sum_t v_t L_t - lam sum_t v_t + eta/2 sum_t v_t^2.
    * "instance": follows sum_t mean_i v_ti l_ti over the samples of the batch, with the v that minimise
      sum_i v_i l_i - lam sum_i v_i + gam ||v||_2 for each task (and each of its decoders): samples with
      losses below lam count, of tasks that have enough of them.

    v is made anew for every step, and no gradient goes through it. After every phase lam is multiplied by
    mu, and gam divided by it. lam starts as the median of the tasks' losses in the first step; if a step
    trains some tasks only, as the median of the last known losses, until all tasks were seen. Where no v is
    above 0, the task with the least loss counts in full, so that training goes on.

    What is not admitted is not learned and may get worse, above all the samples of a class that does not
    come first. lam must outgrow all losses well before training ends: with mu = 1.1 it doubles in 7 phases.

    Differences from the source: there, the base model is linear (GO-MTL), and v is found in turn with its
    weights on all data. The level of tasks is our reading of how the method schedules deep networks.

    Args:
        level: "task" or "instance".
        lam: the age at which training starts, as a loss; None for the median.
        mu: growth of the age in a phase; at least 1.
        eta: how far below lam a task's loss must be to count in full; in units of the first lam, so that
            it does not depend on how large losses are.
        gam: how much must be easy in a batch for its task to count, in units of the first lam: with 1, as
            much as one sample of loss 0. 0 for no such demand.

    Raises:
        InputError: for an unknown level or numbers out of range.

    Source: Li et al. (2017), "Self-paced multi-task learning"; mu = 1.1 and the defaults of eta and gam are
    ours.
    """

    kept = ("_start", "_settled")

    def __init__(
        self,
        level: Level = "task",
        lam: float | None = None,
        mu: float = 1.1,
        eta: float = 1.0,
        gam: float = 1.0,
    ):
        super().__init__()
        if level not in get_args(Level):
            raise InputError(f"unknown level {level!r}, {did_you_mean(level, get_args(Level))}")
        if lam is not None and not lam > 0:
            raise InputError(f"lam is {lam}: give a loss above 0, or None for the median loss")
        for name, value, least in (("mu", mu, 1), ("gam", gam, 0)):
            if not value >= least:
                raise InputError(f"{name} is {value}: give a number of at least {least}")
        if not eta > 0:
            raise InputError(f"eta is {eta}: give a number above 0")
        self.level, self.lam, self.mu, self.eta, self.gam = level, lam, mu, eta, gam
        self.phases = 0

    def begin(self, losses: Tensor) -> None:
        self._start = losses.new_tensor(torch.nan if self.lam is None else self.lam)
        self._settled = ~self._start.isnan()

    # -------------------------------------------------------------- a step

    def backward(self, losses: Losses, model: Model) -> None:
        if self.level == "task":
            super().backward(losses, model)
        else:
            self._follow_samples(losses, model)

    def note(self, losses: Losses, model: Model) -> Tensor | None:
        rows = super().note(losses, model)
        median = torch.where(self.last > 0, self.last, torch.nan).nanmedian()  # 0: no label in the batch
        self._start = torch.where(self._settled, self._start, median)
        self._settled = self._settled | ~self.last.isnan().any() & (median > 0)
        return rows

    def weigh(self, losses: Tensor) -> Tensor:
        known = losses.nan_to_num(nan=torch.inf)
        lam, eta, _ = self._paces()
        v = self_paced_tasks(known, lam, eta.clamp(min=torch.finfo(eta.dtype).tiny))
        return torch.where((v > 0).any(), v, _one_at_least(known))

    def _follow_samples(self, losses: Losses, model: Model) -> None:
        rows = self.note(losses, model)
        lam, _, gam = self._paces()
        shares, chosen = dict(losses.mean), dict(losses.mean)
        for group in sample_groups(losses, losses.mean):
            v = self_paced_samples(group.values().detach(), lam, gam, group.labelled)
            shares |= group.means(v)
            chosen |= group.means(v * group.samples)
        v, least = torch.stack(list(shares.values())), _one_at_least(losses.values())
        all_off = (v == 0).all()
        self.count(torch.where(all_off, least, v), rows)
        alone = least * torch.stack(list(losses.mean.values()))
        torch.where(all_off, alone, torch.stack(list(chosen.values()))).sum().backward()

    def _paces(self) -> tuple[Tensor, Tensor, Tensor]:
        """lam, eta and gam of this phase, as losses."""
        start, grown = self._start.nan_to_num(nan=0.0), self.mu**self.phases
        return start * grown, start * self.eta, start * (self.gam / grown)

    # -------------------------------------------------------------- phases, records, state

    def observe(self, scores: Scores) -> None:
        """Ends a phase: the age grows."""
        self.phases += 1

    def record(self) -> list[dict[str, Any]]:
        """The mean v of every task since the last record, and the age."""
        return [{**weights, "lam": self._paces()[0].item()} for weights in super().record()]

    def state_dict(self) -> State:
        return {**super().state_dict(), "phases": self.phases}

    def load_state_dict(self, state: State, /) -> None:
        state = dict(state)
        self.phases = state.pop("phases")
        super().load_state_dict(state)


def _one_at_least(losses: Tensor) -> Tensor:
    """1 for the least loss, 0 for all others `[T]`."""
    return (constant(tuple(range(len(losses))), losses.device) == losses.argmin()).to(losses)
