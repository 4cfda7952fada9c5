"""How networks evolve: the settings of a search."""

from __future__ import annotations

from dataclasses import dataclass

from moduli.errors import InputError
from moduli.games.networks import DISSERTATION, Link


@dataclass(frozen=True)
class Esp:
    """How networks evolve. Defaults are the dissertation's, or those of published programs where it has none.

    Args:
        generations: at most.
        target: the search ends when a network scores so much, None: it goes on to the last generation.
        evaluations: networks that are evaluated in each generation.
        trials: episodes for each; their mean score is the fitness of the network.
        units: hidden units at the start. The dissertation has no number, published programs begin with 5.
        subpopulation: genomes in each. Not printed either: 100 evaluations with 10 for each genome make 10.
        even: whether all genomes are evaluated equally often; else each network draws independently.
        bound: first weights are uniform in [-bound, bound].
        mutation: the probability that a genome below the best half mutates.
        scale: of the Cauchy distribution of mutations.
        patience: generations without a better network before a burst.
        wait: whether sources are recruited when bursts do not help, instead of from the start.
        lesion: whether units without which the best network is no worse are removed before one is added;
            Gomez (2003) does, the dissertation does not.
        links: the transfer connections, see `Architecture`.
        finalists: so many of the best networks play `test` fresh episodes each at the end, and the one that
            does best in these is the result. A mean of few trials is noisy, and the highest of many is
            flattered by chance. The dissertation takes that with the highest; `finalists=1`.
        test: fresh episodes of the result at the very end, which nothing is chosen by.

    Raises:
        InputError: if a number is impossible.
    """

    generations: int = 200
    evaluations: int = 100
    trials: int = 5
    units: int = 5
    subpopulation: int = 10
    even: bool = False
    bound: float = 6.0
    mutation: float = 0.4
    scale: float = 0.3
    patience: int = 15
    wait: bool = False
    lesion: bool = False
    links: tuple[Link, ...] = DISSERTATION
    finalists: int = 5
    test: int = 30
    target: float | None = None

    def __post_init__(self):
        least = {"generations": 1, "evaluations": 1, "trials": 1, "units": 0, "subpopulation": 2}
        for name, low in {**least, "patience": 1, "finalists": 1, "test": 1}.items():
            if (value := getattr(self, name)) < low:
                raise InputError(f"{name} is {value}: give at least {low}")
        for name, most in (("bound", 1e6), ("mutation", 1), ("scale", 5)):
            if not 0 <= (value := getattr(self, name)) <= most:
                raise InputError(f"{name} is {value}: give a number from 0 to {most:g}")
        if self.lesion and any("hidden" in link for link in self.links):
            raise InputError(
                "lesion=True removes hidden units, whose weights to and from sources are in other genomes "
                f"with links {self.links}: leave one of them out"
            )
