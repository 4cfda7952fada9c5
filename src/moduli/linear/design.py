"""Inputs of T tasks in a form in which NumPy multiplies all tasks at once.

Predictions of all samples are one flat array. Tasks of different sizes are padded with rows of zeros, in
blocks of tasks of which none is more than twice as large as another, so that padding at most doubles the
work and no loop runs over tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

BLOCK = 250_000
"""Numbers in a block (2 MB), unless a task alone has more: so many stay in a cache between two products."""


class Design(Protocol):
    """Inputs X_t of all tasks."""

    @property
    def shape(self) -> tuple[int, int]:
        """d features, T tasks."""
        ...

    @property
    def position(self) -> np.ndarray:
        """Where in the flat array the samples are, in the order in which they were given."""
        ...

    @property
    def task(self) -> np.ndarray:
        """The task of each place of the flat array, `[M]`."""
        ...

    def dot(self, W: np.ndarray) -> np.ndarray:
        """X_t w_t for W `[d, T]`: flat `[M]`."""
        ...

    def adjoint(self, r: np.ndarray) -> np.ndarray:
        """X_t^T r_t for flat r `[M]`: `[d, T]`."""
        ...

    def normal(self, weight: np.ndarray, W: np.ndarray) -> np.ndarray:
        """X_t^T diag(weight_t) X_t w_t: `[d, T]`."""
        ...

    def gram(self, weight: np.ndarray) -> np.ndarray:
        """X_t^T diag(weight_t) X_t: `[T, d, d]`, or `[d, d]` if it is the same for all tasks."""
        ...

    def form(self, M: np.ndarray) -> np.ndarray:
        """x^T M_t x of every sample for M `[T, d, d]`: flat `[M]`."""
        ...

    def largest(self, weight: np.ndarray) -> float:
        """The largest eigenvalue of any X_t^T diag(weight_t) X_t, from below, close."""
        ...

    def features(self, kept: np.ndarray) -> Design:
        """With some of the features only."""
        ...

    def projected(self, L: np.ndarray) -> Design:
        """Inputs X_t L for L `[d, k]`."""
        ...


@dataclass(frozen=True)
class SharedDesign:
    """The same inputs ``X`` `[n, d]` for all tasks. Flat arrays are `[n, T]`, row by row."""

    X: np.ndarray
    tasks: int

    @property
    def shape(self) -> tuple[int, int]:
        """d, T."""
        return self.X.shape[1], self.tasks

    @property
    def position(self) -> np.ndarray:
        """Every sample at its place, as y `[n, T]` is read row by row."""
        return np.arange(len(self.X) * self.tasks)

    @property
    def task(self) -> np.ndarray:
        """`[n T]`."""
        return np.tile(np.arange(self.tasks), len(self.X))

    def dot(self, W: np.ndarray) -> np.ndarray:
        """X W."""
        return (self.X @ W).ravel()

    def adjoint(self, r: np.ndarray) -> np.ndarray:
        """X^T R."""
        return self.X.T @ r.reshape(len(self.X), self.tasks)

    def normal(self, weight: np.ndarray, W: np.ndarray) -> np.ndarray:
        """X^T (weight * X W)."""
        return self.adjoint(weight * self.dot(W))

    def gram(self, weight: np.ndarray) -> np.ndarray:
        """One for all tasks where their weights are the same."""
        weight = weight.reshape(len(self.X), self.tasks)
        if (weight == weight[:, :1]).all():
            return (self.X * weight[:, :1]).T @ self.X
        return np.matmul(self.X.T, weight.T[:, :, None] * self.X)

    def form(self, M: np.ndarray) -> np.ndarray:
        """Task by task."""
        return np.einsum("tnd,nd->nt", self.X @ M, self.X).ravel()

    def largest(self, weight: np.ndarray) -> float:
        """With the largest weight of each row, of which there is but one as a rule."""
        weight = weight.reshape(len(self.X), self.tasks).max(axis=1, keepdims=True)
        return largest(lambda v: self.X.T @ (weight * (self.X @ v)), (self.X.shape[1], 1))

    def features(self, kept: np.ndarray) -> SharedDesign:
        """With some of the features only."""
        return replace(self, X=np.ascontiguousarray(self.X[:, kept]))

    def projected(self, L: np.ndarray) -> SharedDesign:
        """X L."""
        return replace(self, X=self.X @ L)


@dataclass(frozen=True)
class StackedDesign:
    """Inputs of its own for each task: ``blocks`` of tasks and their padded inputs `[tasks, rows, d]`."""

    blocks: list[tuple[np.ndarray, np.ndarray]]
    tasks: int
    position: np.ndarray
    task: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """d, T."""
        return self.blocks[0][1].shape[2], self.tasks

    def dot(self, W: np.ndarray) -> np.ndarray:
        """Block by block."""
        return np.concatenate([np.matmul(X, W.T[tasks][:, :, None]).ravel() for tasks, X in self.blocks])

    def adjoint(self, r: np.ndarray) -> np.ndarray:
        """Block by block."""
        out, begin = np.empty(self.shape), 0
        for tasks, X in self.blocks:
            end = begin + X.shape[0] * X.shape[1]
            out[:, tasks] = np.matmul(r[begin:end].reshape(len(tasks), 1, -1), X)[:, 0].T
            begin = end
        return out

    def normal(self, weight: np.ndarray, W: np.ndarray) -> np.ndarray:
        """Block by block: the inputs are read from memory once."""
        out, begin = np.empty(self.shape), 0
        for tasks, X in self.blocks:
            end = begin + X.shape[0] * X.shape[1]
            r = np.matmul(X, W.T[tasks][:, :, None])[:, :, 0] * weight[begin:end].reshape(len(tasks), -1)
            out[:, tasks] = np.matmul(r[:, None, :], X)[:, 0].T
            begin = end
        return out

    def gram(self, weight: np.ndarray) -> np.ndarray:
        """`[T, d, d]`."""
        d, T = self.shape
        out, begin = np.empty((T, d, d)), 0
        for tasks, X in self.blocks:
            end = begin + X.shape[0] * X.shape[1]
            scaled = X * weight[begin:end].reshape(len(tasks), -1, 1)
            out[tasks] = np.matmul(X.transpose(0, 2, 1), scaled)
            begin = end
        return out

    def form(self, M: np.ndarray) -> np.ndarray:
        """Block by block."""
        return np.concatenate([np.einsum("tnd,tnd->tn", X @ M[tasks], X).ravel() for tasks, X in self.blocks])

    def largest(self, weight: np.ndarray) -> float:
        """Of all tasks at once."""
        return largest(lambda V: self.normal(weight, V), self.shape)

    def centre(self, sizes: np.ndarray, columns: int) -> np.ndarray:
        """Takes the means of the first columns off the inputs, in place; returns them, `[columns, T]`."""
        means = np.empty((columns, self.tasks))
        for tasks, X in self.blocks:
            mean = X[:, :, :columns].sum(1) / sizes[tasks][:, None]
            X[:, :, :columns] -= mean[:, None]
            if (padding := np.arange(X.shape[1]) >= sizes[tasks][:, None]).any():
                X[padding] = 0.0
            means[:, tasks] = mean.T
        return means

    def features(self, kept: np.ndarray) -> StackedDesign:
        """With some of the features only."""
        blocks = [(tasks, np.ascontiguousarray(X[:, :, kept])) for tasks, X in self.blocks]
        return replace(self, blocks=blocks)

    def projected(self, L: np.ndarray) -> StackedDesign:
        """X_t L."""
        return replace(self, blocks=[(tasks, X @ L) for tasks, X in self.blocks])


def stacked(X: np.ndarray, task: np.ndarray, tasks: int) -> StackedDesign:
    """The design of samples X `[N, d]` that belong to `task` `[N]`. X is copied."""
    order = np.argsort(task, kind="stable")  # samples, task by task
    sizes = np.bincount(task, minlength=tasks)
    starts = np.cumsum(sizes) - sizes
    within = np.empty(len(X), int)  # place of a sample among those of its task
    within[order] = np.arange(len(X)) - np.repeat(starts, sizes)
    position, blocks, of_task, begin = np.empty(len(X), int), [], [], 0
    for members in _alike(sizes, X.shape[1]):
        rows = sizes[members].max()
        place = np.full(tasks, -1)
        place[members] = np.arange(len(members))
        mine = np.flatnonzero(place[task] >= 0)
        padded = np.zeros((len(members), rows, X.shape[1]))
        padded[place[task[mine]], within[mine]] = X[mine]
        position[mine] = begin + place[task[mine]] * rows + within[mine]
        blocks.append((members, padded))
        of_task.append(np.repeat(members, rows))
        begin += len(members) * rows
    return StackedDesign(blocks, tasks, position, np.concatenate(of_task))


def _alike(sizes: np.ndarray, d: int) -> list[np.ndarray]:
    """Tasks in groups of which none has over twice the samples of another, and that fit into a cache."""
    order, groups = np.argsort(sizes, kind="stable"), []
    while order.size:
        fits = np.arange(1, len(order) + 1) * sizes[order] * d <= BLOCK
        count = np.searchsorted(sizes[order], 2 * sizes[order[0]], side="right")
        count = max(1, min(int(count), int(fits.sum())))
        groups.append(order[:count])
        order = order[count:]
    return groups


def largest(apply: Callable[[np.ndarray], np.ndarray], shape: tuple[int, int], steps: int = 20) -> float:
    """The largest eigenvalue of a symmetric operator that keeps the columns of W apart (power method)."""
    V = np.random.default_rng(0).standard_normal(shape)
    norms = np.ones(shape[1])
    for _ in range(steps):
        V = V / np.maximum(np.linalg.norm(V, axis=0), 1e-300)
        V = apply(V)
        before, norms = norms, np.linalg.norm(V, axis=0)
        if np.allclose(norms.max(), before.max(), rtol=1e-2):
            break
    return float(norms.max())
