"""Concatenation and stacking that notice when nothing needs to be copied."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from moduli.functional.constant import constant


def concatenate(tensors: Sequence[Tensor]) -> Tensor:
    """`torch.cat` along the first axis, without a copy where the tensors are all the pieces of one.

    Many a stage ends by handing out the pieces of one tensor, and the next begins by putting them
    together. Then that tensor itself is returned, and its gradient need not be cut and joined either.

    Args:
        tensors: `[n_l, ...]`, alike but for the first axis.

    Returns:
        `[sum n_l, ...]`.
    """
    if len(tensors) == 1:
        return tensors[0]
    whole = _whole(tensors)
    return torch.cat(list(tensors)) if whole is None else whole.view(-1, *tensors[0].shape[1:])


def _whole(tensors: Sequence[Tensor]) -> Tensor | None:
    """The tensor whose consecutive contiguous views these are, if they cover all of it."""
    base = tensors[0]._base
    if base is None or not base.is_contiguous():
        return None
    offset = start = base.storage_offset()
    for x in tensors:
        if x._base is not base or x.storage_offset() != offset or not x.is_contiguous():
            return None
        offset += x.numel()
    return base if offset - start == base.numel() else None


def stack_padded(tensors: Sequence[Tensor], fill: float) -> Tensor:
    """Stacks tensors that may differ in their last axis: L of `[..., w_l]` -> `[L, ..., max w]`.

    Where the tensors were cut out of the consecutive rows of one tensor, as those of a stacked layer are,
    that tensor is taken, without a copy.

    Args:
        tensors: alike but for the last axis.
        fill: stands where a tensor is narrower than the widest.
    """
    widths = tuple(x.shape[-1] for x in tensors)
    widest = max(widths)
    stacked = _rows_of_one(tensors, widest)
    if stacked is None:
        same = [x if w == widest else F.pad(x, (0, widest - w)) for x, w in zip(tensors, widths, strict=True)]
        stacked = torch.stack(same)
    if min(widths) == widest:
        return stacked
    beyond = _beyond(widths, stacked.device)
    return stacked.masked_fill(beyond.view(len(widths), *[1] * (stacked.dim() - 2), widest), fill)


def _rows_of_one(tensors: Sequence[Tensor], width: int) -> Tensor | None:
    """Consecutive rows of a tensor, if each of these is the beginning (in the last axis) of one of them."""
    first = tensors[0]
    base = first._base
    if base is None or not base.is_contiguous() or base.dim() != first.dim() + 1:
        return None
    offset = start = int(first.storage_offset())
    for x in tensors:
        inside = x._base is base and x.storage_offset() == offset and x.stride() == base.stride()[1:]
        if not inside or x.shape[:-1] != base.shape[1:-1]:
            return None
        offset += base.stride(0)
    row, between = divmod(start - int(base.storage_offset()), base.stride(0))
    if between:
        return None
    rows = base if len(tensors) == len(base) else base[row : row + len(tensors)]
    return rows if width == base.shape[-1] else rows[..., :width]


@lru_cache(maxsize=256)
def _beyond(widths: tuple[int, ...], device: torch.device) -> Tensor:
    """`[L, max w]`, true where a tensor has no entry."""
    return torch.arange(max(widths), device=device) >= constant(widths, device).unsqueeze(1)
