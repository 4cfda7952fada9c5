"""Concatenation and stacking without copies: the same values and gradients, and really no copy."""

import math

import pytest
import torch
import torch.nn.functional as F

from moduli.functional import concatenate, stack_padded

WIDTHS = (2, 5, 1, 5)


def cut(padded, widths=WIDTHS):
    return [x[..., :w] for x, w in zip(padded.unbind(0), widths, strict=True)]


def reference(tensors, fill):
    widest = max(x.shape[-1] for x in tensors)
    return torch.stack([F.pad(x, (0, widest - x.shape[-1]), value=fill) for x in tensors])


def test_pieces_of_one_tensor_are_that_tensor():
    x = torch.randn(4, 3, 5)
    assert concatenate(x.unbind(0)).data_ptr() == x.data_ptr()
    torch.testing.assert_close(concatenate(x.unbind(0)), x.view(12, 5))
    assert concatenate(x.view(12, 5).split([3, 4, 5])).data_ptr() == x.data_ptr()


@pytest.mark.parametrize(
    "pieces",
    [
        lambda x: x.unbind(0)[::-1],
        lambda x: x.unbind(0)[:3],
        lambda x: [*x.unbind(0)[:3], x[0]],
        lambda x: x.transpose(1, 2).contiguous().transpose(1, 2).unbind(0),
        lambda x: [y.clone() for y in x.unbind(0)],
    ],
    ids=["order", "not all", "one twice", "strided", "separate"],
)
def test_others_are_copied(pieces):
    x = torch.randn(4, 3, 5)
    torch.testing.assert_close(concatenate(pieces(x)), torch.cat(list(pieces(x))), rtol=0, atol=0)


def test_rows_of_one_tensor_are_stacked_without_a_copy():
    x = torch.randn(4, 3, 5)
    assert stack_padded(x.unbind(0), 0.0).data_ptr() == x.data_ptr()
    assert stack_padded(x.unbind(0)[1:3], 0.0).data_ptr() == x[1].data_ptr()


@pytest.mark.parametrize("fill", [0.0, -math.inf])
@pytest.mark.parametrize(
    "tensors",
    [
        cut,
        lambda x: cut(x)[1:3],
        lambda x: cut(x)[::-1],
        lambda x: [y.clone() for y in cut(x)],
        lambda x: [y[..., 1:] for y in cut(x)[1::2]],
        lambda x: cut(x, (1, 2, 3, 2)),
    ],
    ids=["rows", "some rows", "order", "separate", "not from the beginning", "all narrower"],
)
def test_stacking_fills_up(tensors, fill):
    x = torch.randn(4, 3, 5)
    torch.testing.assert_close(stack_padded(tensors(x), fill), reference(tensors(x), fill), rtol=0, atol=0)


def test_gradients():
    x = torch.randn(4, 3, 5, dtype=torch.float64, requires_grad=True)

    def rows(x):
        return stack_padded(cut(x * 1.0), 0.5)

    def pieces(x):
        return concatenate((x * 1.0).unbind(0))

    assert torch.autograd.gradcheck(rows, [x])
    assert torch.autograd.gradcheck(pieces, [x])
