"""The inner loop of CMTR: a set of modules becomes a pool, and CTR trains it."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from moduli.errors import InputError, RunError
from moduli.evolution import EvolvingModel, ModuleSet, evolve
from moduli.model import JointModel
from moduli.rng import seeded
from moduli.search.ends import axes_of, default_ends
from moduli.sharing import RoutedStructure, hard
from moduli.tasks import Task, check_tasks
from moduli.training import Train, Trainer
from moduli.training.selection import validation_score
from moduli.types import Scores

Ends = Callable[[Sequence[Task], int, Mapping[str, int]], tuple[Any, Any]]
"""Makes encoders and decoders from tasks, a width, and the poolings before each task's decoder."""

_NOT_GIVEN = ("lr", "weight_decay", "steps")  # settings of a training that come from the set, or the search


@dataclass(frozen=True)
class Training:
    """One training of a set of modules: for so many phases, in a folder that keeps its state.

    ``keep``: whether the state stays there when the training is done.
    """

    modules: ModuleSet
    seed: int
    phases: int
    folder: Path
    keep: bool = False


@dataclass(frozen=True, eq=False)
class InnerLoop:
    """How a set of modules becomes a model, and how that is trained. The same for all sets of a search.

    It is sent to workers, so the functions in it stand at the top of a module.

    Args:
        tasks: what is learned.
        layers: K, modules of the pool; the architectures of a set take turns in it.
        dropout: rate after every application of a module, beside what modules do themselves.
        pooling: whether 2x2 max-pooling follows every module of the first routes; None for images only.
        order: makes the first routes over the pool; `hard` is Eq. 7.3.
        ends: makes encoders and decoders.
        evolution: options of `evolve`: challengers, alpha, max_nodes, removal.
        train: settings of every training, see `Train`. Learning rate and weight decay are those of the set.
            Without a `patience` no training stops early, as in the dissertation.
        device: "auto", "cpu", "cuda", ...

    Raises:
        InputError: for settings that are evolved, impossible ones, or samples that modules cannot take.
    """

    tasks: Sequence[Task]
    layers: int = 4
    dropout: float = 0.0
    pooling: bool | None = None
    order: Callable[..., RoutedStructure] = hard
    ends: Ends = default_ends
    evolution: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"

    def __post_init__(self):
        axes_of(self.tasks)
        for name in _NOT_GIVEN:
            if name in self.train:
                raise InputError(
                    f"{name} is given for a search of modules: leave it out; learning rate and weight decay "
                    "are evolved (see Ranges), steps are phases times `phase`"
                )
        if callable(self._train().optimizer):
            raise InputError("optimizer is a function, which knows no evolved learning rate: give a word")

    def model(self, modules: ModuleSet, seed: int) -> EvolvingModel:
        """The untrained model of a set, with champions and challengers.

        Global random numbers stay as they were.
        """
        axes = axes_of(self.tasks)
        pooling = axes == 3 if self.pooling is None else self.pooling
        with seeded(seed):
            structure = self.order(
                list(check_tasks(self.tasks)), lambda k: modules.make(k, axes), self.layers,
                dropout=self.dropout, pooling=pooling,
            )  # fmt: skip
            levels = {task: route.level for task, route in structure.routes.items()}
            ends = self.ends(self.tasks, modules.settings.width, levels)
            return evolve(JointModel(self.tasks, structure, *ends), **self.evolution)

    def trainer(self, training: Training) -> Trainer:
        """What does a training, or goes on with it."""
        settings, phase = training.modules.settings, self._train().phase
        train = self._train(lr=settings.lr, weight_decay=settings.weight_decay, steps=training.phases * phase)
        return Trainer(
            self.model(training.modules, training.seed), self.tasks, train, seed=training.seed,
            device=self.device, folder=training.folder, title=f"training {training.folder.name}",
        )  # fmt: skip

    def _train(self, **more: Any) -> Train:
        return Train(**{"patience": None, **self.train, **more})

    def to_json(self) -> dict[str, Any]:
        """What must not change when a search goes on; functions by their names."""
        return {
            "tasks": [
                [t.name, t.kind.name, t.metric, list(t.data.shape), len(t.data.train), len(t.data.val)]
                for t in self.tasks
            ],
            "layers": self.layers,
            "dropout": self.dropout,
            "pooling": self.pooling,
            "order": _name(self.order),
            "ends": _name(self.ends),
            "evolution": dict(self.evolution),
            "train": {name: _name(value) if callable(value) else value for name, value in self.train.items()},
        }


def evaluate_set(inner: InnerLoop, training: Training) -> dict[str, Any]:
    """Trains a set of modules; what its fitness is, and how it came to it. The test split is not read.

    The fitness is the mean over tasks of the champions' validation metric at the best phase, see
    `moduli.training.selection.validation_score`.

    Returns:
        JSON data: "fitness", "metrics" by task, "curve" (the same score after every phase), "best_step",
        "steps" and "parameters".

    Raises:
        RunError: if a loss or a weight is no number.
    """
    fit = inner.trainer(training).run(test=False)
    fitness = validation_score(fit.val, list(fit.val.loss), "metric")
    if math.inf in fit.val.loss.values() or not math.isfinite(fitness):
        raise RunError("some outputs on the validation split are no numbers")
    if not training.keep:
        shutil.rmtree(training.folder, ignore_errors=True)
    return {
        "fitness": fitness,
        "metrics": {task: fit.val.value(task) for task in fit.val.loss},
        "curve": _curve(fit.history, inner.tasks),
        "best_step": fit.best_step,
        "steps": fit.steps,
        "parameters": fit.model.count_parameters(),
    }


def _curve(history: Sequence[Mapping[str, Any]], tasks: Sequence[Task]) -> list[float]:
    """The validation score after every phase."""
    phases: dict[int, dict[str, Mapping[str, Any]]] = {}
    for record in history:
        if record["split"] == "val":
            phases.setdefault(record["step"], {})[record["task"]] = record
    primary = {task.name: task.metric for task in tasks}
    higher = {task.name: task.higher_is_better for task in tasks}
    scores = [Scores("val", {}, metrics, primary, higher) for metrics in phases.values()]
    return [validation_score(score, list(primary), "metric") for score in scores]


def _name(function: Any) -> str:
    """What a function is called: the same in every process."""
    if isinstance(function, partial):
        given = [*map(repr, function.args), *(f"{k}={v!r}" for k, v in function.keywords.items())]
        return f"{_name(function.func)}({', '.join(given)})"
    return getattr(function, "__qualname__", type(function).__name__)
