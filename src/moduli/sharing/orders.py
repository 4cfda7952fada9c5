"""Four ways to build routes over the same layers: single-task, hard, permuted and soft order.

All four train the same set of K core layers, which differ only in who applies which layer where
(Meyerson & Miikkulainen 2018, section 3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from moduli.errors import InputError
from moduli.sharing.route import chain, soft_order
from moduli.sharing.structure import RoutedStructure

Make = Callable[[int], nn.Module]
"""Makes layer k of the pool, e.g. `lambda k: Dense(32)`."""


def single(
    tasks: Sequence[str], make: Make, layers: int = 4, dropout: float = 0.0, pooling: bool = False
) -> RoutedStructure:
    """Single-task learning: every task has a pool of its own, nothing is shared.

    The tasks are trained side by side in one loop, yet each as if it were alone. With 0 layers, decoders
    read what the encoders give.
    """
    check_layers(tasks, layers, least=0)
    modules = [make(k) for _ in tasks for k in range(layers)]
    routes = {task: chain(range(i * layers, (i + 1) * layers), pooling) for i, task in enumerate(tasks)}
    owners = [task for task in tasks for _ in range(layers)]
    return RoutedStructure(modules, routes, owners, dropout)


def hard(
    tasks: Sequence[str], make: Make, layers: int = 4, dropout: float = 0.0, pooling: bool = False
) -> RoutedStructure:
    """Hard sharing, or parallel order: every task applies layer k at depth k (Eq. 2).

    With 0 layers, only an encoder is shared, by tasks of one input.
    """
    check_layers(tasks, layers, least=0)
    route = chain(range(layers), pooling)
    return RoutedStructure([make(k) for k in range(layers)], dict.fromkeys(tasks, route), dropout=dropout)


def permuted(
    tasks: Sequence[str],
    make: Make,
    layers: int = 4,
    dropout: float = 0.0,
    pooling: bool = False,
    seed: int = 0,
) -> RoutedStructure:
    """Permuted order: every task applies all layers, each in its own random order (Eq. 3).

    The orders are drawn from `seed` and fixed before training.
    """
    check_layers(tasks, layers)
    generator = torch.Generator().manual_seed(seed)
    routes = {task: chain(torch.randperm(layers, generator=generator).tolist(), pooling) for task in tasks}
    return RoutedStructure([make(k) for k in range(layers)], routes, dropout=dropout)


def soft(
    tasks: Sequence[str],
    make: Make,
    layers: int = 4,
    dropout: float = 0.0,
    pooling: bool = False,
    depth: int | None = None,
    identity: bool = False,
) -> RoutedStructure:
    """Soft order: at every depth, each task learns a softmax mix of all layers (Eq. 7), equal at the start.

    Args:
        tasks: their names.
        make: makes layer k.
        layers: K, layers in the pool.
        dropout: rate after every application of a layer.
        pooling: whether 2x2 max-pooling follows every depth.
        depth: D, the number of mixes one after another; K if None, as in the paper.
        identity: adds a fixed layer that passes its input on (with the same pooling, without dropout).
    """
    check_layers(tasks, layers)
    depth = layers if depth is None else depth
    if depth < 1:
        raise InputError(f"depth is {depth}: give at least 1")
    modules = [make(k) for k in range(layers)]
    if identity:
        modules.append(nn.Identity())
    route = soft_order(range(len(modules)), depth, pooling)
    return RoutedStructure(modules, dict.fromkeys(tasks, route), dropout=dropout)


def check_layers(tasks: Sequence[str], layers: int, least: int = 1) -> None:
    """Raises `InputError` if there are no tasks or too few layers."""
    if layers < least:
        raise InputError(f"layers is {layers}: give at least {least}")
    if not tasks:
        raise InputError("no tasks: give at least one")
