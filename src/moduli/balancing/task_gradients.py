"""The gradient of every task's loss by the shared parameters, and the sum of all by the others.

Two ways, with the same result, which may both be needed in one step:

* Where tasks are kept apart (`JointModel.keep_apart`), one backward pass of the sum of the losses leaves
  every task's gradient at its own copies of the shared parameters.
* Else a pass for each task, by the shared parameters alone, and one of the sum for all others. The graph of
  a task is walked only where it leads to shared parameters, so where tasks have graphs of their own the
  whole costs little more than one pass.

A third way, for tasks that go together up to their decoders: there they read copies of one hidden tensor
(`JointModel.keep_common`), which get every task's gradient from one pass through the decoders. From there on
a pass for each task cannot be avoided, but through dense layers they are one batched pass.

Losses stay separate scalars throughout: had they been written into one tensor, every pass would walk
the graphs of all tasks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from moduli.errors import InputError
from moduli.types import Common, Copy, Losses, Model


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
        wanted = {id(c.parameter) for c in copies} | {id(p) for p in only or ()}
        shared = [p for p in model.shared_parameters() if p.requires_grad]
        self.parameters = [p for p in shared if only is None or id(p) in wanted]
        rest = _others(model, self.parameters)
        common = model.common()
        if common is not None and common.copies is not None:
            self.matrix = _across(losses, common, common.copies, self.parameters, rest)
        else:
            self.matrix = _apart(losses, copies, self.parameters, rest)
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
        common = model.common()
        if common is None:
            raise InputError(
                "gradients at the representation: the tasks have no hidden tensor in common, "
                "as they do not read one input; take them at the parameters"
            )
        self._common, self._losses = common, losses
        self._shared = [p for p in model.shared_parameters() if p.requires_grad]
        self._others = _others(model, self._shared)
        if common.copies is not None:
            self.matrix = _at_copies(losses, common, common.copies, self._others)
        else:
            means = losses.mean.values()
            rows = [
                torch.autograd.grad(loss, common.tensor, retain_graph=True)[0].flatten() for loss in means
            ]
            self.matrix = torch.stack(rows)
        if losses.scale is not None:
            self.matrix = self.matrix / losses.scale

    def follow(self, weights: Tensor) -> None:
        """Adds the gradient of the weighted losses to shared parameters, that of the sum to all others.

        Where tasks part at the decoders the others have theirs already, and the shared ones are reached from
        the hidden tensor.
        """
        hidden, losses = self._common.tensor, self._losses
        if self._common.copies is not None:
            at_hidden = (weights @ self.matrix).view_as(hidden).to(hidden.dtype)
            at_hidden = at_hidden if losses.scale is None else at_hidden * losses.scale
            _descend(hidden, self._shared, at_hidden)
            return
        total = torch.stack(list(losses.mean.values()))
        _descend(total.sum(), self._others, keep=True)
        _descend((weights.to(total.dtype) * total).sum(), self._shared)


def gram_cosines(gram: Tensor) -> Tensor:
    """Cosines of the angles between gradients, from their Gramian `[S, S]`; 0 for a gradient of zero."""
    norms = gram.diagonal().clamp(min=0).sqrt()
    scale = norms.clamp(min=torch.finfo(gram.dtype).tiny).reciprocal()
    return (gram * scale.unsqueeze(0) * scale.unsqueeze(1)).clamp(-1, 1)


def _others(model: Model, parameters: Sequence[Parameter]) -> list[Parameter]:
    """All parameters but these."""
    taken = {id(p) for p in parameters}
    return [p for p in model.parameters() if id(p) not in taken and p.requires_grad]


def _apart(
    losses: Losses, copies: Sequence[Copy], parameters: Sequence[Parameter], rest: Sequence[Parameter]
) -> Tensor:
    """The matrix `[S, numbers]`, from copies of parameters where there are any, and else loss by loss."""
    means = list(losses.mean.values())
    copied = {id(c.parameter) for c in copies}
    others = [p for p in parameters if id(p) not in copied]
    rows = [_flat(loss, others) for loss in means] if others else []
    grads = _descend(torch.stack(means).sum(), rest, also=[c.tensor for c in copies])
    pieces = _by_parameter(copies, grads, list(losses.mean))
    if rows:
        found = torch.stack(rows).split([p.numel() for p in others], dim=1)
        pieces |= {id(p): piece for p, piece in zip(others, found, strict=True)}
    nothing = means[0].new_zeros(len(means), 1)
    columns = [pieces.get(id(p), nothing.expand(-1, p.numel())) for p in parameters]
    return torch.cat(columns, dim=1) if columns else nothing[:, :0]


def _across(
    losses: Losses,
    common: Common,
    copies: Tensor,
    parameters: Sequence[Parameter],
    rest: Sequence[Parameter],
) -> Tensor:
    """The matrix, from the gradients at the decoders' input: one batched pass if all before it is dense."""
    at_hidden = _at_copies(losses, common, copies, rest).view_as(copies)
    before = [p for p in rest if p.grad is None]
    hidden = common.tensor
    if before:
        _descend(hidden, before, at_hidden.sum(0), keep=True)
    if common.dense:
        grads = torch.autograd.grad(
            hidden, parameters, at_hidden, retain_graph=True, allow_unused=True, is_grads_batched=True
        )
        return torch.cat([g.flatten(1) for g in grads if g is not None], dim=1)
    return torch.stack([_flat(hidden, parameters, row) for row in at_hidden])


def _at_copies(losses: Losses, common: Common, copies: Tensor, rest: Sequence[Parameter]) -> Tensor:
    """The gradients at the copies of a hidden tensor `[S, numbers]`; adds to those of the decoders."""
    (grad,) = _descend(torch.stack(list(losses.mean.values())).sum(), rest, also=[copies])
    assert grad is not None
    rows = [common.tasks.index(task) for task in losses.mean]
    return (grad if rows == list(range(len(grad))) else grad[rows]).flatten(1)


def _flat(output: Tensor, parameters: Sequence[Parameter], grad: Tensor | None = None) -> Tensor:
    """The gradient of one output `[numbers]`, given its own if it is no scalar; the graph is kept."""
    grads = torch.autograd.grad(output, parameters, grad, retain_graph=True, allow_unused=True)
    pairs = zip(parameters, grads, strict=True)
    return torch.cat([p.new_zeros(p.numel()) if g is None else g.flatten() for p, g in pairs])


def _descend(
    output: Tensor,
    parameters: Sequence[Parameter],
    grad: Tensor | None = None,
    also: Sequence[Tensor] = (),
    keep: bool = False,
) -> Sequence[Tensor | None]:
    """One backward pass: adds to the gradients of the parameters, and returns those of other tensors."""
    wanted = [*parameters, *also]
    if not wanted:
        return ()
    grads = torch.autograd.grad(output, wanted, grad, retain_graph=keep, allow_unused=True)
    for parameter, found in zip(parameters, grads, strict=False):
        _add(parameter, found)
    return grads[len(parameters) :]


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
