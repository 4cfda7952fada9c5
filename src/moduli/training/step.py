"""One training step, whatever the method: read this to know what moduli does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from moduli.model import JointModel
from moduli.tasks import Stream, Task, task_losses
from moduli.training.precision import Precision
from moduli.types import Combine, Losses


@dataclass
class Parts:
    """What a training step works with."""

    model: JointModel
    forward: Callable[..., dict[str, Tensor]]  # the model, compiled or not
    tasks: Mapping[str, Task]
    streams: Mapping[str, Stream]  # by input
    combine: Combine
    optimizer: Optimizer
    lr_schedule: LRScheduler | None
    precision: Precision
    clip: float | None


def train_step(parts: Parts, names: Sequence[str], rate: float = 1.0) -> Losses:
    """One step of gradient descent on the tasks `names`, one batch for each of their inputs.

    Tasks that share an input share its batch, and it is encoded once. The learning rate of this step is
    multiplied by `rate`.
    """
    model, precision = parts.model, parts.precision
    parts.optimizer.zero_grad(set_to_none=True)
    inputs_in_use = dict.fromkeys(model.input_of[name] for name in names)
    batches = {name: parts.streams[name].draw() for name in inputs_in_use}
    complete = frozenset().union(*(batch.complete for batch in batches.values()))
    targets = {name: batches[model.input_of[name]].targets[name] for name in names}

    def compute_losses() -> Losses:
        with precision.autocast():
            outputs = parts.forward({name: batch.inputs for name, batch in batches.items()}, names)
            return task_losses(parts.tasks, outputs, targets, complete)

    losses = compute_losses()
    parts.combine.backward(precision.scaled(losses), model)
    if parts.clip is not None:
        precision.unscale(parts.optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), parts.clip)
    with scaled_rate(parts.optimizer, rate):
        precision.step(parts.optimizer)
    parts.combine.after_step(compute_losses)
    if parts.lr_schedule is not None:
        parts.lr_schedule.step()
    return losses


@contextmanager
def scaled_rate(optimizer: Optimizer, rate: float) -> Iterator[None]:
    """While active, the optimizer's learning rates are multiplied by `rate`."""
    if rate == 1.0:
        yield
        return
    before = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] * rate
    try:
        yield
    finally:
        for group, lr in zip(optimizer.param_groups, before, strict=True):
            group["lr"] = lr
