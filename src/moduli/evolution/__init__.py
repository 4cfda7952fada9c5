"""Evolution: of the routes of tasks, of the modules that they assemble, and what evaluates candidates."""

from moduli.evolution.ctr import RouteEvolution, evolve
from moduli.evolution.evolved import EvolvedModule, ModuleSet
from moduli.evolution.genome import GlobalGenome, ModuleGenome
from moduli.evolution.model import EvolvingModel
from moduli.evolution.population import GlobalPopulation, ModulePopulation
from moduli.evolution.ranges import Ranges
from moduli.evolution.starts import minimal, random_chains
from moduli.evolution.structure import EvolvingStructure

__all__ = [
    "EvolvedModule",
    "EvolvingModel",
    "EvolvingStructure",
    "GlobalGenome",
    "GlobalPopulation",
    "ModuleGenome",
    "ModulePopulation",
    "ModuleSet",
    "Ranges",
    "RouteEvolution",
    "evolve",
    "minimal",
    "random_chains",
]
