"""Enforced subpopulations: worked examples, and what breeding must keep."""

from __future__ import annotations

import numpy as np
import pytest

from moduli.evolution import esp


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def genomes(size: int, length: int = 6) -> np.ndarray:
    """Every weight tells which genome it is of, and where it stands."""
    return (100 * np.arange(size)[:, None] + np.arange(length)).astype(np.float32)


def test_credit_is_the_mean_of_a_genomes_networks():
    """A neuron in networks with scores 2, 4 and 9 has fitness 5."""
    members = np.array([[0, 1], [0, 1], [0, 0], [1, 1]])
    fitness = esp.credit(members, np.array([2.0, 4.0, 9.0, -7.0]), size=3)
    np.testing.assert_array_equal(fitness, [[5, -7, esp.UNTESTED], [9, -1 / 3, esp.UNTESTED]])


def test_untested_genomes_are_the_worst_where_scores_are_negative():
    fitness = esp.credit(np.array([[0], [1]]), np.array([-20.0, -5.0]), size=4)[0]
    assert np.argsort(-fitness, kind="stable").tolist() == [1, 0, 2, 3]


def test_breeding_eight_keeps_four_and_replaces_four():
    """The worked example: n = 8 with fitness 8 to 1, so q = 2."""
    parents = genomes(8)
    for seed in range(20):
        bred = esp.breed(rng(seed), parents, np.arange(8, 0, -1.0), rate=0.0)
        np.testing.assert_array_equal(bred[:4], parents[:4])
        for child in bred[4:]:
            assert set(np.unique(child // 100)) <= {0, 1}, "children of the top quartile"
            np.testing.assert_array_equal(child % 100, np.arange(6), "weights stay in their places")


def test_breeding_ranks_by_fitness():
    parents, order = genomes(8), rng(3).permutation(8)
    ranked = esp.breed(rng(1), parents, -np.argsort(order).astype(float), rate=0.0)
    np.testing.assert_array_equal(ranked[:4], parents[order[:4]])


@pytest.mark.parametrize("size", [2, 3, 4, 5, 7, 10])
def test_the_best_quarter_survives_in_subpopulations_of_any_size(size):
    parents = genomes(size)
    bred = esp.breed(rng(), parents, -np.arange(size, dtype=float), rate=1.0)
    q = max(1, size // 4)
    np.testing.assert_array_equal(bred[:q], parents[:q])
    assert bred.shape == parents.shape
    assert bred.dtype == np.float32


def test_mutation_changes_one_weight_of_those_below_the_best_half():
    parents, changed = np.zeros((8, 6), np.float32), np.zeros(8)
    for seed in range(400):
        bred = esp.breed(rng(seed), parents, -np.arange(8.0), rate=0.4)
        assert ((bred != 0).sum(1) <= 1).all()
        changed += (bred != 0).any(1)
    assert (changed[:4] == 0).all()
    np.testing.assert_allclose(changed[4:] / 400, 0.4, atol=0.08)


def test_crossover_exchanges_everything_from_one_point_on():
    a, b, points = np.zeros(5), np.ones(5), set()
    for seed in range(50):
        first, second = esp.crossover(rng(seed), a, b)
        point = int((first == 0).sum())
        points.add(point)
        np.testing.assert_array_equal(first, np.concatenate([a[:point], b[point:]]))
        np.testing.assert_array_equal(second, np.concatenate([b[:point], a[point:]]))
    assert points == {1, 2, 3, 4}


def test_crossover_of_single_weights_exchanges_them():
    first, second = esp.crossover(rng(), np.array([1.0]), np.array([2.0]))
    assert sorted([first[0], second[0]]) == [1, 2]


def test_bursts_stay_around_the_best():
    best = np.linspace(-6, 6, 50).astype(np.float32)
    around = esp.burst(rng(), best, 200, scale=0.3)
    np.testing.assert_array_equal(around[0], best)
    moved = np.abs(around[1:] - best)
    np.testing.assert_allclose(np.median(moved), 0.3, rtol=0.05)  # the median of |Cauchy| is its scale
    assert moved.max() <= 10.001
    assert (moved > 0).mean() > 0.99


def test_even_assembly_gives_every_genome_equally_many_networks():
    members = esp.assemble(rng(), networks=40, subpopulations=3, size=10, even=True)
    for chosen in members.T:
        np.testing.assert_array_equal(np.bincount(chosen), np.full(10, 4))
    assert (members[:, 0] != members[:, 1]).any(), "subpopulations are shuffled apart"
    uneven = esp.assemble(rng(), networks=25, subpopulations=2, size=10, even=True)
    assert set(np.bincount(uneven[:, 0]).tolist()) == {2, 3}


def test_random_assembly_is_uniform():
    members = esp.assemble(rng(), networks=20_000, subpopulations=2, size=10)
    counts = np.stack([np.bincount(chosen, minlength=10) for chosen in members.T])
    np.testing.assert_allclose(counts / 20_000, 0.1, atol=0.01)


def test_first_genomes_are_uniform():
    weights = esp.random_genomes(rng(), 100, 200, bound=6.0)
    assert weights.min() < -5.99
    assert weights.max() > 5.99
    np.testing.assert_allclose(weights.std(), 12 / np.sqrt(12), rtol=0.02)
