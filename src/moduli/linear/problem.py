"""What all methods minimise beside their penalties: the mean loss of each task, summed over the tasks.

    F(W) = sum_t (1/n_t) sum_i loss(y_ti, x_ti . w_t + b_t)

A problem is asked for values and gradients at W `[d + free, T]`. The last ``free`` rows are intercepts, which
no penalty touches. The squared loss has none: centring inputs and targets gives the best intercepts.

What of F is linear in W, its image, is computed once for each W, so that extrapolating costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
from scipy.linalg import block_diag

from moduli.linear.design import Design, SharedDesign, largest, stacked
from moduli.linear.losses import Loss, Squared
from moduli.linear.samples import Samples


class Problem(Protocol):
    """A smooth convex function of W `[d + free, T]`."""

    @property
    def d(self) -> int:
        """Rows of W that penalties see."""
        ...

    @property
    def free(self) -> int:
        """Rows of intercepts after them."""
        ...

    @property
    def T(self) -> int:  # noqa: N802
        """Columns of W."""
        ...

    def image(self, W: np.ndarray) -> np.ndarray:
        """Of W, linear."""
        ...

    def value(self, W: np.ndarray, image: np.ndarray) -> float:
        """F(W)."""
        ...

    def gradient(self, image: np.ndarray) -> np.ndarray:
        """dF/dW `[d + free, T]`."""
        ...

    def hessian(self, image: np.ndarray) -> np.ndarray:
        """Second derivatives of each task, `[T, d + free, d + free]` or `[d, d]` if all are the same."""
        ...

    def dual(self, W: np.ndarray, image: np.ndarray, scale: float) -> float | None:
        """The dual function at the residuals times `scale`, for which no column of ones may be left."""
        ...

    def features(self, kept: np.ndarray) -> Problem:
        """The problem of some of the features, with the others at 0."""
        ...

    def projected(self, L: np.ndarray) -> Problem:
        """The problem of V `[k + free, T]` with W = L V, for L `[d, k]`."""
        ...

    @property
    def lipschitz(self) -> float:
        """An estimate (from below, close) of the Lipschitz constant of the gradient."""
        ...


@dataclass(frozen=True)
class Totals:
    """What a likelihood of all samples, which knows no means, needs beside F; all `[T]`.

    ``sizes``: samples of each task. ``weight``: that of one of them in F. ``squares``: their targets' sum of
    squares.
    """

    sizes: np.ndarray
    weight: np.ndarray
    squares: np.ndarray


@dataclass(frozen=True)
class SampleProblem:
    """F from the samples themselves.

    ``y`` and ``weight`` are flat arrays `[M]` as the design's; the weights of a task's samples add up to 1,
    those of padding are 0.
    """

    design: Design
    loss: Loss
    y: np.ndarray
    weight: np.ndarray
    free: int = 0

    @property
    def d(self) -> int:
        """Features."""
        return self.design.shape[0] - self.free

    @property
    def T(self) -> int:  # noqa: N802
        """Tasks."""
        return self.design.shape[1]

    def image(self, W: np.ndarray) -> np.ndarray:
        """Predictions, flat."""
        return self.design.dot(W)

    def value(self, W: np.ndarray, image: np.ndarray) -> float:
        """F(W)."""
        return float(self.weight @ self.loss.value(image, self.y))

    def gradient(self, image: np.ndarray) -> np.ndarray:
        """X_t^T of the derivatives."""
        return self.design.adjoint(self.weight * self.loss.derivative(image, self.y))

    def hessian(self, image: np.ndarray) -> np.ndarray:
        """X_t^T diag(second derivatives) X_t."""
        return self.design.gram(self.weight * self.loss.second(image, self.y))

    def dual(self, W: np.ndarray, image: np.ndarray, scale: float) -> float | None:
        """-sum of weighted conjugates at scaled derivatives; None with intercepts, where it may not exist."""
        if self.free:
            return None
        return -float(self.weight @ self.loss.conjugate(scale * self.loss.derivative(image, self.y), self.y))

    def features(self, kept: np.ndarray) -> Problem:
        """Those, and the intercepts."""
        kept = np.concatenate([kept, np.arange(self.d, self.d + self.free)])
        return lighter(SampleProblem(self.design.features(kept), self.loss, self.y, self.weight, self.free))

    def projected(self, L: np.ndarray) -> Problem:
        """With inputs X L."""
        whole = np.asarray(block_diag(L, np.eye(self.free)))
        return lighter(SampleProblem(self.design.projected(whole), self.loss, self.y, self.weight, self.free))

    @property
    def totals(self) -> Totals:
        """Of the samples, without padding."""
        task, counts = self.design.task, self.weight > 0
        sizes = np.bincount(task, counts, self.T)
        squares = np.bincount(task, counts * np.square(self.y), self.T)
        return Totals(sizes, np.bincount(task, self.weight, self.T) / sizes, squares)

    @property
    def lipschitz(self) -> float:
        """By the power method."""
        return self._lipschitz

    @cached_property
    def _lipschitz(self) -> float:
        return self.loss.curvature * self.design.largest(self.weight)


class _SquaredLoss:
    """What follows from C = X_t^T y_t / n_t, c, and an image G W, where F is 0.5 <W, G W> - <C, W> + c."""

    C: np.ndarray
    c: float

    def value(self, W: np.ndarray, image: np.ndarray) -> float:
        """F(W)."""
        return 0.5 * float(np.vdot(W, image)) - float(np.vdot(self.C, W)) + self.c

    def gradient(self, image: np.ndarray) -> np.ndarray:
        """G W - C."""
        return image - self.C

    def dual(self, W: np.ndarray, image: np.ndarray, scale: float) -> float | None:
        """As that of the samples."""
        linear = float(np.vdot(W, self.C)) - 2 * self.c  # sum of weighted u y
        return -(scale**2 * self.value(W, image) + scale * linear)


@dataclass(frozen=True)
class FewSamples(_SquaredLoss, SampleProblem):
    """F of the squared loss where features outnumber samples: G is never formed.

    The image is G W = X^T (weight * X W), in one pass over the inputs, which is what an iteration costs.
    """

    @cached_property
    def C(self) -> np.ndarray:  # type: ignore[override] # noqa: N802
        """`[d, T]`."""
        return self.design.adjoint(self.weight * self.y)

    @cached_property
    def c(self) -> float:  # type: ignore[override]
        """Half the mean squares of the targets, summed over the tasks."""
        return 0.5 * float(self.weight @ np.square(self.y))

    def image(self, W: np.ndarray) -> np.ndarray:
        """G W, `[d, T]`."""
        return self.design.normal(self.weight, W)

    def hessian(self, image: np.ndarray) -> np.ndarray:
        """G."""
        return self.design.gram(self.weight)


@dataclass(frozen=True)
class Quadratic(_SquaredLoss):
    """F of the squared loss from moments, 0.5 <W, G W> - <C, W> + c: its cost does not grow with samples.

    ``G``: X_t^T X_t / n_t, `[T, d, d]`, or `[d, d]` for shared inputs. ``C``: X_t^T y_t / n_t, `[d, T]`.
    ``c``: half the mean squares of the targets, summed over the tasks. The image is G W.
    ``totals``: of the samples of the moments.
    """

    G: np.ndarray
    C: np.ndarray
    c: float
    totals: Totals
    free: int = field(default=0, init=False)

    @property
    def d(self) -> int:
        """Features."""
        return self.C.shape[0]

    @property
    def T(self) -> int:  # noqa: N802
        """Tasks."""
        return self.C.shape[1]

    def image(self, W: np.ndarray) -> np.ndarray:
        """G_t w_t, `[d, T]`."""
        if self.G.ndim == 2:
            return self.G @ W
        return np.matmul(self.G, np.ascontiguousarray(W.T)[:, :, None])[:, :, 0].T

    def hessian(self, image: np.ndarray) -> np.ndarray:
        """G."""
        return self.G

    def features(self, kept: np.ndarray) -> Problem:
        """Rows and columns of the moments."""
        G = self.G[..., kept[:, None], kept[None, :]]
        return Quadratic(np.ascontiguousarray(G), self.C[kept], self.c, self.totals)

    def projected(self, L: np.ndarray) -> Problem:
        """L^T G L, L^T C."""
        return Quadratic(L.T @ self.G @ L, L.T @ self.C, self.c, self.totals)

    @property
    def lipschitz(self) -> float:
        """By the power method."""
        return self._lipschitz

    @cached_property
    def _lipschitz(self) -> float:
        return largest(self.image, self.C.shape if self.G.ndim == 3 else (self.d, 1))


@dataclass(frozen=True)
class SumOfParts:
    """F(W_1 + ... + W_k) as a function of the parts on top of one another, `[k d + free, T]`."""

    whole: Problem
    k: int

    @property
    def d(self) -> int:
        """Features of all parts."""
        return self.k * self.whole.d

    @property
    def free(self) -> int:
        """The intercepts stand once, after the parts."""
        return self.whole.free

    @property
    def T(self) -> int:  # noqa: N802
        """Tasks."""
        return self.whole.T

    def parts(self, W: np.ndarray) -> np.ndarray:
        """`[k, d, T]`."""
        return W[: self.d].reshape(self.k, self.whole.d, self.T)

    def whole_of(self, W: np.ndarray) -> np.ndarray:
        """The sum of the parts, and the intercepts: `[d + free, T]`."""
        return np.concatenate([self.parts(W).sum(0), W[self.d :]])

    def image(self, W: np.ndarray) -> np.ndarray:
        """Of the sum."""
        return self.whole.image(self.whole_of(W))

    def value(self, W: np.ndarray, image: np.ndarray) -> float:
        """Of the sum."""
        return self.whole.value(self.whole_of(W), image)

    def gradient(self, image: np.ndarray) -> np.ndarray:
        """The same for every part."""
        G = self.whole.gradient(image)
        return np.concatenate([*[G[: self.whole.d]] * self.k, G[self.whole.d :]])

    def hessian(self, image: np.ndarray) -> np.ndarray:
        """Is singular: not for methods that invert it."""
        raise NotImplementedError("the Hessian of a sum of parts is singular")

    def dual(self, W: np.ndarray, image: np.ndarray, scale: float) -> float | None:
        """Of the sum."""
        return self.whole.dual(self.whole_of(W), image, scale)

    def features(self, kept: np.ndarray) -> Problem:
        """Parts have their features in common."""
        raise NotImplementedError("features of a sum of parts are those of the whole")

    def projected(self, L: np.ndarray) -> Problem:
        """Of the whole, with every part projected."""
        return SumOfParts(self.whole.projected(L), self.k)

    @property
    def lipschitz(self) -> float:
        """k times that of the whole."""
        return self.k * self.whole.lipschitz


# ------------------------------------------------------------------ from samples


@dataclass(frozen=True)
class Centred:
    """A problem, and how weights are brought back to the inputs as they were.

    ``X_mean`` `[d, T]` and ``y_mean`` `[T]` were taken off before.
    """

    problem: Problem
    X_mean: np.ndarray
    y_mean: np.ndarray

    def coefficients(self, W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """coef `[d, T]` and intercept `[T]`."""
        coef = W[: self.problem.d]
        offset = W[self.problem.d] if self.problem.free else 0.0
        return coef, self.y_mean + offset - (self.X_mean * coef).sum(0)

    def weights(self, coef: np.ndarray, intercept: np.ndarray) -> np.ndarray:
        """W `[d + free, T]` from coefficients: the inverse."""
        if not self.problem.free:
            return coef
        return np.vstack([coef, intercept - self.y_mean + (self.X_mean * coef).sum(0)])


def problem_of(samples: Samples, loss: Loss, intercept: bool = True, average: str = "tasks") -> Centred:
    """The problem of fitting samples.

    Args:
        samples: of the tasks; targets are -1 and 1 for the logistic loss.
        loss: squared or logistic.
        intercept: whether each task has one.
        average: "tasks", where every task counts alike, F as above; or "samples", where every sample counts
            alike: 1/n_t becomes T/N.
    """
    X, y, task = samples.X, samples.y, samples.task
    (d, T), sizes, squared = (X.shape[1], len(samples.names)), samples.sizes, isinstance(loss, Squared)
    X_mean, y_mean = np.zeros((d, T)), np.zeros(T)
    if intercept and squared:
        y_mean = y.mean(0) if task is None else np.bincount(task, y, T) / sizes
        y = y - (y_mean if task is None else y_mean[task])
    elif intercept:
        X = np.column_stack([X, np.ones(len(X))])
    if task is not None:
        design = stacked(X, task, T)
        X_mean = design.centre(sizes, d) if intercept else X_mean
    else:
        if intercept:
            X_mean = np.repeat(X[:, :d].mean(0)[:, None], T, axis=1)
            X = np.hstack([X[:, :d] - X_mean[:, 0], X[:, d:]])
        design = SharedDesign(X, T)
    per_sample = np.full(T, T / sizes.sum()) if average == "samples" else 1.0 / sizes
    flat_y, weight = np.zeros(len(design.task)), np.zeros(len(design.task))
    flat_y[design.position] = y.ravel()
    weight[design.position] = per_sample[design.task[design.position]]
    problem = SampleProblem(design, loss, flat_y, weight, int(intercept and not squared))
    return Centred(lighter(problem), X_mean, y_mean)


def lighter(problem: SampleProblem) -> Problem:
    """The same problem, in the form that takes the least time for each gradient."""
    if not isinstance(problem.loss, Squared):
        return problem
    d, T = problem.design.shape
    rows = len(problem.design.X) if isinstance(problem.design, SharedDesign) else len(problem.y) / T
    if d <= 2 * rows:
        return moments(problem)
    return FewSamples(problem.design, problem.loss, problem.y, problem.weight, problem.free)


def moments(problem: Problem) -> Quadratic:
    """The problem of a squared loss by its moments."""
    if isinstance(problem, Quadratic):
        return problem
    assert isinstance(problem, SampleProblem)
    assert isinstance(problem.loss, Squared)
    G = problem.design.gram(problem.weight)
    C = problem.design.adjoint(problem.weight * problem.y)
    return Quadratic(G, C, 0.5 * float(problem.weight @ np.square(problem.y)), problem.totals)
