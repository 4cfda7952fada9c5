"""Self-paced weights are the minimisers that they claim to be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from moduli.functional import self_paced_samples, self_paced_tasks


def tensor(values) -> torch.Tensor:
    return torch.as_tensor(values, dtype=torch.float64)


def least(objective, size: int) -> float:
    """The least value of a convex function on [0, 1]^size, found numerically."""
    starts = (np.zeros(size), np.full(size, 0.3), np.ones(size))
    return min(objective(minimize(objective, x, bounds=[(0, 1)] * size).x) for x in starts)


@pytest.mark.parametrize(
    ("gam", "expected"),
    [(0.0, (1, 1, 1)), (0.8, (1, 1, 0.178174)), (1.0, (1, 0.755929, 0.125988)), (2.0, (0, 0, 0))],
)
def test_samples_of_a_worked_example(gam, expected):
    v = self_paced_samples(tensor([0.1, 0.4, 0.9]), tensor(1.0), tensor(gam))
    torch.testing.assert_close(v, tensor(expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_samples_minimise_their_objective(seed):
    random = np.random.default_rng(seed)
    size = int(random.integers(1, 9))
    losses, lam, gam = random.exponential(1.0, size), random.uniform(0.2, 3), random.uniform(0, 2)
    v = self_paced_samples(tensor(losses), tensor(lam), tensor(gam)).numpy()

    def objective(v):
        return v @ losses - lam * v.sum() + gam * np.linalg.norm(v)

    assert ((v >= 0) & (v <= 1)).all()
    assert objective(v) <= min(least(objective, size), 0.0) + 1e-9


def test_rows_are_treated_by_themselves_and_unlabelled_samples_left_out():
    losses = torch.rand(2, 3, 5, dtype=torch.float64)
    labelled = torch.rand(2, 3, 5) > 0.4
    lam, gam = tensor(0.8), tensor(0.5)
    v = self_paced_samples(losses, lam, gam, labelled)
    assert not v[~labelled].any()
    for a in range(2):
        for b in range(3):
            alone = self_paced_samples(losses[a, b][labelled[a, b]], lam, gam)
            torch.testing.assert_close(v[a, b][labelled[a, b]], alone)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_do_not_depend_on_the_unit_of_losses(scale, dtype):
    losses = torch.tensor([0.1, 0.4, 0.9, 2.0], dtype=dtype)
    scaled = [torch.tensor(x, dtype=dtype) * scale for x in (1.0, 1.0)]
    v = self_paced_samples(losses * scale, *scaled)
    torch.testing.assert_close(v, self_paced_samples(losses, torch.ones(()), torch.ones(())).to(dtype))


def test_many_samples_sum_to_finite_weights():
    v = self_paced_samples(torch.rand(4, 5000), torch.tensor(0.9), torch.tensor(3.0))
    assert v.isfinite().all()
    assert 0 < v.mean() < 1


@pytest.mark.parametrize("seed", range(5))
def test_tasks_minimise_their_objective(seed):
    random = np.random.default_rng(seed)
    losses, lam, eta = random.exponential(1.0, 4), random.uniform(0.2, 3), random.uniform(0.1, 2)
    v = self_paced_tasks(tensor(losses), tensor(lam), tensor(eta)).numpy()

    def objective(v):
        return v @ losses - lam * v.sum() + 0.5 * eta * v @ v

    assert objective(v) <= least(objective, 4) + 1e-9


def test_tasks_by_hand():
    v = self_paced_tasks(tensor([0.1, 0.6, 0.9, 1.5]), tensor(1.0), tensor(0.5))
    torch.testing.assert_close(v, tensor([1.0, 0.8, 0.2, 0.0]))
