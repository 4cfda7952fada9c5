"""The multitask perceptron: a mistake of one task corrects all tasks, each as much as it is related."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Literal

import numpy as np
from scipy.linalg import eigh
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import column_or_1d

from moduli.errors import InputError
from moduli.linear.labels import TwoClasses
from moduli.linear.method import count, number, one_of
from moduli.linear.prediction import BinaryPrediction, checked_labels
from moduli.linear.samples import Samples, in_parts

Learn = Literal["covariance", "logdet", "von_neumann"]


class MultiTaskPerceptron(BinaryPrediction, BaseEstimator):
    """Online classification of several tasks of two classes each.

    Samples come one by one. One of task i with y (x . w_i + b_i) <= 0, where y is -1 or 1, is a mistake, and
    then every task j is corrected:

        w_j += y (A⁻¹)_ij x

    A says how the tasks are related. With A = I tasks are independent perceptrons. The default is
    A = (1 + b) I - (b / T) 1 1ᵀ, so that A⁻¹ = (I + (b / T) 1 1ᵀ) / (1 + b): with b = 0 tasks are
    independent, with b = infinity they are one perceptron, whose steps are T times shorter.

    With `learn`, A⁻¹ begins as `relationship` (I if None; `b` is not used) and stays so for the first
    samples. Then each mistake changes it, after W; with G = WᵀW / ||W||²:

    * **covariance**: A⁻¹ = (WᵀW)^½;
    * **logdet**: A⁻¹ += eta G;
    * **von_neumann**: log A⁻¹ += eta G.

    Each time A⁻¹ is scaled to the trace that it began with, so that steps keep their length.

    A sample costs O(d), a mistake O(d T); learning adds O(T²) to a mistake, O(T³) but for logdet. Samples are
    taken in the order of the rows. If they come as an array per task, or one `X` for all tasks, tasks take
    turns: first the first sample of each, and so on.

    Sources: Cavallanti, Cesa-Bianchi & Gentile (2010) for a given A, and the default with b; Saha, Rai,
    Daumé & Venkatasubramanian (2011) for a learned one. Differences: a decision of exactly 0 counts as a
    mistake of either class, so that labels can be swapped. Intercepts are weights of a constant feature 1,
    and part of WᵀW. The second paper has WᵀW in place of G and scales the covariance only: there A⁻¹ grows
    with every mistake, and eta depends on the scale of `X`. Here it does not (if there are no intercepts).

    Args:
        relationship: A⁻¹, `[T, T]`, which spreads corrections: symmetric, no negative eigenvalue, in the
            order of ``tasks_``. None for the defaults above.
        b: how strongly the default relates tasks, 0 to infinity.
        learn: how to learn A⁻¹: None, "covariance", "logdet" or "von_neumann".
        eta: rate of learning it, above 0 and at most 100; not used by the covariance. Steps of logdet are a
            moving average, those of von_neumann add up: there less than the default is often better.
        priming: samples before A⁻¹ is learned. A share of the samples given to `fit`, from 0.0 to 1.0, is
            rounded to a number, of the first epoch; a whole number (an `int`) is taken as it is.
            `partial_fit` cannot know a share's number, unless `fit` came before.
        max_iter: most epochs of `fit`, which ends after one without a mistake.
        shuffle: whether `fit` shuffles the samples before each epoch.
        fit_intercept: whether tasks have intercepts.
        task_column: the column of `X` that holds the tasks, by name in a data frame or by position.
        random_state: seed of shuffling.

    Attributes:
        coef_: W, `[d, T]`: features x tasks.
        intercept_: `[T]`.
        relationship_: A⁻¹ as it is now, `[T, T]`.
        mistakes_: mistakes of each task on the way, `[T]`, of all epochs.
        n_iter_: epochs made; 1 after `partial_fit` alone.
        t_: samples seen, of all epochs.
        tasks_: labels of the tasks, `[T]`, sorted; 0 to T-1 for lists and columns.
        classes_: the two labels, sorted; a list with those of each task if tasks differ in them.
        n_features_in_: features of `X` as it was given, the column of tasks included.
        feature_names_in_: their names, of a data frame.
    """

    def __init__(
        self,
        relationship: Any = None,
        *,
        b: float = 1.0,
        learn: Learn | None = None,
        eta: float = 0.1,
        priming: float = 0.5,
        max_iter: int = 1,
        shuffle: bool = False,
        fit_intercept: bool = True,
        task_column: Any = None,
        random_state: Any = None,
    ):
        self.relationship = relationship
        self.b = b
        self.learn = learn
        self.eta = eta
        self.priming = priming
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.fit_intercept = fit_intercept
        self.task_column = task_column
        self.random_state = random_state

    def fit(self, X: Any, y: Any, task: Any = None) -> MultiTaskPerceptron:
        """Goes through the samples `max_iter` times, beginning anew.

        Args:
            X: inputs: rows of all tasks, an array per task, or one array for all tasks.
            y: labels, in the same form.
            task: the label of each row's task, or the name or position of the column of `X` that holds it.

        Raises:
            InputError: if samples or hyperparameters are impossible, or a task has not two classes.
        """
        epochs = count("max_iter", self.max_iter)
        rng = check_random_state(self.random_state)
        samples = self._samples(X, y, task, checked_labels)
        labels = TwoClasses.of(samples)
        inputs, signs, tasks = labels.signed(samples).rows()
        self._begin(labels, inputs.shape[1], len(signs))
        inputs, order = self._extended(inputs), _order(samples)
        for epoch in range(1, epochs + 1):
            self.n_iter_ = epoch
            if self.shuffle:
                rng.shuffle(order)
            if not self._go_through(inputs, signs, tasks, order):
                break
        return self

    def partial_fit(
        self, X: Any, y: Any, task: Any = None, classes: Any = None, tasks: Any = None
    ) -> MultiTaskPerceptron:
        """Goes on with more samples, once and in their order.

        In pieces of any size this does what `fit` does in one epoch without shuffling.

        Args:
            X: inputs, `[n, d]`.
            y: labels, `[n]`.
            task: the label of each row's task, or the name or position of the column of `X` that holds it;
                None if there is one task only.
            classes: all labels that will come, needed at the first call: two for all tasks, or a list with
                two for each of `tasks`.
            tasks: labels of all tasks that will come, needed at the first call if there are several.

        Raises:
            InputError: if the samples are impossible, have a task or class that was not named at the first
                call, or names are missing at it.
        """
        if in_parts(X):
            raise InputError("X has an array for each task: give partial_fit rows, with task=")
        first = not hasattr(self, "coef_")
        inputs, names = self._inputs(X, self._column() if task is None else task, reset=first)
        y = checked_labels(y)
        if y.shape != (len(inputs),):
            raise InputError(
                f"y has shape {y.shape}, inconsistent with the {len(inputs)} rows of X: give a label for each"
            )
        if first:
            named, table = _announced(classes, tasks, several=names is not None)
            self.tasks_, self._form = named, "single" if names is None else "rows"
            self._begin(TwoClasses(table), inputs.shape[1], None)
            self.n_iter_ = 1
        else:
            self._same_as_announced(classes, tasks)
        numbers = self._tasks_of(names, len(inputs))
        signs = self._signs(y, numbers)
        self._go_through(self._extended(inputs), signs, numbers, np.arange(len(y)))
        return self

    # ------------------------------------------------------------ the algorithm

    def _begin(self, labels: TwoClasses, d: int, samples: int | None) -> None:
        """Checks hyperparameters, and forgets what was learned."""
        T = len(self.tasks_)
        one_of("learn", self.learn, (None, "covariance", "logdet", "von_neumann"))
        number("eta", self.eta, above=True, most=100)
        b = 0.0 if self.learn else number("b", self.b)
        given = self.relationship
        self.relationship_ = uniform_relationship(T, b) if given is None else _checked(given, T)
        self._trace = np.trace(self.relationship_)
        self._primed = _priming(self.priming, samples) if self.learn else 0
        self._two_classes, self.classes_ = labels, labels.classes
        self._W = np.zeros((T, d + bool(self.fit_intercept)))  # a row per task: decisions read one at a time
        self._gram = np.zeros((T, T))
        self.coef_, self.intercept_ = self._W[:, :d].T, np.zeros(T)
        self.mistakes_, self.t_ = np.zeros(T, int), 0

    def _go_through(self, X: np.ndarray, y: np.ndarray, task: np.ndarray, order: np.ndarray) -> int:
        """Learns from samples one by one, and says how many mistakes were made."""
        W, before = self._W, self.mistakes_.sum()
        for k, i, sign in zip(order.tolist(), task[order].tolist(), y[order].tolist(), strict=True):
            self.t_ += 1
            if sign * (W[i] @ X[k]) <= 0:
                self.mistakes_[i] += 1
                self._correct(i, sign * X[k])
        d = X.shape[1] - bool(self.fit_intercept)
        self.coef_ = W[:, :d].T.copy()
        self.intercept_ = W[:, d].copy() if self.fit_intercept else np.zeros(len(W))
        return int(self.mistakes_.sum() - before)

    def _correct(self, i: int, step: np.ndarray) -> None:
        """Adds `step` to task i, and to the others what they get of it."""
        W, spread = self._W, self.relationship_[i]
        if self.learn:
            cross = np.outer(W @ step, spread)  # WᵀW follows W in O(d T)
            self._gram += cross + cross.T + (step @ step) * np.outer(spread, spread)
        W += np.outer(spread, step)
        if self.learn and self.t_ > self._primed:
            self._relate()

    def _relate(self) -> None:
        """Learns A⁻¹ from WᵀW."""
        length = np.trace(self._gram)
        if length <= 0:
            return
        gradient = self._gram / length
        if self.learn == "covariance":
            found = covariance(gradient)
        elif self.learn == "logdet":
            found = logdet_update(self.relationship_, gradient, self.eta)
        else:
            found = von_neumann_update(self.relationship_, gradient, self.eta)
        self.relationship_ = found * (self._trace / np.trace(found))

    # ------------------------------------------------------------ what goes in and out

    def _extended(self, X: np.ndarray) -> np.ndarray:
        """`X` with the constant feature of the intercepts."""
        return np.column_stack([X, np.ones(len(X))]) if self.fit_intercept else np.ascontiguousarray(X)

    def _same_as_announced(self, classes: Any, tasks: Any) -> None:
        if tasks is None:
            tasks = self.tasks_
        named = np.unique(np.asarray(tasks))
        if not np.array_equal(named, np.sort(self.tasks_)):
            raise InputError(
                f"tasks={named.tolist()} differ from the first {self.tasks_.tolist()}: leave out"
            )
        if classes is None:
            return
        _, table = _announced(classes, tasks, several=True)
        if not np.array_equal(table, self._two_classes.table[np.argsort(self.tasks_)]):
            raise InputError(f"classes={classes!r} are not those of the first call: leave them out")

    def _tasks_of(self, names: np.ndarray | None, rows: int) -> np.ndarray:
        """Numbers of the tasks of the rows of a batch."""
        if names is None and len(self.tasks_) > 1:
            raise InputError(f"there are {len(self.tasks_)} tasks, and X does not say which: give task=")
        if names is None:
            return np.zeros(rows, int)
        try:
            return self._numbers(names)
        except InputError as error:
            raise InputError(f"{error}; all tasks are named at the first call, with tasks=") from None

    def _signs(self, y: np.ndarray, task: np.ndarray) -> np.ndarray:
        """-1 or 1 for the labels of a batch."""
        first, second = self._two_classes.table[task].T
        strange = np.flatnonzero((y != first) & (y != second))
        if strange.size:
            k = strange[0]
            raise InputError(
                f"y has the label {y[k : k + 1].tolist()[0]!r}, not one of the classes "
                f"{self._two_classes.table[task[k]].tolist()} named at the first call: give one of these"
            )
        return np.where(y == second, 1.0, -1.0)


# ------------------------------------------------------------------ relationships


def uniform_relationship(T: int, b: float) -> np.ndarray:
    """The inverse of (1 + b) I - (b / T) 1 1ᵀ, `[T, T]`, for `b` from 0 to infinity."""
    own = 1 / (1 + b)
    return own * np.eye(T) + (1 - own) / T


def covariance(gram: np.ndarray) -> np.ndarray:
    """The square root of WᵀW `[T, T]`, with trace 1."""
    values, vectors = eigh(gram)
    roots = np.sqrt(np.maximum(values, 0))
    return (vectors * (roots / roots.sum())) @ vectors.T


def logdet_update(inverse: np.ndarray, gradient: np.ndarray, eta: float) -> np.ndarray:
    """A⁻¹ after a step of the LogDet divergence, in which A becomes (A⁻¹ + eta gradient)⁻¹."""
    return inverse + eta * gradient


def von_neumann_update(inverse: np.ndarray, gradient: np.ndarray, eta: float) -> np.ndarray:
    """A⁻¹ after a step of the von Neumann divergence, in which A becomes exp(log A - eta gradient)."""
    values, vectors = eigh(inverse)
    least = np.finfo(float).eps * values[-1]  # A⁻¹ may be singular, which has no logarithm
    log = (vectors * np.log(np.maximum(values, least))) @ vectors.T
    values, vectors = eigh(log + eta * gradient)
    return (vectors * np.exp(values)) @ vectors.T


# ------------------------------------------------------------------ checks


def _checked(relationship: Any, T: int) -> np.ndarray:
    """A copy of a given A⁻¹."""
    matrix = np.array(relationship, dtype=float)
    if matrix.shape != (T, T):
        raise InputError(f"relationship has shape {matrix.shape}, there are {T} tasks: give {(T, T)}")
    if not np.isfinite(matrix).all():
        raise InputError("relationship contains NaN or infinity: give numbers")
    largest = np.abs(matrix).max()
    if np.abs(matrix - matrix.T).max() > 1e-8 * largest:
        raise InputError("relationship is not symmetric: give the inverse of a symmetric A")
    values = eigh(matrix, eigvals_only=True)
    if values[0] < -1e-8 * largest or largest == 0:
        raise InputError(
            f"relationship has the eigenvalues {values[0]:.3g} to {values[-1]:.3g}: give a matrix without "
            "negative ones, and not 0"
        )
    return matrix


def _priming(priming: Any, samples: int | None) -> int:
    """Samples before the relationship is learned; `samples` are all there are, None if nobody knows."""
    if isinstance(priming, Integral):
        return count("priming", priming, least=0)
    share = number("priming", priming, most=1.0)
    if samples is None:
        raise InputError(
            f"priming is {share:g}, a share of samples that partial_fit cannot know: give a whole number"
        )
    return round(share * samples)


def _announced(classes: Any, tasks: Any, several: bool) -> tuple[np.ndarray, np.ndarray]:
    """Tasks `[T]`, sorted, and their classes `[T, 2]`, as the first `partial_fit` names them."""
    if classes is None or not len(classes):
        raise InputError("classes must be passed on the first call to partial_fit: give all labels")
    if tasks is None and several:
        raise InputError("tasks must be passed on the first call to partial_fit: give all tasks' labels")
    tasks = np.zeros(1, int) if tasks is None else column_or_1d(np.asarray(tasks))
    named, place = np.unique(tasks, return_index=True)
    if len(named) < len(tasks) or not len(tasks):
        raise InputError(f"tasks={tasks.tolist()} are doubled or none: name every task once")
    if len(named) > 1 and not several:
        raise InputError(f"tasks names {len(named)}, and X does not say which task a row has: give task=")
    each = [classes] * len(tasks) if np.ndim(classes[0]) == 0 else list(classes)
    if len(each) != len(tasks):
        raise InputError(
            f"classes has {len(each)} parts, there are {len(tasks)} tasks: give two labels for each"
        )
    each = [np.unique(np.asarray(pair)) for pair in each]
    for pair in each:
        if len(pair) != 2:
            raise InputError(
                f"Only binary classification is supported. classes={pair.tolist()}: give two labels"
            )
    return named, np.array(each)[place]


def _order(samples: Samples) -> np.ndarray:
    """The order in which rows come: as they are, or by turns of the tasks if they have no order."""
    sizes = samples.sizes
    if samples.form in ("rows", "single"):
        return np.arange(sizes.sum())
    turn = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.argsort(turn, kind="stable")
