"""Dropout with cheap masks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def dropout(x: Tensor, rate: float) -> Tensor:
    """Sets each number to zero with probability `rate` and divides the others by 1 - rate.

    As `torch.nn.functional.dropout` in training. On a CPU the mask comes from uniform numbers instead of
    Bernoulli trials, in a third of the time (the trials are two thirds of a small soft-order step).
    """
    if x.device.type != "cpu":
        return F.dropout(x, rate)
    keep = 1.0 - rate
    mask = torch.rand(x.shape, device=x.device).lt_(keep).div_(keep)
    return x * mask.to(x.dtype)
