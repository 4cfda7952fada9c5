"""Uncertainty of classifiers, histograms, batch-hard samples: worked examples, and what always holds."""

from __future__ import annotations

import math

import pytest
import torch

from moduli.functional import batch_hard, entropy, histogram, least_confidence, margin

P = torch.tensor([[0.7, 0.2, 0.1], [0.4, 0.35, 0.25], [1 / 3, 1 / 3, 1 / 3], [1.0, 0.0, 0.0]]).double()
P[2] = 1 / 3  # exactly


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        (margin, [0.5, 0.95, 1.0, 0.0]),
        (least_confidence, [0.3, 0.6, 0.666667, 0.0]),
        (entropy, [0.801819, 1.080528, 1.098612, 0.0]),
    ],
)
def test_worked_rows(measure, expected):
    assert measure(P).tolist() == pytest.approx(expected, abs=1e-6)


def test_histogram_of_the_worked_margins():
    shares = histogram(margin(P), bins=5)
    assert (4 * shares).tolist() == pytest.approx([1, 0, 1, 0, 2])


def test_ranges_on_random_probabilities():
    p = torch.randn(50, 7, 5, generator=torch.Generator().manual_seed(0)).softmax(-1)
    for u, top in ((margin(p), 1), (least_confidence(p), 1 - 1 / 5), (entropy(p) / math.log(5), 1)):
        assert u.shape == (50, 7)
        assert u.min() >= 0
        assert u.max() <= top + 1e-6


def test_histogram_bins_hold_their_lower_bound_and_the_last_one_1():
    assert histogram(torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]), 4).tolist() == pytest.approx(
        [0.2, 0.2, 0.2, 0.4]
    )


def test_histogram_of_what_is_out_of_range_or_no_number():
    u = torch.tensor([-1e-7, 1 + 1e-7, math.nan, math.inf])
    assert histogram(u, 20).tolist() == pytest.approx([0.25, *[0] * 18, 0.75])


def test_histogram_of_many_rows_at_once_and_of_nothing():
    u = torch.rand(3, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shares = histogram(u)
    assert shares.shape == (3, 20)
    assert shares.dtype == torch.float64
    torch.testing.assert_close(shares.sum(-1), torch.ones(3).double())
    torch.testing.assert_close(shares[1], histogram(u[1]))
    assert histogram(torch.empty(0)).tolist() == [0] * 20


def test_batch_hard_worked_example():
    found = batch_hard(torch.tensor([[0.0], [1.0], [3.0], [4.0]]), torch.tensor([0, 0, 1, 0]))
    assert found.valid.tolist() == [True, True, False, True]  # the third is alone in its class
    d_p, d_n = found.d_positive[found.valid], found.d_negative[found.valid]
    assert d_p.tolist() == [4, 3, 4]
    assert d_n.tolist() == [3, 2, 1]
    losses = (0.2 + d_p - d_n).clamp(min=0)
    assert losses.tolist() == pytest.approx([1.2, 1.2, 3.2])
    soft = torch.nn.functional.softplus(d_p - d_n)
    assert soft.tolist() == pytest.approx([1.313262, 1.313262, 3.048587], abs=1e-6)
    assert found.marked().tolist() == [0, 2, 3]  # positives 3, 3, 0; negative always 2


def test_batch_hard_is_not_itself_its_positive_and_needs_two_classes():
    same = torch.zeros(3, 2)
    found = batch_hard(same, torch.tensor([0, 0, 1]))
    assert found.positive[:2].tolist() == [1, 0]
    assert len(batch_hard(same, torch.tensor([1, 1, 1])).marked()) == 0
