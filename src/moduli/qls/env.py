"""Scheduling as a Gymnasium environment, for anyone's reinforcement learning."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from moduli.errors import MissingExtra
from moduli.qls.process import TrainingProcess

try:
    import gymnasium as gym
except ImportError:
    raise MissingExtra("MultitaskTrainingEnv", "gymnasium", "rl") from None


class MultitaskTrainingEnv(gym.Env[NDArray[np.float32], np.int64]):
    """A `TrainingProcess` as a Gymnasium environment.

    - Observation: histograms of task uncertainty, `Box(0, 1, [bins * K], float32)`.
    - Action: the task to train next, `Discrete(K)`.
    - Reward: minus the mean validation loss, or the penalty.
    - Never terminated; truncated every `reset_every` training steps, when the model is replaced. An agent
      should bootstrap through that.

    `reset(seed=...)` decides the seed of this episode and of those that follow; without it every episode
    has another. The environment draws no global random numbers.

    Args:
        process: the training that is scheduled.

    Raises:
        MissingExtra: when it is first imported, if gymnasium is not installed.
    """

    def __init__(self, process: TrainingProcess):
        self.process = process
        self.observation_space = gym.spaces.Box(0.0, 1.0, (process.monitor.size,), np.float32)
        self.action_space = gym.spaces.Discrete(len(process.tasks))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        return self.process.reset(seed).numpy(), {}

    def step(self, action: np.int64 | int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        state, reward, terminated, truncated, info = self.process.step(int(action))
        return state.numpy(), reward, terminated, truncated, info
