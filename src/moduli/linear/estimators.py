"""The two estimators: a method of `moduli.linear`, fitted to the samples of several tasks."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score

from moduli.errors import InputError
from moduli.linear.labels import TwoClasses
from moduli.linear.losses import Logistic, Loss, Squared
from moduli.linear.method import Method, Solution, Stop, count, number, one_of
from moduli.linear.methods.sparse import GroupLasso
from moduli.linear.prediction import BinaryPrediction, LinearPrediction, checked_labels
from moduli.linear.problem import Centred, problem_of
from moduli.linear.samples import Samples, one_or_two_dimensional, together
from moduli.linear.solvers.newton import ridge


class _Linear(LinearPrediction, BaseEstimator):
    """What both estimators do alike."""

    def __init__(
        self,
        method: Method | None = None,
        *,
        fit_intercept: bool = True,
        average: str = "tasks",
        tol: float = 1e-6,
        max_iter: int = 10_000,
        warm_start: bool = False,
        task_column: Any = None,
    ):
        self.method = method
        self.fit_intercept = fit_intercept
        self.average = average
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.task_column = task_column

    def _method(self) -> Method:
        method = GroupLasso() if self.method is None else self.method
        if not isinstance(method, Method):
            raise InputError(f"method is {method!r}: give a method of moduli.linear, such as GroupLasso()")
        return method

    def _problem(self, samples: Samples, loss: Loss) -> Centred:
        average = one_of("average", self.average, ("tasks", "samples"))
        return problem_of(samples, loss, bool(self.fit_intercept), average)

    def _solve(self, samples: Samples, loss: Loss) -> None:
        """Fits, and notes what was found."""
        stop = Stop(number("tol", self.tol, above=True), count("max_iter", self.max_iter))
        method, centred = self._method(), self._problem(samples, loss)
        solution = method.solve(centred.problem, samples.names, stop, self._start(centred))
        self._keep(centred, solution)
        if not solution.converged:
            warnings.warn(
                f"{type(method).__name__} has not converged after {solution.n_iter} iterations: optimality "
                f"{solution.optimality:.2g} is above tol={stop.tol:g}; raise max_iter or scale the features",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _largest(self, samples: Samples, loss: Loss) -> float:
        """The largest alpha of the method."""
        problem = self._problem(samples, loss).problem
        only_intercepts = ridge(problem.features(np.array([], int)), 0.0, Stop()).W
        W = np.concatenate([np.zeros((problem.d, problem.T)), only_intercepts])
        return self._method().largest(problem, W)

    def _start(self, centred: Centred) -> Solution | None:
        before: Solution | None = getattr(self, "_solution", None)
        if not self.warm_start or before is None or self.coef_.shape[1] != centred.problem.T:
            return None
        if len(self.coef_) != centred.problem.d:
            return None
        W = centred.weights(self.coef_, self.intercept_)
        return Solution(W, [], np.inf, False, before.found, before.state)

    def _keep(self, centred: Centred, solution: Solution) -> None:
        before: Solution | None = getattr(self, "_solution", None)
        for name in before.found if before is not None else ():
            delattr(self, name)
        self.coef_, self.intercept_ = centred.coefficients(solution.W)
        self.n_iter_, self.objective_ = solution.n_iter, np.asarray(solution.objective)
        self.optimality_ = solution.optimality
        for name, value in solution.found.items():
            setattr(self, name, value)
        self._solution = solution


class MultiTaskRegressor(RegressorMixin, _Linear):
    """Linear regression of several tasks, by any method of `moduli.linear`.

        sum_t (1/n_t) sum_i 0.5 (y_ti - x_ti . w_t - b_t)² + penalty(W)

    Samples come as rows with a task each, `fit(X, y, task=school)`; as an array per task,
    `fit([X_1, X_2], [y_1, y_2])`, or dicts of these; as one `X` for all tasks, `fit(X, Y)`; or as a single
    task, `fit(X, y)`. What a method found, such as ``support_``, ``relationship_`` or ``task_groups_``, is an
    attribute after `fit`: see there.

    Args:
        method: what is shared, and how: `GroupLasso` (the default), `TraceNorm`, `GOMTL`, ...
        fit_intercept: whether every task has an intercept, which no method penalises.
        average: "tasks" weighs all tasks alike, as above; "samples" all samples (1/n_t becomes T/N).
        tol: how exactly to solve; bounds ``optimality_``, whose meaning is the solver's: see the method.
        max_iter: most iterations; a `ConvergenceWarning` tells when they did not suffice.
        warm_start: whether `fit` begins with the last solution.
        task_column: the column of `X` that holds the tasks, by name in a data frame or by position, for
            pipelines and grid searches. It is no feature.

    Attributes:
        coef_: W, `[d, T]`: features x tasks.
        intercept_: `[T]`.
        tasks_: labels of the tasks, `[T]`, sorted; 0 to T-1 for lists and columns.
        n_iter_: iterations.
        objective_: the objective after every iteration.
        optimality_: distance from the optimum, as the method measures it.
        n_features_in_: features of `X` as it was given, the column of tasks included.
        feature_names_in_: their names, of a data frame.
    """

    def fit(self, X: Any, y: Any, task: Any = None) -> MultiTaskRegressor:
        """Fits all tasks together.

        Args:
            X: inputs, in one of the forms above.
            y: targets, in the same form.
            task: the label of each row's task, or the name or position of the column of `X` that holds it.

        Raises:
            InputError: if samples or hyperparameters are impossible.
        """
        self._solve(self._samples(X, y, task, _real), Squared())
        return self

    def largest_alpha(self, X: Any, y: Any, task: Any = None) -> float:
        """The alpha of the method from which on all coefficients are 0; arguments as of `fit`.

        Raises:
            InputError: if the method has no such alpha.
        """
        return self._largest(self._samples(X, y, task, _real), Squared())

    def predict(self, X: Any, task: Any = None) -> Any:
        """Predictions, in the form of `X`: `[N]` for rows, `[n, T]` where inputs are shared, or a list.

        Args:
            X: inputs.
            task: as in `fit`.

        Raises:
            InputError: if a task is unknown, or not given.
        """
        predicted, queries = self._decision(X, task)
        return queries.arrange(predicted)

    def score(self, X: Any, y: Any, task: Any = None) -> float:  # type: ignore[override]
        """R² of all predictions together; the mean over the tasks where inputs are shared.

        Args:
            X: inputs.
            y: targets, in the same form.
            task: as in `fit`.
        """
        predicted, y = together(self.predict(X, task), y)
        return float(r2_score(y, predicted))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class MultiTaskClassifier(BinaryPrediction, _Linear):
    """Logistic regression of several tasks of two classes each, by any method of `moduli.linear`.

        sum_t (1/n_t) sum_i log(1 + exp(-y_ti (x_ti . w_t + b_t))) + penalty(W)

    Samples come in the same forms as for `MultiTaskRegressor`. Of more than two classes, make a task of each
    class against the rest. What a method found is an attribute after `fit`: see there.

    Args:
        method: what is shared, and how: `GroupLasso` (the default), `TraceNorm`, `GOMTL`, ...
        fit_intercept: whether every task has an intercept, which no method penalises.
        average: "tasks" weighs all tasks alike, as above; "samples" all samples (1/n_t becomes T/N).
        tol: how exactly to solve; bounds ``optimality_``, whose meaning is the solver's: see the method.
        max_iter: most iterations; a `ConvergenceWarning` tells when they did not suffice.
        warm_start: whether `fit` begins with the last solution.
        task_column: the column of `X` that holds the tasks, by name in a data frame or by position.

    Attributes:
        classes_: the two labels, sorted; a list with those of each task if tasks differ in them.
        coef_: W, `[d, T]`: features x tasks.
        intercept_: `[T]`.
        tasks_: labels of the tasks, `[T]`, sorted; 0 to T-1 for lists and columns.
        n_iter_: iterations.
        objective_: the objective after every iteration.
        optimality_: distance from the optimum, as the method measures it.
        n_features_in_: features of `X` as it was given, the column of tasks included.
        feature_names_in_: their names, of a data frame.
    """

    def fit(self, X: Any, y: Any, task: Any = None) -> MultiTaskClassifier:
        """Fits all tasks together.

        Args:
            X: inputs, in one of the forms of `MultiTaskRegressor`.
            y: labels, in the same form.
            task: the label of each row's task, or the name or position of the column of `X` that holds it.

        Raises:
            InputError: if samples or hyperparameters are impossible, or a task has not two classes.
        """
        samples = self._samples(X, y, task, checked_labels)
        labels = TwoClasses.of(samples)
        self._two_classes, self.classes_ = labels, labels.classes
        self._solve(labels.signed(samples), Logistic())
        return self

    def largest_alpha(self, X: Any, y: Any, task: Any = None) -> float:
        """The alpha of the method from which on all coefficients are 0; arguments as of `fit`.

        Raises:
            InputError: if the method has no such alpha.
        """
        samples = self._samples(X, y, task, checked_labels)
        return self._largest(TwoClasses.of(samples).signed(samples), Logistic())

    def predict_proba(self, X: Any, task: Any = None) -> Any:
        """Probabilities of the two classes, `[..., 2]`, in the form of `X`; arguments as of `predict`."""
        decision, queries = self._decision(X, task)
        second = expit(decision)
        return queries.arrange(np.stack([1 - second, second], axis=-1))


def _real(y: Any) -> np.ndarray:
    return one_or_two_dimensional(y, dtype=np.float64)
