"""What the scripts on the 16 review domains share: data, models, and every method as a recipe. Not a library.

All methods train the same model in the same loop: a step takes a batch of 16 texts of *one* domain, as the
paper has it. Where losses are weighted, domains take turns, and the loss of the one whose turn it is gets its
weight; so every method sees equally many batches, and weightings as many of each domain as "uniform" does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from common import trained
from matplotlib.figure import Figure
from torch import Tensor, nn

import moduli
from moduli import LSTM, Bar, Each, JointModel, Recipe, Task, Weights, hard, single
from moduli.balancing import DynamicTaskPriority, Exponent, Focal, GradNorm, SelfPaced, Uncertainty
from moduli.data import glove, reviews
from moduli.errors import InputError, Interrupted, RunError
from moduli.evaluation import statistics as st
from moduli.evaluation.baselines import baselines_of
from moduli.files import read_json, write_file
from moduli.qls import learn_schedule
from moduli.report.style import PALETTE, REFERENCE, WIDTH, Sheet, png, styled
from moduli.scheduling import Adaptive, Greedy, RandomTasks, RoundRobin
from moduli.scheduling.qls import Policy, QLearningScheduler
from moduli.training.weights import load_weights

SINGLE, UNIFORM, NOISY = "single-task", "uniform", "QLS, with noise"
NOISE = 0.5  # temperature; the Q values of the 16 choices lie within 1 to 1.5 of one another
POWERS = (-1.0, -0.5, 0.5, 1.0)  # the grid of the hand-crafted weights; a power of 0 is uniform


class Scale(NamedTuple):
    """How much is computed.

    Args:
        words, length, units, vectors: of the LSTM: vocabulary, words read, hidden units, size of the vectors.
        steps, phase, seeds: of every training with a method.
        alone: steps of the single-task models.
        learn, every, samples: of the first phase of QLS: training steps in all, steps for which a choice
            holds, validation texts of each domain that are looked at (None: all 200).
        domains: to be learned, or left out one after another.
    """

    words: int
    length: int
    units: int
    vectors: int
    steps: int
    phase: int
    seeds: int
    alone: int
    learn: int
    every: int
    samples: int | None
    domains: Sequence[str] = reviews.DOMAINS


@dataclass(frozen=True)
class Domains:
    """Some domains as tasks, and the vectors of their words."""

    tasks: Sequence[Task]
    vectors: Tensor
    scale: Scale

    @classmethod
    def load(cls, names: Sequence[str], scale: Scale) -> Domains:
        """Ends the program with one line if data are missing."""
        try:
            tasks = reviews.tasks(names, scale.words, scale.length)
            vectors, found = glove.glove_vectors(reviews.vocabulary(names, scale.words), scale.vectors)
        except InputError as error:
            raise SystemExit(str(error)) from error
        print(f"{len(tasks)} domains; {100 * found:.0f} % of {scale.words} words have a vector", flush=True)
        return cls(tasks, vectors, scale)

    # -------------------------------------------------------------- models

    def encoder(self) -> LSTM:
        return LSTM(self.scale.words, self.scale.units, vectors=self.vectors)

    def shared(self, seed: int) -> JointModel:
        """The fully-shared model: one LSTM for all domains, a linear decoder for each."""
        encoder = self.encoder()
        return self._model(hard, dict.fromkeys(self.names, encoder))

    def apart(self, seed: int) -> JointModel:
        """An LSTM and a decoder for each domain."""
        return self._model(single, {name: self.encoder() for name in self.names})

    def _model(self, order: Callable[..., nn.Module], encoders: Mapping[str, nn.Module]) -> JointModel:
        # Decoders are separate layers: in a stacked one, Adam's momentum would move those of absent tasks.
        decoders = {name: nn.Linear(self.scale.units, 1) for name in self.names}
        nothing = order(self.names, lambda _: nn.Identity(), layers=0)
        return JointModel(self.tasks, nothing, encoders, decoders)

    @property
    def names(self) -> list[str]:
        return [task.name for task in self.tasks]

    # -------------------------------------------------------------- training

    def train(self, methods: Mapping[str, Any], folder: Path, seeds: int, **options: Any) -> dict[str, Any]:
        """The summary of a comparison on these domains."""
        return trained(methods, self.tasks, folder, seeds=seeds, **self.settings(**options)).summary

    def settings(self, **options: Any) -> dict[str, Any]:
        """Settings of every training; the paper names the batch size only."""
        common = {"batch_size": 16, "lr": 0.001, "patience": None, "eval_batch_size": 512}
        return {**common, "steps": self.scale.steps, "phase": self.scale.phase, **options}

    def alone(self, folder: Path, seeds: int, device: str) -> dict[str, Any]:
        """The summary of the single-task models, all of them trained side by side."""
        steps = self.scale.alone
        methods = {SINGLE: self.apart}
        return self.train(methods, folder, seeds, steps=steps, phase=max(1, steps // 15), device=device)

    def by_hand(self, alone: Mapping[str, float], folder: Path, device: str) -> dict[str, float]:
        """Hand-crafted weights: the best of a small grid, by mean validation accuracy of one training each.

        A grid over 16 weights is out of reach. Ours has one number, a power: the weight of a domain is the
        validation error of its single-task model to that power, divided by the mean of all.
        """
        grid = {f"power {power:g}": self._weights(alone, power) for power in POWERS}
        methods = {name: self._turns(partial(Weights, weights)) for name, weights in grid.items()}
        summary = self.train(methods, folder, 1, device=device)
        best = max(grid, key=lambda name: fmean(baselines_of(summary, name).values()))
        print(f"hand-crafted weights: {best}", flush=True)
        return grid[best]

    def _weights(self, alone: Mapping[str, float], power: float) -> dict[str, float]:
        raw = {name: (1 - accuracy) ** power for name, accuracy in alone.items()}
        return {name: weight / fmean(raw.values()) for name, weight in raw.items()}

    def learned(self, alone: Mapping[str, float], folder: Path, device: str) -> Policy:
        """The first phase of QLS. Episodes are as long as the second phase.

        The punishment is the literal one: whenever the mean accuracy is under 95 % of the single-task models,
        as it is at the beginning of every training. One that begins only when a model has been above once
        was evaded: the policy kept its models from ever getting there.

        Double Q-learning, which the paper does not name: with 16 actions that differ little, the plain target
        took the highest of 16 errors for a value, and the greedy schedules that came of it were worse than
        random ones on validation data. Exploration ends half-way, so that there is time to see what the
        greedy choices lead to.
        """
        scale, settings = self.scale, self.settings()
        del settings["steps"]
        try:
            return learn_schedule(
                self.shared, self.tasks, steps=scale.learn, baselines=alone, state_every=scale.every,
                samples=scale.samples, penalty_mode="always", folder=folder, device=device, progress=Bar(),
                reset_every=scale.steps, dqn={"double": True, "anneal": scale.learn // scale.every // 2},
                **settings,
            )  # fmt: skip
        except (Interrupted, InputError, RunError) as error:
            raise SystemExit(str(error)) from error

    def trained(self, folder: Path) -> nn.Module:
        """The shared LSTM of a finished training, on the CPU, to be used as it is."""
        model = self.shared(0)
        load_weights(folder / "model.safetensors", model)
        encoders = model.encoders
        assert isinstance(encoders, Each)
        return encoders.members[0].eval()

    # -------------------------------------------------------------- methods

    def methods(
        self, alone: Mapping[str, float], weights: Mapping[str, float], policy: Policy
    ) -> dict[str, Recipe]:
        """All methods of Table 2, in its order; and QLS with a little noise on its choices.

        Args:
            alone: validation accuracy of the single-task models.
            weights: by hand.
            policy: what QLS learned.
        """
        tasks, turns = self.tasks, self._turns
        return {
            UNIFORM: turns(None),
            "hand-crafted": turns(partial(Weights, weights)),
            "random": self._scheduled(lambda seed: RandomTasks(seed=seed)),
            "greedy": self._scheduled(lambda _: Greedy()),
            "loss exponentiation": turns(Exponent),
            "uncertainty": turns(partial(Uncertainty, tasks)),
            "self-paced": turns(SelfPaced),
            "focal": turns(partial(Focal, tasks)),
            "DTP": turns(partial(DynamicTaskPriority, tasks)),
            "GradNorm": turns(GradNorm),
            "adaptive": self._scheduled(lambda seed: Adaptive(alone, seed=seed)),
            "QLS": self._scheduled(lambda _: QLearningScheduler(policy, tasks, policy.state_every)),
            NOISY: self._scheduled(
                lambda seed: QLearningScheduler(
                    policy, tasks, policy.state_every, temperature=NOISE, seed=seed
                )
            ),
        }

    def _turns(self, combine: Callable[[], moduli.types.Combine] | None) -> Recipe:
        """A weighting, while domains take turns."""
        make = None if combine is None else lambda _: combine()
        return Recipe(self.shared, combine=make, schedule=lambda _: RoundRobin())

    def _scheduled(self, schedule: Callable[[int], moduli.types.Schedule]) -> Recipe:
        return Recipe(self.shared, schedule=schedule)


def by_domain(summary: Mapping[str, Any], method: str) -> list[list[float]]:
    """Test accuracies in percent of a method: for each domain, and last for their mean, one for each seed."""
    tasks = summary["methods"][method]["tasks"].values()
    rows = [[100 * value for value in task["values"]] for task in tasks]
    return [*rows, [fmean(values) for values in zip(*rows, strict=True)]]


def columns(methods: Sequence[str], table: str) -> dict[str, list[float]]:
    """The columns of a printed table by method, from its text."""
    rows = [[float(word) for word in line.split()] for line in table.strip().splitlines()]
    return {name: list(values) for name, *values in zip(methods, *rows, strict=True)}


def draw_means(into: Path) -> None:
    """Puts the means of all methods in place of a sweep's figure, which is for fewer points and methods."""
    write_file(into / "figure.png", png(means_figure(read_json(into / "summary.json")), dpi=110))


@styled
def means_figure(summary: Mapping[str, Any]) -> Figure:
    """A sweep's last point, a mean over domains: a line for each method, with the paper's number."""
    (panel,) = summary["panels"]
    methods = list(panel["series"])
    height = 0.24 * len(methods)
    sheet = Sheet(WIDTH, height + 1.3)
    axes = sheet.axes(1.7, 0.45, WIDTH - 2.0, height, xlabel=summary["value"])
    note = f"mean over domains, with a 95 % interval over {summary['seeds']} seeds; hollow: in the paper"
    sheet.text(0.1, 0.06, note)
    for row, method in enumerate(methods):
        center, half = st.mean_interval(st.as_array(panel["series"][method][-1]))
        color = REFERENCE if method == summary["baseline"] else PALETTE[0]
        width = 0.0 if half != half else half  # one seed has no interval
        axes.errorbar([center], [row], xerr=[width], color=color, marker="o", markersize=5)
        if method in panel["paper"]:
            axes.plot([panel["paper"][method][-1]], [row], "D", color=color, mfc="none", markersize=5)
    axes.set_yticks(range(len(methods)), methods)
    axes.set_ylim(len(methods) - 0.5, -0.5)
    return sheet.figure
