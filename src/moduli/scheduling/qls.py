"""The Q-learning scheduler: a learned policy picks the task of the next batch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from moduli.errors import InputError, RunError
from moduli.files import write_file
from moduli.scheduling.dqn import QNetwork, gumbel
from moduli.scheduling.monitor import Monitor
from moduli.tasks import Task
from moduli.types import Schedule, State

FORMAT, VERSION = "moduli-policy", 1
SHARE = 1 / 6  # of the time of training that looks may take
PASSES = 2  # forward passes that training on a sample costs at least: two to three, by model and machine


@dataclass(frozen=True, eq=False)
class Policy:
    """A learned schedule: Q values of a state of uncertainty, and how that state is measured.

    It can be used on any model with tasks of the same names.

    Args:
        tasks: their names, in the order of the state and of the Q values.
        weights: of the `QNetwork`.
        state_every: steps for which an action held when the policy was learned.
        bins, measure, samples, hard: see `Monitor`.
    """

    tasks: tuple[str, ...]
    weights: Mapping[str, Tensor] = field(repr=False)
    state_every: int
    bins: int = 20
    measure: str = "margin"
    samples: int | None = None
    hard: bool = False

    def network(self) -> QNetwork:
        """The network of Q values, on the CPU."""
        first, second = (len(self.weights[name]) for name in ("0.bias", "2.bias"))
        with torch.device("meta"):  # draws no random numbers
            network = QNetwork(self.bins * len(self.tasks), len(self.tasks), (first, second))
        network.load_state_dict({name: x.clone() for name, x in self.weights.items()}, assign=True)
        return network.requires_grad_(False)

    def save(self, path: str | Path) -> Path:
        """Writes one safetensors file; what is no tensor stands in its header, as JSON.

        Raises:
            SaveError: if the file cannot be written.
        """
        facts = {
            "version": VERSION,
            "tasks": list(self.tasks),
            "state_every": self.state_every,
            "bins": self.bins,
            "measure": self.measure,
            "samples": self.samples,
            "hard": self.hard,
        }
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.weights.items()}
        return write_file(path, save(weights, {"format": FORMAT, "policy": json.dumps(facts)}))

    @classmethod
    def load(cls, path: str | Path) -> Policy:
        """Reads what `save` wrote; runs no code from the file.

        Raises:
            RunError: if the file is missing, damaged, no policy, or of a later version.
        """
        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata() or {}
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        except FileNotFoundError:
            raise RunError(f"no policy at {path}: learn one with learn_schedule") from None
        except (SafetensorError, OSError) as error:
            raise RunError(f"{path} is damaged or no policy of moduli") from error
        if header.get("format") != FORMAT:
            raise RunError(f"{path} is no policy of moduli")
        facts = json.loads(header["policy"])
        if facts.pop("version") > VERSION:
            raise RunError(f"{path} is of a later version: upgrade moduli")
        return cls(tasks=tuple(facts.pop("tasks")), weights=weights, **facts)


def affordable(rows: int, batch_size: int) -> int:
    """Steps between two looks at `rows` samples such that looks take at most a sixth of the training time.

    By arithmetic, training on a sample costs three forward passes, forward and twice that backward; in large
    batches that leave the cache, a forward pass was measured to cost up to half of the training. So it is the
    smallest number n with rows / (2 n batch_size) <= 1/6.
    """
    return max(1, math.ceil(rows / (PASSES * SHARE * batch_size)))


class QLearningScheduler(Schedule):
    """Trains the task with the highest Q value in the current state of the model: argmax_a Q(S, a).

    Section 4.3 of the Q-learning scheduler paper, at run time (its second phase): the policy is fixed and
    is followed greedily; of equal Q values the first counts. `moduli.learn_schedule` learns one. At every
    `state_every`-th step the validation samples are looked at, and the choice holds until the next look.
    The paper looks at every step (`state_every=1`), for which all validation samples have to go through the
    model for every batch.

    Validation data are used to train here: results on them are not to be reported.

    Args:
        policy: see `Policy`.
        tasks: what is trained; the names are those of the policy.
        state_every: steps between two looks. None takes what the policy was learned with, or, if that is
            less, the number for which looks take at most a sixth of the training time (see `affordable`).
        batch_size: of the training, for that number.
        unlabelled: more inputs by task, see `Monitor`.
        temperature: of noise as in the first phase, argmax_a (Q + temperature * Gumbel noise). 0 is the
            greedy choice of the paper. A policy that has not learned much may then be stuck: training one
            task again and again hardly changes the state, so the same task is chosen again. Noise of the
            size in which Q values differ lets it go on.
        seed: of that noise.

    Raises:
        InputError: if the policy is of other tasks, or a number is impossible.
    """

    def __init__(
        self,
        policy: Policy,
        tasks: Sequence[Task],
        state_every: int | None = None,
        batch_size: int = 32,
        unlabelled: Mapping[str, Tensor] | None = None,
        temperature: float = 0.0,
        seed: int = 0,
    ):
        by_name = {task.name: task for task in tasks}
        if set(by_name) != set(policy.tasks):
            raise InputError(
                f"the policy schedules {_some(policy.tasks)}, the tasks are {_some(by_name)}: "
                "learn one for these with learn_schedule"
            )
        if state_every is not None and state_every < 1:
            raise InputError(f"state_every is {state_every}: give at least 1")
        if not temperature >= 0:
            raise InputError(f"temperature is {temperature}: give a number of at least 0")
        self.temperature = temperature
        self._generator = torch.Generator().manual_seed(seed)
        ordered = [by_name[name] for name in policy.tasks]
        self.policy = policy
        self.monitor = Monitor(ordered, policy.bins, policy.measure, policy.samples, unlabelled, policy.hard)
        self.state_every = state_every or max(policy.state_every, affordable(self.monitor.rows, batch_size))
        self._network = policy.network()
        self._model: Any = None
        self._state = torch.zeros(0)  # the latest, empty before the first look
        self._q = self._noise = torch.zeros(len(ordered))
        self._sum, self._looks = torch.zeros(len(ordered)), 0  # of the phase

    def attach(self, model: Any) -> None:
        self._model = model

    def choose(self, tasks: Sequence[str], step: int) -> Sequence[str]:
        if step % self.state_every == 0 or not len(self._state):
            self._look()
        q = dict(zip(self.policy.tasks, (self._q + self._noise).tolist(), strict=True))
        return [max((task for task in self.policy.tasks if task in tasks), key=q.__getitem__)]

    def _look(self) -> None:
        if self._model is None:
            raise InputError("the scheduler has no model yet: call attach(model) before the first step")
        self._state = self.monitor.look(self._model, scores=False).state
        self._q = self._network(self._state)
        if self.temperature:
            self._noise = self.temperature * gumbel(self._q.shape, self._generator)
        self._sum, self._looks = self._sum + self._q, self._looks + 1

    def record(self) -> list[dict[str, Any]]:
        """The latest histograms, and the mean Q values of the phase."""
        if not len(self._state):
            return []
        mean = self._sum / self._looks if self._looks else self._q
        self._sum, self._looks = torch.zeros_like(self._sum), 0
        return [
            {"split": "schedule", "histograms": self.monitor.histograms(self._state)},
            {"split": "schedule", "q": dict(zip(self.policy.tasks, mean.tolist(), strict=True))},
        ]

    def state_dict(self) -> State:
        tensors = {"state": self._state, "q": self._q, "noise": self._noise, "sum": self._sum}
        generator = self._generator.get_state()
        return {
            "looks": self._looks,
            "generator": generator,
            **{name: x.clone() for name, x in tensors.items()},
        }

    def load_state_dict(self, state: State, /) -> None:
        self._looks = state["looks"]
        self._generator.set_state(state["generator"])
        self._state, self._q, self._noise, self._sum = (
            state[name].clone() for name in ("state", "q", "noise", "sum")
        )


def _some(names: Sequence[str] | Mapping[str, Any], most: int = 5) -> str:
    first = ", ".join(list(names)[:most])
    return first + (f" and {len(names) - most} more" if len(names) > most else "")
