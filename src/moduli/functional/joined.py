"""Concatenation that notices when nothing needs to be copied."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


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
