"""Copying what belongs to one task, or to one candidate for it, to another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from moduli.types import Part


def copy_parts(source: Sequence[Part], to: Sequence[Part], optimizer: Any = None) -> None:
    """Gives parts the values of others, of the same shapes in the same order.

    What the optimizer knows of the values (momentum, second moments) comes along. Where the source was not
    trained, the optimizer knows nothing of it, and begins anew.

    Args:
        source: read.
        to: written.
        optimizer: of the parameters; None before training.
    """
    for theirs, mine in zip(source, to, strict=True):
        mine.value.copy_(theirs.value)
        if optimizer is not None:
            _copy_state(theirs, mine, optimizer)


def _copy_state(source: Part, to: Part, optimizer: Any) -> None:
    known = optimizer.state.get(source.tensor, {})
    if source.index is ... and to.index is ...:
        optimizer.state.pop(to.tensor, None)
        if known:
            optimizer.state[to.tensor] = {
                name: value.clone() if isinstance(value, Tensor) else value for name, value in known.items()
            }
        return
    for name, value in optimizer.state.get(to.tensor, {}).items():
        if isinstance(value, Tensor) and value.shape == to.tensor.shape:
            rows = value[to.index]
            rows.copy_(known[name][source.index]) if name in known else rows.zero_()
