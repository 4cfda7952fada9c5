"""The focal form and the focal loss."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from moduli.functional import focal, focal_weight


@pytest.mark.parametrize(
    ("p", "gamma", "expected"),
    [(0.8, 1, 0.0446287), (0.5, 1, 0.3465736), (0.8, 2, 0.0089257), (0.5, 2, 0.1732868)],
)
def test_weight_of_a_worked_example(p, gamma, expected):
    assert focal_weight(torch.tensor(p, dtype=torch.float64), gamma).item() == pytest.approx(
        expected, abs=5e-8
    )


def test_loss_of_a_worked_example():
    """p = 0.9: for a truth of 1, and of 0, without alpha."""
    losses = -torch.tensor([0.9, 0.1], dtype=torch.float64).log()
    expected = torch.tensor([0.01 * 0.105361, 0.81 * 2.302585], dtype=torch.float64)
    torch.testing.assert_close(focal(losses, 2.0), expected, rtol=1e-5, atol=0)


def test_loss_is_the_form_at_the_probability():
    p = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
    for gamma in (0.0, 0.5, 1.0, 2.0, 5.0):
        torch.testing.assert_close(focal(-p.log(), gamma), focal_weight(p, gamma))


def test_gamma_0_is_the_cross_entropy():
    losses = F.cross_entropy(torch.randn(20, 4), torch.arange(20) % 4, reduction="none")
    assert torch.equal(focal(losses, 0.0), losses)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_gradient_goes_through_the_factor(gamma):
    losses = torch.linspace(0.01, 5, 20, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: focal(x, gamma), losses)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0, 5.0])
def test_finite_from_nothing_to_infinity(gamma, dtype):
    losses = torch.tensor([0.0, 1e-30, 1e-8, 1.0, 1e8], dtype=dtype, requires_grad=True)
    values = focal(losses, gamma)
    (gradient,) = torch.autograd.grad(values.sum(), losses)
    assert values.isfinite().all()
    assert gradient.isfinite().all()
    assert values[0] == 0
    assert gradient[-1] == pytest.approx(1.0)  # what is quite wrong counts in full


def test_easy_losses_keep_their_digits():
    """(1 - exp(-L))^2 L is L^3 where L is small; made of p = exp(-L) it would be 0."""
    losses = torch.tensor([1e-9])
    assert focal(losses, 2.0).item() == pytest.approx(1e-27, rel=1e-5)
    assert math.exp(-1e-9) != 1.0
    assert torch.exp(-losses).item() == 1.0
