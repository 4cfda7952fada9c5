"""Evaluating a joint model on a split."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from moduli.model import JointModel
from moduli.tasks import Task, inputs_of, task_losses
from moduli.types import Cost, Scores


@torch.no_grad()
def predict_split(
    model: JointModel,
    tasks: Mapping[str, Task],
    split: str,
    batch_size: int,
    device: torch.device,
    every: bool = False,
) -> dict[str, tuple[Tensor, Tensor]]:
    """Outputs and targets of every task over a whole split, `{task: ([N, ...], [N, ...])}`.

    Dropout is off and batch statistics are those of training; the model's mode is restored after. With
    `every`, the outputs are those of all decoders of a task, `[D, N, ...]`.
    """
    predict = model.every if every else model
    was_training = model.training
    model.eval()
    results: dict[str, tuple[Tensor, Tensor]] = {}
    try:
        for name, data in inputs_of(tasks).items():
            readers = [task for task in tasks if model.input_of[task] == name]
            outputs: dict[str, list[Tensor]] = {task: [] for task in readers}
            targets: dict[str, list[Tensor]] = {task: [] for task in readers}
            for batch in data.split(split).batches(batch_size, device):
                result = predict({name: batch.inputs}, readers)
                for task in readers:
                    outputs[task].append(result[task].float())
                    targets[task].append(batch.targets[task])
            axis = 1 if every else 0
            results |= {t: (torch.cat(outputs[t], axis), torch.cat(targets[t])) for t in readers}
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
    choose: bool = False,
) -> Scores:
    """Loss and metrics of every task on a split, over its labelled samples.

    Args:
        model: evaluated as it is, with dropout off.
        tasks: by name.
        split: "train", "val" or "test".
        batch_size: samples per forward pass.
        device: where the model is; found from its parameters if None.
        every_metric: False computes the task's own metric only.
        choose: where tasks have several decoders, first finds the best on this split and has it predict from
            now on; never to be used on the test split.

    Returns:
        `Scores`; NaN for a task that has no label in the split, an infinite loss if outputs are no numbers.
    """
    device = device or next(model.parameters()).device
    results = predict_split(model, tasks, split, batch_size, device, every=choose)
    costs: dict[str, list[Cost]] = {}
    if choose:
        several = {name: (o, y) for name, (o, y) in results.items() if len(o) > 1}
        costs = {name: _costs(tasks[name], outputs, targets) for name, (outputs, targets) in several.items()}
        model.choose(costs)
        decided = model.decide({name: outputs for name, (outputs, _) in results.items()})
        results = {name: (decided[name], targets) for name, (_, targets) in results.items()}
    scored = {name: _score(tasks[name], *pair, every_metric) for name, pair in results.items()}
    return Scores(
        split,
        loss={name: loss for name, (loss, _) in scored.items()},
        metrics={name: metrics for name, (_, metrics) in scored.items()},
        primary={name: task.metric for name, task in tasks.items()},
        higher_is_better={name: task.higher_is_better for name, task in tasks.items()},
        costs=costs,
    )


def _score(
    task: Task, outputs: Tensor, targets: Tensor, every_metric: bool
) -> tuple[float, dict[str, float]]:
    """Loss and metrics of one task, from outputs `[N, ...]`."""
    kind = task.kind
    labelled = kind.labelled(targets)
    known = {m: v for m, v in kind.metrics().items() if every_metric or m == task.metric}
    if not bool(labelled.any()):
        return math.nan, dict.fromkeys(known, math.nan)
    loss = task_losses({task.name: task}, {task.name: outputs}, {task.name: targets}).mean[task.name].item()
    if not bool(labelled.all()):
        outputs, targets = outputs[labelled], targets[labelled]
    metrics = {name: metric.compute(outputs, targets) for name, metric in known.items()}
    return math.inf if math.isnan(loss) else loss, metrics  # NaN would say: no labels


def _costs(task: Task, outputs: Tensor, targets: Tensor) -> list[Cost]:
    """Error and loss of each decoder, from outputs `[D, N, ...]`; infinite where they are no numbers."""
    sign = -1.0 if task.higher_is_better else 1.0
    scored = [_score(task, one, targets, every_metric=False) for one in outputs]
    pairs = [(sign * metrics[task.metric], loss) for loss, metrics in scored]
    return [(_or_infinite(error), _or_infinite(loss)) for error, loss in pairs]


def _or_infinite(x: float) -> float:
    return math.inf if math.isnan(x) else x
