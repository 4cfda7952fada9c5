"""Many small affine maps in one matrix product. Letters: L maps, B samples each, I inputs, O outputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from moduli.functional.joined import concatenate


def stacked_linear(
    inputs: Sequence[Tensor], weight_LIO: Tensor, bias_LO: Tensor, relu: bool = False
) -> list[Tensor]:
    """Applies map l to input l: x_l @ weight[l] + bias[l], then a ReLU if asked for.

    One product whenever that is possible: if all inputs are the same tensor the maps are laid side by
    side; if they have the same shape they are batched. Otherwise one product per map.

    Args:
        inputs: L tensors `[B_l, I]`.
        weight_LIO: `[L, I, O]`.
        bias_LO: `[L, O]`.
        relu: whether the maps end in a ReLU.

    Returns:
        L tensors `[B_l, O]`.
    """
    L, I, O = weight_LIO.shape  # noqa: E741
    first = inputs[0]
    if L > 1 and all(x is first for x in inputs):
        side_by_side = weight_LIO.transpose(0, 1).reshape(I, L * O)
        y = torch.addmm(bias_LO.view(-1), first, side_by_side)
        return list((y.relu_() if relu else y).view(-1, L, O).unbind(1))
    if L > 1 and all(x.shape == first.shape for x in inputs):
        x_LBI = concatenate(inputs).view(L, -1, I)
        y = torch.baddbmm(bias_LO.unsqueeze(1), x_LBI, weight_LIO)
        return list((y.relu_() if relu else y).unbind(0))
    maps = zip(inputs, weight_LIO.unbind(0), bias_LO.unbind(0), strict=True)
    separate = [torch.addmm(b, x, w) for x, w, b in maps]
    return [y.relu_() for y in separate] if relu else separate
