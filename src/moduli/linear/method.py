"""What a method is: hyperparameters, and how a problem is solved with them.

A method is given to `MultiTaskRegressor` or `MultiTaskClassifier`, as a kernel is given to a Gaussian
process. A new method is a class with `solve`; see `moduli.linear.methods`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from moduli.errors import InputError
from moduli.linear.problem import Problem


@dataclass(frozen=True)
class Stop:
    """When a solver may stop: its measure of optimality is at most ``tol``, or it made ``max_iter`` steps."""

    tol: float = 1e-6
    max_iter: int = 10_000


@dataclass(frozen=True)
class Solution:
    """What a solver found.

    ``W``: `[d + free, T]`. ``objective``: the value after every iteration. ``optimality``: the measure that
    `Stop.tol` bounds. ``converged``: whether it is within. ``found``: what else was found, by the name of
    the fitted attribute, such as ``relationship_``. ``state``: what a solver needs to go on from here, if
    that is more than W.
    """

    W: np.ndarray
    objective: list[float]
    optimality: float
    converged: bool
    found: dict[str, Any] = field(default_factory=dict)
    state: Any = None

    @property
    def n_iter(self) -> int:
        """Iterations that were made."""
        return len(self.objective)

    def with_found(self, **found: Any) -> Solution:
        """With more that was found."""
        return replace(self, found={**self.found, **found})


class Method(BaseEstimator):
    """A way to learn W `[d, T]` of all tasks together."""

    @abstractmethod
    def solve(
        self, problem: Problem, names: np.ndarray, stop: Stop, start: Solution | None = None
    ) -> Solution:
        """Minimises the problem's loss and the method's penalty.

        Args:
            problem: the loss of all tasks.
            names: labels of the T tasks, by which a user speaks of them.
            stop: when to stop.
            start: a solution of a similar problem to begin with.

        Raises:
            InputError: if a hyperparameter is impossible for these tasks.
        """
        ...

    def largest(self, problem: Problem, W: np.ndarray) -> float:
        """The weight ``alpha`` from which on nothing is learned but intercepts, for methods that have one.

        Args:
            problem: the loss of all tasks.
            W: the best intercepts, with coefficients 0: `[d + free, T]`.

        Raises:
            InputError: if the method has no such weight.
        """
        raise InputError(f"{type(self).__name__} has no largest alpha: give the values of a path yourself")


# ------------------------------------------------------------------ checks of hyperparameters


def number(name: str, value: Any, least: float = 0.0, above: bool = False, most: float = np.inf) -> float:
    """A hyperparameter that is a number, at least (or ``above``) `least` and at most `most`.

    Raises:
        InputError: if it is not.
    """
    if not isinstance(value, Real) or not _within(float(value), least, above, most):
        bound = f"{'above' if above else 'of at least'} {least:g}"
        raise InputError(
            f"{name} is {value!r}: give a number {bound}" + (f", at most {most:g}" if most < np.inf else "")
        )
    return float(value)


def count(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """A hyperparameter that is a whole number.

    Raises:
        InputError: if it is not, or out of range.
    """
    if not isinstance(value, Integral) or not _within(
        int(value), least, False, np.inf if most is None else most
    ):
        upper = f" to {most}" if most is not None else " or more"
        raise InputError(f"{name} is {value!r}: give a whole number, {least}{upper}")
    return int(value)


def _within(value: float, least: float, above: bool, most: float) -> bool:
    return (value > least if above else value >= least) and value <= most


def one_of(name: str, value: Any, known: Iterable[Any]) -> Any:
    """A hyperparameter that is one of some values.

    Raises:
        InputError: if it is none of them.
    """
    known = list(known)
    if value not in known:
        raise InputError(f"{name} is {value!r}: give one of {', '.join(map(repr, known))}")
    return value
