"""The training of a joint model as a decision process: state, action, reward."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor

from moduli.errors import InputError, did_you_mean
from moduli.model import JointModel
from moduli.rng import rng_state, seeded, set_rng_state
from moduli.scheduling.monitor import Look, Monitor
from moduli.tasks import Task
from moduli.training import Train, Trainer
from moduli.training.settings import cpu_threads
from moduli.types import Combine, Schedule, State

MODES = ("always", "armed")
_APART = 1_000_003  # between the seeds of two processes, so that their models differ from each other's
_MOST = 2.0  # how much better than its baseline a task counts whose metric is to be low


class _Told(Schedule):
    """Trains the task that it was told."""

    task = ""

    def choose(self, tasks: Sequence[str], step: int) -> Sequence[str]:
        return [self.task]


class TrainingProcess:
    """Training as a decision process: which task is trained next, so that all become good?

    Section 4.3 of the Q-learning scheduler paper.

    - State: what a `Monitor` sees of the model, a histogram of uncertainty for each task.
    - Action: the task, by its index, from which the next `steps_per_action` batches are. Their samples are
      random.
    - Reward: minus the validation loss, the mean over samples, then over tasks. If the metrics, relative to
      those of single-task models, drop under `threshold` in the mean, it is `penalty` instead.
    - Episode: a model from its first weights, for `reset_every` steps. Then a reset begins with another
      model. That truncates the episode; there is no terminal state.

    Readings of ours, where the paper is open. Its loss is a sum over samples and tasks, of some 2000 for a
    fresh model of 16 tasks; then -10 would be no punishment, so we take means. The penalty replaces the
    loss (`add` adds it). A fresh model is always below the threshold: `penalty_mode="always"` is literal,
    and gives the same reward until the model is good. "armed" punishes only after the threshold had been
    reached since the reset, which is a drop; it has a loophole, which agents do find: a model that is kept
    from ever reaching the threshold is never punished. A metric of which less is better counts as
    baseline / value, at most 2. Without baselines there is no penalty. A loss that is not finite earns it
    in any case.

    All is decided on training and validation data; the test split is never read. Controls between phases
    do not act, and `combine.observe` is not called: there are no phases.

    The global random numbers are left as they are; the process has its own.

    Args:
        build: from a seed to a fresh model.
        tasks: what it learns; an action is an index into them.
        train: settings of the training; `steps` should be `reset_every` if the learning rate has a schedule.
        baselines: the single-task metric of each task, on validation data.
        monitor: of the same tasks; `Monitor(tasks)` by default.
        steps_per_action: for how many batches an action holds.
        reset_every: batches of an episode.
        penalty, threshold, penalty_mode, add: see above.
        combine: makes the `Combine` of an episode; equal weights by default.
        device: "auto", "cpu", "cuda", ...
        seed: of the first episode; each has another.

    Raises:
        InputError: if baselines do not fit the tasks, or a number is impossible.
    """

    def __init__(
        self,
        build: Callable[[int], JointModel],
        tasks: Sequence[Task],
        train: Train | None = None,
        baselines: Mapping[str, float] | None = None,
        monitor: Monitor | None = None,
        steps_per_action: int = 1,
        reset_every: int = 10_000,
        penalty: float = -10.0,
        threshold: float = 0.95,
        penalty_mode: Literal["always", "armed"] = "always",
        add: bool = False,
        combine: Callable[[], Combine] | None = None,
        device: str | torch.device = "auto",
        seed: int = 0,
    ):
        self.build, self.train, self.device, self.seed = build, train or Train(), device, seed
        self.monitor = monitor or Monitor(tasks)
        self.tasks = self.monitor.tasks
        self.baselines = dict(baselines) if baselines is not None else None
        self.steps_per_action, self.reset_every = steps_per_action, reset_every
        self.penalty, self.threshold, self.penalty_mode, self.add = penalty, threshold, penalty_mode, add
        self.combine = combine
        self.episode, self.steps = -1, 0  # number of the episode, from 0, and its steps so far
        self._check([task.name for task in tasks])

    # -------------------------------------------------------------- the process

    def reset(self, seed: int | None = None) -> Tensor:
        """Begins an episode with a fresh model; the state `[bins * K]`.

        Args:
            seed: of this episode and those that follow, in place of the process's own.
        """
        if seed is not None:
            self.seed, self.episode = seed, -1
        self._begin(self.episode + 1)
        with self._inside():
            self.state = self.monitor.look(self.trainer.model, scores=False).state
        return self.state

    def step(self, action: int) -> tuple[Tensor, float, bool, bool, dict[str, Any]]:
        """Trains the task with index `action`.

        Returns:
            The new state `[bins * K]`, the reward, False (nothing is terminal), whether the episode is over,
            and the losses, metrics and more by name.

        Raises:
            InputError: before the first `reset`, or if there is no such task.
        """
        if self.episode < 0:
            raise InputError("the process has not begun: call reset() first")
        names = list(self.tasks)
        if not 0 <= action < len(names):
            raise InputError(f"action {action}: give the index of a task, from 0 to {len(names) - 1}")
        self._told.task = names[action]
        steps = min(self.steps_per_action, self.reset_every - self.steps % self.reset_every)
        with self._inside():
            for _ in range(steps):
                self.trainer.one_step()
            look = self.monitor.look(self.trainer.model)
        self.steps += steps
        self.state = look.state
        reward, told = self._reward(look)
        info = {"losses": look.losses, "values": look.values, "task": names[action], "step": self.steps}
        return look.state, reward, False, self.steps >= self.reset_every, {**info, **told}

    def _reward(self, look: Look) -> tuple[float, dict[str, Any]]:
        """The reward, with the relative performance (if there are baselines), and whether it was punished."""
        loss = sum(look.losses.values()) / len(look.losses)
        relative, punished = None, not math.isfinite(loss)
        if self.baselines is not None:
            relative = self.relative(look.values)
            low = not relative >= self.threshold
            self.armed = self.armed or not low
            punished = punished or (low and (self.armed or self.penalty_mode == "always"))
        reward = -loss if not punished else self.penalty - loss if self.add else self.penalty
        return reward if math.isfinite(reward) else self.penalty, {"relative": relative, "punished": punished}

    def relative(self, values: Mapping[str, float]) -> float:
        """The mean over tasks of metric / single-task metric."""
        assert self.baselines is not None
        ratios = []
        for name, task in self.tasks.items():
            value, baseline = values[name], self.baselines[name]
            if task.higher_is_better:
                ratios.append(value / baseline)
            else:
                ratios.append(baseline / max(value, baseline / _MOST))
        return sum(ratios) / len(ratios)

    # -------------------------------------------------------------- an episode

    def _begin(self, episode: int) -> None:
        """The model and the trainer of an episode, before its first step."""
        self.episode, self.steps, self.armed = episode, 0, False
        seed = (_APART * (self.seed + 1) + episode) % (1 << 31)
        self._told = _Told()
        with seeded(seed):
            self.trainer = Trainer(
                self.build(seed),
                list(self.tasks.values()),
                self.train,
                combine=self.combine() if self.combine is not None else None,
                schedule=self._told,
                seed=seed,
                device=self.device,
            )
            self.trainer.model.train()
            self._numbers = rng_state()

    @contextmanager
    def _inside(self) -> Iterator[None]:
        """While active, the global random numbers are those of the process."""
        before = rng_state()
        set_rng_state(self._numbers)
        try:
            with cpu_threads(self.trainer.threads):
                yield
            self._numbers = rng_state()
        finally:
            set_rng_state(before)

    # -------------------------------------------------------------- state

    def state_dict(self) -> State:
        """Everything that the next step depends on."""
        state: State = {"episode": self.episode, "seed": self.seed}
        if self.episode < 0:
            return state
        with self._inside():
            trainer = copy.deepcopy(self.trainer.state_dict())
        return {
            **state,
            "steps": self.steps,
            "armed": self.armed,
            "state": self.state.clone(),
            "numbers": copy.deepcopy(self._numbers),
            "trainer": trainer,
        }

    def load_state_dict(self, state: State) -> None:
        """Goes back to the moment at which the state was taken, also in the middle of an episode."""
        self.seed, self.episode = state["seed"], state["episode"]
        if self.episode < 0:
            return
        self._begin(self.episode)
        with self._inside():  # the trainer's state has random numbers in it
            self.trainer.load_state_dict(copy.deepcopy(state["trainer"]))
        self.steps, self.armed, self.state = state["steps"], state["armed"], state["state"].clone()
        self._numbers = copy.deepcopy(state["numbers"])

    def _check(self, names: Sequence[str]) -> None:
        for name in ("steps_per_action", "reset_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: give at least 1")
        if self.penalty_mode not in MODES:
            raise InputError(f"penalty_mode {self.penalty_mode!r}: {did_you_mean(self.penalty_mode, MODES)}")
        if names != list(self.tasks):
            raise InputError("the monitor looks at other tasks: make it of the same, in the same order")
        if self.baselines is None:
            return
        for name in self.tasks:
            baseline = self.baselines.get(name, math.nan)
            if not (math.isfinite(baseline) and baseline > 0):
                raise InputError(
                    f"the single-task baseline of {name!r} is {self.baselines.get(name)}: "
                    "give a number above 0 for each task"
                )
