"""The subpopulations of a search: one for each recruit of a network. No game is played here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from moduli.evolution import esp
from moduli.games.networks import Architecture, Networks, Recruit
from moduli.games.settings import Esp


@dataclass
class Subpopulation:
    """Genomes `[n, length]` of one recruit, and the one that was in the best network with this recruit."""

    genomes: np.ndarray
    champion: np.ndarray | None = None
    fitness: float = esp.UNTESTED

    def seen(self, genome: np.ndarray, fitness: float) -> None:
        """Takes note of a network that the genome was in."""
        if fitness > self.fitness:
            self.champion, self.fitness = genome, fitness

    @property
    def best(self) -> np.ndarray:
        return self.genomes[0] if self.champion is None else self.champion


class Subpopulations:
    """All subpopulations, and the architecture that a genome from each makes a network of.

    Args:
        architecture: to begin with, of which all recruits are yet to come.
        settings: how genomes evolve.
    """

    def __init__(self, architecture: Architecture, settings: Esp):
        self.architecture, self._esp = architecture, settings
        self._members: list[Subpopulation] = []

    def __len__(self) -> int:
        return len(self._members)

    def recruit(self, rng: np.random.Generator, recruit: Recruit) -> None:
        """One more subpopulation, of random genomes."""
        self.architecture = self.architecture.with_recruit(recruit)
        length = self.architecture.sizes[-1]
        self._members.append(
            Subpopulation(esp.random_genomes(rng, self._esp.subpopulation, length, self._esp.bound))
        )

    def remove(self, unit: int) -> None:
        """Without a unit."""
        self.architecture = self.architecture.without_unit(unit)
        del self._members[unit]

    def networks(self, rng: np.random.Generator) -> tuple[Networks, np.ndarray]:
        """Networks of a generation, and which genome of every subpopulation is in each: `[n, recruits]`."""
        settings = self._esp
        chosen = esp.assemble(rng, settings.evaluations, len(self), settings.subpopulation, settings.even)
        genomes = [some.genomes[which] for some, which in zip(self._members, chosen.T, strict=True)]
        return Networks(self.architecture, genomes), chosen

    def learn(self, chosen: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """The fitness of all genomes, `[recruits, size]`, from the scores `[n]` of their networks."""
        best = int(scores.argmax())
        for some, which in zip(self._members, chosen.T, strict=True):
            some.seen(some.genomes[which[best]], scores[best])
        return esp.credit(chosen, scores, self._esp.subpopulation)

    def breed(self, rng: np.random.Generator, fitness: Sequence[np.ndarray] | np.ndarray) -> None:
        """The next generation."""
        for some, of_genomes in zip(self._members, fitness, strict=True):
            some.genomes = esp.breed(rng, some.genomes, of_genomes, self._esp.mutation, self._esp.scale)

    def burst(self, rng: np.random.Generator) -> None:
        """Every subpopulation anew, around its best genome."""
        for some in self._members:
            some.genomes = esp.burst(rng, some.best, self._esp.subpopulation, self._esp.scale)
