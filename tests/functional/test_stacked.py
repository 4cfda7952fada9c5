"""`stacked_linear` is L separate affine maps, whichever way it computes them."""

from __future__ import annotations

import pytest
import torch

from moduli.functional import stacked_linear

L, I, O = 3, 4, 2  # noqa: E741


def parameters(maps: int = L):
    weight = torch.randn(maps, I, O, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(maps, O, dtype=torch.float64, requires_grad=True)
    return weight, bias


def inputs_of(branch: str) -> list[torch.Tensor]:
    def x(rows):
        return torch.randn(rows, I, dtype=torch.float64, requires_grad=True)

    if branch == "one tensor":
        return [x(5)] * L
    sizes = {"one shape": [5] * L, "other shapes": [5, 1, 3], "one map": [5]}[branch]
    return [x(n) for n in sizes]


def separate(inputs, weight, bias, relu):
    results = [torch.addmm(b, x, w) for x, w, b in zip(inputs, weight, bias, strict=True)]
    return [y.relu() for y in results] if relu else results


@pytest.mark.parametrize("relu", [False, True], ids=["linear", "relu"])
@pytest.mark.parametrize("branch", ["one tensor", "one shape", "other shapes", "one map"])
def test_equals_separate_maps(branch, relu):
    inputs = inputs_of(branch)
    weight, bias = parameters(len(inputs))
    got = stacked_linear(inputs, weight, bias, relu)
    expected = separate(inputs, weight, bias, relu)
    assert [y.shape for y in got] == [y.shape for y in expected]
    torch.testing.assert_close(got, expected)
    directions = [torch.randn_like(y) for y in expected]
    leaves = [weight, bias, *dict.fromkeys(inputs)]
    torch.testing.assert_close(
        torch.autograd.grad(sum((y * d).sum() for y, d in zip(got, directions, strict=True)), leaves),
        torch.autograd.grad(sum((y * d).sum() for y, d in zip(expected, directions, strict=True)), leaves),
    )


@pytest.mark.parametrize("branch", ["one tensor", "one shape", "other shapes", "one map"])
def test_gradients_agree_with_finite_differences(branch):
    inputs = inputs_of(branch)
    weight, bias = parameters(len(inputs))
    distinct = list(dict.fromkeys(inputs))

    def maps(weight, bias, *xs):
        given = list(xs) * L if branch == "one tensor" else xs
        return tuple(stacked_linear(given, weight, bias))

    assert torch.autograd.gradcheck(maps, (weight, bias, *distinct))
    assert torch.autograd.gradgradcheck(maps, (weight, bias, *distinct), fast_mode=True)


def test_one_loss_of_many_touches_one_map_only():
    for branch in ("one tensor", "one shape", "other shapes"):
        inputs = inputs_of(branch)
        weight, bias = parameters()
        stacked_linear(inputs, weight, bias, relu=True)[1].sum().backward()
        assert weight.grad[1].any()
        assert not weight.grad[[0, 2]].any()
        assert not bias.grad[[0, 2]].any()
