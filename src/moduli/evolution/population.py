"""Populations of genomes, sets of modules drawn from them, and whom the fitness of a set credits.

Species and reproduction are those of NEAT (Stanley & Miikkulainen 2002), as CoDeepNEAT uses them
(Miikkulainen et al. 2017). They are written small here because neat-python breeds networks of weights that
an INI file describes, with the global random numbers, a fixed threshold instead of a number of species, and
pickles as its only saved state.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Generic, Self

from moduli.errors import InputError
from moduli.evolution.evolved import ModuleSet
from moduli.evolution.genome import GlobalGenome, Innovations, ModuleGenome
from moduli.evolution.operators import (
    crossover,
    crossover_settings,
    distance,
    mutate,
    mutate_settings,
    random_genome,
    random_settings,
    settings_distance,
)
from moduli.evolution.ranges import Ranges
from moduli.evolution.species import FAILED, G, filled, mean, offspring, shared, speciate


@dataclass(frozen=True)
class _Population(ABC, Generic[G]):
    """What populations of modules and of settings have in common.

    ``members`` in the order of their ids; ``species``: ids, first that of the representative. ``target``: how
    many species there should be. ``next_id``: of the next child.
    """

    members: tuple[G, ...]
    species: tuple[tuple[int, ...], ...]
    ranges: Ranges
    target: int
    next_id: int

    def __getitem__(self, id: int) -> G:
        """The member with an id."""
        return next(member for member in self.members if member.id == id)

    def next(self, fitness: Mapping[int, float], rng: Random) -> Self:
        """The next generation, of as many members; a pure function of (population, fitness, rng).

        Fitness is shared: a species gets children in proportion to the sum of f / (its size), where f counts
        from the lowest fitness there is. Every species gets `Ranges.least` members first. Its fittest member,
        the champion, lives on unchanged, with its id, and represents the species in the next generation.
        The others are children of the fittest members (`Ranges.parents`) of one species. Children belong
        to the nearest representative, which need not be that of their parents.

        A species without progress is not ended, as it is in NEAT: the number of species is given. Species do
        not mate with each other (0.001 of the children in NEAT).

        Args:
            fitness: by id, more is better. A genome without one (it was in no set) counts as the mean of its
                species. Minus infinity or NaN: it failed, and has no children while others of its species
                did not fail.
            rng: decides.

        Raises:
            InputError: if an id is not that of a member, or a fitness is infinite.
        """
        heir, known = self._heir(), filled(fitness, self.species)
        ranked = [sorted(ids, key=lambda i: (-known[i], i not in fitness, i)) for ids in self.species]
        numbers = offspring(shared(known, self.species), len(self.members), self.ranges.least)
        members, next_id = [], self.next_id
        for ids, number in zip(ranked, numbers, strict=True):
            members.append(self[ids[0]])
            fit = [i for i in ids if known[i] > FAILED] or ids
            parents = fit[: max(1, math.ceil(self.ranges.parents * len(ids)))]
            for id in range(next_id, next_id + number - 1):
                members.append(heir._child(id, parents, known, rng))
            next_id += number - 1
        members.sort(key=lambda member: member.id)
        species = speciate(members, self._distance, self.target, [ids[0] for ids in ranked])
        return replace(heir, members=tuple(members), species=species, next_id=next_id)

    def _child(self, id: int, parents: Sequence[int], fitness: Mapping[int, float], rng: Random) -> G:
        """A child of two parents, or a mutated child of one. A child like one of its two is mutated, too."""
        if len(parents) == 1 or rng.random() >= self.ranges.crossover:
            return self._mutated(self[rng.choice(parents)], id, rng)
        a, b = (self[i] for i in sorted(rng.sample(parents, 2), key=lambda i: -fitness[i]))
        child = self._crossed(a, b, id, fitness[a.id] == fitness[b.id], rng)
        return self._mutated(child, id, rng) if child.genes in (a.genes, b.genes) else child

    def to_json(self) -> dict[str, Any]:
        """The whole state as JSON data; `from_json` gives it back."""
        return {
            "members": [member.to_json() for member in self.members],
            "species": [list(ids) for ids in self.species],
            "ranges": self.ranges.to_json(),
            "target": self.target,
            "next_id": self.next_id,
        }

    def _heir(self) -> Self:
        """The population with copies of what breeding changes."""
        return self

    @abstractmethod
    def _mutated(self, genome: G, id: int, rng: Random) -> G: ...

    @abstractmethod
    def _crossed(self, fitter: G, other: G, id: int, equal: bool, rng: Random) -> G: ...

    @abstractmethod
    def _distance(self, a: G, b: G) -> float: ...


@dataclass(frozen=True)
class ModulePopulation(_Population[ModuleGenome]):
    """Module topologies; see `random` for a first generation, and `next` for those that follow.

    Meyerson (2018, 7.4.2) has 25 modules of two species.
    """

    innovations: Innovations = field(default_factory=Innovations)

    @classmethod
    def random(
        cls, rng: Random, size: int = 25, species: int = 2, ranges: Ranges | None = None
    ) -> ModulePopulation:
        """A first generation of random genomes.

        Args:
            rng: decides.
            size: members.
            species: how many there should be.
            ranges: of genes and mutations.

        Raises:
            InputError: if there are not enough members for the species.
        """
        ranges = ranges or Ranges()
        _check_size(size, species, ranges)
        innovations = Innovations()
        members = tuple(random_genome(id, ranges, innovations, rng) for id in range(size))
        parted = speciate(members, lambda a, b: distance(a, b, ranges), species)
        return cls(members, parted, ranges, species, size, innovations)

    def to_json(self) -> dict[str, Any]:
        """The whole state as JSON data; `from_json` gives it back."""
        return {**super().to_json(), "innovations": self.innovations.to_json()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ModulePopulation:
        """Raises `InputError` if `data` is not a population of modules."""
        state = _state(data, ModuleGenome.from_json, "modules")
        return cls(*state, innovations=Innovations.from_json(data.get("innovations", {})))

    def _heir(self) -> ModulePopulation:
        return replace(self, innovations=self.innovations.copy())

    def _mutated(self, genome: ModuleGenome, id: int, rng: Random) -> ModuleGenome:
        return mutate(genome, id, self.ranges, self.innovations, rng)

    def _crossed(
        self, fitter: ModuleGenome, other: ModuleGenome, id: int, equal: bool, rng: Random
    ) -> ModuleGenome:
        return crossover(fitter, other, id, self.ranges, rng, equal)

    def _distance(self, a: ModuleGenome, b: ModuleGenome) -> float:
        return distance(a, b, self.ranges)


@dataclass(frozen=True)
class GlobalPopulation(_Population[GlobalGenome]):
    """Settings of sets of modules; see `random` for a first generation, and `next` for those that follow.

    The paper prints settings with every module of a set, all alike: they belong to the set. So they are a
    population of their own, of one species, as large as that of the modules.
    """

    @classmethod
    def random(
        cls, rng: Random, size: int = 25, species: int = 1, ranges: Ranges | None = None
    ) -> GlobalPopulation:
        """A first generation of random settings; arguments and errors of `ModulePopulation.random`."""
        ranges = ranges or Ranges()
        _check_size(size, species, ranges)
        members = tuple(random_settings(id, ranges, rng) for id in range(size))
        parted = speciate(members, lambda a, b: settings_distance(a, b, ranges), species)
        return cls(members, parted, ranges, species, size)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> GlobalPopulation:
        """Raises `InputError` if `data` is not a population of settings."""
        return cls(*_state(data, GlobalGenome.from_json, "settings"))

    def _mutated(self, genome: GlobalGenome, id: int, rng: Random) -> GlobalGenome:
        return mutate_settings(genome, id, self.ranges, rng)

    def _crossed(
        self, fitter: GlobalGenome, other: GlobalGenome, id: int, equal: bool, rng: Random
    ) -> GlobalGenome:
        return crossover_settings(fitter, other, id, rng)

    def _distance(self, a: GlobalGenome, b: GlobalGenome) -> float:
        return settings_distance(a, b, self.ranges)


def _check_size(size: int, species: int, ranges: Ranges) -> None:
    if species < 1 or size < species * ranges.least:
        raise InputError(
            f"{size} genomes for {species} species of at least {ranges.least}: give 1 or more species, and "
            "genomes enough"
        )


def _state(
    data: dict[str, Any], genome: Callable[[dict[str, Any]], G], what: str
) -> tuple[tuple[G, ...], tuple[tuple[int, ...], ...], Ranges, int, int]:
    """What both kinds of populations have in their JSON."""
    try:
        members = tuple(genome(member) for member in data["members"])
        species = tuple(tuple(ids) for ids in data["species"])
        state = (members, species, Ranges.from_json(data["ranges"]), data["target"], data["next_id"])
    except (KeyError, TypeError) as error:
        raise InputError(f"not a population of {what}: {error!r} in {str(data)[:80]}") from error
    if sorted(id for ids in species for id in ids) != [member.id for member in members]:
        raise InputError(f"a population of {what} whose species are not its members: {str(species)[:80]}")
    return state


# ------------------------------------------------------------------ sets


def draw_sets(
    modules: ModulePopulation, settings: GlobalPopulation, number: int, rng: Random
) -> list[ModuleSet]:
    """Sets of one random module from each species and random settings (Meyerson 2018, 7.3 and 7.4.3).

    The genomes of a species are dealt like cards, shuffled again when all are dealt, so that each gets
    into nearly as many sets as the others. (The paper has 100 sets of 25 modules.)

    Args:
        modules: their species.
        settings: all of their members.
        number: of sets.
        rng: decides.
    """
    hands = [_dealt(ids, number, rng) for ids in modules.species]
    globals_ = _dealt([genome.id for genome in settings.members], number, rng)
    return [
        ModuleSet(settings[setting], tuple(modules[i] for i in hand))
        for setting, *hand in zip(globals_, *hands, strict=True)
    ]


def _dealt(ids: Sequence[int], number: int, rng: Random) -> list[int]:
    hand: list[int] = []
    while len(hand) < number:
        hand += rng.sample(ids, len(ids))
    return hand[:number]


def attribute(results: Sequence[tuple[ModuleSet, float]]) -> dict[int, float]:
    """The fitness of each module, by id: the mean over the sets that contain it.

    A set that failed (minus infinity or NaN) counts as the worst that did not, so that one bad partner does
    not undo a module; a module whose sets all failed has failed.
    """
    return _credited([([module.id for module in group.modules], f) for group, f in results])


def attribute_settings(results: Sequence[tuple[ModuleSet, float]]) -> dict[int, float]:
    """The fitness of all settings, by id: as `attribute`."""
    return _credited([([group.settings.id], f) for group, f in results])


def _credited(results: Sequence[tuple[Sequence[int], float]]) -> dict[int, float]:
    worst = min((f for _, f in results if f > FAILED), default=FAILED)
    earned: dict[int, list[float]] = {}
    for ids, f in results:
        for id in set(ids):
            earned.setdefault(id, []).append(f)

    def credit(values: list[float]) -> float:
        good = [f for f in values if f > FAILED]
        return mean(good + [worst] * (len(values) - len(good)), FAILED) if good else FAILED

    return {id: credit(values) for id, values in sorted(earned.items())}
