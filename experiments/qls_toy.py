"""Does the Q-learning scheduler find the best schedule where that is known? Three pairs of made-up tasks.

  noise        hard sharing; the labels of one task are tosses of a coin. Training it only harms.
               Best: always the other.
  easy, hard   nothing shared; one task is linear, the other an exclusive or of two signs, which takes long.
               Best: one after the other; the exact schedule is computed.
  alike        nothing shared; two linear tasks whose losses fall fast at first, slowly then.
               Best: both in turn; the exact schedule is computed.

Where nothing is shared, the validation loss of a task depends only on how many steps it has had, so the best
of all schedules follows from the two learning curves by dynamic programming, for each seed ("best possible").

What counts is what the scheduler is rewarded for: the validation loss, mean over tasks, and over a training
of 200 steps (looked at every 5). Every seed has its own tasks, and a policy learned on 8000 steps, 40
trainings (phase 1). Then a fresh model is trained by it (phase 2), and others by the fixed schedules.
The best possible knows the curves in advance, their noise included, so no schedule is expected to reach it.
A choice is right if those after it can be such that the training is as good as the best that then was
possible, within 0.1 %; in the first pair, if it is the task that can be learned.

For the second pair, QLS is also learned with another `state_every`, with the same 8000 steps: fewer looks are
fewer transitions to learn from, and a coarser schedule. Elsewhere it is 5.

  scale   phase 1       seeds   time on 1 CPU core
  smoke     400 steps       1   20 s
  cpu      8000 steps       5   10 min
  paper  40 000 steps      20   2 h

There is no such experiment in the paper.

  python experiments/qls_toy.py --scale cpu
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from common import arguments
from sweep import Panel, write_sweep
from torch import Tensor, nn

from moduli.errors import Interrupted
from moduli.model import JointModel
from moduli.modules import Dense
from moduli.qls import learn_schedule
from moduli.scheduling import RandomTasks, RoundRobin
from moduli.scheduling.monitor import Monitor
from moduli.scheduling.qls import Policy, QLearningScheduler
from moduli.sharing import hard, single
from moduli.tasks import Binary, Data, Task, TensorSource
from moduli.training import Bar, Train, Trainer
from moduli.types import Schedule

STEPS = {"smoke": 400, "cpu": 8000, "paper": 40_000}
SEEDS = {"smoke": 1, "cpu": 5, "paper": 20}
EPISODE, GRID = 200, 5  # steps of a training; steps between two looks
STATE_EVERY, SWEPT = (1, 5, 20), "easy, hard"
QLS = f"QLS, every {GRID}"
FEATURES, WIDTH = 8, 16
TRAIN = {"batch_size": 16, "lr": 0.01}

Labels = Callable[[Tensor, torch.Generator], Tensor]


def linear(x: Tensor, generator: torch.Generator) -> Tensor:
    return x[:, 0] + 0.5 * x[:, 1] > 0


def exclusive_or(x: Tensor, generator: torch.Generator) -> Tensor:
    return x[:, 0] * x[:, 1] > 0


def coin(x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(len(x), generator=generator) > 0.5


class Toy(NamedTuple):
    """Two tasks: the labels of each, how many training samples it has, and what they share."""

    labels: dict[str, Labels]
    samples: tuple[int, int]
    structure: Callable


TOYS = {
    "noise": Toy({"signal": exclusive_or, "coin": coin}, (256, 64), hard),
    "easy, hard": Toy({"easy": linear, "hard": exclusive_or}, (256, 256), single),
    "alike": Toy({"first": linear, "second": linear}, (256, 256), single),
}


def tasks_of(toy: Toy, seed: int) -> list[Task]:
    """The tasks, each with an input of its own; 100 samples for validation."""
    generator, tasks = torch.Generator().manual_seed(seed), []
    for (name, labels), samples in zip(toy.labels.items(), toy.samples, strict=True):
        inputs = [torch.randn(n, FEATURES, generator=generator) for n in (samples, 100, 100)]
        parts = [TensorSource(x, {name: labels(x, generator).float()}) for x in inputs]
        tasks.append(Task(name, Binary(), Data(name, (FEATURES,), *parts)))
    return tasks


def build(toy: Toy, tasks: Sequence[Task], seed: int) -> JointModel:
    """One ReLU layer for each input, one between (shared or not), one unit for each task."""
    torch.manual_seed(seed)
    core = toy.structure(list(toy.labels), lambda k: Dense(WIDTH), 1)
    # a module for each task: in a bank of all, Adam's momentum would move tasks that are not trained
    encoders = {name: nn.Sequential(nn.Linear(FEATURES, WIDTH), nn.ReLU()) for name in toy.labels}
    return JointModel(tasks, core, encoders, {name: nn.Linear(WIDTH, 1) for name in toy.labels})


class Always(Schedule):
    """One task at every step."""

    def __init__(self, task: str):
        self.task = task

    def choose(self, tasks: Sequence[str], step: int) -> Sequence[str]:
        return [self.task]


class Training(NamedTuple):
    """A training: losses `[steps / GRID + 1, 2]`, and the tasks of its steps by index."""

    losses: Tensor
    picked: Tensor

    @property
    def mean(self) -> float:
        """Mean loss of both tasks, over the training; the fresh model does not count."""
        return self.losses[1:].mean().item()


def train(toy: Toy, tasks: Sequence[Task], schedule: Schedule, seed: int) -> Training:
    """Trains a fresh model, and looks at it every few steps."""
    model = build(toy, tasks, seed)
    trainer = Trainer(model, tasks, Train(steps=EPISODE, **TRAIN), schedule=schedule, seed=seed, device="cpu")
    picked, choose = [], schedule.choose
    names, monitor = list(toy.labels), Monitor(tasks)

    def noted(among: Sequence[str], step: int) -> Sequence[str]:
        chosen = choose(among, step)
        picked.append(names.index(chosen[0]))
        return chosen

    schedule.choose = noted  # type: ignore[method-assign]
    model.train()
    losses = [list(monitor.look(model).losses.values())]
    for step in range(EPISODE):
        trainer.one_step()
        if (step + 1) % GRID == 0:
            losses.append(list(monitor.look(model).losses.values()))
    return Training(torch.tensor(losses, dtype=torch.float64), torch.tensor(picked))


def best_possible(curves: Tensor) -> tuple[float, Tensor, Tensor]:
    """The best of all schedules of two tasks that share nothing.

    Args:
        curves: `[n + 1, 2]`, the loss of each task after it alone was trained for 0 to n actions.

    Returns:
        The mean loss; and for each (i, j), actions so far of the first and second task, the least sum of the
        losses that are still to come if now the first, or the second, is trained: `[n, n]` each.
    """
    n = len(curves) - 1
    to_come = torch.zeros(n + 1, n + 1, dtype=torch.float64)
    first, second = torch.full((2, n, n), torch.inf, dtype=torch.float64)
    for i, j in reversed([(k - j, j) for k in range(n) for j in range(k + 1)]):
        first[i, j] = (curves[i + 1, 0] + curves[j, 1]) / 2 + to_come[i + 1, j]
        second[i, j] = (curves[i, 0] + curves[j + 1, 1]) / 2 + to_come[i, j + 1]
        to_come[i, j] = torch.minimum(first[i, j], second[i, j])
    return to_come[0, 0].item() / n, first, second


def right_share(
    picked: Tensor, first: Tensor, second: Tensor, tolerance: float = 1e-3
) -> tuple[float, float]:
    """The share of actions that are right, and what chance would have given in the same places.

    Args:
        picked: the task of each step, the same throughout an action.
        first, second: see `best_possible`.
        tolerance: by which share of the best a right action may be worse.
    """
    i = j = 0
    right, chance = [], []
    allowed = tolerance * min(first[0, 0], second[0, 0])
    for action in picked[::GRID].tolist():
        to_come = torch.stack([first[i, j], second[i, j]])
        fine = to_come <= to_come.min() + allowed
        right.append(fine[action])
        chance.append(fine.double().mean())
        i, j = i + (action == 0), j + (action == 1)
    return torch.stack(right).double().mean().item(), torch.stack(chance).mean().item()


def learned(toy: Toy, tasks: Sequence[Task], steps: int, every: int, seed: int, folder: Path) -> Policy:
    """Phase 1."""
    try:
        return learn_schedule(
            lambda s: build(toy, tasks, s), tasks, steps=steps, reset_every=EPISODE, state_every=every,
            folder=folder / f"every-{every}" / f"seed-{seed}", seed=seed, device="cpu", progress=Bar(),
            **TRAIN,
        )  # fmt: skip
    except Interrupted as error:
        sys.exit(f"{error}; the same command goes on")


def measured(name: str, seed: int, steps: int, folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    """One pair of tasks, one seed: the mean loss of every schedule, and its right steps in percent."""
    toy = TOYS[name]
    tasks = tasks_of(toy, seed)
    schedules: dict[str, Schedule] = {
        "random": RandomTasks(seed=seed),
        "round robin": RoundRobin(),
        "always the first": Always(tasks[0].name),
        "always the second": Always(tasks[1].name),
    }
    for every in STATE_EVERY if name == SWEPT else [GRID]:
        policy = learned(toy, tasks, steps, every, seed, folder / name)
        schedules[f"QLS, every {every}"] = QLearningScheduler(policy, tasks, state_every=every)
    runs = {key: train(toy, tasks, schedule, seed) for key, schedule in schedules.items()}
    losses = {key: run.mean for key, run in runs.items()}
    if toy.structure is hard:
        right = {key: 100 * (run.picked == 0).double().mean().item() for key, run in runs.items()}
        return losses, {**right, "by chance": 50.0}
    alone = [runs[f"always the {which}"].losses[:, k] for k, which in enumerate(("first", "second"))]
    losses["best possible"], *to_come = best_possible(torch.stack(alone, 1))
    held = [key for key in runs if key.startswith("always") or key == QLS]  # one task for a whole action
    shares = {key: right_share(runs[key].picked, *to_come) for key in held}
    right = {key: 100 * share for key, (share, _) in shares.items()}
    return losses, {**right, "by chance": 100 * shares[QLS][1]}


def main() -> None:
    options = arguments("qls_toy", __doc__ or "")
    seeds, steps = options.seeds or SEEDS[options.scale], STEPS[options.scale]
    found = {name: [measured(name, seed, steps, options.folder) for seed in range(seeds)] for name in TOYS}

    def of(key: str, name: str, what: int) -> list[float]:
        return [both[what][key] for both in found[name] if key in both[what]]

    def series(*keys: str, what: int) -> dict[str, list[list[float]]]:
        named = {"QLS": QLS, **{key: key for key in keys}}
        return {method: [of(key, pair, what) for pair in pairs] for method, key in named.items()}

    into, pairs = options.results / "qls_toy" / options.scale, list(TOYS)
    always = ("always the first", "always the second")
    loss = series("random", "round robin", *always, "best possible", what=0)
    right = series(*always, "by chance", what=1)
    sweep = {"QLS": [of(f"QLS, every {every}", SWEPT, 0) for every in STATE_EVERY]}
    sweep |= {m: [of(m, SWEPT, 0)] * len(STATE_EVERY) for m in ("random", "best possible")}
    panels = [
        Panel("by schedule", "pair of tasks", pairs, loss),
        Panel(SWEPT, "state_every", [str(every) for every in STATE_EVERY], sweep),
    ]
    facts = {"device": "cpu", "seeds": seeds, "steps": steps, "episode": EPISODE}
    name, value = "known best schedules", "validation loss, mean over a training"
    write_sweep(into, name, value, "lower", panels, baseline="random", **facts)
    panel = Panel("right steps", "pair of tasks", pairs, right)
    write_sweep(into / "right", name, "right steps, %", "higher", [panel], baseline="by chance", **facts)


if __name__ == "__main__":
    main()
