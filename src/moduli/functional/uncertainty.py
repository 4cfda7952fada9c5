"""How unsure a classifier is of single samples, and histograms of it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


def margin(p: Tensor) -> Tensor:
    """Margin uncertainty: 1 - p_(1) + p_(2), with the two largest class probabilities.

    Eq. 4 of the Q-learning scheduler paper, after Scheffer et al. (2001). From 0 (sure) to 1 (a tie).

    Args:
        p: class probabilities `[..., C]`, C of at least 2.

    Returns:
        `[...]`.
    """
    first, second = p.topk(2, dim=-1).values.unbind(-1)
    return 1 - first + second


def least_confidence(p: Tensor) -> Tensor:
    """Least confidence: 1 - p_(1), of class probabilities `[..., C]`. From 0 to 1 - 1/C.

    Settles & Craven (2008).
    """
    return 1 - p.amax(-1)


def entropy(p: Tensor) -> Tensor:
    """Shannon's entropy -sum_c p_c log p_c in nats, of class probabilities `[..., C]`. From 0 to log C.

    Divide by log C before taking a `histogram` of it.
    """
    return torch.special.entr(p).sum(-1)


def histogram(u: Tensor, bins: int = 20) -> Tensor:
    """Shares of the values of `u [..., N]` in each of some equal bins on [0, 1]: `[..., bins]`, of sum 1.

    A bin holds its lower bound, the last one 1 as well. Values out of range count in the nearest bin, and
    what is no number, as a diverged model gives it, in the last. If N is 0, all shares are 0.
    """
    index = (u.nan_to_num(nan=1.0).clamp(0, 1) * bins).long().clamp(max=bins - 1)
    hits = index.unsqueeze(-1) == torch.arange(bins, device=u.device)
    return hits.sum(-2).to(u.dtype) / max(1, u.shape[-1])


class BatchHard(NamedTuple):
    """For each of N anchors its hardest samples: see `batch_hard`."""

    positive: Tensor  # [N], row of the farthest sample of the anchor's class
    negative: Tensor  # [N], row of the nearest sample of another class
    d_positive: Tensor  # [N], how far that is
    d_negative: Tensor  # [N]
    valid: Tensor  # [N], whether the anchor has both

    def marked(self) -> Tensor:
        """Rows that are the hardest positive or negative of some valid anchor, ascending."""
        return torch.cat([self.positive[self.valid], self.negative[self.valid]]).unique()


def batch_hard(embeddings: Tensor, labels: Tensor) -> BatchHard:
    """The hardest positive and negative of every sample, by Euclidean distance.

    Hermans, Beyer & Leibe (2017). The first row is taken of equally distant ones. An anchor that is alone
    in its class, or whose class is the only one, is not valid.

    Args:
        embeddings: `[N, F]`.
        labels: classes `[N]`.
    """
    # the faster way to compute distances, by a matrix product, does not find equal ones equal
    d = torch.cdist(embeddings, embeddings, compute_mode="donot_use_mm_for_euclid_dist")
    alike = labels.unsqueeze(0) == labels.unsqueeze(1)
    others = alike & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    d_positive, positive = d.masked_fill(~others, -torch.inf).max(1)
    d_negative, negative = d.masked_fill(alike, torch.inf).min(1)
    return BatchHard(positive, negative, d_positive, d_negative, others.any(1) & (~alike).any(1))
