"""Searching for modules: CMTR, evolution of module architectures around trainings that evolve routes."""

from moduli.search.budget import Budget
from moduli.search.cmtr import ModuleSearch, search_modules
from moduli.search.ends import default_ends
from moduli.search.found import Evaluation, Found
from moduli.search.inner import InnerLoop, Training, evaluate_set

__all__ = [
    "Budget",
    "Evaluation",
    "Found",
    "InnerLoop",
    "ModuleSearch",
    "Training",
    "default_ends",
    "evaluate_set",
    "search_modules",
]
