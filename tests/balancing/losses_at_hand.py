"""Losses without a model: numbers whose gradients are the weights that a combine gives them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from moduli import Losses


def a_model(*tasks: str) -> Any:
    """All that a weighting asks of a model: the names of its tasks, and a parameter."""
    return SimpleNamespace(
        input_of={task: task for task in tasks},
        parameters=lambda: iter([torch.zeros(1, dtype=torch.float64)]),
    )


def weights_of(combine, values: Mapping[str, float], tasks=None, scale: float | None = None, samples=()):
    """One step: d total / d L_t for each task with a loss, by autograd; `samples` are two equal ones each."""
    leaves = {task: torch.tensor(v, dtype=torch.float64, requires_grad=True) for task, v in values.items()}
    factor = torch.tensor(1.0 if scale is None else scale, dtype=torch.float64)
    mean = {task: x * factor for task, x in leaves.items()}
    rows = {task: x.repeat(2) for task, x in mean.items()}
    losses = Losses(mean, rows, {}, {}, scale=None if scale is None else factor)
    combine.backward(losses, a_model(*(tasks or values)))
    return {task: x.grad.item() / factor.item() for task, x in leaves.items()}


def from_samples(samples: Mapping[str, Tensor], labelled: Mapping[str, Tensor] | None = None) -> Losses:
    """Losses of samples `[..., B]`, with their means."""
    labelled = dict(labelled or {})
    losses = Losses({}, samples, {}, {}, labelled)
    mean = {task: losses.average(task, x) for task, x in samples.items()}
    return Losses(mean, samples, {}, {}, labelled)


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    """A state as a checkpoint gives it back: read without running any code."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def plain(value: Any) -> Any:
    """A state with its tensors as lists of words, so that `==` compares to the bit, NaN included."""
    if isinstance(value, Tensor):
        return [str(value.dtype), repr(value.tolist())]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else repr(value)
