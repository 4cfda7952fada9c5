"""Hypermodules: weights of any models, generated block by block by modules that the models share (MUiR)."""

from moduli.hypermodules.bank import Hypermodules
from moduli.hypermodules.cover import Coverage, LeftOut, Weight
from moduli.hypermodules.evolution import Generations, MappingEvolution
from moduli.hypermodules.layouts import Layout, layouts_of
from moduli.hypermodules.model import HyperModel
from moduli.hypermodules.packing import Complexity, Packed, pack
from moduli.hypermodules.reparameterize import reparameterize

__all__ = [
    "Complexity",
    "Coverage",
    "Generations",
    "HyperModel",
    "Hypermodules",
    "Layout",
    "LeftOut",
    "MappingEvolution",
    "Packed",
    "Weight",
    "layouts_of",
    "pack",
    "reparameterize",
]
