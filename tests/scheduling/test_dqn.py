"""Deep Q-learning: worked examples, a small problem that it solves, and going on from a state."""

from __future__ import annotations

import copy
import io
import math

import pytest
import torch
import torch.nn.functional as F

from moduli import InputError
from moduli.scheduling.dqn import DQN, QNetwork, ReplayBuffer, td_target

SMALL = {"batch": 16, "learning_starts": 16, "train_every": 2, "target_every": 10, "anneal": 100}


def test_worked_target():
    y = td_target(torch.tensor([-0.4]), torch.tensor([0.0]), torch.tensor([[1.0, 0.2]]), 0.99)
    assert y.item() == pytest.approx(0.59)


def test_target_of_an_end_and_of_double_q_learning():
    q = torch.tensor([[1.0, 0.2]]).double()
    r, zero, one = (torch.tensor([x]).double() for x in (-0.4, 0.0, 1.0))
    assert td_target(r, one, q, 0.99).item() == pytest.approx(-0.4)
    assert td_target(r, zero, q, 0.99, torch.tensor([1])).item() == pytest.approx(-0.4 + 0.99 * 0.2)


@pytest.mark.parametrize(("error", "huber", "expected"), [(0.5, True, 0.125), (2, True, 1.5), (2, False, 4)])
def test_worked_loss(error, huber, expected):
    agent = DQN(1, 2, gamma=0.0, huber=huber, normalise=False)
    for parameter in agent.network.parameters():
        parameter.data.zero_()
    batch = {
        "state": torch.ones(3, 1), "next_state": torch.ones(3, 1), "action": torch.tensor([0, 1, 0]),
        "reward": torch.full((3,), float(error)), "done": torch.zeros(3),
    }  # fmt: skip
    assert agent.update(batch).item() == pytest.approx(expected)


def test_worked_exploration_frequencies():
    agent = DQN(1, 3, tau_0=0.5, tau_end=0.5)
    agent.values = lambda state: torch.tensor([1.0, 0.5, 0.0])  # type: ignore[method-assign]
    n = 20_000
    for _ in range(n):
        agent.act(torch.zeros(1))
    expected = torch.tensor([0.665241, 0.244728, 0.090031])
    torch.testing.assert_close(agent.counts / n, expected, rtol=0, atol=4 * 0.5 / math.sqrt(n))


def test_equal_chances_first_and_the_best_at_the_end():
    agent = DQN(1, 3, tau_0=100.0, tau_end=1e-3, anneal=10)
    agent.values = lambda state: torch.tensor([0.0, 0.5, 0.0])  # type: ignore[method-assign]
    first = torch.bincount(torch.tensor([agent.act(torch.zeros(1)) for _ in range(3000)]))
    assert ((first / 3000 - 1 / 3).abs() < 0.04).all()
    agent.steps = 10
    assert {agent.act(torch.zeros(1)) for _ in range(50)} == {1}


def test_the_temperature_falls_exponentially_and_stays():
    agent = DQN(1, 2, tau_0=1.0, tau_end=0.01, anneal=10)
    found = []
    for steps in (0, 5, 10, 99):
        agent.steps = steps
        found.append(agent.temperature)
    assert found == pytest.approx([1.0, 0.1, 0.01, 0.01])


def test_the_count_factor_takes_untried_actions_first_and_less_noise_with_counts():
    agent = DQN(1, 4, count_factor=1.0)
    assert [agent.act(torch.zeros(1)) for _ in range(4)] == [0, 1, 2, 3]
    agent.values = lambda state: torch.tensor([0.3, 0.0, 0.0, 0.0])  # type: ignore[method-assign]
    agent.counts = torch.full((4,), 1e6)
    assert {agent.act(torch.zeros(1)) for _ in range(50)} == {0}


def test_of_equal_values_the_first_is_taken():
    agent = DQN(1, 3)
    agent.values = lambda state: torch.tensor([0.0, 2.0, 2.0])  # type: ignore[method-assign]
    assert agent.act(torch.zeros(1), explore=False) == 1
    assert agent.counts.sum() == 0


def test_the_buffer_keeps_the_last_and_draws_from_what_is_there():
    buffer, generator = ReplayBuffer(2, capacity=3), torch.Generator().manual_seed(0)
    for k in range(5):
        s = torch.full((2,), float(k))
        buffer.add(state=s, action=k, reward=-k, next_state=s + 1, done=0.0)
        drawn = buffer.sample(200, generator)
        assert set(drawn["action"].tolist()) == set(range(max(0, k - 2), k + 1))
        torch.testing.assert_close(drawn["next_state"], drawn["state"] + 1)
        torch.testing.assert_close(drawn["reward"], -drawn["action"].float())


def test_when_it_learns_and_copies():
    agent = DQN(2, 2, batch=4, learning_starts=6, train_every=3, updates=2, target_every=4)
    s, updates = torch.ones(2), []
    update, agent.update = agent.update, lambda b: (updates.append(agent.steps), update(b))[1]  # type: ignore[method-assign]
    for _ in range(12):
        agent.remember(s, 0, -1.0, s)
        learned = agent.learn()
        assert (learned is None) == (agent.steps not in (6, 9, 12))
        alike = torch.equal(agent.target[0].weight, agent.network[0].weight)
        assert alike == (agent.steps < 6 or agent.steps in (8, 12))
    assert updates == [6, 6, 9, 9, 12, 12]


def test_it_solves_a_corridor():
    """Five places in a row, left or right; only the last place pays. The best values are known."""
    agent = DQN(5, 2, gamma=0.9, lr=3e-3, tau_0=1.0, tau_end=0.1, normalise=False, double=True,
                batch=32, learning_starts=32, train_every=1, target_every=40, anneal=900)  # fmt: skip
    eye, place = torch.eye(5), 0
    for step in range(1200):
        action = agent.act(eye[place])
        after = min(4, place + 1) if action else max(0, place - 1)
        agent.remember(eye[place], action, float(after == 4), eye[after])
        agent.learn()
        place = 0 if step % 20 == 19 else after  # a truncation, with no transition across
    q = agent.values(eye)
    assert q.argmax(-1).tolist() == [1] * 5
    best = [10 * 0.9 ** max(0, 3 - k) for k in range(5)]
    torch.testing.assert_close(q[:, 1], torch.tensor(best), rtol=0.15, atol=0.3)


def walk(agent: DQN, steps: int, first: int = 0) -> list[int]:
    actions = []
    for k in range(first, first + steps):
        s = torch.tensor([math.sin(k), math.cos(k)])
        actions.append(agent.act(s))
        agent.remember(s, actions[-1], math.sin(3 * k), torch.tensor([math.sin(k + 1), math.cos(k + 1)]))
        agent.learn()
    return actions


def test_normalised_rewards_have_no_level_and_no_scale():
    found = []
    for scale, level in ((1.0, 0.0), (0.01, -7.0), (100.0, 30.0)):
        agent = DQN(2, 3, **SMALL)
        for k in range(60):
            s = torch.tensor([math.sin(k), math.cos(k)])
            agent.remember(s, k % 3, scale * math.sin(3 * k) + level, s.flip(0))
            agent.learn()
        found.append(agent.values(torch.ones(2)))
    for q in found[1:]:
        torch.testing.assert_close(q, found[0], rtol=1e-2, atol=1e-3)


def test_equal_rewards_can_be_normalised():
    agent, s = DQN(2, 2, **SMALL), torch.ones(2)
    for _ in range(40):
        agent.remember(s, 0, -10.0, s)
        agent.learn()
    assert agent.values(s).isfinite().all()
    assert [x.item() for x in agent.buffer.spread()] == [-10, 1]


@pytest.mark.parametrize("stop", [0, 7, 41])
def test_goes_on_from_its_state_to_the_same_bits(stop):
    agent = DQN(2, 3, capacity=30, seed=4, **SMALL)
    walk(agent, stop)
    file = io.BytesIO()
    torch.save(agent.state_dict(), file)
    file.seek(0)
    expected = walk(agent, 40, stop)
    other = DQN(2, 3, capacity=30, seed=5, **SMALL)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert walk(other, 40, stop) == expected
    torch.testing.assert_close(other.state_dict(), agent.state_dict(), rtol=0, atol=0)


def test_its_state_is_a_snapshot():
    agent = DQN(2, 3, seed=4, **SMALL)
    walk(agent, 20)
    state = agent.state_dict()
    before = copy.deepcopy(state)
    walk(agent, 20, 20)
    torch.testing.assert_close(state, before, rtol=0, atol=0)


def test_it_draws_no_global_random_numbers_and_its_seed_decides():
    before = torch.get_rng_state()
    first, second, third = (DQN(2, 3, seed=seed, **SMALL) for seed in (1, 1, 2))
    runs = [walk(agent, 60) for agent in (first, second, third)]
    assert torch.equal(torch.get_rng_state(), before)
    assert runs[0] == runs[1] != runs[2]


def test_the_network_has_the_sizes_of_small_states():
    shapes = [tuple(x.shape) for x in QNetwork(320, 16).state_dict().values()]
    assert shapes == [(120, 320), (120,), (84, 120), (84,), (16, 84), (16,)]
    assert F.relu(torch.tensor(-1.0)) == 0  # what stands between the layers


@pytest.mark.parametrize("steps", [1, 50, 1000, 20_000, 500_000, 10_000_000])
def test_scaled_options_suit_the_run(steps):
    options = DQN.scaled(steps)
    agent = DQN(4, 2, **options)
    assert agent.learning_starts <= max(1, steps // 10) or agent.learning_starts == steps // 50
    assert agent.anneal == steps
    if steps == 500_000:  # CleanRL's run
        found = (agent.learning_starts, agent.train_every, agent.updates, agent.target_every)
        assert found == (10_000, 10, 1, 500)


@pytest.mark.parametrize("options", [{"batch": 0}, {"gamma": 1.5}, {"tau_0": 0.001}, {"target_every": 0}])
def test_impossible_options(options):
    with pytest.raises(InputError, match=f"dqn.{next(iter(options))}"):
        DQN(2, 2, **options)
