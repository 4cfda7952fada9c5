"""Scalarizers of torchjd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Adam

from moduli.balancing.samples import scaled
from moduli.balancing.torchjd_state import load_torchjd_state, torchjd_state
from moduli.balancing.weighting import Weighting
from moduli.errors import InputError
from moduli.functional import constant
from moduli.rng import torch_seeded
from moduli.types import Losses, Model, Scores, State

_LEAST = 1e-12  # of a loss that is passed on: logarithms of 0 are not finite


class Scalarized(Weighting):
    """Follows the gradient of a scalarizer of torchjd: one number made of all losses.

    For example `Scalarized(torchjd.scalarization.STCH(mu=0.5))`. The weight of a task, which is logged, is
    the derivative of this number by the task's loss.

    * The scalarizer gets the losses of *all* tasks, in the order of the model. A task that does not take
      part in a step counts with its last known loss; one that was never seen with the mean of the others.
      Losses below 1e-12 count as 1e-12.
    * Its parameters (UW, IMTLL) are trained by the network's optimizer, without weight decay.
    * DWA: a phase stands for an epoch.
    * FAMO gets the losses of the batch once more after the step, which takes a second forward pass. (The
      losses of the next batch would cost nothing, but the noise between batches hides what it looks for.)
      The losses of tasks that did not take part count as unchanged.
    * Random numbers are drawn from generators that are seeded anew for every step, and the global ones
      are left alone.

    torchjd's objects keep state outside of their `state_dict`; see `moduli.balancing.torchjd_state` for what
    ours has of it.

    Args:
        scalarizer: any `torchjd.scalarization.Scalarizer`, or module that maps losses `[T]` to a scalar.
        seed: of the random numbers that it draws.

    Raises:
        InputError: if it is no module; in the first step, if it was made for another number of tasks.
    """

    def __init__(self, scalarizer: nn.Module, seed: int = 0):
        from torchjd.scalarization import DWA, FAMO

        super().__init__()
        if not isinstance(scalarizer, nn.Module):
            raise InputError(f"{scalarizer!r} is no scalarizer: give a module that maps losses to a scalar")
        self.scalarizer: Any = scalarizer
        self.seed, self.steps = seed, 0
        self._ends_epochs, self._looks_back = isinstance(scalarizer, DWA), isinstance(scalarizer, FAMO)
        self._trained = [] if self._looks_back else list(scalarizer.parameters())  # FAMO trains its own
        self._placed = False

    def parameters(self) -> Sequence[Parameter]:
        return self._trained

    def attach(self, model: Model) -> None:
        self._place(next(model.parameters()))

    # -------------------------------------------------------------- a step

    def backward(self, losses: Losses, model: Model) -> None:
        super().backward(losses, model)
        for parameter, gradient in zip(self._trained, self._gradients, strict=True):
            gradient = scaled(gradient, losses)
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient

    def weigh(self, losses: Tensor) -> Tensor:
        if not self._placed:
            self._place(losses)
        values = torch.where(losses.isnan(), losses.nanmean(), losses).clamp(min=_LEAST)
        self._values = values.clone()
        try:
            total = self._scalar(values.requires_grad_())
        except ValueError as error:
            raise InputError(
                f"{self.scalarizer!r} refuses the losses of {len(losses)} tasks: {error}"
            ) from error
        weights, *self._gradients = torch.autograd.grad(
            total, [values, *self._trained], materialize_grads=True
        )
        return weights

    def after_step(self, recompute: Callable[[], Losses]) -> None:
        if not self._looks_back:
            return
        with torch.no_grad():
            losses = recompute()
        rows = constant(tuple(self.tasks.index(task) for task in losses.mean), self._values.device)
        after = self._values.index_copy(0, rows, losses.values().to(self._values))
        self.scalarizer.update(after.clamp(min=_LEAST))

    def _scalar(self, values: Tensor) -> Tensor:
        self.steps += 1
        with torch_seeded(self.seed * 0x9E3779B1 + self.steps, values.device):
            return self.scalarizer(values)

    def _place(self, like: Tensor) -> None:
        """Brings all that the scalarizer computes with to where the losses are."""
        self.scalarizer.to(like.device, like.dtype)
        for module in self.scalarizer.modules():
            for key, value in list(vars(module).items()):
                if isinstance(value, Tensor | list):  # tensors that are no buffers
                    setattr(module, key, _moved(value, like))
        self._placed = True

    # -------------------------------------------------------------- phases and state

    def observe(self, scores: Scores) -> None:
        """Ends a phase, which is an epoch to DWA."""
        if self._ends_epochs:
            self.scalarizer.step()

    def state_dict(self) -> State:
        return {**super().state_dict(), "steps": self.steps, "scalarizer": torchjd_state(self.scalarizer)}

    def load_state_dict(self, state: State, /) -> None:
        state = dict(state)
        self.steps, saved = state.pop("steps"), state.pop("scalarizer")
        if "last" in state:
            self.scalarizer.to(state["last"].dtype)
        famo = self.scalarizer
        if self._looks_back and "optimizer" in saved[""]["_optimizer"]:  # made in the first update
            famo._optimizer = Adam([famo._w], lr=famo.lr, weight_decay=famo.weight_decay)
        load_torchjd_state(self.scalarizer, saved)
        super().load_state_dict(state)
        self._placed = False


def _moved(value: Any, like: Tensor) -> Any:
    """A tensor, or a list of them, to the device and number type of `like`; all else as it is."""
    if isinstance(value, Tensor):
        return value.to(like.device, like.dtype if value.is_floating_point() else None)
    return [_moved(item, like) for item in value] if isinstance(value, list) else value
