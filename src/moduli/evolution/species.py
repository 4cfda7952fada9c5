"""Species and what they are given: partition, shared fitness, number of offspring. Pure functions.

After NEAT (Stanley & Miikkulainen 2002), with a given number of species instead of a given threshold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from moduli.errors import InputError
from moduli.evolution.genome import GlobalGenome, ModuleGenome

G = TypeVar("G", ModuleGenome, GlobalGenome)
FAILED = -math.inf
"""The fitness of a genome whose evaluations all failed."""


def speciate(
    members: Sequence[G], distance: Callable[[G, G], float], target: int, representatives: Sequence[int] = ()
) -> tuple[tuple[int, ...], ...]:
    """Parts genomes into species: each joins the nearest representative, of equally near ones the first.

    If there are too few representatives, the genome that is farthest from all of them founds a species,
    again and again until there are `target`, or all genomes are equal to a representative. Its distance
    then is the threshold of NEAT, as high as it can be for this number of species.

    Args:
        members: genomes.
        distance: between two of them.
        target: how many species there should be.
        representatives: ids of members that represented species so far; the first `target` of them lead.
            Without any, the first member does.

    Returns:
        For each species the ids of its members, its representative first, the others in the members' order.
    """
    genomes = {member.id: member for member in members}
    leaders = list(representatives[:target]) or [members[0].id]
    apart = {i: [distance(genomes[i], genomes[leader]) for leader in leaders] for i in genomes}
    while len(leaders) < target:
        farthest = max(genomes, key=lambda i: min(apart[i]))  # of equally far ones the first
        if min(apart[farthest]) == 0:
            break
        leaders.append(farthest)
        for i in genomes:
            apart[i].append(distance(genomes[i], genomes[farthest]))
    species = {leader: [leader] for leader in leaders}
    for i in genomes:
        if i not in species:
            species[leaders[apart[i].index(min(apart[i]))]].append(i)
    return tuple(tuple(ids) for ids in species.values())


def filled(fitness: Mapping[int, float], species: Sequence[Sequence[int]]) -> dict[int, float]:
    """The fitness of every member: `FAILED` if it failed, the mean of its species if it has none.

    The mean is over those that did not fail; if a species has none, over the whole population; else 0.

    Raises:
        InputError: if an id is in no species, or a fitness is infinite.
    """
    ids = [i for members in species for i in members]
    for i, f in fitness.items():
        if i not in ids or f == math.inf:
            raise InputError(f"fitness {f} of genome {i}: give numbers for members, {min(ids)} to {max(ids)}")
    known = {i: f if f > FAILED else FAILED for i, f in fitness.items()}  # NaN is a failure
    overall = mean([f for f in known.values() if f > FAILED], 0.0)
    for members in species:
        found = [known[i] for i in members if i in fitness and known[i] > FAILED]
        known |= {i: mean(found, overall) for i in members if i not in fitness}
    return known


def shared(fitness: Mapping[int, float], species: Sequence[Sequence[int]]) -> list[float]:
    """The sum of shared fitness of each species, f / (its size), where f counts from the lowest of all.

    A failed genome counts as the lowest one that did not fail.
    """
    lowest = min((f for f in fitness.values() if f > FAILED), default=0.0)
    return [mean([max(fitness[i] - lowest, 0.0) for i in ids], 0.0) for ids in species]


def offspring(shares: Sequence[float], size: int, least: int) -> list[int]:
    """How many members each species has next: `least`, and of the rest in proportion to its share.

    What is left by rounding down goes to the largest remainders. Shares that are all 0 count as equal.
    """
    rest, total = size - least * len(shares), sum(shares)
    exact = [rest * (share / total if total else 1 / len(shares)) for share in shares]
    numbers = [math.floor(e) for e in exact]
    order = sorted(range(len(shares)), key=lambda s: (numbers[s] - exact[s], s))
    for s in order[: rest - sum(numbers)]:
        numbers[s] += 1
    return [least + number for number in numbers]


def mean(values: Sequence[float], default: float) -> float:
    """The mean, or a default where there are no values."""
    return sum(values) / len(values) if values else default
