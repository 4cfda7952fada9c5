"""Routes to begin an evolution with, beside the chain of `hard` (section 7.2.3 of Meyerson 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from moduli.sharing import Route, RoutedStructure
from moduli.sharing.orders import Make, check_layers
from moduli.sharing.route import chain


def minimal(
    tasks: Sequence[str], make: Make, layers: int = 4, dropout: float = 0.0, pooling: bool = False
) -> RoutedStructure:
    """Every task begins with nothing between encoder and decoder; the pool of K layers is for evolution.

    Images are pooled as often as in a chain of all layers. Their encoders must give as many channels as the
    layers do, since the decoder reads them (see `PadChannels`).

    Args:
        tasks: their names.
        make: makes layer k.
        layers: K, layers in the pool.
        dropout: rate after every application of a layer.
        pooling: whether samples are images, pooled K times on their way.
    """
    check_layers(tasks, layers)
    route = Route((), 0, layers if pooling else 0)
    return RoutedStructure([make(k) for k in range(layers)], dict.fromkeys(tasks, route), dropout=dropout)


def random_chains(
    tasks: Sequence[str],
    make: Make,
    layers: int = 4,
    dropout: float = 0.0,
    pooling: bool = False,
    seed: int = 0,
) -> RoutedStructure:
    """Every task begins with a chain of K layers drawn at random from the pool, some perhaps repeatedly.

    Args:
        tasks: their names.
        make: makes layer k.
        layers: K, layers in the pool, and in a chain.
        dropout: rate after every application of a layer.
        pooling: whether a 2x2 pooling follows every layer.
        seed: of the draws.
    """
    check_layers(tasks, layers)
    generator = torch.Generator().manual_seed(seed)
    routes = {
        task: chain(torch.randint(layers, (layers,), generator=generator).tolist(), pooling) for task in tasks
    }
    return RoutedStructure([make(k) for k in range(layers)], routes, dropout=dropout)
