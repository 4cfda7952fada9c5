"""What a search found, and how."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from moduli.evolution.evaluators import Result
from moduli.evolution.evolved import ModuleSet
from moduli.evolution.species import FAILED
from moduli.training import Fit


@dataclass(frozen=True)
class Evaluation:
    """What came of the training of a set of modules.

    ``id`` is unique in a search: generation and number of the set, "3-17"; and "final-3-17" when that one is
    trained in full. ``fitness`` is minus infinity if it failed, and ``error`` says why. ``found`` is what
    `evaluate_set` gives, empty if it failed. ``seconds`` and ``worker``: how long it took, and where.
    """

    id: str
    modules: ModuleSet
    fitness: float
    error: str | None
    found: Mapping[str, Any]
    seconds: float
    worker: str

    @classmethod
    def of(cls, modules: ModuleSet, result: Result) -> Evaluation:
        """From the result of a job."""
        found = result.value or {}
        fitness = found.get("fitness", FAILED)
        return cls(result.id, modules, fitness, result.error, found, result.seconds, result.worker)

    def to_json(self) -> dict[str, Any]:
        """As JSON data; the fitness of a failure is null."""
        return {
            "id": self.id,
            "set": self.modules.to_json(),
            "fitness": self.fitness if math.isfinite(self.fitness) else None,
            "error": self.error,
            **{key: value for key, value in self.found.items() if key != "fitness"},
            "seconds": self.seconds,
            "worker": self.worker,
        }


@dataclass(frozen=True)
class Found:
    """The result of a search for modules.

    ``best`` is the set that won: of the finalists, trained in full, the one with the best validation score.
    ``fit`` is that training: the model at its best phase, with its scores on the validation and test splits.
    Without finalists ``best`` is the set with the best fitness, and ``fit`` is None.

    ``generations`` has a record for each: its number, the best and the mean fitness of its sets, the best so
    far, how many failed, and how many modules and settings each species has. ``evaluations`` and
    ``finalists`` have every training, in order.
    """

    best: ModuleSet
    fit: Fit | None
    generations: Sequence[Mapping[str, Any]] = field(repr=False)
    evaluations: Sequence[Evaluation] = field(repr=False)
    finalists: Sequence[Evaluation] = field(repr=False)

    @property
    def failures(self) -> dict[str, str]:
        """The errors of the trainings that failed, by their ids."""
        return {e.id: e.error for e in (*self.evaluations, *self.finalists) if e.error is not None}


def best_first(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Those that did not fail, best first, equal ones in their order; of sets with equal genes the best."""
    distinct: dict[Any, Evaluation] = {}
    for evaluation in sorted(evaluations, key=lambda e: -e.fitness):
        genes = (evaluation.modules.settings.genes, *(m.genes for m in evaluation.modules.modules))
        if evaluation.fitness > FAILED:
            distinct.setdefault(genes, evaluation)
    return list(distinct.values())
