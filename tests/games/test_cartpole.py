"""A known problem: CartPole is solved from every seed, without gradients."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("gymnasium")

from moduli.games.gymnasium_game import GymnasiumGame
from moduli.games.search import evolve_network


@pytest.mark.parametrize("seed", range(5))
def test_cartpole_is_solved_within_twenty_generations(seed):
    """Solved as defined for 200 steps: a mean of 195 or more over 100 episodes, here fresh ones."""
    found = evolve_network(
        GymnasiumGame("CartPole-v1", max_steps=200),
        seed=seed,
        generations=20,
        evaluations=200,
        trials=10,
        units=3,
        subpopulation=40,
        patience=8,
        target=200,
        test=100,
    )
    assert len(found.test) == 100
    assert np.mean(found.test) >= 195
