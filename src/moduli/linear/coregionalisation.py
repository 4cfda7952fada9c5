"""The parts of the intrinsic coregionalisation model: task covariances, and the algebra of its likelihood.

    cov(y_i, y_j) = Kf[t_i, t_j] kx(x_i, x_j) + (i = j) sigma²[t_i]

with the task t_i of sample i (Bonilla, Chai & Williams 2008). `Stacked` serves tasks with samples of their
own, `Crossed` tasks that share their inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.linalg import cho_solve, cholesky, eigh, solve_triangular
from sklearn.gaussian_process.kernels import ConstantKernel, Exponentiation, Kernel, Product, Sum

# ------------------------------------------------------------------ task covariances


class TaskCovariance(Protocol):
    """A way to write Kf `[T, T]` with numbers that are free to take any value."""

    def start(self, scale: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
        """Numbers to begin with: covariances about 1 within and 0.5 between tasks, times ``scale`` `[T]`."""
        ...

    def matrix(self, v: np.ndarray) -> np.ndarray:
        """Kf `[T, T]` of the numbers."""
        ...

    def gradient(self, v: np.ndarray, G: np.ndarray) -> np.ndarray:
        """Derivatives by the numbers, where G `[T, T]` has those by the entries of Kf (G is symmetric)."""
        ...


@dataclass(frozen=True)
class Given:
    """Kf is known: no numbers."""

    Kf: np.ndarray

    def start(self, scale: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
        """Nothing."""
        return np.empty(0)

    def matrix(self, v: np.ndarray) -> np.ndarray:
        """Kf as it was given."""
        return self.Kf

    def gradient(self, v: np.ndarray, G: np.ndarray) -> np.ndarray:
        """Nothing."""
        return np.empty(0)


@dataclass(frozen=True)
class FreeCholesky:
    """Kf = L Lᵀ with a free lower triangle L: T (T+1) / 2 numbers."""

    tasks: int

    def start(self, scale: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
        """The factor of the matrix that has 1 on its diagonal and 0.5 elsewhere."""
        related = 0.5 * (np.eye(self.tasks) + 1)
        return (scale[:, None] * np.linalg.cholesky(related))[self._triangle]

    def matrix(self, v: np.ndarray) -> np.ndarray:
        """L Lᵀ."""
        L = self._factor(v)
        return L @ L.T

    def gradient(self, v: np.ndarray, G: np.ndarray) -> np.ndarray:
        """The lower triangle of 2 G L."""
        return 2 * (G @ self._factor(v))[self._triangle]

    @property
    def _triangle(self) -> tuple[np.ndarray, np.ndarray]:
        return np.tril_indices(self.tasks)

    def _factor(self, v: np.ndarray) -> np.ndarray:
        L = np.zeros((self.tasks, self.tasks))
        L[self._triangle] = v
        return L


@dataclass(frozen=True)
class LowRank:
    """Kf = B Bᵀ + diag(exp(s)), B `[T, r]`: T (r+1) numbers."""

    tasks: int
    rank: int

    def start(self, scale: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
        """One factor that all tasks share; the others are small and random, or they would stay alike."""
        B = 0.1 * rng.standard_normal((self.tasks, self.rank))
        B[:, 0] = np.sqrt(0.5)
        return np.concatenate([(scale[:, None] * B).ravel(), np.log(0.5 * scale**2)])

    def matrix(self, v: np.ndarray) -> np.ndarray:
        """B Bᵀ + diag(exp(s))."""
        B, s = self._parts(v)
        return B @ B.T + np.diag(np.exp(s))

    def gradient(self, v: np.ndarray, G: np.ndarray) -> np.ndarray:
        """2 G B and diag(G) exp(s)."""
        B, s = self._parts(v)
        return np.concatenate([2 * (G @ B).ravel(), np.diag(G) * np.exp(s)])

    def _parts(self, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return v[: -self.tasks].reshape(self.tasks, self.rank), v[-self.tasks :]


# ------------------------------------------------------------------ scale of the input kernel


def without_scale(kernel: Kernel) -> Kernel:
    """The kernel with a constant factor of the whole of it fixed, which Kf has already.

    c kx and Kf give the same model as kx and c Kf. A kernel of which a learned constant can scale the whole
    has one constant fixed at its value for each way to do so: in a product the constant of every factor, in
    a sum that of the first term, if all terms have one.
    """
    if not _scales(kernel):
        return kernel
    if isinstance(kernel, Product):
        return Product(without_scale(kernel.k1), without_scale(kernel.k2))
    if isinstance(kernel, Sum):
        return Sum(without_scale(kernel.k1), kernel.k2)
    if isinstance(kernel, Exponentiation):
        return Exponentiation(without_scale(kernel.kernel), kernel.exponent)
    return ConstantKernel(kernel.constant_value, "fixed")  # type: ignore[attr-defined]


def _scales(kernel: Kernel) -> bool:
    """Whether hyperparameters of the kernel can multiply the whole of it by a constant."""
    if isinstance(kernel, ConstantKernel):
        return not kernel.hyperparameter_constant_value.fixed
    if isinstance(kernel, Product):
        return _scales(kernel.k1) or _scales(kernel.k2)
    if isinstance(kernel, Sum):
        return _scales(kernel.k1) and _scales(kernel.k2)
    return isinstance(kernel, Exponentiation) and _scales(kernel.kernel)


# ------------------------------------------------------------------ likelihood


@dataclass(frozen=True)
class Gradient:
    """Derivatives of the log marginal likelihood by the entries of Kx, of Kf, and by sigma² `[T]`."""

    Kx: np.ndarray
    Kf: np.ndarray
    noise: np.ndarray


class Posterior(Protocol):
    """The model given the samples.

    ``log_likelihood``: log marginal likelihood of y.
    ``dual``: `[n, T]`; the posterior mean of task t at x is kx(x, X) dual[:, t].
    """

    log_likelihood: float
    dual: np.ndarray

    def gradient(self) -> Gradient:
        """Derivatives of the log marginal likelihood."""
        ...

    def explained(self, Kq: np.ndarray, task: np.ndarray) -> np.ndarray:
        """Variance `[Q]` that the samples take away at inputs with kernel Kq `[Q, n]`, each with its task."""
        ...

    def root(self, Kq: np.ndarray, task: np.ndarray) -> np.ndarray:
        """R `[N, Q]`; RᵀR is the covariance that the samples take away."""
        ...


class Stacked:
    """Tasks with samples of their own, by a Cholesky factor of the covariance of all N samples: cost N³.

    Args:
        Kx: kernel of the inputs, `[N, N]`.
        y: `[N]`.
        task: `[N]`, ascending, each of 0 to T-1 at least once.
        Kf: `[T, T]`.
        noise: sigma² `[T]`.

    Raises:
        numpy.linalg.LinAlgError: if the covariance is not positive definite.
    """

    def __init__(self, Kx: np.ndarray, y: np.ndarray, task: np.ndarray, Kf: np.ndarray, noise: np.ndarray):
        self.Kf, self.task, self.Kx = Kf, task, Kx
        K = Kf[np.ix_(task, task)] * Kx
        K[np.diag_indices_from(K)] += noise[task]
        self.L = cholesky(K, lower=True, check_finite=False)
        self.a = cho_solve((self.L, True), y, check_finite=False)
        self.log_likelihood = float(
            -0.5 * y @ self.a - np.log(np.diag(self.L)).sum() - 0.5 * len(y) * np.log(2 * np.pi)
        )
        self.dual = self.a[:, None] * Kf[task]

    def gradient(self) -> Gradient:
        """Half of a aᵀ - K⁻¹, with the chain rule for each of its parts."""
        inner = 0.5 * (np.outer(self.a, self.a) - cho_solve((self.L, True), np.eye(len(self.a))))
        starts = np.searchsorted(self.task, np.arange(len(self.Kf)))
        return Gradient(
            Kx=inner * self.Kf[np.ix_(self.task, self.task)],
            Kf=np.add.reduceat(np.add.reduceat(inner * self.Kx, starts, axis=0), starts, axis=1),
            noise=np.add.reduceat(np.diag(inner), starts),
        )

    def explained(self, Kq: np.ndarray, task: np.ndarray) -> np.ndarray:
        """See `Posterior`."""
        return (self.root(Kq, task) ** 2).sum(axis=0)

    def root(self, Kq: np.ndarray, task: np.ndarray) -> np.ndarray:
        """See `Posterior`."""
        cross = Kq * self.Kf[np.ix_(task, self.task)]
        return solve_triangular(self.L, cross.T, lower=True, check_finite=False)


class Crossed:
    """Tasks that share n inputs, by the eigenvalues of Kx and of Kf: cost n³ + T³ in place of (n T)³.

    With D = diag(noise), Kf kron Kx + D kron I is D^½ kron I times (D^-½ Kf D^-½) kron Kx + I, times
    D^½ kron I: noise may differ from task to task.

    Args:
        Kx: `[n, n]`.
        Y: `[n, T]`.
        Kf: `[T, T]`.
        noise: sigma² `[T]`, above 0.
    """

    def __init__(self, Kx: np.ndarray, Y: np.ndarray, Kf: np.ndarray, noise: np.ndarray):
        n, T = Y.shape
        self.Kx, self.Kf = Kx, Kf
        white = 1 / np.sqrt(noise)
        self.lam, self.V = eigh(Kx, check_finite=False)
        self.s, U = eigh(white[:, None] * Kf * white, check_finite=False)
        self.lam, self.s = np.maximum(self.lam, 0), np.maximum(self.s, 0)
        self.U = white[:, None] * U
        self.inverse = 1 / (1 + np.outer(self.lam, self.s))
        projected = self.V.T @ Y @ self.U
        self.A = self.V @ (projected * self.inverse) @ self.U.T
        self.log_likelihood = float(
            -0.5 * (projected**2 * self.inverse).sum()
            + 0.5 * np.log(self.inverse).sum()
            - 0.5 * n * np.log(noise).sum()
            - 0.5 * n * T * np.log(2 * np.pi)
        )
        self.dual = self.A @ Kf

    def gradient(self) -> Gradient:
        """As in `Stacked`, in the basis of eigenvectors."""
        by_input, by_task = self.inverse @ self.s, self.lam @ self.inverse
        return Gradient(
            Kx=0.5 * (self.dual @ self.A.T - (self.V * by_input) @ self.V.T),
            Kf=0.5 * (self.A.T @ self.Kx @ self.A - (self.U * by_task) @ self.U.T),
            noise=0.5 * ((self.A**2).sum(axis=0) - self.U**2 @ self.inverse.sum(axis=0)),
        )

    def explained(self, Kq: np.ndarray, task: np.ndarray) -> np.ndarray:
        """See `Posterior`."""
        P, Q = Kq @ self.V, self.Kf[task] @ self.U
        return (P**2 @ self.inverse * Q**2).sum(axis=1)

    def root(self, Kq: np.ndarray, task: np.ndarray) -> np.ndarray:
        """See `Posterior`."""
        P, Q = Kq @ self.V, self.Kf[task] @ self.U
        return (P[:, :, None] * Q[:, None, :] * np.sqrt(self.inverse)).reshape(len(P), -1).T
