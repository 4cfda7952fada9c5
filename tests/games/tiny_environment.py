"""Environments for tests; importing this registers them: `tiny_environment:Tiny-v0`."""

from __future__ import annotations

import gymnasium
import numpy as np
from gymnasium import spaces


class Tiny(gymnasium.Env):
    """A walk on five places to the last one, against a wind that only the generator knows.

    Args:
        actions: the action space; those of `Discrete(3, start=1)` are back, stay, forward.
        observations: the observation space, if it is to be another than what is seen.
        render_mode: of Gymnasium.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    observation_space = spaces.Dict({"place": spaces.Discrete(5), "wind": spaces.Box(-1, 1, (2,))})

    def __init__(self, actions=None, observations=None, render_mode=None, **colour):
        self.action_space = actions or spaces.Discrete(3, start=1)
        self.observation_space = observations or self.observation_space
        self.render_mode, self._colour = render_mode, colour.get("colour", 200)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._place = 0
        return self._seen(), {}

    def step(self, action):
        blown = self.np_random.random() < 0.2
        self._place = int(np.clip(self._place + int(action) - 2 - blown, 0, 4))
        return self._seen(), 0.5 * self._place, self._place == 4, False, {}

    def render(self):
        picture = np.zeros((20, 25, 3), np.uint8)
        picture[:, 5 * self._place : 5 * self._place + 5] = self._colour
        return picture

    def _seen(self):
        return {"place": self._place, "wind": self.np_random.uniform(-1, 1, 2).astype(np.float32)}


class Blind(Tiny):
    """One that has no pictures."""

    metadata = {"render_modes": []}  # noqa: RUF012


class Broken(Tiny):
    """One whose steps fail."""

    def step(self, action):
        raise RuntimeError("the plug was pulled")


gymnasium.register("Tiny-v0", Tiny)
gymnasium.register("Broken-v0", Broken)
gymnasium.register("Short-v0", Tiny, max_episode_steps=7)
gymnasium.register("Blind-v0", Blind)
gymnasium.register("Buttons-v0", Tiny, kwargs={"actions": spaces.MultiDiscrete([2, 3])})
gymnasium.register(
    "Words-v0", Tiny, kwargs={"observations": spaces.Sequence(spaces.Discrete(3))}
)  # of no fixed size
