"""How decoders move: their weights as short lists of numbers, small enough to be logged."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

LENGTH = 256


def sketch(vector: Tensor) -> list[float]:
    """A vector as at most 256 numbers, of which distances and angles can be computed.

    Up to 256 numbers it is the vector itself. A longer one is projected at random: every entry, with a
    random sign, is added to one of 256 sums (a count sketch, Charikar et al. 2002). Inner products are kept
    in expectation, up to about 1/16 of the product of the lengths. All vectors of one length are projected
    alike, so differences between them are kept as well. Rounded to five digits.
    """
    vector = vector.detach().double().cpu()
    if len(vector) > LENGTH:
        place, sign = _projection(len(vector))
        vector = torch.zeros(LENGTH, dtype=vector.dtype).index_add_(0, place, vector * sign)
    return [float(f"{x:.5g}") for x in vector.tolist()]


@lru_cache(maxsize=8)
def _projection(length: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(length)
    place = torch.randint(LENGTH, (length,), generator=generator)
    return place, torch.randint(2, (length,), generator=generator).double().mul_(2).sub_(1)
