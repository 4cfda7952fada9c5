"""Losses of a prediction f for a target y: value, derivatives in f, and the conjugate for duality gaps.

Everything is elementwise; weights of samples are applied by whoever adds up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import entr, expit


class Loss(Protocol):
    """A convex loss."""

    @property
    def curvature(self) -> float:
        """Upper bound of the second derivative."""
        ...

    def value(self, f: np.ndarray, y: np.ndarray) -> np.ndarray:
        """l(y, f)."""
        ...

    def derivative(self, f: np.ndarray, y: np.ndarray) -> np.ndarray:
        """dl/df."""
        ...

    def second(self, f: np.ndarray, y: np.ndarray) -> np.ndarray:
        """d²l/df²."""
        ...

    def conjugate(self, u: np.ndarray, y: np.ndarray) -> np.ndarray:
        """l*(u) = sup_f u f - l(y, f); infinite outside of its domain."""
        ...


@dataclass(frozen=True)
class Squared:
    """0.5 (y - f)²."""

    curvature: float = 1.0

    def value(self, f: np.ndarray, y: np.ndarray) -> np.ndarray:
        """l(y, f)."""
        return 0.5 * np.square(f - y)

    def derivative(self, f: np.ndarray, y: np.ndarray) -> np.ndarray:
        """dl/df."""
        return f - y

    def second(self, f: np.ndarray, y: np.ndarray) -> np.ndarray:
        """d²l/df²."""
        return np.ones_like(f)

    def conjugate(self, u: np.ndarray, y: np.ndarray) -> np.ndarray:
        """l*(u) = u²/2 + u y."""
        return u * (0.5 * u + y)


@dataclass(frozen=True)
class Logistic:
    """log(1 + exp(-y f)), y = -1 or 1."""

    curvature: float = 0.25

    def value(self, f: np.ndarray, y: np.ndarray) -> np.ndarray:
        """l(y, f)."""
        margin = y * f  # np.logaddexp(0, -margin) in a third of the time, to rounding of 1
        return np.maximum(-margin, 0.0) + np.log(1.0 + np.exp(-np.abs(margin)))

    def derivative(self, f: np.ndarray, y: np.ndarray) -> np.ndarray:
        """dl/df."""
        return -y * expit(-y * f)

    def second(self, f: np.ndarray, y: np.ndarray) -> np.ndarray:
        """d²l/df²."""
        p = expit(f)
        return p * (1.0 - p)

    def conjugate(self, u: np.ndarray, y: np.ndarray) -> np.ndarray:
        """l*(u) = v log v + (1 - v) log(1 - v), v = -u y in [0, 1]."""
        v = -u * y
        return -(entr(v) + entr(1.0 - v))
