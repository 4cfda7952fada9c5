"""The losses of many tasks, in as few calls as their kinds and shapes allow."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Mapping

import torch
from torch import Tensor

from moduli.functional import stack_padded
from moduli.tasks.task import Task
from moduli.types import Losses

_STACK_FROM = 4  # tasks; below, stacking costs more calls than it saves


def task_losses(
    tasks: Mapping[str, Task],
    outputs: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    complete: Collection[str] = (),
) -> Losses:
    """Per-sample losses of every task, and their means over the labelled samples.

    Tasks whose kinds belong to one group (`Kind.group`) and whose batches have one shape are stacked and
    computed together.

    Args:
        tasks: by name.
        outputs: `[..., B, outputs]` for each task that takes part; leading axes are decoders.
        targets: `[B, ...]` for each of them.
        complete: tasks of which it is known that no label is missing.
    """
    groups: dict[Hashable, list[str]] = {}
    for name, output in outputs.items():
        full = name in complete
        key = (tasks[name].kind.group, output.shape[:-1], targets[name].shape, full)
        groups.setdefault(key, []).append(name)

    samples: dict[str, Tensor] = {}
    mean: dict[str, Tensor] = {}
    labels: dict[str, Tensor] = {}
    for names in groups.values():
        kind, full = tasks[names[0]].kind, names[0] in complete
        if len(names) < _STACK_FROM or kind.group is None:
            for name in names:
                samples[name] = kind.loss(outputs[name], targets[name])
                labelled = None if full else kind.labelled(targets[name])
                if labelled is not None:
                    labels[name] = labelled
                mean[name] = _mean(samples[name], labelled)
                if mean[name].dim():  # several decoders
                    mean[name] = mean[name].mean()
            continue
        stacked = stack_padded([outputs[name] for name in names], -math.inf)  # [G, ..., B, outputs]
        target = torch.stack([targets[name] for name in names])  # [G, B, ...]
        decoders = stacked.dim() - 3
        target = target.view(len(names), *[1] * decoders, *target.shape[1:])
        loss = kind.loss(stacked, target)  # [G, ..., B]
        labelled = None if full else kind.labelled(target)
        if labelled is not None:
            labels.update(zip(names, labelled.unbind(0), strict=True))
        means = _mean(loss, labelled)
        samples.update(zip(names, loss.unbind(0), strict=True))
        mean.update(zip(names, (means.flatten(1).mean(1) if decoders else means).unbind(0), strict=True))
    ordered = ({n: mean[n] for n in outputs}, {n: samples[n] for n in outputs})
    return Losses(*ordered, outputs, targets, labels)


def _mean(samples: Tensor, labelled: Tensor | None) -> Tensor:
    """Mean over the last axis, of the labelled samples; 0 if there is none."""
    if labelled is None:
        return samples.mean(-1)
    return samples.sum(-1) / labelled.sum(-1).clamp(min=1)
