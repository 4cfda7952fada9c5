"""The Gymnasium environment: the checker of Gymnasium, and an agent of another library."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest
from synthetic import sharing_tasks, tiny_model

from moduli import Train
from moduli.qls import TrainingProcess

gymnasium = pytest.importorskip("gymnasium", reason="gymnasium is not installed")
TASKS = sharing_tasks()


def environment(reset_every: int = 6):
    from moduli.qls import MultitaskTrainingEnv

    return MultitaskTrainingEnv(
        TrainingProcess(
            lambda seed: tiny_model(TASKS, seed=seed), TASKS, Train(batch_size=4),
            reset_every=reset_every, steps_per_action=2, device="cpu",
        )
    )  # fmt: skip


def test_passes_the_checker_of_gymnasium():
    from gymnasium.utils.env_checker import check_env

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(environment(), skip_render_check=True)


def test_spaces_and_truncation():
    env = environment()
    state, info = env.reset(seed=1)
    assert env.observation_space == gymnasium.spaces.Box(0, 1, (80,), np.float32)
    assert env.action_space == gymnasium.spaces.Discrete(4)
    assert state.dtype == np.float32
    assert info == {}
    ends = [env.step(np.int64(action))[2:4] for action in (0, 3, 2)]
    assert ends == [(False, False), (False, False), (False, True)]


def test_an_agent_of_another_library_learns_in_it():
    sb3 = pytest.importorskip("stable_baselines3", reason="stable-baselines3 is not installed")
    agent = sb3.DQN("MlpPolicy", environment(), learning_starts=4, train_freq=2, batch_size=4, seed=0)
    before = [x.detach().clone() for x in agent.q_net.parameters()]
    agent.learn(20)
    assert agent.num_timesteps == 20
    assert any(not (x == y).all() for x, y in zip(before, agent.q_net.parameters(), strict=True))
    action, _ = agent.predict(environment().reset(seed=0)[0], deterministic=True)
    assert 0 <= int(action) < 4


def test_the_rest_works_without_gymnasium():
    code = (
        "import sys; sys.modules['gymnasium'] = None\n"
        "import moduli, moduli.qls\n"
        "moduli.qls.learn_schedule, moduli.qls.TrainingProcess\n"
        "try:\n    moduli.qls.MultitaskTrainingEnv\n"
        "except moduli.MissingExtra as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'moduli[rl]'" in done.stdout
