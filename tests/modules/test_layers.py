"""Layers that can stand in a pool."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from moduli import Conv, Dense, PadChannels


@pytest.mark.parametrize("activation", [True, False], ids=["relu", "linear"])
def test_dense_is_an_affine_map(activation):
    layer = Dense(4, activation)
    nn.init.normal_(layer.bias)
    x = torch.randn(3, 4)
    expected = x @ layer.weight.T + layer.bias
    torch.testing.assert_close(layer(x), expected.relu() if activation else expected)
    assert layer.alike == Dense(4, activation).alike
    assert layer.alike != Dense(4, not activation).alike
    assert layer.alike != Dense(5, activation).alike


@pytest.mark.parametrize("activation", [True, False], ids=["relu", "linear"])
def test_dense_layers_together_are_dense_layers_apart(activation):
    layers = [Dense(4, activation).double() for _ in range(3)]
    for layer in layers:
        nn.init.normal_(layer.bias)
    x = torch.randn(3, 5, 4, dtype=torch.float64)
    together = Dense.together(layers, x)
    apart = torch.stack([layer(rows) for layer, rows in zip(layers, x, strict=True)])
    torch.testing.assert_close(together, apart)
    parameters = [p for layer in layers for p in layer.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad(together.square().sum(), parameters),
        torch.autograd.grad(apart.square().sum(), parameters),
    )


def test_dense_starts_glorot_uniform():
    layer = Dense(100)
    bound = (6 / 200) ** 0.5
    assert 0.95 * bound < layer.weight.abs().max() <= bound
    assert not layer.bias.any()


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("size", [(1, 1), (6, 7), (13, 2)], ids=str)
def test_conv_keeps_the_resolution(kernel, size):
    x = torch.randn(2, 3, *size)
    layer = Conv(3, kernel)
    nn.init.normal_(layer.conv.bias)
    y = layer(x)
    assert y.shape == x.shape
    expected = F.conv2d(x, layer.conv.weight, layer.conv.bias, padding=kernel // 2).relu()
    torch.testing.assert_close(y, expected)


def test_missing_channels_count_as_zeros():
    """An image with fewer channels than the pool: padding it, or leaving that to the layer, is the same."""
    layer = Conv(5).double()
    nn.init.normal_(layer.conv.bias)
    x = torch.randn(2, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    padded = PadChannels(5)(x)
    assert padded.shape == (2, 5, 6, 6)
    assert torch.equal(padded[:, :2], x)
    assert not padded[:, 2:].any()
    leaves = [x, *layer.parameters()]
    torch.testing.assert_close(layer(x), layer(padded))
    torch.testing.assert_close(
        torch.autograd.grad(layer(x).square().sum(), leaves),
        torch.autograd.grad(layer(padded).square().sum(), leaves),
    )


def test_padding_is_nothing_where_no_channel_is_missing():
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(PadChannels(3)(x), x)
