"""The toy problems of the Q-learning scheduler: is what they call best the best, and is it found?"""

# pyright: reportMissingImports=false

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest
import torch

from moduli.qls import learn_schedule
from moduli.scheduling import RoundRobin
from moduli.scheduling.qls import QLearningScheduler

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "experiments"))

import qls_toy


def test_the_best_possible_is_the_best_of_all_schedules():
    curves = torch.rand(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sums = {}
    for actions in itertools.product((0, 1), repeat=5):
        counts = [(k + 1 - sum(actions[: k + 1]), sum(actions[: k + 1])) for k in range(5)]
        sums[actions] = sum((curves[i, 0] + curves[j, 1]).item() / 2 for i, j in counts)
    best, first, second = qls_toy.best_possible(curves)
    assert best == pytest.approx(min(sums.values()) / 5)
    assert first[0, 0] == pytest.approx(min(x for actions, x in sums.items() if actions[0] == 0))
    assert second[0, 0] == pytest.approx(min(x for actions, x in sums.items() if actions[0] == 1))


def test_right_actions():
    falling = torch.linspace(1, 0, 5, dtype=torch.float64)
    curves = torch.stack([falling, torch.ones(5).double()], 1)  # nothing to learn in the second task
    _, first, second = qls_toy.best_possible(curves)
    for actions, expected in (([0, 0, 0, 0], 1.0), ([1, 0, 0, 0], 0.75), ([1, 1, 1, 1], 0.0)):
        picked = torch.tensor(actions).repeat_interleave(qls_toy.GRID)
        assert qls_toy.right_share(picked, first, second) == (expected, 0.5)
    picked = torch.tensor([0, 1, 1, 0]).repeat_interleave(qls_toy.GRID)
    assert qls_toy.right_share(picked, *[torch.ones(4, 4).double()] * 2) == (1.0, 1.0)  # all the same


def test_where_nothing_is_shared_a_loss_depends_on_the_steps_of_its_task_alone():
    toy = qls_toy.TOYS["easy, hard"]
    tasks = qls_toy.tasks_of(toy, 0)
    alone = [
        qls_toy.train(toy, tasks, qls_toy.Always(name), 0).losses[:, k] for k, name in enumerate(toy.labels)
    ]
    both = qls_toy.train(toy, tasks, RoundRobin(), 0)
    halfway = both.losses[20]  # 50 steps of each
    torch.testing.assert_close(halfway, torch.stack([curve[10] for curve in alone]))
    assert both.picked.double().mean() == 0.5


@pytest.mark.parametrize("coin_first", [False, True])
def test_the_best_schedule_is_found(coin_first):
    """One of two tasks cannot be learned, and training it harms the other: it is to be left alone."""
    toy = qls_toy.TOYS["noise"]
    tasks = qls_toy.tasks_of(toy, 0)
    ordered = tasks[::-1] if coin_first else tasks
    policy = learn_schedule(
        lambda seed: qls_toy.build(toy, tasks, seed), ordered, steps=1000, reset_every=50, state_every=5,
        device="cpu", dqn={"updates": 2}, **qls_toy.TRAIN,
    )  # fmt: skip
    run = qls_toy.train(toy, tasks, QLearningScheduler(policy, ordered, state_every=5), seed=0)
    assert (run.picked == 0).double().mean() >= 0.95
