"""Linear methods in run files: fitted in closed form or by a convex solver, instead of trained.

A new one is a line of `LINEAR`: what it is, its class in `moduli.linear`, and the values of its
hyperparameters that are tried on the validation rows.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from types import NoneType
from typing import Any, get_args, get_type_hints

import numpy as np
import torch
from pydantic import Field, create_model
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from moduli.errors import InputError, RunError
from moduli.linear.estimators import MultiTaskClassifier, MultiTaskRegressor
from moduli.linear.method import Method
from moduli.linear.methods.alternating_structure import AlternatingStructure
from moduli.linear.methods.clustered import Clustered, MeanRegularized
from moduli.linear.methods.decomposed import DirtyModel, Robust, SparseLowRank
from moduli.linear.methods.dg_mtl import DGMTL
from moduli.linear.methods.go_mtl import GOMTL
from moduli.linear.methods.hypotheses import SharedHypotheses
from moduli.linear.methods.independent import Pooled, Ridge
from moduli.linear.methods.low_rank import TraceNorm
from moduli.linear.methods.relations import FeatureLearning, TaskRelationship
from moduli.linear.methods.sparse import GroupLasso, Lasso
from moduli.linear.methods.task_clustering import TaskClustering
from moduli.model import JointModel
from moduli.modules import Each
from moduli.runs.sections import Section
from moduli.tasks import Binary, Multiclass, Multilabel, Regression, Task, check_tasks, inputs_of
from moduli.training import Train
from moduli.training.evaluate import evaluate
from moduli.training.selection import validation_score

KINDS = (Binary, Multiclass, Multilabel, Regression)
TOL = 1e-4  # a baseline needs no more digits
PLAIN = {int, float, bool, str, NoneType}
CPU = torch.device("cpu")


class LinearModel(JointModel):
    """A linear map of its own for each task, from the inputs as they are, flattened, to its outputs.

    ``chosen`` tells, after fitting, which hyperparameters were.
    """

    def __init__(self, tasks: Sequence[Task]):
        by_name = check_tasks(tasks)
        inputs = inputs_of(by_name)
        maps = {
            name: nn.Sequential(nn.Flatten(), nn.Linear(_features(task), task.kind.outputs))
            for name, task in by_name.items()
        }
        as_it_is = nn.Identity()
        super().__init__(tasks, Each(dict.fromkeys(by_name, as_it_is)), dict.fromkeys(inputs, as_it_is), maps)
        self.chosen: list[dict[str, Any]] = []

    def described(self) -> dict[str, Any]:
        """The hyperparameters of each fit."""
        return {"linear": self.chosen}

    def set_weights(self, tasks: Sequence[Task], W: np.ndarray, b: np.ndarray) -> None:
        """Takes W `[d, outputs of all tasks]` and b as weights of the maps of `tasks`."""
        first = 0
        for task in tasks:
            own = slice(first, first + task.kind.outputs)
            weight, bias = (part.value for part in self.decoders.own(task.name))  # type: ignore[operator]
            weight.copy_(torch.from_numpy(W[:, own].T))
            bias.copy_(torch.from_numpy(b[own]))
            first = own.stop


@dataclass(frozen=True)
class LinearEntry:
    """An entry of the table.

    ``grid``: values of hyperparameters that are tried where the options leave them open, of the simplest
    model first: it is taken where several are equally good. ``apart``: whether nothing is shared, so that
    every task is fitted by itself, with hyperparameters of its own.
    """

    about: str
    method: type[Method]
    grid: Mapping[str, Sequence[float]] = field(default_factory=dict)
    apart: bool = False

    @cached_property
    def options(self) -> type[Section]:
        """The hyperparameters that are numbers or words, None where nothing is said of them."""
        hints = get_type_hints(self.method.__init__)
        fields: dict[str, Any] = {
            name: (hints[name] | None, Field(None, ge=0) if hints[name] in (int, float) else None)
            for name in self.method().get_params(deep=False)
            if name != "random_state" and set(get_args(hints[name]) or [hints[name]]) <= PLAIN
        }
        return create_model(self.method.__name__, __base__=Section, __doc__=self.about, **fields)

    def build(self, tasks: Sequence[Task], options: Any, seed: int) -> LinearModel:
        """A model without its weights.

        Raises:
            InputError: if a task is not for linear methods, or tasks differ in the number of features.
        """
        for task in tasks:
            if task.data.tokens is not None:
                raise InputError(
                    f"task {task.name!r} reads a text, and linear methods take tables and images: "
                    "leave out one of the two"
                )
            if not isinstance(task.kind, KINDS):
                raise InputError(f"task {task.name!r} is {task.kind.name}, which no linear method learns")
        for first, *others in self._groups(tasks):
            for other in others:
                if _features(first) != _features(other):
                    raise InputError(
                        f"task {first.name!r} has {_features(first)} features, task {other.name!r} "
                        f"{_features(other)}: linear methods that share need the same features in all tasks"
                    )
        return LinearModel(tasks)

    def fit(self, tasks: Sequence[Task], options: Any, train: Train, seed: int) -> LinearModel:
        """The model with the weights, on the training rows, of the best hyperparameters on the validation
        rows. The test rows are not read.

        Raises:
            RunError: if a hyperparameter is impossible for these tasks, or a class has no training rows.
        """
        model = self.build(tasks, options, seed)
        for group in self._groups(tasks):
            rows = _Rows.of(group)
            best = -math.inf
            told: dict[str, Any] = {}
            weights: tuple[np.ndarray, np.ndarray] | None = None
            for method in self._candidates(options, seed):
                W, b, converged = rows.fitted(method)
                model.set_weights(group, W, b)
                score = self._score(model, group, train)
                if weights is None or score > best:
                    best, weights = score, (W, b)
                    used = {name: getattr(method, name) for name in self.options.model_fields}
                    told = {"tasks": [task.name for task in group], "converged": converged, **used}
            assert weights is not None
            model.set_weights(group, *weights)
            model.chosen.append(told)
        return model

    def _groups(self, tasks: Sequence[Task]) -> list[list[Task]]:
        """Tasks that are fitted together: those of numbers, and those of classes."""
        if self.apart:
            return [[task] for task in tasks]
        numbers = [task for task in tasks if isinstance(task.kind, Regression)]
        return [group for group in (numbers, [task for task in tasks if task not in numbers]) if group]

    def _candidates(self, options: Any, seed: int) -> Iterator[Method]:
        """The method with all hyperparameters that are to be tried."""
        given = options.model_dump(exclude_none=True)
        if "random_state" in self.method().get_params(deep=False):
            given["random_state"] = seed
        tried = {name: values for name, values in self.grid.items() if name not in given}
        for values in product(*tried.values()):
            yield self.method(**given, **dict(zip(tried, values, strict=True)))

    @staticmethod
    def _score(model: JointModel, group: Sequence[Task], train: Train) -> float:
        by_name = {task.name: task for task in group}
        scores = evaluate(model, by_name, "val", train.eval_batch_size, CPU, every_metric=False)
        return validation_score(scores, list(by_name), train.select)


# ------------------------------------------------------------------ rows


@dataclass(frozen=True)
class _Rows:
    """Standardised training rows of tasks that are fitted together, a column for each of their outputs.

    ``X``: `[n, d]`, with ``y`` `[n, columns]` or `[n]`, or lists with rows and labels of each column.
    """

    X: Any
    y: Any
    scaler: StandardScaler
    classes: bool

    @staticmethod
    def of(group: Sequence[Task]) -> _Rows:
        inputs: dict[str, np.ndarray] = {}
        columns: list[tuple[str, np.ndarray]] = []
        by_input: dict[str, dict[str, Tensor]] = {}
        for name, data in inputs_of({task.name: task for task in group}).items():
            batches = list(data.train.batches(4096, CPU))
            inputs[name] = torch.cat([batch.inputs.flatten(1) for batch in batches]).double().numpy()
            readers = [task.name for task in group if task.data is data]
            by_input[name] = {reader: torch.cat([b.targets[reader] for b in batches]) for reader in readers}
        for task in group:
            columns += [(task.data.name, y) for y in _outputs(task, by_input[task.data.name][task.name]).T]
        scaler = StandardScaler()
        for x in inputs.values():
            scaler.partial_fit(x)
        inputs = {name: np.asarray(scaler.transform(x)) for name, x in inputs.items()}
        classes = not isinstance(group[0].kind, Regression)
        if len(inputs) == 1 and not any(np.isnan(y).any() for _, y in columns):
            (X,) = inputs.values()
            return _Rows(X, np.stack([y for _, y in columns], axis=1).squeeze(), scaler, classes)
        known = [(inputs[name][~np.isnan(y)], y[~np.isnan(y)]) for name, y in columns]
        return _Rows([x for x, _ in known], [y for _, y in known], scaler, classes)

    def fitted(self, method: Method) -> tuple[np.ndarray, np.ndarray, bool]:
        """W and b for rows that are not standardised, and whether the solver came to its end."""
        estimator = (MultiTaskClassifier if self.classes else MultiTaskRegressor)(method, tol=TOL)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # it is told
                estimator.fit(self.X, self.y)
        except InputError as error:
            raise RunError(f"{type(method).__name__}: {error}") from error
        W = estimator.coef_ / np.asarray(self.scaler.scale_)[:, None]
        return W, estimator.intercept_ - np.asarray(self.scaler.mean_) @ W, estimator.optimality_ <= TOL


def _outputs(task: Task, targets: Tensor) -> np.ndarray:
    """What each output of a task is to say, `[n, outputs]`, NaN where that is not known.

    Classes are told each from the rest; the one with the largest log odds is predicted.
    """
    if isinstance(task.kind, Multiclass):
        one = (targets[:, None] == torch.arange(task.kind.classes)).double()
        return one.masked_fill(targets[:, None] < 0, math.nan).numpy()
    return targets.reshape(len(targets), -1).double().numpy()


def _features(task: Task) -> int:
    return math.prod(task.data.shape)


# ------------------------------------------------------------------ the table

WEIGHTS = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003)
FEW = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
MORE = (1.3, 0.39, 0.13, 0.039, 0.013, 0.0039)  # of two weights, one is to be a little above the other
TIMES_TASKS = (1000.0, 100.0, 10.0, 1.0, 0.1, 0.01)  # a weight that is divided by the number of tasks

LINEAR = {
    "ridge": LinearEntry("a ridge for each task, nothing shared", Ridge, {"alpha": WEIGHTS}, apart=True),
    "lasso": LinearEntry("a lasso for each task, nothing shared", Lasso, {"alpha": WEIGHTS}, apart=True),
    "pooled": LinearEntry("one weight vector for all tasks", Pooled, {"alpha": WEIGHTS}),
    "group-lasso": LinearEntry("few features, the same for all tasks", GroupLasso, {"alpha": WEIGHTS}),
    "trace-norm": LinearEntry("weights of low rank", TraceNorm, {"alpha": WEIGHTS}),
    "go-mtl": LinearEntry(
        "weights are sparse combinations of k components",
        GOMTL,
        {"k": (1, 2, 4, 8), "lam": (0.3, 0.03), "mu": (0.003,)},
    ),
    "dirty": LinearEntry(
        "features of all tasks, and features of single ones", DirtyModel, {"lambda_b": MORE, "lambda_s": FEW}
    ),
    "robust": LinearEntry("what tasks share, and outlier tasks", Robust, {"lambda_p": MORE, "lambda_q": FEW}),
    "sparse-low-rank": LinearEntry(
        "weights of low rank, but for few entries", SparseLowRank, {"lambda_l": MORE, "lambda_s": FEW}
    ),
    "feature-learning": LinearEntry(
        "few features, learned with the weights", FeatureLearning, {"gamma": WEIGHTS}
    ),
    "task-relationship": LinearEntry(
        "a covariance of the tasks, learned with the weights",
        TaskRelationship,
        {"lambda2": WEIGHTS, "lambda1": (0.1, 0.01, 0.001)},
    ),
    "mean-regularized": LinearEntry(
        "weights near their mean", MeanRegularized, {"lambda1": TIMES_TASKS, "lambda2": TIMES_TASKS}
    ),
    "clustered": LinearEntry(
        "tasks in clusters of like weights", Clustered, {"n_clusters": (2, 4), "alpha": WEIGHTS}
    ),
    "aso": LinearEntry(
        "weights near a subspace of few dimensions", AlternatingStructure, {"h": (1, 2, 4), "alpha": WEIGHTS}
    ),
    "shared-hypotheses": LinearEntry(
        "k weight vectors, of which each task uses one", SharedHypotheses, {"k": (1, 2, 4), "alpha": WEIGHTS}
    ),
    "task-clustering": LinearEntry(
        "tasks in clusters, Bayesian: as many as the data ask for", TaskClustering
    ),
    "dg-mtl": LinearEntry(
        "tasks in groups, each of low rank", DGMTL, {"groups": (1, 2, 4), "gamma": (1.0, 0.1, 0.01, 0.001)}
    ),
}
