"""Enforced subpopulations: neurons that evolve apart and are evaluated together.

Gomez & Miikkulainen (1997), Gomez (2003), as section 4.3 of Meyerson (2018) uses them. Pure functions of
arrays and generators of random numbers; a genome is a row of weights, and what it encodes is not known here.
"""

from __future__ import annotations

import numpy as np

UNTESTED = -np.inf
"""The fitness of a genome that was in no network: worse than any score."""


def random_genomes(rng: np.random.Generator, number: int, length: int, bound: float = 6.0) -> np.ndarray:
    """`[number, length]` weights, uniform in [-bound, bound], float32."""
    return rng.uniform(-bound, bound, (number, length)).astype(np.float32)


def assemble(
    rng: np.random.Generator, networks: int, subpopulations: int, size: int, even: bool = False
) -> np.ndarray:
    """Which genome of every subpopulation each network gets.

    Args:
        rng: draws.
        networks: how many are put together, n.
        subpopulations: how many there are, one genome of each is in a network.
        size: of each subpopulation.
        even: every genome is drawn as often as any other, or once more; not each independently.

    Returns:
        `[n, subpopulations]` numbers of genomes.
    """
    if not even:
        return rng.integers(size, size=(networks, subpopulations))
    rounds = -(-networks // size)
    shuffled = [[rng.permutation(size) for _ in range(rounds)] for _ in range(subpopulations)]
    return np.array(shuffled, np.int64).reshape(subpopulations, rounds * size).T[:networks]


def credit(members: np.ndarray, scores: np.ndarray, size: int) -> np.ndarray:
    """The fitness of every genome: the mean score of the networks that it was in.

    Published programs give 0 to a genome that was in none. With negative scores that would be the best of
    all; here it is `UNTESTED`.

    Args:
        members: `[n, subpopulations]` of `assemble`.
        scores: `[n]` of the networks.
        size: of each subpopulation.

    Returns:
        `[subpopulations, size]`.
    """
    fitness = []
    for chosen in members.T:
        trials = np.bincount(chosen, minlength=size)
        total = np.bincount(chosen, scores, minlength=size)
        fitness.append(np.where(trials > 0, total / np.maximum(trials, 1), UNTESTED))
    return np.array(fitness)


def breed(
    rng: np.random.Generator,
    genomes: np.ndarray,
    fitness: np.ndarray,
    rate: float = 0.4,
    scale: float = 0.3,
) -> np.ndarray:
    """The next generation of a subpopulation: `[size, length]`, the best of the last one first.

    With q a quarter of the size, the q best mate with one of the q best each. The two children of one-point
    crossover take the places of two of the worst, so that the best half stays and the rest is new, where 4
    divides the size. Then those that are not among the 2q first mutate with probability `rate`: one of their
    weights changes by a Cauchy number.

    Args:
        rng: draws.
        genomes: `[size, length]`.
        fitness: `[size]`.
        rate: how probable a mutation is.
        scale: of the Cauchy distribution.
    """
    ranked = genomes[np.argsort(-fitness, kind="stable")]
    size, length = ranked.shape
    q = max(1, size // 4)
    children = [crossover(rng, ranked[i], ranked[rng.integers(q)]) for i in range(q)]
    worst = range(size - 1, q - 1, -1)  # none of the q best, however small the subpopulation
    for row, child in zip(worst, (child for pair in children for child in pair), strict=False):
        ranked[row] = child
    for row in range(2 * q, size):
        if length and rng.random() < rate:
            ranked[row, rng.integers(length)] += cauchy(rng, 1, scale)[0]
    return ranked


def crossover(rng: np.random.Generator, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two children, which exchange all weights from a random point on: `a[:c] + b[c:]`, and the reverse."""
    point = rng.integers(1, a.size) if a.size > 1 else 0
    return np.concatenate([a[:point], b[point:]]), np.concatenate([b[:point], a[point:]])


def burst(rng: np.random.Generator, best: np.ndarray, size: int, scale: float = 0.3) -> np.ndarray:
    """Delta coding: a subpopulation around its best genome, `[size, length]`.

    Every weight of every genome changes by a Cauchy number, but the first genome is the best itself, which
    published programs change too.
    """
    around = best + np.stack([cauchy(rng, best.size, scale) for _ in range(size)])
    around[0] = best
    return around.astype(np.float32)


def cauchy(rng: np.random.Generator, number: int, scale: float, most: float = 10.0) -> np.ndarray:
    """Cauchy numbers of a scale; those beyond `most` are drawn again."""
    drawn = scale * rng.standard_cauchy(number)
    while (beyond := np.abs(drawn) > most).any():
        drawn[beyond] = scale * rng.standard_cauchy(beyond.sum())
    return drawn
