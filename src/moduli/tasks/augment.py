"""Random changes of training images, a whole batch at a time (see `augment` of `moduli.TensorSource`).

Every change takes images `[B, ..., H, W]` and a generator, and draws all its random numbers from that. An own
change is any function of that form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from moduli.errors import InputError


@dataclass(frozen=True)
class Crop:
    """Pads images on all four sides, and cuts each back to its size at a random place of its own.

    So an image is moved by -padding..padding pixels in each direction, all equally likely.

    Args:
        padding: pixels on each side.
        mode: "constant" fills with 0, "reflect" mirrors the image at its border pixels.

    Raises:
        InputError: if the padding is below 1, the mode unknown, or, when called, images are too small to
            be mirrored or no images.
    """

    padding: int
    mode: Literal["constant", "reflect"] = "constant"

    def __post_init__(self):
        if self.padding < 1:
            raise InputError(f"random crops with a padding of {self.padding}: give at least 1")
        if self.mode not in ("constant", "reflect"):
            raise InputError(f"padding mode {self.mode!r} of random crops: give 'constant' or 'reflect'")

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        _check_images("random crops", x)
        height, width = x.shape[-2:]
        if self.mode == "reflect" and min(height, width) <= self.padding:
            raise InputError(
                f"images of {height}×{width} cannot be mirrored over {self.padding} pixels: pad less"
            )
        images = x.reshape(len(x), -1, height, width)
        padded = F.pad(images, (self.padding,) * 4, self.mode)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view: [B, C, places, places, H, W]
        places = torch.randint(0, 2 * self.padding + 1, (2, len(x)), generator=generator).to(x.device)
        rows = torch.arange(len(x), device=x.device)
        return windows[rows, :, places[0], places[1]].reshape(x.shape)


@dataclass(frozen=True)
class Flip:
    """Mirrors each image, left for right, with a probability of one half.

    Raises:
        InputError: when called, if what it is given are no images.
    """

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        _check_images("random flips", x)
        flipped = (torch.rand(len(x), generator=generator) < 0.5).to(x.device)
        return torch.where(flipped.view(-1, *[1] * (x.dim() - 1)), x.flip(-1), x)


class Chain:
    """Several changes, one after another.

    Args:
        changes: each `change(x, generator) -> x`, in order.
    """

    def __init__(self, *changes: Callable[[Tensor, Generator], Tensor]):
        self.changes = changes

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        for change in self.changes:
            x = change(x, generator)
        return x

    def __repr__(self) -> str:
        return f"Chain({', '.join(map(repr, self.changes))})"


def _check_images(what: str, x: Tensor) -> None:
    if x.dim() < 3:
        raise InputError(f"{what} of inputs of shape {list(x.shape[1:])}: give images, [..., height, width]")
