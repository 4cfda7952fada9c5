"""Several linear decoders of one input, each with dropout of its own.

Letters: L tasks, D decoders, B samples, I inputs, O outputs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Numbers in a block of masked inputs: what is masked, multiplied and thrown away should stay in the cache.
_CPU_BLOCK = 1 << 19


def mask_apart(x: Tensor, rates_D: Tensor) -> Tensor:
    """Dropout that is drawn for each decoder by itself, `[B, ...] -> [D, B, ...]`.

    Args:
        x: what D decoders read.
        rates_D: share of numbers that is dropped before each of them, `[D]`.
    """
    keep = (1.0 - rates_D).to(x.dtype).view(-1, *[1] * x.dim())
    mask = torch.rand(len(rates_D), *x.shape, dtype=x.dtype, device=x.device).lt_(keep).div_(keep)
    return mask * x


def linear_apart(x_LBI: Tensor, weight_LIDO: Tensor, bias_LDO: Tensor, rates_LD: Tensor) -> Tensor:
    """D affine maps for each of L inputs, before each of which other numbers of the input are dropped.

    y[l, d] = (x[l] * mask[l, d] / keep[l, d]) @ weight[l, :, d] + bias[l, d], with mask ~ Bernoulli(keep).

    The masked inputs, D times the input, exist only block by block; what is kept for the backward pass is
    the masks, one byte for each number.

    Args:
        x_LBI: inputs; may be one input, expanded.
        weight_LIDO, bias_LDO: of the maps.
        rates_LD: share of numbers that is dropped, in [0, 1).

    Returns:
        `[L, D, B, O]`.
    """
    dtype = x_LBI.dtype
    return _LinearApart.apply(x_LBI, weight_LIDO.to(dtype), bias_LDO.to(dtype), (1.0 - rates_LD).to(dtype))  # type: ignore[return-value]


class _LinearApart(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_LBI: Tensor, weight_LIDO: Tensor, bias_LDO: Tensor, keep_LD: Tensor) -> Tensor:
        L, B, I = x_LBI.shape  # noqa: E741
        D, O = weight_LIDO.shape[2:]  # noqa: E741
        maps = _maps(weight_LIDO, keep_LD)
        y = x_LBI.new_empty(L, D, B, O)
        mask = torch.empty(L, D, B, I, dtype=torch.bool, device=x_LBI.device)
        for part in _blocks(x_LBI, D):
            masked = torch.rand(mask[part].shape, dtype=x_LBI.dtype, device=x_LBI.device)
            masked.lt_(keep_LD[part, :, None, None])
            mask[part] = masked
            masked.mul_(x_LBI[part].unsqueeze(1))
            bias = bias_LDO[part].flatten(0, 1).unsqueeze(1)
            y[part] = torch.baddbmm(bias, masked.flatten(0, 1), maps[part].flatten(0, 1)).view(-1, D, B, O)
        ctx.save_for_backward(x_LBI, weight_LIDO, keep_LD, mask)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        x_LBI, weight_LIDO, keep_LD, mask = ctx.saved_tensors
        D, I = weight_LIDO.shape[2], x_LBI.shape[2]  # noqa: E741
        maps = _maps(weight_LIDO, keep_LD)
        grad_x = torch.empty_like(x_LBI, memory_format=torch.contiguous_format)
        grad_maps = torch.empty_like(maps)
        for part in _blocks(x_LBI, D):
            g = grad[part].flatten(0, 1)
            masked = (mask[part] * x_LBI[part].unsqueeze(1)).flatten(0, 1)
            grad_maps[part] = torch.bmm(masked.transpose(1, 2), g).view(-1, D, I, g.shape[-1])
            back = torch.bmm(g, maps[part].flatten(0, 1).transpose(1, 2)).view_as(mask[part])
            grad_x[part] = back.mul_(mask[part]).sum(1)
        grad_weight = (grad_maps / keep_LD[:, :, None, None]).transpose(1, 2)
        return grad_x, grad_weight, grad.sum(2), None


def _maps(weight_LIDO: Tensor, keep_LD: Tensor) -> Tensor:
    """The maps `[L, D, I, O]`, divided by the share of numbers that is kept."""
    return (weight_LIDO.transpose(1, 2) / keep_LD[:, :, None, None]).contiguous()


def _blocks(x_LBI: Tensor, decoders: int) -> list[slice]:
    """Which tasks are computed at once."""
    L, size = len(x_LBI), decoders * x_LBI[0].numel()
    block = max(1, _CPU_BLOCK // max(1, size)) if x_LBI.device.type == "cpu" else L
    return [slice(start, start + block) for start in range(0, L, block)]
