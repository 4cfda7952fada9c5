"""How much is searched."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from moduli.errors import InputError


@dataclass(frozen=True)
class Budget:
    """How much is searched. Defaults are the dissertation's (section 7.4.2), for a cluster of 100 GPUs.

    Args:
        population: modules; and settings, which are a population of their own.
        species: of modules; one of each is in a set. The settings have one.
        sets: evaluated in each generation.
        generations: at most. The dissertation has no number; 72 are those of CoDeepNEAT on CIFAR-10.
        patience: stop after so many generations without a better set, None for never. "A given number" in
            the dissertation.
        meta_iterations: phases of the training that evaluates a set.
        finalists: the best sets of the whole search, which are trained in full at the end.
        final_iterations: phases of these trainings.

    Raises:
        InputError: if a number is impossible.
    """

    population: int = 25
    species: int = 2
    sets: int = 100
    generations: int = 72
    patience: int | None = 10
    meta_iterations: int = 12
    finalists: int = 50
    final_iterations: int = 120

    def __post_init__(self):
        for name, value in asdict(self).items():
            least = 0 if name == "finalists" else 1
            if value is not None and value < least:
                raise InputError(f"{name} is {value}: give at least {least}")
