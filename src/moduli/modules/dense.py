"""Fully connected building blocks."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moduli.functional import Blocks, linear_by_blocks


class Dense(nn.Module):
    """A fully connected layer with as many outputs as inputs, ReLU(x W + b): `[B, width] -> [B, width]`.

    Weights start Glorot-uniform and biases at zero, as in the framework of the papers.

    Several such layers that stand ready at the same time are computed as one batched product: see
    `alike` and `together`, which any module of a pool may offer.

    Args:
        width: units.
        activation: False leaves the layer linear.
    """

    def __init__(self, width: int, activation: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.activation = activation
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(x, self.weight, self.bias)
        return y.relu_() if self.activation else y

    @property
    def alike(self) -> Hashable:
        """Modules with equal keys can be computed by one call of `together`."""
        return ("dense", tuple(self.weight.shape), self.activation)

    @staticmethod
    def together(modules: Sequence[Dense], x: Tensor) -> Tensor:
        """Module l applied to `x[l]`, for L modules at once: `[L, N, width] -> [L, N, width]`."""
        weight = torch.stack([module.weight for module in modules])
        bias = torch.stack([module.bias for module in modules])
        y = torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))
        return y.relu_() if modules[0].activation else y

    @staticmethod
    def apart(
        modules: Sequence[Dense], copies: Sequence[Mapping[str, Tensor]], x: Tensor, blocks: Sequence[Blocks]
    ) -> Tensor:
        """`together`, with parameters that have a row for each task (see `moduli.functional.blocks`)."""
        weights, biases = [c["weight"] for c in copies], [c["bias"] for c in copies]
        y = linear_by_blocks(x, weights, biases, blocks)
        return y.relu_() if modules[0].activation else y

    def extra_repr(self) -> str:
        return f"{len(self.bias)}{'' if self.activation else ', linear'}"
