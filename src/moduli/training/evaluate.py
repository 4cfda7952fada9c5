"""Evaluating a joint model on a split."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from moduli.errors import InputError
from moduli.model import JointModel
from moduli.tasks import Task, inputs_of, task_losses
from moduli.tasks.kinds import Tallied
from moduli.types import Cost, Scores


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

    Raises:
        InputError: if the outputs of a task are too large to be kept (see `moduli.tasks.kinds.Tallied`).
    """
    for name, task in tasks.items():
        if isinstance(task.kind, Tallied):
            raise InputError(
                f"the outputs of the {task.kind.name} task {name!r} are not kept for a whole split: "
                "leave it out here, and use evaluate for its scores"
            )
    outputs: dict[str, list[Tensor]] = {}
    targets: dict[str, list[Tensor]] = {}
    for task, found, target in _read(model, tasks, split, batch_size, device, every):
        targets.setdefault(task, []).append(target)
        for name, result in found.items():
            outputs.setdefault(name, []).append(result.float())
    of_task = {task: torch.cat(parts) for task, parts in targets.items()}
    names = {task: [name for name in outputs if model.task_of(name) == task] for task in tasks}
    axis = 1 if every else 0
    return {name: (torch.cat(outputs[name], axis), of_task[task]) for task in tasks for name in names[task]}


def _tally_split(
    model: JointModel,
    tasks: Mapping[str, Task],
    split: str,
    batch_size: int,
    device: torch.device,
    every: bool = False,
) -> dict[str, Tensor]:
    """Sums over a whole split, of tasks whose kinds are `Tallied`: `{task: [S]}`.

    With `every`, those of all decoders, `[D, S]`, and of all candidates for a task.
    """
    sums: dict[str, Tensor] = {}
    for task, found, target in _read(model, tasks, split, batch_size, device, every):
        kind: Any = tasks[task].kind
        for name, result in found.items():
            of_batch = kind.tally(result, target)
            sums[name] = sums[name] + of_batch if name in sums else of_batch
    return sums


@torch.no_grad()
def _read(
    model: JointModel,
    tasks: Mapping[str, Task],
    split: str,
    batch_size: int,
    device: torch.device,
    every: bool,
) -> Iterator[tuple[str, dict[str, Tensor], Tensor]]:
    """Every batch of a split in evaluation mode: `(task, {candidate: outputs}, targets)`."""
    predict = model.every if every else model
    was_training = model.training
    model.eval()
    try:
        for input_name, data in inputs_of(tasks).items():
            readers = [task for task in tasks if model.input_of[task] == input_name]
            for batch in data.split(split).batches(batch_size, device):
                found = predict({input_name: batch.inputs}, readers)
                for task in readers:
                    of_task = {name: y for name, y in found.items() if model.task_of(name) == task}
                    yield task, of_task, batch.targets[task]
    finally:
        model.train(was_training)


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

    Of tasks whose kinds are `moduli.tasks.kinds.Tallied`, as language models are, no outputs are kept: their
    sums are added up batch by batch, and their loss is what the kind makes of them (a mean over tokens).

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
    pass_over = (split, batch_size, device)
    kept = {name: task for name, task in tasks.items() if not isinstance(task.kind, Tallied)}
    tallied = {name: task for name, task in tasks.items() if name not in kept}
    results = predict_split(model, kept, *pass_over, every=choose)
    sums = _tally_split(model, tallied, *pass_over, every=choose)
    costs: dict[str, list[Cost]] = {}
    if choose:
        costs = _costs_of_several(model, tasks, results, sums)
        model.choose(costs)
        decided = model.decide({name: outputs for name, (outputs, _) in results.items()})
        of_task = {model.task_of(name): targets for name, (_, targets) in results.items()}
        results = {task: (decided[task], of_task[task]) for task in kept}
        again = {task: tallied[task] for task in tallied if task not in sums or task in costs}
        alone = {task: sums[task][0] for task in tallied if task not in again}
        sums = {**alone, **_tally_split(model, again, *pass_over)}
    scored = {name: _score(task, *results[name], every_metric) for name, task in kept.items()}
    scored |= {name: _score_sums(task, sums[name], every_metric) for name, task in tallied.items()}
    return Scores(
        split,
        loss={name: scored[name][0] for name in tasks},
        metrics={name: scored[name][1] for name in tasks},
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


def _score_sums(task: Task, sums: Tensor, every_metric: bool) -> tuple[float, dict[str, float]]:
    """Loss and metrics of one task, from its sums `[S]`."""
    kind: Any = task.kind
    loss, metrics = kind.scored(sums)
    return loss, {m: v for m, v in metrics.items() if every_metric or m == task.metric}


def _costs_of_several(
    model: JointModel,
    tasks: Mapping[str, Task],
    results: Mapping[str, tuple[Tensor, Tensor]],
    sums: Mapping[str, Tensor],
) -> dict[str, list[Cost]]:
    """Errors and losses of all decoders and candidates, where a task has more than one."""
    candidates = Counter(model.task_of(name) for name in (*results, *sums))
    costs: dict[str, list[Cost]] = {}
    for name in (*results, *sums):
        task = tasks[model.task_of(name)]
        decoders = len(sums[name] if name in sums else results[name][0])
        if decoders == 1 and candidates[task.name] == 1:
            continue
        if name in sums:
            scored = [_score_sums(task, one, every_metric=False) for one in sums[name]]
        else:
            outputs, targets = results[name]
            scored = [_score(task, one, targets, every_metric=False) for one in outputs]
        costs[name] = [_cost(task, *pair) for pair in scored]
    return costs


def _cost(task: Task, loss: float, metrics: Mapping[str, float]) -> Cost:
    """Error and loss of a decoder; infinite where they are no numbers."""
    sign = -1.0 if task.higher_is_better else 1.0
    return _or_infinite(sign * metrics[task.metric]), _or_infinite(loss)


def _or_infinite(x: float) -> float:
    return math.inf if math.isnan(x) else x
