"""The focal form: what is already good counts little. Lin et al. (2017), Eq. 4; Guo et al. (2018), Eq. 4."""

from __future__ import annotations

import torch
from torch import Tensor


def focal_weight(p: Tensor, gamma: float) -> Tensor:
    """FL(p; gamma) = -(1 - p)^gamma log p: how much there is left to do, of one whose success is p.

    Args:
        p: success in (0, 1], of any shape; 0 would weigh infinitely much.
        gamma: at least 0; the greater, the less counts what is good already.
    """
    return -((1.0 - p) ** gamma) * p.log()


def focal(losses: Tensor, gamma: float) -> Tensor:
    """The focal loss (1 - p)^gamma L of cross-entropies L = -log p, with p = exp(-L).

    It is that of the logarithm, without making p: nothing is lost where p is near 0 or 1. The gradient
    goes through the factor as well.

    Args:
        losses: cross-entropies of any shape, at least 0.
        gamma: at least 0; with 0 the losses stay as they are.
    """
    rest = -torch.expm1(-losses)  # 1 - p
    return rest.clamp(min=torch.finfo(losses.dtype).tiny) ** gamma * losses  # 0^(gamma - 1) is no number
