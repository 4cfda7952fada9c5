"""The losses of many tasks, in as few calls as their kinds and shapes allow."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import torch
from torch import Tensor

from moduli.tasks.task import Task
from moduli.types import Losses


def task_losses(
    tasks: Mapping[str, Task], outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]
) -> Losses:
    """Per-sample losses of every task, and their means over the labelled samples.

    Tasks whose kinds belong to one group (`Kind.group`) and whose tensors have one shape are stacked and
    computed together.

    Args:
        tasks: by name.
        outputs: `[..., B, outputs]` for each task that takes part; leading axes are decoders.
        targets: `[B, ...]` for each of them.
    """
    groups: dict[Hashable, list[str]] = {}
    for name, output in outputs.items():
        key = (tasks[name].kind.group, output.shape, targets[name].shape)
        groups.setdefault(key, []).append(name)

    samples: dict[str, Tensor] = {}
    mean: dict[str, Tensor] = {}
    for names in groups.values():
        kind = tasks[names[0]].kind
        stacked = torch.stack([outputs[name] for name in names])  # [G, ..., B, outputs]
        target = torch.stack([targets[name] for name in names])  # [G, B, ...]
        decoders = stacked.dim() - 3
        target = target.view(len(names), *[1] * decoders, *target.shape[1:])
        loss = kind.loss(stacked, target)  # [G, ..., B]
        labelled = kind.labelled(target).sum(-1).clamp(min=1)
        means = (loss.sum(-1) / labelled).flatten(1).mean(1) if decoders else loss.sum(-1) / labelled
        samples.update(zip(names, loss.unbind(0), strict=True))
        mean.update(zip(names, means.unbind(0), strict=True))
    return Losses({n: mean[n] for n in outputs}, {n: samples[n] for n in outputs}, outputs, targets)
