"""A small network for digits."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from moduli.errors import InputError
from moduli.functional import channels_last
from moduli.modules.networks.initial import he_normal


class DigitConv(nn.Module):
    """Two convolutions, each with ReLU and 2×2 max-pooling, and a dense layer, for images of 28×28 pixels.

    `[B, channels, 28, 28] -> [B, classes]`. The network of Ha, Dai & Le (2017) for MNIST, which is that of
    section 8.6 of Meyerson (2018): 21,210 parameters, of which 12,544 are the second kernel, 49 blocks of
    16×16 weights. Convolutions start He-normal, the dense layer as torch does it.

    Args:
        classes: outputs.
        channels: of the images.
        filters: of both convolutions.
        kernel: their size, odd.

    Raises:
        InputError: when called, for images of another size.
    """

    def __init__(self, classes: int = 10, channels: int = 1, filters: int = 16, kernel: int = 7):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, kernel, padding=kernel // 2)
        self.conv2 = nn.Conv2d(filters, filters, kernel, padding=kernel // 2)
        self.last = nn.Linear(filters * 7 * 7, classes)
        he_normal(self.conv1, self.conv2)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] != (28, 28):
            raise InputError(f"images are {'×'.join(map(str, x.shape[2:]))}: give 28×28")
        x = channels_last(x)
        for conv in (self.conv1, self.conv2):
            x = F.max_pool2d(conv(x).relu_(), 2)
        return self.last(x.flatten(1))
