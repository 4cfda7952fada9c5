"""The two classes of each task: from labels to -1 and 1, and back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from moduli.errors import InputError
from moduli.linear.samples import Samples


@dataclass(frozen=True)
class TwoClasses:
    """``table``: the labels of each task, sorted, `[T, 2]`."""

    table: np.ndarray

    @staticmethod
    def of(samples: Samples) -> TwoClasses:
        """The classes found in samples.

        Raises:
            InputError: if a task has not exactly two.
        """
        if samples.task is None:
            found = [np.unique(column) for column in samples.y.T]
        else:
            order = np.argsort(samples.task, kind="stable")
            ends = np.cumsum(samples.sizes)[:-1]
            found = [np.unique(labels) for labels in np.split(samples.y[order], ends)]
        for name, classes in zip(samples.names.tolist(), found, strict=True):
            whose = "" if len(found) == 1 else f" of task {name!r}"
            if len(classes) == 1:
                raise InputError(f"the samples{whose} have only one class, {classes.tolist()[0]!r}: give two")
            if len(classes) > 2:
                raise InputError(
                    f"Only binary classification is supported. The samples{whose} have {len(classes)} "
                    "classes: make a task of each class against the rest"
                )
        return TwoClasses(np.array(found))

    @property
    def classes(self) -> np.ndarray | list[np.ndarray]:
        """The two labels if all tasks have the same, else those of each task."""
        if (self.table == self.table[:1]).all():
            return self.table[0]
        return list(self.table)

    def signed(self, samples: Samples) -> Samples:
        """The samples with -1 for the first class of their task and 1 for the second."""
        second = self.table[:, 1] if samples.task is None else self.table[samples.task, 1]
        return replace(samples, y=np.where(samples.y == second, 1.0, -1.0))

    def of_decision(self, decision: np.ndarray, task: np.ndarray | None) -> np.ndarray:
        """Labels for log odds `[N]` of `task`, or `[n, T]`."""
        first, second = self.table.T if task is None else self.table[task].T
        return np.where(decision > 0, second, first)
