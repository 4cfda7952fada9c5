"""Evaluating a joint model on a split."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from moduli.model import JointModel
from moduli.tasks import Task, inputs_of, task_losses
from moduli.types import Scores


@torch.no_grad()
def predict_split(
    model: JointModel, tasks: Mapping[str, Task], split: str, batch_size: int, device: torch.device
) -> dict[str, tuple[Tensor, Tensor]]:
    """Outputs and targets of every task over a whole split, `{task: ([N, ...], [N, ...])}`.

    Dropout is off and batch statistics are those of training; the model's mode is restored after.
    """
    was_training = model.training
    model.eval()
    results: dict[str, tuple[Tensor, Tensor]] = {}
    try:
        for name, data in inputs_of(tasks).items():
            readers = [task for task in tasks if model.input_of[task] == name]
            outputs: dict[str, list[Tensor]] = {task: [] for task in readers}
            targets: dict[str, list[Tensor]] = {task: [] for task in readers}
            for batch in data.split(split).batches(batch_size, device):
                result = model({name: batch.inputs}, readers)
                for task in readers:
                    outputs[task].append(result[task].float())
                    targets[task].append(batch.targets[task])
            results |= {t: (torch.cat(outputs[t]), torch.cat(targets[t])) for t in readers}
    finally:
        model.train(was_training)
    return {task: results[task] for task in tasks}


def evaluate(
    model: JointModel,
    tasks: Mapping[str, Task],
    split: str,
    batch_size: int = 4096,
    device: torch.device | None = None,
    every_metric: bool = True,
) -> Scores:
    """Loss and metrics of every task on a split, over its labelled samples.

    Args:
        model: evaluated as it is, with dropout off.
        tasks: by name.
        split: "train", "val" or "test".
        batch_size: samples per forward pass.
        device: where the model is; found from its parameters if None.
        every_metric: False computes the task's own metric only.

    Returns:
        `Scores`; NaN for a task that has no label in the split, an infinite loss if outputs are no numbers.
    """
    device = device or next(model.parameters()).device
    loss: dict[str, float] = {}
    metrics: dict[str, dict[str, float]] = {}
    for name, (outputs, targets) in predict_split(model, tasks, split, batch_size, device).items():
        kind, wanted = tasks[name].kind, tasks[name].metric
        labelled = kind.labelled(targets)
        known = {m: v for m, v in kind.metrics().items() if every_metric or m == wanted}
        if not bool(labelled.any()):
            loss[name], metrics[name] = float("nan"), dict.fromkeys(known, float("nan"))
            continue
        value = task_losses(tasks, {name: outputs}, {name: targets}).mean[name].item()
        loss[name] = math.inf if math.isnan(value) else value  # NaN would say: no labels
        if not bool(labelled.all()):
            outputs, targets = outputs[labelled], targets[labelled]
        metrics[name] = {m: metric.compute(outputs, targets) for m, metric in known.items()}
    return Scores(
        split,
        loss,
        metrics,
        primary={name: task.metric for name, task in tasks.items()},
        higher_is_better={name: task.higher_is_better for name, task in tasks.items()},
    )
