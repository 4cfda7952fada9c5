"""Tiny made-up tasks and models, enough to see a training step or a run."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from moduli import (
    Binary,
    Data,
    Dense,
    JointModel,
    Multiclass,
    Multilabel,
    Regression,
    Task,
    TensorSource,
    dense_ends,
    hard,
    permuted,
    single,
    soft,
)
from moduli.types import Scores

METHODS = {"single": single, "hard": hard, "permuted": permuted, "soft": soft}


def targets_for(kind: Any, x: Tensor, generator: torch.Generator, missing: float = 0.0) -> Tensor:
    """Targets that depend on `x [N, features]`; a share of them `missing`."""
    n = len(x)
    direction = (
        torch.linspace(-1, 1, kind.outputs) if isinstance(kind, Multiclass) else torch.ones(kind.outputs)
    )
    score = 2 * x[:, :1] * direction.to(x.dtype)
    score = score + 0.5 * torch.randn(n, kind.outputs, generator=generator).to(x.dtype)
    if isinstance(kind, Multiclass):
        target = score.argmax(-1)
        missing_label: float = -1
    elif isinstance(kind, Binary | Multilabel):
        target = (score > 0).to(x.dtype)
        missing_label = float("nan")
    else:
        target, missing_label = score, float("nan")
    if isinstance(kind, Binary) or (isinstance(kind, Regression) and kind.dims == 1):
        target = target.squeeze(-1)
    gone = torch.rand(n, generator=generator) < missing
    target[gone] = missing_label
    return target


def tiny_data(
    name: str,
    kinds: Mapping[str, Any],
    features: int = 4,
    samples: Sequence[int] = (24, 12, 12),
    seed: int = 0,
    missing: float = 0.0,
    dtype: torch.dtype = torch.float32,
) -> Data:
    """One input `name`, read by the tasks that `kinds` names; splits of `samples` rows."""
    generator = torch.Generator().manual_seed(seed + sum(map(ord, name)))
    sources = []
    for n in samples:
        x = torch.randn(n, features, generator=generator).to(dtype)
        sources.append(
            TensorSource(x, {task: targets_for(k, x, generator, missing) for task, k in kinds.items()})
        )
    return Data(name, (features,), *sources)


def tiny_tasks(
    names: Sequence[str] = ("a", "b", "c"), dtype: torch.dtype = torch.float32, **options: Any
) -> list[Task]:
    """One task per input, of every kind in turn, with 3, 4, 5, ... features."""
    kinds = itertools.cycle([Regression(), Multiclass(3), Binary(), Multilabel(2)])
    made = []
    for index, (name, kind) in enumerate(zip(names, kinds, strict=False)):
        data = tiny_data(name, {name: kind}, 3 + index, dtype=dtype, **options)
        made.append(Task(name, kind, data))
    return made


def sharing_tasks(dtype: torch.dtype = torch.float32, missing: float = 0.0) -> list[Task]:
    """Three tasks on one input and one on its own."""
    kinds = {"x": Regression(), "y": Binary(), "z": Multiclass(3)}
    data = tiny_data("panel", kinds, missing=missing, dtype=dtype)
    return [Task(name, kind, data) for name, kind in kinds.items()] + tiny_tasks(("own",), dtype)


def tiny_model(
    tasks: Sequence[Task],
    method: str = "hard",
    width: int = 6,
    layers: int = 2,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    **options: Any,
) -> JointModel:
    """Dense ends around one of the four orders of dense layers, initialised from `seed`."""
    torch.manual_seed(seed)
    structure = METHODS[method]([task.name for task in tasks], lambda k: Dense(width), layers, **options)
    return JointModel(tasks, structure, *dense_ends(tasks, width)).to(dtype)


def scores_of(loss: Mapping[str, float], metric: Mapping[str, float] | None = None, higher=True) -> Scores:
    """Validation scores as a script: losses, and one metric per task."""
    metric = metric or dict.fromkeys(loss, 0.0)
    return Scores(
        "val",
        dict(loss),
        {task: {"m": value} for task, value in metric.items()},
        primary=dict.fromkeys(loss, "m"),
        higher_is_better=dict.fromkeys(loss, higher),
    )


class Rows(Dataset):
    """Rows of tensors (or nests of them) as a map-style data set."""

    def __init__(self, inputs: Any, targets: Any):
        self.inputs, self.targets = inputs, targets

    def __len__(self) -> int:
        return len(_first(self.inputs))

    def __getitem__(self, row: int) -> tuple[Any, Any]:
        return _row(self.inputs, row), _row(self.targets, row)


def _first(value: Any) -> Tensor:
    return _first(next(iter(value.values()))) if isinstance(value, Mapping) else value


def _row(value: Any, row: int) -> Any:
    return {k: _row(v, row) for k, v in value.items()} if isinstance(value, Mapping) else value[row]


class Counting(torch.nn.Module):
    """A module that keeps the shape, counts its calls and the rows that went through it."""

    def __init__(self, module: torch.nn.Module):
        super().__init__()
        self.module, self.calls, self.rows = module, 0, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls, self.rows = self.calls + 1, self.rows + len(x)
        return self.module(x)


def same(a: Any, b: Any) -> bool:
    """Whether two states are equal to the bit; NaN is equal to itself."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, Tensor):
        return torch.equal(a.nan_to_num(nan=-7.0), b.nan_to_num(nan=-7.0))
    return a == b
