"""Theorem 1 and Eq. 14: what several decoders can do in training that one cannot, and what they cannot."""

import pytest
import torch

from moduli import DecoderBank

W = torch.tensor([[2.0, 3.0], [4.0, 5.0]], dtype=torch.float64)  # w_1, w_2
POINTS = torch.tensor([[6.0, 7.0], [8.0, 9.0]], dtype=torch.float64)  # F(x; theta_1), F(x; theta_2)


def bank_with(weights: torch.Tensor) -> DecoderBank:
    """Linear decoders without bias, one row of weights for each."""
    bank = DecoderBank({"t": (2, 1)}, len(weights), dropout=0.0).double().train()
    for parts, w in zip(bank.decoders_of("t").weights, weights, strict=True):
        parts[0].value.copy_(w.unsqueeze(1))
    return bank


def pull(bank: DecoderBank, point: torch.Tensor) -> torch.Tensor:
    """The gradient that the encoder gets at F(x) = point: squared error to y = 1, summed over decoders."""
    f = point.clone().unsqueeze(0).requires_grad_()
    (bank({"t": f})["t"] - 1.0).square().sum().backward()
    return f.grad[0]


def test_the_example_of_theorem_1():
    """The direction of one decoder's pull is fixed; that of two decoders changes with the encoder."""
    two = bank_with(W)
    ratios = [(pull(two, point)[0] / pull(two, point)[1]).item() for point in POINTS]
    assert ratios == pytest.approx([0.766839, 0.766798], abs=5e-7)
    assert ratios[0] != pytest.approx(ratios[1], abs=1e-6)
    for seed in range(5):
        one = bank_with(torch.randn(1, 2, generator=torch.Generator().manual_seed(seed)).double())
        first, second = (pull(one, point) for point in POINTS)
        torch.testing.assert_close(first[0] / first[1], second[0] / second[1])


def test_several_decoders_can_be_one():
    """The other direction of the theorem: equal decoders pull like one of them, D times."""
    for point in POINTS:
        torch.testing.assert_close(
            pull(bank_with(W[:1].expand(4, 2)), point), 4 * pull(bank_with(W[:1]), point)
        )


@pytest.mark.parametrize("number", [1, 2, 5])
def test_training_on_the_mean_of_linear_decoders_is_training_one(number):
    """Eq. 14: the encoder's gradient is that of the decoder with the mean weights."""
    weights = torch.randn(number, 2, generator=torch.Generator().manual_seed(0)).double()
    several, one = bank_with(weights), bank_with(weights.mean(0, keepdim=True))
    for point in POINTS:
        gradients = []
        for bank in (several, one):
            f = point.clone().unsqueeze(0).requires_grad_()
            (bank({"t": f})["t"].mean(0) - 1.0).square().sum().backward()
            gradients.append(f.grad)
        torch.testing.assert_close(*gradients)
