"""The gradient of every task's loss by the shared parameters, and the sum of all by the others.

Two ways, with the same result, which may both be needed in one step:

* Where tasks are kept apart (`JointModel.keep_apart`), one backward pass of the sum of the losses leaves
  every task's gradient at its own copies of the shared parameters.
* Else a pass for each task, by the shared parameters alone, and one of the sum for all others. The graph of
  a task is walked only where it leads to shared parameters, so where tasks have graphs of their own the
  whole costs little more than one pass.

Losses stay separate scalars throughout: had they been written into one tensor, every pass would walk
the graphs of all tasks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from moduli.errors import InputError
from moduli.types import Copy, Losses, Model


class TaskGradients:
    """The gradients of S tasks by the shared parameters: row s of `matrix` `[S, numbers]` is that of task s.

    Making it adds the gradients of all other parameters to `.grad`: a task's own follow its own loss.

    Args:
        losses: of the step. In fp16 they are scaled, and `matrix` is not.
        model: whose parameters are asked for.
        only: the shared parameters that are wanted at least; all by default. The others, but for those that
            cost nothing as tasks are kept apart, get the gradient of the sum.
    """

    def __init__(self, losses: Losses, model: Model, only: Sequence[Parameter] | None = None):
        self.scale = losses.scale
        copies = model.copies()
        apart = {id(c.parameter) for c in copies}
        wanted = apart | {id(p) for p in only or ()}
        shared = [p for p in model.shared_parameters() if p.requires_grad]
        self.parameters = [p for p in shared if only is None or id(p) in wanted]

        means = list(losses.mean.values())
        one_by_one = [p for p in self.parameters if id(p) not in apart]
        rows = [_flat(one_by_one, loss) for loss in means] if one_by_one else []
        rest = _others(model, self.parameters)
        leaves = [*rest, *(c.tensor for c in copies)]
        grads: Sequence[Tensor | None] = ()
        if leaves:
            total = torch.stack(means).sum()
            grads = torch.autograd.grad(total, leaves, allow_unused=True)
        for parameter, grad in zip(rest, grads, strict=False):
            _add(parameter, grad)
        pieces = _by_parameter(copies, grads[len(rest) :], list(losses.mean))
        if rows:
            found = torch.stack(rows).split([p.numel() for p in one_by_one], dim=1)
            pieces |= {id(p): piece for p, piece in zip(one_by_one, found, strict=True)}
        nothing = means[0].new_zeros(len(means), 1)
        columns = [pieces.get(id(p), nothing.expand(-1, p.numel())) for p in self.parameters]
        self.matrix = torch.cat(columns, dim=1) if columns else nothing[:, :0]
        if self.scale is not None:
            self.matrix = self.matrix / self.scale

    def columns(self, parameters: Sequence[Parameter]) -> Tensor:
        """The gradients by some of the shared parameters, `[S, their numbers]`."""
        pieces = self.matrix.split([p.numel() for p in self.parameters], dim=1)
        of = {id(p): piece for p, piece in zip(self.parameters, pieces, strict=True)}
        return torch.cat([of[id(p)] for p in parameters], dim=1)

    def follow(self, weights: Tensor) -> None:
        """Adds the weighted sum of the tasks' gradients to those of the shared parameters."""
        self.descend(weights @ self.matrix)

    def descend(self, direction: Tensor) -> None:
        """Adds a vector `[numbers]` to the gradients of the shared parameters."""
        if self.scale is not None:
            direction = direction * self.scale
        pieces = direction.split([p.numel() for p in self.parameters])
        for parameter, piece in zip(self.parameters, pieces, strict=True):
            _add(parameter, piece.view_as(parameter))


class CommonGradients:
    """The gradients of S tasks by the last hidden tensor that they have in common: row s is that of task s.

    The tensor may be the decoders' input, or where every task goes its own way from there, as in soft order,
    what the encoder puts out (see `JointModel.keep_common`).

    Raises:
        InputError: if the tasks have no hidden tensor in common.
    """

    def __init__(self, losses: Losses, model: Model):
        common = model.common(list(losses.mean))
        if common is None:
            raise InputError(
                "gradients at the representation: the tasks have no hidden tensor in common, "
                "as they do not read one input; take them at the parameters"
            )
        self._hidden, self._at_decoders = common
        self._losses, self._model = losses, model
        rows = [
            torch.autograd.grad(loss, self._hidden, retain_graph=True)[0].flatten()
            for loss in losses.mean.values()
        ]
        self.matrix = torch.stack(rows)
        if losses.scale is not None:
            self.matrix = self.matrix / losses.scale

    def follow(self, weights: Tensor) -> None:
        """Adds the gradient of the weighted losses to shared parameters, that of the sum to all others."""
        losses = self._losses
        total = torch.stack(list(losses.mean.values()))
        shared = self._model.shared_parameters()
        others = _others(self._model, shared)
        grads = torch.autograd.grad(total.sum(), others, retain_graph=True, allow_unused=True)
        if self._at_decoders:  # all shared parameters come before it: no need to pass the decoders again
            at_hidden = (weights @ self.matrix).view_as(self._hidden)
            if losses.scale is not None:
                at_hidden = at_hidden * losses.scale
            found = torch.autograd.grad(
                self._hidden, shared, at_hidden.to(self._hidden.dtype), allow_unused=True
            )
        else:
            weighted = (weights.to(total.dtype) * total).sum()
            found = torch.autograd.grad(weighted, shared, allow_unused=True)
        for parameter, grad in zip([*others, *shared], [*grads, *found], strict=True):
            _add(parameter, grad)


def gram_cosines(gram: Tensor) -> Tensor:
    """Cosines of the angles between gradients, from their Gramian `[S, S]`; 0 for a gradient of zero."""
    norms = gram.diagonal().clamp(min=0).sqrt()
    scale = norms.clamp(min=torch.finfo(gram.dtype).tiny).reciprocal()
    return (gram * scale.unsqueeze(0) * scale.unsqueeze(1)).clamp(-1, 1)


def _others(model: Model, parameters: Sequence[Parameter]) -> list[Parameter]:
    """All parameters but these."""
    taken = {id(p) for p in parameters}
    return [p for p in model.parameters() if id(p) not in taken and p.requires_grad]


def _flat(parameters: Sequence[Parameter], loss: Tensor) -> Tensor:
    """The gradient of one loss `[numbers]`; its graph is kept."""
    grads = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    pairs = zip(parameters, grads, strict=True)
    return torch.cat([p.new_zeros(p.numel()) if g is None else g.flatten() for p, g in pairs])


def _by_parameter(
    copies: Sequence[Copy], grads: Sequence[Tensor | None], tasks: Sequence[str]
) -> dict[int, Tensor]:
    """From the gradients at copies to `[S, numbers]` for each parameter, by its id."""
    row = {task: s for s, task in enumerate(tasks)}
    everyone = list(range(len(tasks)))
    pieces: dict[int, Tensor] = {}
    for copy, grad in zip(copies, grads, strict=True):
        if grad is None:
            continue
        key, rows = id(copy.parameter), [row[task] for task in copy.tasks]
        by_task = grad.reshape(len(rows), -1)
        if rows == everyone and key not in pieces:
            pieces[key] = by_task
            continue
        if key not in pieces:
            pieces[key] = by_task.new_zeros(len(tasks), by_task.shape[1])
        pieces[key][rows] += by_task
    return pieces


def _add(parameter: Parameter, grad: Tensor | None) -> None:
    if grad is not None:
        grad = grad.to(parameter.dtype)
        parameter.grad = grad.clone() if parameter.grad is None else parameter.grad + grad
