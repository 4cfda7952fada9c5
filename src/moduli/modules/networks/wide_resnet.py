"""Wide residual networks for small images."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from moduli.errors import InputError
from moduli.functional import channels_last
from moduli.modules.networks.initial import he_normal


class WideResNet(nn.Module):
    """A wide residual network, `[B, channels, H, W] -> [B, classes]` (Zagoruyko & Komodakis 2016).

    A 3×3 convolution to 16 channels; three groups of N = (depth - 4) / 6 blocks with 16k, 32k and 64k
    channels, of which the second and third halve the resolution; batch normalisation, ReLU, mean over
    positions, and a dense layer. A block is

        y = shortcut(x) + conv(relu(bn(conv(relu(bn(x)))))),

    and its shortcut is x itself, or where channels or resolution change a convolution of relu(bn(x)).
    Convolutions are 3×3 and have no bias. They start He-normal, by fan-in; the paper's code takes the
    fan-out. The dense layer starts as torch does it.

    The shortcuts are 3×3 convolutions in the experiments of Meyerson (2018), section 8.7, which therefore
    count 2268 blocks of 16×16 weights between the first and last layer of WRN-40-1. In the paper, and with
    `shortcut=1`, they are 1×1, and there are 2188.

    Args:
        depth: 6N + 4 layers, so 10, 16, 22, 28, 34, 40, ...
        width: k, the factor on the channels.
        classes: outputs.
        channels: of the images.
        dropout: rate between the two convolutions of a block, while training.
        shortcut: size of the kernel where a shortcut is a convolution, 3 or 1.

    Raises:
        InputError: for another depth or size of the kernel.
    """

    def __init__(
        self,
        depth: int = 40,
        width: int = 1,
        classes: int = 10,
        channels: int = 3,
        dropout: float = 0.0,
        shortcut: int = 3,
    ):
        super().__init__()
        if depth < 10 or depth % 6 != 4:
            raise InputError(f"depth is {depth}: give 6N + 4, such as 16, 28 or 40")
        if shortcut not in (1, 3):
            raise InputError(f"shortcut is {shortcut}: give 3, or 1 as in the paper")
        self.first = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        blocks, wide = [], 16
        for group in range(3):
            for number in range((depth - 4) // 6):
                stride = 2 if group > 0 and number == 0 else 1
                blocks.append(Block(wide, 16 * width * 2**group, stride, dropout, shortcut))
                wide = 16 * width * 2**group
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(wide)
        self.last = nn.Linear(wide, classes)
        he_normal(*(layer for layer in self.modules() if isinstance(layer, nn.Conv2d)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.first(channels_last(x)))
        return self.last(self.norm(x).relu_().mean((2, 3)))


class Block(nn.Module):
    """A residual block with its normalisations first, `[B, C, H, W] -> [B, D, H / stride, W / stride]`.

    Args:
        channels, wide: C and D.
        stride: of the first convolution.
        dropout: rate between the two convolutions, while training.
        shortcut: size of the kernel of a shortcut that is a convolution.
    """

    def __init__(self, channels: int, wide: int, stride: int, dropout: float, shortcut: int):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, wide, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(wide)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, bias=False)
        self.dropout = dropout
        self.shortcut = None
        if channels != wide or stride > 1:
            self.shortcut = nn.Conv2d(channels, wide, shortcut, stride, padding=shortcut // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm1(x).relu_()
        passed = x if self.shortcut is None else self.shortcut(hidden)
        hidden = self.norm2(self.conv1(hidden)).relu_()
        return passed + self.conv2(F.dropout(hidden, self.dropout, self.training))
