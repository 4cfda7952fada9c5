"""The LSTM with a mask on its recurrence: torch's own without one, its definition with one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from moduli.functional import masked_lstm


def arguments(steps: int, samples: int, features: int, units: int):
    """Inputs, weights, bias and mask, in double precision."""
    shapes = (steps, samples, features), (4 * units, features), (4 * units, units), (4 * units,)
    tensors = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    return *tensors, (torch.rand(samples, units, dtype=torch.float64) < 0.7).double() / 0.7


def by_definition(x, weight_ih, weight_hh, bias, mask):
    h = c = torch.zeros_like(mask)
    for now in x:
        i, f, g, o = (now @ weight_ih.T + (h * mask) @ weight_hh.T + bias).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
    return h


@pytest.mark.parametrize("sizes", [(5, 3, 2, 4), (1, 1, 1, 1), (2, 4, 3, 1)], ids=str)
def test_is_the_recurrence_with_a_masked_state(sizes):
    *tensors, mask = arguments(*sizes)
    ours, expected = masked_lstm(*tensors, mask), by_definition(*tensors, mask)
    torch.testing.assert_close(ours, expected)
    direction = torch.randn_like(ours)
    torch.testing.assert_close(
        torch.autograd.grad(ours, tensors, direction), torch.autograd.grad(expected, tensors, direction)
    )


def test_without_a_mask_it_is_torchs_own():
    x, _, _, _, mask = arguments(6, 3, 2, 4)
    lstm = nn.LSTM(2, 4).double()
    weight_ih, weight_hh, bias, second_bias = parameters = lstm.all_weights[0]
    nn.init.zeros_(second_bias)
    ours = masked_lstm(x, weight_ih, weight_hh, bias, torch.ones_like(mask))
    theirs = lstm(x)[0][-1]
    torch.testing.assert_close(ours, theirs)
    ours = torch.autograd.grad(ours.square().sum(), [x, *parameters[:3]])
    torch.testing.assert_close(ours, torch.autograd.grad(theirs.square().sum(), [x, *parameters[:3]]))


def test_gradients_agree_with_finite_differences():
    *tensors, mask = arguments(4, 2, 3, 2)
    assert torch.autograd.gradcheck(lambda *args: masked_lstm(*args, mask), tensors)


def test_the_backward_pass_can_be_repeated():
    *tensors, mask = arguments(3, 2, 2, 2)
    y = masked_lstm(*tensors, mask).sum()
    first = torch.autograd.grad(y, tensors, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(y, tensors), first, rtol=0, atol=0)
