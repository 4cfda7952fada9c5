"""Blocks of weights as weighted sums of the slices of hypermodules (MUiR, Eq. 8.2 and 8.12)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class Sums:
    """Which rows are summed for which block, and the same from the rows' side.

    ``which [E]`` are the rows, block after block, and ``first [N]`` is where those of each block begin.
    ``blocks [E]`` are the blocks, row after row, ``begins [R]`` where those of each row begin, and
    ``order [E]`` is where the entries of the second list stand in the first one.
    """

    which: Tensor
    first: Tensor
    blocks: Tensor
    begins: Tensor
    order: Tensor

    @classmethod
    def of(cls, which: Tensor, first: Tensor, rows: int) -> Sums:
        """From the first list.

        Args:
            which: `[E]` long, rows, block after block.
            first: `[N]` long, where the entries of each block begin.
            rows: how many rows there are, R.
        """
        entries = torch.diff(first, append=first.new_tensor([len(which)]))
        block = torch.arange(len(first), device=first.device).repeat_interleave(entries)
        order = which.argsort(stable=True)
        uses = torch.bincount(which, minlength=rows)
        return cls(which, first, block[order], uses.cumsum(0) - uses, order)


def generate(slices: Tensor, weights: Tensor, sums: Sums) -> Tensor:
    """Sums of weighted rows, B_l = sum_e weights_e slices[which_e] over the entries e of l: `[N, mn]`.

    A hypermodule `H [c, m, n]` is c rows, and a context z of c numbers weights them: B = sum_a z_a H_a
    (Eq. 8.3). All blocks are made in one call, which reads and writes every number once. The gradient of the
    rows is made of the blocks' gradients in the same way.

    Args:
        slices: `[R, mn]`.
        weights: `[E]`.
        sums: which rows, for which block.
    """
    blocks = _sum(slices.detach(), sums.which, sums.first, weights)
    return _Back.apply(blocks, slices, weights.detach(), sums) if slices.requires_grad else blocks


def _sum(rows: Tensor, which: Tensor, first: Tensor, weights: Tensor) -> Tensor:
    return F.embedding_bag(which, rows, first, mode="sum", per_sample_weights=weights)


class _Back(Function):
    """Blocks as they are; backward also the gradient of the slices, which `embedding_bag` makes slowly."""

    @staticmethod
    def forward(ctx: Any, blocks: Tensor, slices: Tensor, weights: Tensor, sums: Sums) -> Tensor:
        ctx.weights, ctx.sums = weights, sums
        return blocks.view_as(blocks)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # type: ignore[override]
        (grad,), sums = grads, ctx.sums
        return grad, _sum(grad.contiguous(), sums.blocks, sums.begins, ctx.weights[sums.order]), None, None


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
    sums = Sums.of(which.flatten(), first, K * c)
    return generate(hypermodules.reshape(K * c, m * n), weights.flatten(), sums).view(-1, m, n)
