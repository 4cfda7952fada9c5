"""Linear layers whose weights get a gradient for each block of rows.

Letters: L layers, N rows, I inputs, O outputs, S sources (tasks) that blocks of rows come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from moduli.functional.constant import constant

Blocks = tuple[tuple[int, int], ...]
"""Consecutive blocks of rows: (source, rows) for each."""


def linear_by_blocks(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], blocks: Sequence[Blocks]
) -> Tensor:
    """L linear layers at once, x W^T + b: `[L, N, I] -> [L, N, O]`, at the cost of one batched product.

    Each weight is given as S copies of one matrix, a view `[S, O, I]` that `expand` made. The result is that
    of the one matrix; the gradient of copy s is what the rows of source s contribute. So one backward pass
    gives the gradients of many losses apart, if each depends on the rows of one source only.

    Args:
        x: inputs of every layer.
        weights, biases: of every layer, `[S, O, I]` and `[S, O]`, all S copies equal.
        blocks: for every layer, from which source its rows come.
    """
    result: Tensor = _LinearByBlocks.apply(x, tuple(blocks), *weights, *biases)  # type: ignore[assignment]
    return result


class _LinearByBlocks(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, blocks: tuple[Blocks, ...], *parameters: Tensor) -> Tensor:
        layers = len(blocks)
        weight = _first_of_each(parameters[:layers])
        bias = _first_of_each(parameters[layers:])
        ctx.dtypes, ctx.blocks, ctx.sources = (x.dtype, weight.dtype), blocks, len(parameters[0])
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
            x, weight, bias = x.to(dtype), weight.to(dtype), bias.to(dtype)
        ctx.save_for_backward(x, weight)
        return torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        to_x = torch.bmm(grad, weight).to(ctx.dtypes[0]) if ctx.needs_input_grad[0] else None
        number, rows, sources = _layout(ctx.blocks)
        pieces = _in_one(grad, x, number, rows) if number else _one_by_one(grad, x, ctx.blocks)
        everyone = tuple(range(ctx.sources))
        to_weights, to_biases = (
            [
                g.to(ctx.dtypes[1]) if s == everyone else _spread(g.to(ctx.dtypes[1]), s, ctx.sources)
                for g, s in zip(by_layer, sources, strict=True)
            ]
            for by_layer in pieces
        )
        return to_x, None, *to_weights, *to_biases


def _first_of_each(copies: Sequence[Tensor]) -> Tensor:
    """One of the equal copies of every layer's parameter, stacked."""
    return copies[0][:1] if len(copies) == 1 else torch.stack([copy[0] for copy in copies])


@lru_cache(maxsize=1024)
def _layout(blocks: tuple[Blocks, ...]) -> tuple[int, int, tuple[tuple[int, ...], ...]]:
    """Number and rows of the blocks, 0 if they differ; and for each layer the sources of its blocks."""
    sizes = {rows for layer in blocks for _, rows in layer}
    numbers = {len(layer) for layer in blocks}
    sources = tuple(tuple(source for source, _ in layer) for layer in blocks)
    alike = len(sizes) == len(numbers) == 1
    return (numbers.pop(), sizes.pop(), sources) if alike else (0, 0, sources)


Pieces = tuple[Sequence[Tensor], Sequence[Tensor]]
"""For each layer the gradients of its weight `[blocks, O, I]`, and those of its bias `[blocks, O]`."""


def _in_one(grad: Tensor, x: Tensor, number: int, rows: int) -> Pieces:
    """For every block of each layer, by one batched product."""
    layers = len(grad)
    g = grad.reshape(layers * number, rows, -1)
    by_weight = torch.bmm(g.transpose(1, 2), x.reshape(layers * number, rows, -1))
    by_bias = g.sum(1)
    if layers == 1:
        return [by_weight], [by_bias]
    return by_weight.unflatten(0, (layers, number)).unbind(0), by_bias.unflatten(0, (layers, number)).unbind(
        0
    )


def _one_by_one(grad: Tensor, x: Tensor, blocks: tuple[Blocks, ...]) -> Pieces:
    weights, biases = [], []
    for g, rows_in, layer in zip(grad, x, blocks, strict=True):
        sizes = [rows for _, rows in layer]
        pairs = list(zip(g.split(sizes), rows_in.split(sizes), strict=True))
        weights.append(torch.stack([a.t() @ b for a, b in pairs]))
        biases.append(torch.stack([a.sum(0) for a, _ in pairs]))
    return weights, biases


def _spread(by_block: Tensor, sources: tuple[int, ...], number: int) -> Tensor:
    """From one entry for each block to one for each source."""
    spread = by_block.new_zeros(number, *by_block.shape[1:])
    return spread.index_add_(0, constant(sources, by_block.device), by_block)
