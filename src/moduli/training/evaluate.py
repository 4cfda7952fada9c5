"""Evaluating a joint model on a split."""

from __future__ import annotations

import math
from collections import Counter
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
    `every`, the outputs are those of all decoders, `[D, N, ...]`, and of all candidates for a task, each
    under its own name.
    """
    predict = model.every if every else model
    was_training = model.training
    model.eval()
    outputs: dict[str, list[Tensor]] = {}
    targets: dict[str, list[Tensor]] = {task: [] for task in tasks}
    try:
        for input_name, data in inputs_of(tasks).items():
            readers = [task for task in tasks if model.input_of[task] == input_name]
            for batch in data.split(split).batches(batch_size, device):
                for name, result in predict({input_name: batch.inputs}, readers).items():
                    outputs.setdefault(name, []).append(result.float())
                for task in readers:
                    targets[task].append(batch.targets[task])
    finally:
        model.train(was_training)
    of_task = {task: torch.cat(parts) for task, parts in targets.items()}
    names = {task: [name for name in outputs if model.task_of(name) == task] for task in tasks}
    axis = 1 if every else 0
    return {name: (torch.cat(outputs[name], axis), of_task[task]) for task in tasks for name in names[task]}


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
        choose: where tasks have several decoders, or candidates, first finds the best on this split and has
            it predict from now on; never to be used on the test split.

    Returns:
        `Scores`; NaN for a task that has no label in the split, an infinite loss if outputs are no numbers.
    """
    device = device or next(model.parameters()).device
    results = predict_split(model, tasks, split, batch_size, device, every=choose)
    costs: dict[str, list[Cost]] = {}
    if choose:
        candidates = Counter(model.task_of(name) for name in results)
        for name, (outputs, targets) in results.items():
            if len(outputs) > 1 or candidates[model.task_of(name)] > 1:
                costs[name] = _costs(tasks[model.task_of(name)], outputs, targets)
        model.choose(costs)
        decided = model.decide({name: outputs for name, (outputs, _) in results.items()})
        of_task = {model.task_of(name): targets for name, (_, targets) in results.items()}
        results = {task: (decided[task], of_task[task]) for task in tasks}
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
