"""Evolution: of the routes of tasks, of the modules that they assemble, and what evaluates candidates."""

from moduli.evolution.model import EvolvingModel, RouteEvolution, evolve
from moduli.evolution.starts import minimal, random_chains
from moduli.evolution.structure import EvolvingStructure

__all__ = ["EvolvingModel", "EvolvingStructure", "RouteEvolution", "evolve", "minimal", "random_chains"]
