"""Arrays and tensors as tasks: images, sequences, or features that are ready to be learned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from moduli.errors import InputError, did_you_mean
from moduli.tasks.kinds import Binary, Kind, Multiclass, Multilabel, Regression
from moduli.tasks.sources import TensorSource
from moduli.tasks.splits import Splits, splits_of, stratified_split
from moduli.tasks.task import Data, Task

KINDS = ("binary", "multiclass", "multilabel", "regression")
Targets = Any  # an array, or {task: array}
Held = tuple[Any, Targets]


def from_arrays(
    name: str,
    X: Any,
    y: Targets,
    kind: Kind | str | Mapping[str, Kind | str] | None = None,
    *,
    val: float = 0.15,
    test: float | Literal["val"] = 0.2,
    seed: int = 0,
    val_data: Held | None = None,
    test_data: Held | None = None,
    metric: str | Mapping[str, str] = "",
    batch_size: int | None = None,
) -> list[Task]:
    """Tasks from arrays or tensors that hold one sample per row. All tasks share the input.

    Inputs become float32 and are not scaled; a `torch.long` tensor (indices of tokens) stays as it is.
    Kinds that are not given follow from the targets:

    - whole numbers or booleans `[N]`: classes 0..C-1, -1 where missing; two are binary, more multiclass;
    - floats `[N]` or `[N, dims]`: regression, NaN where missing, standardised with the training rows;
    - 0/1 (and NaN) `[N, labels]`: multilabel.

    Args:
        name: of the input, and of the task where `y` is one array.
        X: inputs `[N, ...]`.
        y: targets, or `{task: targets}`.
        kind: a word or a `Kind`, for all tasks or by task. With a `Regression` object targets are taken
            as standardised already.
        val, test: fractions of the rows, stratified by class; `test="val"` uses one held-out part for both.
        seed: of the random split.
        val_data, test_data: `(X, y)` of parts that are already apart; the fraction is then not used.
        metric: the metric that tables show, for all tasks or by task.
        batch_size: samples per step; the run's if None.

    Raises:
        InputError: if shapes do not fit, values are not finite, or classes are not numbered 0..C-1.
    """
    targets = _by_task(name, y)
    held = {"val": val_data, "test": test_data}
    parts = {part: (_inputs(name, data[0]), _by_task(name, data[1])) for part, data in held.items() if data}
    inputs = _inputs(name, X)
    for part, (part_inputs, part_targets) in {"train": (inputs, targets), **parts}.items():
        _check_part(name, part, part_inputs, part_targets, inputs, targets)

    kinds = {
        task: _kind(task, _pick(kind, task), [y, *(other[task] for _, other in parts.values())])
        for task, y in targets.items()
    }
    splits = _split(targets, kinds, val, test, seed, given=set(parts))
    train = torch.from_numpy(splits.train)
    kinds = {
        task: _standardise(task, k, targets[task][train], _pick(kind, task)) for task, k in kinds.items()
    }

    def source(inputs: Tensor, targets: Mapping[str, Tensor]) -> TensorSource:
        return TensorSource(inputs, {task: _encode(kinds[task], targets[task]) for task in kinds})

    def rows(index: np.ndarray) -> TensorSource:
        at = torch.from_numpy(index)
        return source(inputs[at], {task: y[at] for task, y in targets.items()})

    val_source = source(*parts["val"]) if "val" in parts else rows(splits.val)
    if "test" in parts:
        test_source = source(*parts["test"])
    else:
        test_source = val_source if test == "val" else rows(splits.test)
    data = Data(name, tuple(inputs.shape[1:]), rows(splits.train), val_source, test_source)
    return [Task(task, k, data, _pick(metric, task) or "", batch_size) for task, k in kinds.items()]
