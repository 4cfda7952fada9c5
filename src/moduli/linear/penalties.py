"""Convex penalties of W `[d, T]` with their proximal operators.

A penalty that is a norm knows its dual norm, and with it the duality gap is known. One that is a sum over
rows of W can be solved on few rows at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from moduli.linear import prox


class Penalty(Protocol):
    """A convex function of W."""

    def value(self, W: np.ndarray) -> float:
        """At W."""
        ...

    def prox(self, W: np.ndarray, step: float) -> np.ndarray:
        """argmin_V 0.5 ||V - W||² + step * value(V)."""
        ...


class Norm(Penalty, Protocol):
    """A penalty that is a norm times a weight."""

    def dual_norm(self, G: np.ndarray) -> float:
        """max <G, W> over W of value at most 1; infinite where the weight is 0.

        For the negative gradient at W = 0 it is at most 1 where W = 0 is a minimum.
        """
        ...


class RowNorm(Norm, Protocol):
    """A norm that is a sum over the rows of W."""

    def row_dual_norms(self, G: np.ndarray) -> np.ndarray:
        """The dual norm of each row, `[d]`."""
        ...

    def rows(self, kept: np.ndarray) -> RowNorm:
        """The penalty of some of the rows."""
        ...


@dataclass(frozen=True)
class Nothing:
    """No penalty."""

    def value(self, W: np.ndarray) -> float:
        """0."""
        return 0.0

    def prox(self, W: np.ndarray, step: float) -> np.ndarray:
        """W."""
        return W


@dataclass(frozen=True)
class L1Lq:
    """alpha sum_i ||W_i||_q over the rows of W, for q = 1, 2 or infinity."""

    alpha: float
    q: float = 2

    def value(self, W: np.ndarray) -> float:
        """At W."""
        return self.alpha * float(np.linalg.norm(W, ord=self.q, axis=1).sum())

    def prox(self, W: np.ndarray, step: float) -> np.ndarray:
        """Of each row."""
        operator = {1: prox.soft_threshold, 2: prox.rows_l2, np.inf: prox.rows_linf}[self.q]
        return operator(W, step * self.alpha)

    def row_dual_norms(self, G: np.ndarray) -> np.ndarray:
        """max_i of the q* norm of rows, over alpha, 1/q + 1/q* = 1."""
        q = {1: np.inf, 2: 2, np.inf: 1}[self.q]
        norms = np.linalg.norm(G, ord=q, axis=1)
        return norms / self.alpha if self.alpha > 0 else np.full(len(norms), np.inf)

    def dual_norm(self, G: np.ndarray) -> float:
        """The largest of the rows'."""
        return float(self.row_dual_norms(G).max(initial=0.0))

    def rows(self, kept: np.ndarray) -> L1Lq:
        """The same for every row."""
        return self


@dataclass(frozen=True)
class TraceNorm:
    """alpha ||W||_*, the sum of the singular values."""

    alpha: float

    def value(self, W: np.ndarray) -> float:
        """At W."""
        return self.alpha * float(np.linalg.svd(W, compute_uv=False).sum())

    def prox(self, W: np.ndarray, step: float) -> np.ndarray:
        """Of the singular values."""
        return prox.trace_norm(W, step * self.alpha)

    def dual_norm(self, G: np.ndarray) -> float:
        """The largest singular value, over alpha."""
        return float(np.linalg.norm(G, ord=2)) / self.alpha if self.alpha > 0 else np.inf


@dataclass(frozen=True)
class Parts:
    """A penalty for each part of `SumOfParts`: W is `[k d, T]`."""

    penalties: tuple[Penalty, ...]

    def value(self, W: np.ndarray) -> float:
        """The sum."""
        return sum(p.value(part) for p, part in zip(self.penalties, self._parts(W), strict=True))

    def prox(self, W: np.ndarray, step: float) -> np.ndarray:
        """Of each part."""
        pairs = zip(self.penalties, self._parts(W), strict=True)
        return np.concatenate([p.prox(part, step) for p, part in pairs])

    def dual_norm(self, G: np.ndarray) -> float:
        """The largest of the parts'; for norms only."""
        pairs = zip(self.penalties, self._parts(G), strict=True)
        return max(p.dual_norm(part) for p, part in pairs)  # type: ignore[attr-defined]

    def _parts(self, W: np.ndarray) -> list[np.ndarray]:
        return np.split(W, len(self.penalties))
