"""What a search found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from moduli.games.networks import Network


@dataclass(frozen=True, eq=False)
class Candidate:
    """A network that did well.

    Attributes:
        network: what it is.
        generation: in which it was found.
        scores: of its trials.
    """

    network: Network
    generation: int
    scores: list[float]

    @property
    def fitness(self) -> float:
        return float(np.mean(self.scores))


@dataclass
class Evolved:
    """What a search found.

    Attributes:
        network: the best one.
        fitness: its mean score when it was found: one of the highest of many, so flattered by chance.
        generations: a record for each, see `search.json`.
        test: scores of the network in fresh episodes, read once.
        settings: of the search.
    """

    network: Network
    fitness: float
    generations: list[dict[str, Any]]
    test: list[float] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
