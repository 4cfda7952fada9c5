"""Blocks of weights as weighted sums of the slices of hypermodules (MUiR, Eq. 8.2 and 8.12)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def generate(slices: Tensor, which: Tensor, weights: Tensor, first: Tensor) -> Tensor:
    """Sums of weighted rows, B_l = sum_e weights_e slices[which_e] over the entries e of l: `[N, mn]`.

    A hypermodule `H [c, m, n]` is c rows, and a context z of c numbers weights them: B = sum_a z_a H_a
    (Eq. 8.3). All blocks are made in one call, which reads and writes every number once.

    Args:
        slices: `[R, mn]`.
        which: `[E]` long, rows of `slices`, block after block.
        weights: `[E]`.
        first: `[N]` long, where the entries of each block begin.
    """
    return F.embedding_bag(which, slices, first, mode="sum", per_sample_weights=weights)


def generate_blocks(
    hypermodules: Tensor, contexts: Tensor, mapping: Tensor, shares: Tensor | None = None
) -> Tensor:
    """Blocks of which each has equally many candidates: `[L, m, n]`.

    B_l = sum_q shares_lq H[mapping_lq] x_1 z_l (Eq. 8.12); with one candidate, Eq. 8.2.

    Args:
        hypermodules: H `[K, c, m, n]`.
        contexts: z `[L, c]`.
        mapping: psi `[L]`, or `[L, Q + 1]` with candidates; rows of H.
        shares: `[L, Q + 1]`, how much of each candidate; 1 if None.
    """
    K, c, m, n = hypermodules.shape
    mapping = mapping.view(len(contexts), -1)
    which = mapping.unsqueeze(-1) * c + mapping.new_tensor(range(c))  # [L, Q + 1, c]
    weights = contexts.unsqueeze(1).expand(which.shape)
    if shares is not None:
        weights = weights * shares.unsqueeze(-1)
    first = mapping.new_tensor(range(0, which.numel(), which[0].numel()))
    blocks = generate(hypermodules.reshape(K * c, m * n), which.reshape(-1), weights.reshape(-1), first)
    return blocks.view(-1, m, n)
