"""Convolutional building blocks."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from moduli.functional import channels_last


class Conv(nn.Module):
    """A 2-D convolution with ReLU that keeps the resolution: `[B, C, H, W] -> [B, filters, H, W]`.

    An input with fewer channels than `filters` counts as filled up with channels of zeros, which is how
    images enter a pool of alike convolutions (Meyerson & Miikkulainen 2018, A.3). What would be multiplied
    by zero is not computed: for one-channel images that is most of the first layer's work.

    Pooling is not part of the module: routes pool between levels (see `moduli.sharing.Route`), so that
    one module can be applied at every resolution.

    Args:
        filters: channels out, and at most C channels in.
        kernel: odd kernel size.
    """

    def __init__(self, filters: int, kernel: int = 3):
        super().__init__()
        self.filters = filters
        self.conv = nn.Conv2d(filters, filters, kernel, padding=kernel // 2)
        nn.init.xavier_uniform_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        x = channels_last(x)
        if x.shape[1] == self.filters:
            return self.conv(x).relu_()
        weight = self.conv.weight[:, : x.shape[1]]
        return F.conv2d(x, weight, self.conv.bias, padding=self.conv.padding).relu_()  # type: ignore[arg-type]


class PadChannels(nn.Module):
    """An encoder without parameters: appends channels of zeros, `[B, c, H, W] -> [B, channels, H, W]`.

    `Conv` does without; modules that need all channels (an identity in the pool) want them made.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, 0, 0, 0, 0, self.channels - x.shape[1]))
