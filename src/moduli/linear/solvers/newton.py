"""Newton's method for quadratic penalties, all tasks at once.

The squared loss needs one step, the logistic loss a few. `Solution.optimality` is the norm of the gradient
relative to that at W = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.sparse.linalg import LinearOperator, cg

from moduli.linear.method import Solution, Stop
from moduli.linear.problem import Problem


def ridge(problem: Problem, P: np.ndarray | float, stop: Stop, start: np.ndarray | None = None) -> Solution:
    """Minimises F(W) + 0.5 sum_t w_t^T P_t w_t: tasks that have no penalty in common.

    Args:
        problem: smooth.
        P: `[T, d, d]`, `[d, d]` for all tasks, or a number times the identity.
        stop: tolerance and most steps.
        start: W `[d + free, T]`; zeros if None.
    """
    return _newton(
        problem, _Apart(problem, P if isinstance(P, np.ndarray) else P * np.eye(problem.d)), stop, start
    )


def coupled_ridge(problem: Problem, K: np.ndarray, stop: Stop, start: np.ndarray | None = None) -> Solution:
    """Minimises F(W) + 0.5 tr(W K W^T): a penalty that couples tasks.

    Args:
        problem: smooth.
        K: `[T, T]`, positive semidefinite.
        stop: tolerance and most steps.
        start: W `[d + free, T]`; zeros if None.
    """
    return _newton(problem, _Coupled(problem, np.asarray(K, dtype=float)), stop, start)


def left_factor(
    problem: Problem, S: np.ndarray, penalty: float, stop: Stop, start: np.ndarray | None = None
) -> tuple[np.ndarray, Solution]:
    """Minimises F(L S) + 0.5 penalty ||L||² over L `[d, k]` and over the intercepts.

    With columns of S `[k, T]` that have a single 1, tasks of a cluster share their weights.

    Args:
        problem: smooth.
        S: `[k, T]`.
        penalty: of L.
        stop: tolerance and most steps.
        start: W `[d + free, T]`, whose rows of intercepts are used, on top of L = 0; zeros if None.

    Returns:
        L, and the solution with W = L S.
    """
    free = np.zeros((problem.free, problem.T)) if start is None else start[problem.d :]
    kind = _Factor(problem, np.asarray(S, dtype=float), penalty)
    first = np.concatenate([np.zeros(problem.d * len(S)), free.ravel()])
    solution = _newton(problem, kind, stop, first)
    L = kind.factor(solution.state)
    return L, solution


# ------------------------------------------------------------------ parameters and their penalties


class _Kind(Protocol):
    """Parameters V, of which W is a linear function, and a quadratic penalty of them."""

    shape: tuple[int, ...]

    def weights(self, V: np.ndarray) -> np.ndarray:
        """W `[d + free, T]`."""
        ...

    def pull(self, G: np.ndarray) -> np.ndarray:
        """The gradient in V from that in W."""
        ...

    def penalised(self, V: np.ndarray) -> np.ndarray:
        """The gradient of the penalty, whose value is half its product with V."""
        ...

    def direction(self, H: np.ndarray, G: np.ndarray) -> np.ndarray:
        """The Newton step: minus the inverse of the second derivatives, with H those of F, times G."""
        ...


@dataclass
class _Apart:
    problem: Problem
    P: np.ndarray

    def __post_init__(self):
        self.shape = (self.problem.d + self.problem.free, self.problem.T)

    def weights(self, V: np.ndarray) -> np.ndarray:
        return V

    def pull(self, G: np.ndarray) -> np.ndarray:
        return G

    def penalised(self, V: np.ndarray) -> np.ndarray:
        out, d = np.zeros_like(V), self.problem.d
        out[:d] = np.matmul(self.P, V[:d].T[..., None])[..., 0].T if self.P.ndim == 3 else self.P @ V[:d]
        return out

    def direction(self, H: np.ndarray, G: np.ndarray) -> np.ndarray:
        P = np.zeros((*self.P.shape[:-2], len(G), len(G)))
        P[..., : self.problem.d, : self.problem.d] = self.P
        A = H + P
        return -_solve(A, G) if A.ndim == 2 else -_solve(A, G.T[:, :, None])[:, :, 0].T


@dataclass
class _Coupled:
    problem: Problem
    K: np.ndarray

    def __post_init__(self):
        self.shape = (self.problem.d + self.problem.free, self.problem.T)

    def weights(self, V: np.ndarray) -> np.ndarray:
        return V

    def pull(self, G: np.ndarray) -> np.ndarray:
        return G

    def penalised(self, V: np.ndarray) -> np.ndarray:
        out = np.zeros_like(V)
        out[: self.problem.d] = V[: self.problem.d] @ self.K
        return out

    def direction(self, H: np.ndarray, G: np.ndarray) -> np.ndarray:
        """By conjugate gradients; the preconditioner leaves out what couples tasks."""
        d, T = self.problem.d, self.problem.T
        blocks = np.array(np.broadcast_to(H, (T, *H.shape[-2:])))
        blocks[:, range(d), range(d)] += (
            np.diag(self.K)[:, None] + 1e-12 * np.trace(blocks, axis1=1, axis2=2)[:, None]
        )
        inverse = np.linalg.pinv(blocks, hermitian=True)
        return -_conjugate_gradients(
            lambda V: _each(H, V) + self.penalised(V), lambda V: _each(inverse, V), G
        )


@dataclass
class _Factor:
    problem: Problem
    S: np.ndarray
    penalty: float

    def __post_init__(self):
        self.size = self.problem.d * len(self.S)
        self.shape = (self.size + self.problem.free * self.problem.T,)

    def factor(self, V: np.ndarray) -> np.ndarray:
        """L."""
        return V[: self.size].reshape(self.problem.d, -1)

    def weights(self, V: np.ndarray) -> np.ndarray:
        return np.concatenate(
            [self.factor(V) @ self.S, V[self.size :].reshape(self.problem.free, self.problem.T)]
        )

    def pull(self, G: np.ndarray) -> np.ndarray:
        d = self.problem.d
        return np.concatenate([(G[:d] @ self.S.T).ravel(), G[d:].ravel()])

    def penalised(self, V: np.ndarray) -> np.ndarray:
        out = np.zeros_like(V)
        out[: self.size] = self.penalty * V[: self.size]
        return out

    def direction(self, H: np.ndarray, G: np.ndarray) -> np.ndarray:
        """By conjugate gradients; the preconditioner leaves out what couples columns of L and intercepts."""
        d, T = self.problem.d, self.problem.T
        H = np.broadcast_to(H, (T, *H.shape[-2:]))
        blocks = np.einsum("kt,tij->kij", self.S**2, H[:, :d, :d])
        blocks[:, range(d), range(d)] += self.penalty
        inverse = np.linalg.pinv(blocks, hermitian=True)
        steep = np.maximum(H[:, range(d, d + self.problem.free), range(d, d + self.problem.free)], 1e-12).T

        def precondition(V: np.ndarray) -> np.ndarray:
            columns = np.matmul(inverse, self.factor(V).T[:, :, None])[:, :, 0].T
            return np.concatenate([columns.ravel(), V[self.size :] / steep.ravel()])

        def apply(V: np.ndarray) -> np.ndarray:
            return self.pull(_each(H, self.weights(V))) + self.penalised(V)

        return -_conjugate_gradients(apply, precondition, G)


# ------------------------------------------------------------------ steps


def _newton(problem: Problem, kind: _Kind, stop: Stop, start: np.ndarray | None) -> Solution:
    def at(V: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        W = kind.weights(V)
        image, slope = problem.image(W), kind.penalised(V)
        return (
            problem.value(W, image) + 0.5 * float(np.vdot(V, slope)),
            kind.pull(problem.gradient(image)) + slope,
            image,
        )

    V = np.zeros(kind.shape) if start is None else np.array(start, dtype=float)
    zero = kind.pull(problem.gradient(problem.image(np.zeros((problem.d + problem.free, problem.T)))))
    scale = max(float(np.linalg.norm(zero)), 1e-300)
    value, G, image = at(V)
    objective: list[float] = []
    while (measured := float(np.linalg.norm(G)) / scale) > stop.tol and len(objective) < stop.max_iter:
        step = kind.direction(problem.hessian(image), G)
        slope, length = float(np.vdot(step, G)), 1.0
        new = at(V + step)
        while not new[0] <= value + 1e-4 * length * slope + 1e-12 * abs(value) and length > 1e-6:
            length *= 0.5
            new = at(V + length * step)
        stuck = new[0] >= value and float(np.linalg.norm(new[1])) >= 0.5 * scale * measured
        V = V + length * step
        value, G, image = new
        objective.append(value)
        if stuck:  # no digits are left
            measured = float(np.linalg.norm(G)) / scale
            break
    return Solution(kind.weights(V), objective or [value], measured, measured <= max(stop.tol, 1e-9), state=V)


def _each(H: np.ndarray, V: np.ndarray) -> np.ndarray:
    """H_t v_t."""
    if H.ndim == 2:
        return H @ V
    return np.matmul(H, np.ascontiguousarray(V.T)[:, :, None])[:, :, 0].T


def _solve(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """A^-1 B, or the shortest solution where A is singular."""
    try:
        X = np.linalg.solve(A, B)
        if np.isfinite(X).all() and np.allclose(
            A @ X, B, rtol=1e-6, atol=1e-9 * max(np.abs(B).max(), 1e-300)
        ):
            return X
    except np.linalg.LinAlgError:
        pass
    return np.linalg.pinv(A, rcond=1e-12, hermitian=True) @ B


def _conjugate_gradients(
    apply: Callable[[np.ndarray], np.ndarray], precondition: Callable[[np.ndarray], np.ndarray], B: np.ndarray
) -> np.ndarray:
    size, shape = B.size, B.shape
    A = LinearOperator((size, size), matvec=lambda v: apply(v.reshape(shape)).ravel(), dtype=float)  # type: ignore[call-arg]
    M = LinearOperator((size, size), matvec=lambda v: precondition(v.reshape(shape)).ravel(), dtype=float)  # type: ignore[call-arg]
    return cg(A, B.ravel(), rtol=1e-10, maxiter=10 * size, M=M)[0].reshape(shape)
