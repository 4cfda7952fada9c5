"""Linear decoders of several tasks, D for each, in one stacked parameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from moduli.functional import concatenate, linear_apart, linear_together, stacked_linear
from moduli.modules.bank import padded
from moduli.types import Part

# Letters: L tasks, I inputs, D decoders, O outputs.


class LinearDecoders(nn.Module):
    """D affine maps for each task, `weight [L, I, D, O]`: with one input, all D are one matrix product.

    Tasks of different sizes are padded with zeros, which never get a gradient (see `LinearBank`).

    Args:
        sizes: inputs and outputs of each task's decoders.
        decoders: D.
    """

    weight: nn.Parameter
    bias: nn.Parameter
    frozen_weight: Tensor | None
    frozen_bias: Tensor | None

    def __init__(self, sizes: Mapping[str, tuple[int, int]], decoders: int):
        super().__init__()
        self.sizes = dict(sizes)
        self.row = {task: row for row, task in enumerate(sizes)}
        inputs, outputs = (max(size[axis] for size in sizes.values()) for axis in (0, 1))
        self.decoders = decoders
        self.weight = nn.Parameter(torch.zeros(len(sizes), inputs, decoders, outputs))
        self.bias = nn.Parameter(torch.zeros(len(sizes), decoders, outputs))
        self.register_buffer("frozen_weight", None)
        self.register_buffer("frozen_bias", None)
        for task in sizes:
            for d in range(decoders):
                nn.init.xavier_uniform_(self.weights_of(task, d)[0].value.T)

    def freeze(self) -> None:
        """From now on only the first decoder of each task gets gradients."""
        weight, bias = self.weight.detach(), self.bias.detach()
        self.frozen_weight, self.frozen_bias = weight[:, :, 1:].clone(), bias[:, 1:].clone()
        self.weight, self.bias = nn.Parameter(weight[:, :, :1].clone()), nn.Parameter(bias[:, :1].clone())

    # -------------------------------------------------------------- decoding

    def every(self, hidden: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs of all decoders, `{task: [D, B, outputs]}`; all of a task read the same numbers."""
        return self._every(hidden, linear_together)

    def every_apart(self, hidden: Mapping[str, Tensor], rates: Tensor) -> dict[str, Tensor]:
        """As `every`, with dropout of its own before each decoder, at `rates [tasks in hidden, D]`."""
        return self._every(hidden, linear_apart, rates)

    def _every(
        self, hidden: Mapping[str, Tensor], linear: Callable[..., Tensor], *more: Tensor
    ) -> dict[str, Tensor]:
        """Applies a function of inputs, weights, biases and `more`, for as many tasks at once as can be."""
        weight, bias, inputs = self._gather(hidden)
        joined = _joined(inputs)
        if joined is not None:
            outputs = linear(joined, weight, bias, *more).unbind(0)
        else:
            rows = zip(*(x.split(1) for x in (weight, bias, *more)), strict=True)
            outputs = [linear(x.unsqueeze(0), *row)[0] for x, row in zip(inputs, rows, strict=True)]
        return {task: self._cut(task, y) for task, y in zip(hidden, outputs, strict=True)}

    def one(self, hidden: Mapping[str, Tensor], chosen: Tensor) -> dict[str, Tensor]:
        """The outputs of one decoder of each task, `{task: [B, outputs]}`; `chosen [tasks in hidden]`."""
        weight, bias, inputs = self._gather(hidden)
        rows = torch.arange(len(chosen), device=chosen.device)
        outputs = stacked_linear(inputs, weight[rows, :, chosen], bias[rows, chosen])
        return {task: self._cut(task, y) for task, y in zip(hidden, outputs, strict=True)}

    def _gather(self, hidden: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Sequence[Tensor]]:
        """Weights and biases of some tasks, all decoders; and what they read, filled up to one size."""
        weight, bias = self.weight, self.bias
        if self.frozen_weight is not None and self.frozen_bias is not None:
            weight = torch.cat([weight, self.frozen_weight], dim=2)
            bias = torch.cat([bias, self.frozen_bias], dim=1)
        rows = [self.row[task] for task in hidden]
        if rows != list(range(len(self.row))):
            weight, bias = weight[rows], bias[rows]
        sizes = [self.sizes[task][0] for task in hidden]
        return weight, bias, padded(list(hidden), list(hidden.values()), sizes, weight.shape[1])

    def _cut(self, task: str, outputs: Tensor) -> Tensor:
        size = self.sizes[task][1]
        return outputs if outputs.shape[-1] == size else outputs[..., :size]

    # -------------------------------------------------------------- whose numbers are where

    def weights_of(self, task: str, d: int) -> list[Part]:
        """The weight `[I, O]` and the bias `[O]` of decoder d."""
        row, (i, o) = self.row[task], self.sizes[task]
        trained = self.weight.shape[2]
        if d < trained:
            return [
                Part("weight", self.weight, (row, slice(i), d, slice(o))),
                Part("bias", self.bias, (row, d, slice(o))),
            ]
        assert self.frozen_weight is not None
        assert self.frozen_bias is not None
        return [
            Part("frozen_weight", self.frozen_weight, (row, slice(i), d - trained, slice(o))),
            Part("frozen_bias", self.frozen_bias, (row, d - trained, slice(o))),
        ]

    def buffers_of(self, task: str, d: int) -> list[Part]:
        """A linear map has nothing beside its weights."""
        return []

    def own(self, task: str) -> list[Part]:
        row, (i, o) = self.row[task], self.sizes[task]
        every = slice(None)
        parts = [
            Part("weight", self.weight, (row, slice(i), every, slice(o))),
            Part("bias", self.bias, (row, every, slice(o))),
        ]
        if self.frozen_weight is not None and self.frozen_bias is not None:
            parts += [
                Part("frozen_weight", self.frozen_weight, (row, slice(i), every, slice(o))),
                Part("frozen_bias", self.frozen_bias, (row, every, slice(o))),
            ]
        return parts


def _joined(inputs: Sequence[Tensor]) -> Tensor | None:
    """What tasks read as one tensor `[L, B, I]`, or `[1, B, I]` if it is the same; None for different B."""
    first = inputs[0]
    if all(x is first for x in inputs):
        return first.unsqueeze(0)
    if all(x.shape == first.shape for x in inputs):
        return concatenate(inputs).view(len(inputs), *first.shape)
    return None
