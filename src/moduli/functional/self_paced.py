"""Self-paced weights: the easy first. What is easy is decided by an age, lam, that grows."""

from __future__ import annotations

import torch
from torch import Tensor


def self_paced_tasks(losses: Tensor, lam: Tensor, eta: Tensor) -> Tensor:
    """The v in [0, 1] that minimise sum_k v_k L_k - lam sum_k v_k + 0.5 eta sum_k v_k^2.

    v_k = clip((lam - L_k) / eta, 0, 1): a task whose loss is lam or more does not count, one that is eta
    below counts in full.

    Args:
        losses: of the tasks `[T]`.
        lam, eta: scalars, eta above 0.
    """
    return ((lam - losses) / eta).clamp(0.0, 1.0)


def self_paced_samples(losses: Tensor, lam: Tensor, gam: Tensor, labelled: Tensor | None = None) -> Tensor:
    """The v in [0, 1] that minimise sum_i v_i l_i - lam sum_i v_i + gam ||v||_2, along the last axis.

    The second term admits samples with losses below lam, the third switches a whole task off until enough
    of its samples are easy. The exact solution: with c_i = max(lam - l_i, 0), v = 0 if ||c|| <= gam. Else
    v_i = min(1, c_i r / gam) with r = ||v||, which is sqrt(k / (1 - sum_{i>k} c_i^2 / gam^2)) if the k
    largest c_i are those whose weight is 1. The smallest k whose r leaves all others below 1 is the right
    one, since sum_i v_i^2 / r^2 falls as r grows.

    Args:
        losses: `[..., B]`, each row by itself.
        lam, gam: scalars, at least 0.
        labelled: bool like `losses`; other samples get weight 0. None if all are.

    Source: the objective of self-paced multi-task learning, Li et al. (2017); the solution is our own.
    """
    c = (lam - losses).clamp(min=0.0)
    if labelled is not None:
        c = c * labelled
    largest = c.sort(dim=-1, descending=True).values
    squares = largest.square()
    total = squares.sum(-1, keepdim=True)
    beyond = torch.nn.functional.pad(squares.flip(-1).cumsum(-1).flip(-1)[..., 1:], (0, 1))  # sum_{i>k}
    room = gam.square() - beyond
    saturated = torch.arange(1, c.shape[-1] + 1, dtype=c.dtype, device=c.device)
    r = (saturated / room).sqrt()  # over gam; no number where there is no room
    others = torch.nn.functional.pad(largest[..., 1:], (0, 1))
    fits = (room > 0) & (others * r < 1)
    first = fits.to(torch.uint8).argmax(-1, keepdim=True)
    v = (c * r.gather(-1, first)).clamp(max=1.0)
    v = torch.where(fits.any(-1, keepdim=True), v, (c > 0).to(c.dtype))  # gam = 0
    return v * (total > gam.square())
