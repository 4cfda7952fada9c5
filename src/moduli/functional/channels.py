"""How images lie in memory."""

from __future__ import annotations

import torch
from torch import Tensor


def channels_last(x: Tensor) -> Tensor:
    """The same maps `[N, C, H, W]`, on a CPU with the channels of a place side by side in memory.

    There, convolutions of a few dozen channels and poolings are faster then, and what comes out of them lies
    in the same way. Elsewhere `x` itself.
    """
    if x.dim() != 4 or x.device.type != "cpu":
        return x
    if x.shape[1] == 1 and x.is_contiguous():  # both ways at once: say which one is meant
        return x.view(x.shape[0], *x.shape[2:], 1).permute(0, 3, 1, 2)
    return x.contiguous(memory_format=torch.channels_last)
