"""The soft merge: a convex combination of tensors, learned for each task and place.

Eq. 7 of Meyerson & Miikkulainen (2018), "Beyond shared hierarchies"; Eq. 7.1 of Meyerson (2018).
Letters: M inputs of a merge, N samples (rows) of all merges that are computed together, G merges.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class _SoftMerge(torch.autograd.Function):
    """sum_m s[:, m] * x_m in place: M kernels and one result, where a sum of products keeps M copies."""

    @staticmethod
    def forward(ctx: Any, s_NM: Tensor, *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(s_NM, *inputs)
        columns = _columns(s_NM, inputs)
        merged = inputs[0] * columns[0]
        for x, s in zip(inputs[1:], columns[1:], strict=True):
            (merged if len(x) == len(merged) else merged[: len(x)]).addcmul_(x, s)
        return merged

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        s_NM, *inputs = ctx.saved_tensors
        grads_x = [grad if len(x) == len(grad) else grad[: len(x)] for x in inputs]
        grad_s = None
        if ctx.needs_input_grad[0]:
            axes = tuple(range(1, grad.dim()))
            grad_s = torch.zeros_like(s_NM)
            for m, (g, x) in enumerate(zip(grads_x, inputs, strict=True)):
                grad_s[: len(x), m] = (g * x).sum(axes)
        grad_x = [
            g * s if needed else None
            for g, s, needed in zip(grads_x, _columns(s_NM, inputs), ctx.needs_input_grad[1:], strict=True)
        ]
        return (grad_s, *grad_x)


def _columns(s_NM: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The columns of s, each shaped to multiply its input row by row."""
    ones = [1] * (inputs[0].dim() - 1)
    return [s[: len(x)].view(-1, *ones) for s, x in zip(s_NM.unbind(1), inputs, strict=True)]


def soft_merge(s_NM: Tensor, inputs: Sequence[Tensor]) -> Tensor:
    """Row-wise weighted sum, y[n] = sum_m s[n, m] x_m[n].

    Args:
        s_NM: weights `[N, M]`; each row sums to one (a softmax gives that).
        inputs: M tensors `[N, ...]` of one shape; all but the first may have fewer rows than N and stand
            for the first ones: the merges of the other rows have fewer inputs.

    Returns:
        `[N, ...]`.
    """
    return _SoftMerge.apply(s_NM.to(inputs[0].dtype), *inputs)  # type: ignore[return-value]


def soft_merge_common(s_GM: Tensor, inputs: Sequence[Tensor]) -> Tensor:
    """G merges of the *same* M inputs as one matrix product, y[g] = sum_m s[g, m] x_m.

    Args:
        s_GM: weights `[G, M]`.
        inputs: M tensors `[N, ...]` of one shape.

    Returns:
        `[G * N, ...]`, merge by merge.
    """
    stacked = torch.stack(list(inputs))
    return (s_GM.to(stacked.dtype) @ stacked.flatten(1)).view(-1, *inputs[0].shape[1:])
