"""Soft merges: weighted sums, with gradients that autograd would have found."""

from __future__ import annotations

import pytest
import torch

from moduli.functional import soft_merge, soft_merge_common

SHAPES = [(4,), (2, 3), (2, 3, 3)]


def merge_inputs(m: int, shape: tuple[int, ...], n: int = 5, grad: bool = True):
    s = torch.rand(n, m, dtype=torch.float64).softmax(-1).requires_grad_(grad)
    return s, [torch.randn(n, *shape, dtype=torch.float64, requires_grad=grad) for _ in range(m)]


def naive(s, inputs):
    return sum(s[:, m].view(-1, *[1] * (x.dim() - 1)) * x for m, x in enumerate(inputs))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("m", [1, 2, 5])
def test_is_the_weighted_sum(m, shape):
    s, inputs = merge_inputs(m, shape)
    torch.testing.assert_close(soft_merge(s, inputs), naive(s, inputs))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradients_are_those_of_the_weighted_sum(shape):
    s, inputs = merge_inputs(3, shape)
    direction = torch.randn(5, *shape, dtype=torch.float64)
    got = torch.autograd.grad((soft_merge(s, inputs) * direction).sum(), [s, *inputs])
    expected = torch.autograd.grad((naive(s, inputs) * direction).sum(), [s, *inputs])
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("m", [1, 3])
def test_gradients_agree_with_finite_differences(m):
    s, inputs = merge_inputs(m, (3, 2))

    def merge(s, *inputs):
        return soft_merge(s, inputs)

    assert torch.autograd.gradcheck(merge, (s, *inputs))
    assert torch.autograd.gradgradcheck(merge, (s, *inputs))


def test_gradients_of_some_arguments_only():
    s, (x, y) = merge_inputs(2, (3,), grad=False)
    x.requires_grad_()
    (grad,) = torch.autograd.grad(soft_merge(s, [x, y]).sum(), [x])
    torch.testing.assert_close(grad, s[:, :1].expand(5, 3))
    s.requires_grad_()
    (grad,) = torch.autograd.grad(soft_merge(s, [x.detach(), y]).sum(), [s])
    torch.testing.assert_close(grad, torch.stack([x.detach().sum(1), y.sum(1)], 1))


def test_does_not_write_into_its_inputs():
    s, inputs = merge_inputs(3, (4,), grad=False)
    copies = [x.clone() for x in inputs]
    soft_merge(s, inputs)
    torch.testing.assert_close(inputs, copies, rtol=0, atol=0)


def test_one_tensor_may_be_merged_with_itself():
    s, (x, _) = merge_inputs(2, (4,))
    merged = soft_merge(s, [x, x])
    torch.testing.assert_close(merged, x)
    torch.testing.assert_close(torch.autograd.grad(merged.sum(), x)[0], torch.ones_like(x))


def test_weights_of_another_precision():
    s, inputs = merge_inputs(3, (4,))
    rounded = soft_merge(s.float().detach().requires_grad_(), inputs)
    assert rounded.dtype == torch.float64
    torch.testing.assert_close(rounded, soft_merge(s, inputs), rtol=1e-6, atol=1e-6)
    half = [x.detach().bfloat16() for x in inputs]
    assert soft_merge(s.float(), half).dtype == torch.bfloat16


def test_inputs_of_two_precisions():
    """Under autocast a layer puts out bf16, and what is passed by it stays in single precision."""
    s, (x, y) = merge_inputs(2, (4,), grad=False)
    x, y = x.bfloat16().requires_grad_(), y.float().requires_grad_()
    for order in ([x, y], [y, x]):
        soft_merge(s.float(), order).float().sum().backward()
    assert x.grad.dtype == torch.bfloat16
    assert y.grad.dtype == torch.float32
    exact = s[:, :1] * x.detach().double() + s[:, 1:] * y.detach().double()
    torch.testing.assert_close(soft_merge(s.float(), [x, y]).double(), exact, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("g", "m", "n"), [(1, 1, 1), (3, 2, 4), (2, 5, 1)])
def test_common_inputs_are_merged_as_if_apart(shape, g, m, n):
    s = torch.rand(g, m, dtype=torch.float64).softmax(-1).requires_grad_()
    inputs = [torch.randn(n, *shape, dtype=torch.float64, requires_grad=True) for _ in range(m)]
    together = soft_merge_common(s, inputs)
    apart = torch.cat([soft_merge(row.expand(n, m), inputs) for row in s])
    assert together.shape == (g * n, *shape)
    torch.testing.assert_close(together, apart)
    direction = torch.randn_like(apart)
    torch.testing.assert_close(
        torch.autograd.grad((together * direction).sum(), [s, *inputs]),
        torch.autograd.grad((apart * direction).sum(), [s, *inputs]),
    )


def test_common_merge_agrees_with_finite_differences():
    s = torch.rand(3, 2, dtype=torch.float64, requires_grad=True)
    inputs = [torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]

    def merge(s, *inputs):
        return soft_merge_common(s, inputs)

    assert torch.autograd.gradcheck(merge, (s, *inputs))
    assert torch.autograd.gradgradcheck(merge, (s, *inputs))
