"""Several linear decoders of one input.

Letters: L tasks, D decoders, B samples, I inputs, O outputs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Numbers that are masked at once: on a CPU what is masked, multiplied and thrown away should stay in the
# cache, elsewhere it should not fill the memory.
_CPU_BLOCK, _BLOCK = 1 << 18, 1 << 25
_STEPS = 1 << 16  # a random number of 16 bits is compared to the rate


def mask_apart(x: Tensor, rates_D: Tensor) -> Tensor:
    """Dropout that is drawn for each decoder by itself, `[B, ...] -> [D, B, ...]`.

    Args:
        x: what D decoders read.
        rates_D: share of numbers that is dropped before each of them, `[D]`.
    """
    keep_D = 1.0 - rates_D
    scale = keep_D.reciprocal().to(x.dtype).view(-1, *[1] * x.dim())
    return _draw(_limits(keep_D), x.shape).to(x.dtype).mul_(scale) * x


def linear_together(x_LBI: Tensor, weight_LIDO: Tensor, bias_LDO: Tensor) -> Tensor:
    """D affine maps for each of L inputs, in one product: y[l, d] = x[l] @ weight[l, :, d] + bias[l, d].

    Args:
        x_LBI: inputs; `[1, B, I]` where all tasks read the same.
        weight_LIDO, bias_LDO: of the maps.

    Returns:
        `[L, D, B, O]`.
    """
    L, I, D, O = weight_LIDO.shape  # noqa: E741
    if len(x_LBI) == 1:
        side_by_side = weight_LIDO.transpose(0, 1).reshape(I, L * D * O)
        y_BLDO = torch.addmm(bias_LDO.flatten(), x_LBI.flatten(0, 1), side_by_side).view(-1, L, D, O)
        return y_BLDO.permute(1, 2, 0, 3)
    y_LBDO = torch.baddbmm(bias_LDO.flatten(1).unsqueeze(1), x_LBI, weight_LIDO.flatten(2))
    return y_LBDO.unflatten(2, (D, O)).transpose(1, 2)


def linear_apart(x_LBI: Tensor, weight_LIDO: Tensor, bias_LDO: Tensor, rates_LD: Tensor) -> Tensor:
    """D affine maps for each of L inputs, before each of which other numbers of the input are dropped.

    y[l, d] = (x[l] * mask[l, d] / keep[l, d]) @ weight[l, :, d] + bias[l, d], with mask ~ Bernoulli(keep).

    The masked inputs, D times the input, exist only block by block; what is kept for the backward pass is
    the masks, one byte for each number.

    Args:
        x_LBI: inputs; `[1, B, I]` where all tasks read the same.
        weight_LIDO, bias_LDO: of the maps.
        rates_LD: share of numbers that is dropped, in [0, 1).

    Returns:
        `[L, D, B, O]`.
    """
    device = x_LBI.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x_LBI.dtype
    with torch.autocast(device, enabled=False):
        x, weight, bias = x_LBI.to(dtype), weight_LIDO.to(dtype), bias_LDO.to(dtype)
        return _LinearApart.apply(x, weight, bias, 1.0 - rates_LD)  # type: ignore[return-value]


class _LinearApart(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, keep: Tensor) -> Tensor:
        maps = weight.transpose(1, 2).contiguous()
        scale = keep.reciprocal()[:, :, None, None]
        y = x.new_empty(*keep.shape, x.shape[1], maps.shape[3])
        limits, masks, (blocks, most) = _limits(keep), [], _blocks(keep.shape, x)
        space = x.new_empty(most)  # of all blocks, one after another: fresh memory is slow
        bits = x.new_empty(-(-most // 4), dtype=torch.int64) if limits.dtype == torch.int16 else None
        for part in blocks:
            mask = _draw(limits[part], x.shape[1:], bits)
            masked = space[: mask.numel()].view(mask.shape).copy_(mask).mul_(_read(x, part))
            y_part = y[part]
            y_part.copy_(torch.bmm(masked.flatten(0, 1), maps[part].flatten(0, 1)).view_as(y_part))
            masks.append(mask.to(torch.uint8))
        ctx.save_for_backward(x, maps, scale, *masks)
        return y.mul_(scale).add_(bias.unsqueeze(2))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        x, maps, scale, *masks = ctx.saved_tensors
        scaled = (grad * scale).to(x.dtype)
        wanted = ctx.needs_input_grad[0]
        grad_x = torch.zeros_like(x, dtype=torch.promote_types(x.dtype, torch.float32)) if wanted else None
        grad_maps = maps.new_empty(maps.mT.shape).mT  # written row by row of O, which is the fast order
        for part, mask in zip(_blocks(maps.shape, x)[0], masks, strict=True):
            g = scaled[part].flatten(0, 1)
            masked = mask.to(x.dtype)
            if grad_x is not None:
                back = torch.bmm(g, maps[part].flatten(0, 1).mT).view_as(masked).mul_(masked)
                alone = back.shape[:2] == (1, 1)  # then a sum would only copy
                into = _read(grad_x, part)
                into += back if alone else back.sum((0, 1) if len(x) == 1 else 1, keepdim=True)
            masked.mul_(_read(x, part))
            grad_maps[part] = torch.bmm(g.mT, masked.flatten(0, 1)).view_as(grad_maps[part].mT).mT
        return grad_x if grad_x is None else grad_x.to(x.dtype), grad_maps.transpose(1, 2), grad.sum(2), None


def _blocks(maps: torch.Size, x: Tensor) -> tuple[list[tuple[slice, slice]], int]:
    """Which tasks and which of their decoders are computed at once, and how many masked numbers at most."""
    L, D, size = maps[0], maps[1], max(1, x.shape[1] * x.shape[2])
    most = _CPU_BLOCK if x.device.type == "cpu" else _BLOCK
    l, d = min(L, max(1, most // (D * size))), min(D, max(1, most // size))  # noqa: E741
    parts = [(slice(i, i + l), slice(j, j + d)) for i in range(0, L, l) for j in range(0, D, d)]
    return parts, l * d * size


def _read(x: Tensor, part: tuple[slice, slice]) -> Tensor:
    """What the maps of a block read, `[l or 1, 1, B, I]`."""
    return (x if len(x) == 1 else x[part[0]]).unsqueeze(1)


def _limits(keep: Tensor) -> Tensor:
    """What random numbers are compared to, so that they are below with probability `keep`.

    On a CPU they are integers of 16 bits, of which a single draw gives four: a quarter of the time of uniform
    numbers. `keep` is rounded to 16 bits, up or down at random, so that it is right on average.
    """
    if keep.device.type != "cpu":
        return keep
    steps = torch.rand(keep.shape).add_(keep, alpha=_STEPS).floor_().clamp_(1, _STEPS)
    return steps.sub_(_STEPS // 2 + 1).to(torch.int16)


def _draw(limits: Tensor, shape: torch.Size, bits: Tensor | None = None) -> Tensor:
    """Ones where a random number is below its limit, else zeros, `[*limits.shape, *shape]`.

    `bits` may be the memory to draw into, of enough integers of 64 bits.
    """
    alike, whole = limits.view(*limits.shape, *[1] * len(shape)), torch.Size((*limits.shape, *shape))
    if limits.dtype != torch.int16:
        return torch.rand(whole, device=limits.device).lt(alike)
    count = -(-whole.numel() // 4)
    drawn = torch.empty(count, dtype=torch.int64) if bits is None else bits[:count]
    return drawn.random_(-(2**63), None).view(torch.int16)[: whole.numel()].view(whole).le_(alike)
