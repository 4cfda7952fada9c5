"""Gradient normalisation (GradNorm)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import Parameter

from moduli.balancing.task_gradients import TaskGradients
from moduli.balancing.weighting import Weighting
from moduli.errors import InputError
from moduli.types import Losses, Model

_LEAST = 1e-3  # weights stay above zero


class GradNorm(Weighting):
    """Lets all tasks pull with gradients of a common norm, slower ones with a larger (Chen et al. 2018).

    At the last shared layer W, G_t = ||grad_W w_t L_t||. Its target is mean(G) r_t^alpha, where r_t is the
    loss relative to the first one, L_t / L_t(0), divided by the mean of that over all tasks. The weights
    follow the gradient of sum_t |G_t - target_t| with the target held constant, which is
    sign(G_t - target_t) ||grad_W L_t||, and are then scaled so that they sum to the number of tasks.

    The step that is taken uses the weights before their update. A task that does not take part keeps its
    weight, and its last known norm and loss count in the means.

    Where tasks have inputs of their own, the norms come out of the ordinary backward pass and cost nothing
    (see `moduli.balancing.task_gradients`); else from a short pass for each task, down to W.

    Args:
        alpha: how much slower tasks are to be pulled; 0 makes all norms equal.
        lr: learning rate of the weights.
        initial: L_t(0) by task, such as log C for C classes; the first loss that is seen for tasks that are
            not named.
        layer: parameters that stand for W; the last shared weight matrix if None. In a model that shares
            nothing all weights stay 1.

    Raises:
        InputError: if lr or alpha is negative.
    """

    kept = ("_weights", "_first", "_norms")
    of_losses = False

    def __init__(
        self,
        alpha: float = 1.5,
        lr: float = 0.025,
        initial: dict[str, float] | None = None,
        layer: Sequence[Parameter] | None = None,
    ):
        super().__init__()
        if not (alpha >= 0 and lr >= 0):
            raise InputError(f"GradNorm with alpha {alpha} and lr {lr}: give numbers of at least 0")
        self.alpha, self.lr, self.initial, self.layer = alpha, lr, dict(initial or {}), layer

    def attach(self, model: Model) -> None:
        if not model.keep_apart():
            model.keep_common()

    def begin(self, losses: Tensor) -> None:
        self._weights = torch.ones_like(losses)
        self._first = losses.new_tensor([self.initial.get(task, torch.nan) for task in self.tasks])
        self._norms = torch.full_like(losses, torch.nan)

    def weigh(self, losses: Tensor) -> Tensor:
        return self._weights

    def backward(self, losses: Losses, model: Model) -> None:
        rows = self.note(losses, model)
        here = slice(None) if rows is None else rows
        weights = self._weights[here]
        self.count(weights, rows)
        weighted = zip(losses.mean.items(), weights.unbind(), strict=True)
        losses = replace(losses, mean={task: w.to(x.dtype) * x for (task, x), w in weighted})
        layer = self._layer(model)
        gradients = TaskGradients(losses, model, only=layer)
        gradients.descend(gradients.matrix.sum(0))
        if not layer:
            return
        at_layer = gradients.columns(layer)
        present = torch.zeros_like(self.last, dtype=torch.bool)
        present[here] = True
        norms = self._norms.clone()
        norms[here] = at_layer.norm(dim=1).to(norms.dtype) / weights
        self._norms = norms
        self._first = torch.where(self._first.isnan(), self.last, self._first)
        self._weights = updated_weights(
            self._weights, norms, self.last / self._first.clamp(min=1e-12), present, self.alpha, self.lr
        )

    def _layer(self, model: Model) -> Sequence[Parameter]:
        if self.layer is not None:
            return self.layer
        return [p for p in model.shared_parameters() if p.dim() > 1 and p.requires_grad][-1:]


def updated_weights(
    w: Tensor, norms: Tensor, ratios: Tensor, present: Tensor, alpha: float, lr: float
) -> Tensor:
    """One update of GradNorm's weights `[T]`, from ||grad_W L_t|| and L_t / L_t(0); NaN where not known.

    Only tasks that are `present` are updated; then all are scaled to sum to their number.
    """
    G = w * norms
    r = ratios / ratios.nanmean()
    target = G.nanmean() * r.pow(alpha)
    step = torch.where(present, lr * torch.sign(G - target) * norms, torch.zeros_like(w)).nan_to_num(0.0)
    w = (w - step).clamp(min=_LEAST)
    return len(w) * w / w.sum()
