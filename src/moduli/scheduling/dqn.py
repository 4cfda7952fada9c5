"""Deep Q-learning: a network of action values, a buffer of transitions, and how one learns from the other."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moduli.errors import InputError
from moduli.rng import seeded
from moduli.types import State


class QNetwork(nn.Sequential):
    """Action values of a state: ReLU layers of 120 and 84 units, `[..., states] -> [..., actions]`."""

    def __init__(self, states: int, actions: int, hidden: tuple[int, int] = (120, 84)):
        first, second = hidden
        super().__init__(
            nn.Linear(states, first), nn.ReLU(),
            nn.Linear(first, second), nn.ReLU(),
            nn.Linear(second, actions),
        )  # fmt: skip


class ReplayBuffer:
    """The last `capacity` transitions (s, a, r, s', done), in tensors that are made once."""

    def __init__(self, states: int, capacity: int = 10_000):
        self.capacity = capacity
        self._columns = {
            "state": torch.zeros(capacity, states),
            "action": torch.zeros(capacity, dtype=torch.long),
            "reward": torch.zeros(capacity),
            "next_state": torch.zeros(capacity, states),
            "done": torch.zeros(capacity),
        }
        self._added = 0

    def __len__(self) -> int:
        return min(self._added, self.capacity)

    def add(self, **transition: Any) -> None:
        """Puts in a transition, in place of the oldest one if the buffer is full."""
        row = self._added % self.capacity
        for name, column in self._columns.items():
            column[row] = transition[name]
        self._added += 1

    def spread(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the rewards; 1 for the latter where they hardly differ."""
        reward = self._columns["reward"][: len(self)]
        std = reward.std(correction=0)
        return reward.mean(), torch.where(std > 1e-6, std, 1.0)

    def sample(self, number: int, generator: torch.Generator) -> dict[str, Tensor]:
        """So many transitions, each drawn evenly from all, with replacement."""
        rows = torch.randint(len(self), (number,), generator=generator)
        return {name: column[rows] for name, column in self._columns.items()}

    def state_dict(self) -> State:
        kept = {name: column[: len(self)].clone() for name, column in self._columns.items()}
        return {"added": self._added, **kept}

    def load_state_dict(self, state: State) -> None:
        self._added = state["added"]
        for name, column in self._columns.items():
            column[: len(self)] = state[name]


def td_target(
    reward: Tensor, done: Tensor, next_q: Tensor, gamma: float, chosen: Tensor | None = None
) -> Tensor:
    """y = r + gamma (1 - done) max_a Q_target(s', a) `[B]`, from next_q = Q_target(s', .) `[B, actions]`.

    Mnih et al. (2015). With `chosen` `[B]` those actions are valued, in place of the best: double Q-learning
    (van Hasselt et al. 2016) gives the best ones of the online network.
    """
    value = next_q.amax(-1) if chosen is None else next_q.gather(-1, chosen.unsqueeze(-1)).squeeze(-1)
    return reward + gamma * (1 - done) * value


def gumbel(shape: torch.Size | tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Standard Gumbel numbers, -log(-log U)."""
    return -torch.empty(shape).exponential_(generator=generator).log()


class DQN:
    """Deep Q-learning with replay, a target network, and Boltzmann-Gumbel exploration.

    Exploration takes argmax_a Q(s, a) + tau_t Z_a with Gumbel noise Z (Cesa-Bianchi et al. 2017), which is
    a draw from softmax(Q / tau_t). The temperature falls exponentially from `tau_0` to `tau_end` over
    `anneal` steps, then stays: equal chances first, nearly the best action at the end. With `count_factor`
    C the noise of action a is also scaled by C / sqrt(N_a), N_a = times a was explored, and actions that
    were never taken come first. The first best action is taken of equal ones.

    Learning: y = r + gamma max_a' Q_target(s', a') on minibatches from the buffer, Huber loss or squared
    error, Adam; every `target_every` steps the target network becomes a copy (Mnih et al. 2015).

    The end of an episode of scheduling is a reset of the model, not the end of its life: a truncation. So
    the last transition is remembered with done=False, which bootstraps through it, and the next one starts
    from the state after the reset.

    A reward of scheduling is a level: minus the loss, about the same after every action. Its sum of some
    1 / (1 - gamma) terms is large beside the differences between actions, and a network that is busy with
    the sum does not see them. With `normalise` rewards are therefore taken relative to the mean of those in
    the buffer, in units of their standard deviation. The best policy is the same, since a constant adds the
    same to all values; temperatures then mean the same for all losses. This is ours; the paper says nothing.

    Defaults are CleanRL's for small states, where a run has 500 000 steps (Adam's rate 2.5e-4, minibatches
    of 128, learning from step 10 000 on, an update every 10 steps, a copy every 500). `scaled` has values
    for shorter runs. A step is a transition that is remembered.

    Args:
        states: length of a state.
        actions: how many there are.
        gamma: discount.
        lr: of Adam.
        batch: transitions in an update.
        capacity: of the replay buffer.
        target_every: steps between two copies to the target network.
        learning_starts: steps before the first update.
        train_every: steps between updates.
        updates: how many updates then.
        huber: the Huber loss with bound 1; False squares errors.
        double: double Q-learning.
        normalise: whether rewards are relative to the mean and spread of those in the buffer.
        tau_0, tau_end: first and last temperature.
        anneal: steps from one to the other.
        count_factor: C above; None leaves the counts out.
        seed: of the weights, the exploration and the minibatches.

    Raises:
        InputError: if a number is impossible.
    """

    def __init__(
        self,
        states: int,
        actions: int,
        gamma: float = 0.99,
        lr: float = 2.5e-4,
        batch: int = 128,
        capacity: int = 10_000,
        target_every: int = 500,
        learning_starts: int = 10_000,
        train_every: int = 10,
        updates: int = 1,
        huber: bool = True,
        double: bool = False,
        normalise: bool = True,
        tau_0: float = 1.0,
        tau_end: float = 0.01,
        anneal: int = 500_000,
        count_factor: float | None = None,
        seed: int = 0,
    ):
        for name, value in (("batch", batch), ("capacity", capacity), ("target_every", target_every),
                            ("train_every", train_every), ("updates", updates)):  # fmt: skip
            if value < 1:
                raise InputError(f"dqn.{name} is {value}: give at least 1")
        if not 0 <= gamma <= 1:
            raise InputError(f"dqn.gamma is {gamma}: give a number from 0 to 1")
        if not 0 < tau_end <= tau_0:
            raise InputError(f"dqn.tau_0 is {tau_0} and tau_end {tau_end}: give tau_0 >= tau_end > 0")
        self.actions, self.gamma, self.batch = actions, gamma, batch
        self.target_every, self.learning_starts = target_every, learning_starts
        self.train_every, self.updates = train_every, updates
        self.huber, self.double, self.normalise = huber, double, normalise
        self.count_factor = count_factor
        self.tau_0, self.tau_end, self.anneal = tau_0, tau_end, anneal
        with seeded(seed):
            self.network = QNetwork(states, actions)
        self.target = copy.deepcopy(self.network).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=lr, fused=True)
        self.buffer = ReplayBuffer(states, capacity)
        self.generator = torch.Generator().manual_seed(seed)
        self.counts = torch.zeros(actions)
        self.steps = 0

    @staticmethod
    def scaled(steps: int) -> dict[str, Any]:
        """Options for a run of so many steps, in place of those that suit 500 000.

        A fiftieth of the run goes by before the first update, but at least a minibatch (a tenth, if that is
        less); the target network is copied 200 times, but at most every 500 steps; the temperature falls
        over the whole run. Updates are kept at 20 000 to 50 000 where one to eight for each step give
        that: a step is worth much more than an update, since a model was trained for it.
        """
        return {
            "learning_starts": min(10_000, max(steps // 50, min(128, steps // 10))),
            "train_every": min(10, max(1, steps // 50_000)),
            "updates": min(8, max(1, 20_000 // max(1, steps))),
            "target_every": min(500, max(1, steps // 200)),
            "anneal": max(1, steps),
        }

    def options(self) -> dict[str, Any]:
        """What it was made with, but for the sizes and the seed."""
        names = (
            "gamma", "batch", "target_every", "learning_starts", "train_every", "updates", "huber", "double",
            "normalise", "tau_0", "tau_end", "anneal", "count_factor",
        )  # fmt: skip
        made = {name: getattr(self, name) for name in names}
        return {**made, "lr": self.optimizer.defaults["lr"], "capacity": self.buffer.capacity}

    # -------------------------------------------------------------- acting

    @property
    def temperature(self) -> float:
        """tau_t."""
        done = min(1.0, self.steps / max(1, self.anneal))
        return self.tau_0 * (self.tau_end / self.tau_0) ** done

    @torch.no_grad()
    def values(self, state: Tensor) -> Tensor:
        """Q(s, .) `[actions]`."""
        return self.network(state)

    def act(self, state: Tensor, explore: bool = True) -> int:
        """The next action in `state`, with noise if `explore`."""
        q = self.values(state)
        if not explore:
            return first_best(q)
        noise = self.temperature * gumbel(q.shape, self.generator)
        if self.count_factor is not None:
            noise = noise * self.count_factor / self.counts.clamp(min=1).sqrt()
            noise = noise.masked_fill(self.counts == 0, torch.inf)
        action = first_best(q + noise)
        self.counts[action] += 1
        return action

    # -------------------------------------------------------------- learning

    def remember(
        self, state: Tensor, action: int, reward: float, next_state: Tensor, done: bool = False
    ) -> None:
        """Adds a transition. `done` means that nothing follows, which no reset of a model does."""
        self.buffer.add(state=state, action=action, reward=reward, next_state=next_state, done=float(done))
        self.steps += 1

    def learn(self) -> float | None:
        """What is due after a step: updates, and a copy to the target network.

        Returns:
            The mean loss of the updates; None if there was none.
        """
        loss = None
        if self.steps >= self.learning_starts and self.steps % self.train_every == 0:
            losses = [
                self.update(self.buffer.sample(self.batch, self.generator)) for _ in range(self.updates)
            ]
            loss = torch.stack(losses).mean().item()
        if self.steps % self.target_every == 0:
            self.target.load_state_dict(self.network.state_dict())
        return loss

    def update(self, b: dict[str, Tensor]) -> Tensor:
        """One step of Adam on a minibatch of transitions; its loss."""
        with torch.no_grad():
            chosen = self.network(b["next_state"]).argmax(-1) if self.double else None
            reward = b["reward"]
            if self.normalise:
                mean, std = self.buffer.spread()
                reward = (reward - mean) / std
            y = td_target(reward, b["done"], self.target(b["next_state"]), self.gamma, chosen)
        q = self.network(b["state"]).gather(-1, b["action"].unsqueeze(-1)).squeeze(-1)
        loss = F.huber_loss(q, y) if self.huber else F.mse_loss(q, y)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    # -------------------------------------------------------------- state

    def state_dict(self) -> State:
        return copy.deepcopy(
            {
                "network": dict(self.network.state_dict()),
                "target": dict(self.target.state_dict()),
                "optimizer": self.optimizer.state_dict(),
                "buffer": self.buffer.state_dict(),
                "generator": self.generator.get_state(),
                "counts": self.counts,
                "steps": self.steps,
            }
        )

    def load_state_dict(self, state: State) -> None:
        """Goes back to the moment at which the state was taken."""
        self.network.load_state_dict(state["network"])
        self.target.load_state_dict(state["target"])
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self.buffer.load_state_dict(state["buffer"])
        self.generator.set_state(state["generator"])
        self.counts, self.steps = state["counts"].clone(), state["steps"]


def first_best(q: Tensor) -> int:
    """The index of the largest number, of equal ones the first."""
    return int(q.argmax())
