"""Populations: species, fitness sharing, champions, sets and their fitness."""

import copy
import json
import math
import random
from collections import Counter
from dataclasses import replace

import pytest
from genomes import RANGES, SETTINGS, genome

from moduli.errors import InputError
from moduli.evolution.evolved import ModuleSet
from moduli.evolution.population import (
    GlobalPopulation,
    ModulePopulation,
    attribute,
    attribute_settings,
    draw_sets,
)
from moduli.evolution.species import FAILED, filled, offspring, shared, speciate

KINDS = [ModulePopulation, GlobalPopulation]


def modules(seed=0, size=12, species=2, ranges=RANGES):
    return ModulePopulation.random(random.Random(seed), size, species, ranges)


def layers_of(population):
    """A fitness: the share of layers that a module may have."""
    return {m.id: len(m.layers) / RANGES.most_layers for m in population.members}


class Point:
    """A genome on a line."""

    def __init__(self, id, at):
        self.id, self.at = id, at


def parted(places, target, representatives=()):
    points = [Point(id, at) for id, at in enumerate(places)]
    return speciate(points, lambda a, b: abs(a.at - b.at), target, representatives)


# ------------------------------------------------------------------ species


def test_genomes_join_the_nearest_representative():
    assert parted([0, 10, 1, 9, 4], 2) == ((0, 2, 4), (1, 3))


def test_as_many_species_as_wanted_if_there_are_unlike_genomes():
    assert [len(parted([0, 10, 1, 9, 5], n)) for n in (1, 2, 3, 4, 5, 6)] == [1, 2, 3, 4, 5, 5]
    assert parted([3, 3, 3], 2) == ((0, 1, 2),)


def test_representatives_keep_their_species():
    assert parted([0, 10, 1, 9, 100], 2, [1, 0]) == ((1, 3, 4), (0, 2))
    assert parted([5, 5, 5], 2, [2, 0]) == ((2, 1), (0,))
    assert parted([0, 10, 1], 2, [1]) == ((1,), (0, 2))  # one was left: another is founded
    assert parted([0, 10, 1], 1, [1, 0]) == ((1, 0, 2),)


@pytest.mark.parametrize("kind", KINDS)
def test_species_are_as_many_as_wanted_in_every_generation(kind):
    rng = random.Random(0)
    population = kind.random(rng, 10, 2, RANGES)
    for _ in range(60):
        assert len(population.species) == 2
        assert sorted(i for ids in population.species for i in ids) == [m.id for m in population.members]
        assert len(population.members) == 10
        population = population.next({m.id: rng.random() for m in population.members}, rng)
    assert population.next_id > 400


def test_a_species_is_a_line_of_descent():
    """The champion of the first species leads the first species on, whoever else joins."""
    population, rng = modules(size=20), random.Random(1)
    for _ in range(20):
        fitness = {m.id: rng.random() for m in population.members}
        champions = [max(ids, key=fitness.__getitem__) for ids in population.species]
        population = population.next(fitness, rng)
        assert [ids[0] for ids in population.species] == champions


# ------------------------------------------------------------------ fitness


def test_fitness_that_is_not_known_is_the_mean_of_the_species():
    species = [(0, 1, 2), (3, 4), (5,)]
    known = filled({0: 0.2, 1: 0.6, 3: FAILED}, species)
    assert known == {0: 0.2, 1: 0.6, 2: pytest.approx(0.4), 3: FAILED, 4: pytest.approx(0.4), 5: known[4]}
    assert filled({}, species) == dict.fromkeys(range(6), 0.0)
    assert filled({0: math.nan}, [(0,)]) == {0: FAILED}


def test_fitness_is_shared_within_a_species():
    """A species of many is not worth more than a good one of few."""
    assert shared({0: 3.0, 1: 1.0, 2: 2.0}, [(0,), (1, 2)]) == [2.0, 0.5]
    assert shared({0: -3.0, 1: FAILED, 2: -5.0}, [(0, 1), (2,)]) == [1.0, 0.0]


def test_offspring_are_in_proportion_with_a_minimum():
    assert offspring([3.0, 1.0], 12, 2) == [8, 4]
    assert offspring([1.0, 0.0], 12, 2) == [10, 2]
    assert offspring([0.0, 0.0], 7, 2) == [4, 3]
    assert offspring([1.0, 1.0, 1.0], 11, 1) == [4, 4, 3]


# ------------------------------------------------------------------ generations


@pytest.mark.parametrize("kind", KINDS)
def test_the_champion_of_each_species_lives_on(kind):
    rng = random.Random(3)
    population = kind.random(rng, 12, 2, RANGES)
    for _ in range(15):
        fitness = {m.id: rng.random() for m in population.members}
        champions = [max(ids, key=fitness.__getitem__) for ids in population.species]
        heir = population.next(fitness, rng)
        assert [heir[i] for i in champions] == [population[i] for i in champions]
        assert {m.id for m in heir.members} & set(fitness) == set(champions)
        population = heir


@pytest.mark.parametrize("kind", KINDS)
def test_next_is_a_pure_function(kind):
    population = kind.random(random.Random(0), 12, 2, RANGES)
    for _ in range(5):
        before, fitness = copy.deepcopy(population), {m.id: m.id % 3 for m in population.members}
        heir = population.next(fitness, random.Random(1))
        assert population == before
        assert population.next(fitness, random.Random(1)) == heir
        assert population.next(fitness, random.Random(2)) != heir
        population = heir


def test_evolution_goes_where_fitness_is():
    population, rng = modules(size=16), random.Random(0)
    start = sum(layers_of(population).values()) / 16
    for _ in range(15):
        population = population.next(layers_of(population), rng)
    assert sum(layers_of(population).values()) / 16 > start + 0.4

    settings = GlobalPopulation.random(rng, 16, ranges=RANGES)
    for _ in range(25):
        settings = settings.next({m.id: -abs(math.log(m.lr / 2e-3)) for m in settings.members}, rng)
    best = settings[settings.species[0][0]]
    assert best.lr == pytest.approx(2e-3, rel=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_failures_break_nothing_and_have_no_children(kind):
    population = kind.random(random.Random(0), 8, 2, RANGES)
    for fitness in (
        {m.id: FAILED for m in population.members},
        {m.id: math.nan for m in population.members},
        {},
        {population.members[0].id: FAILED},
        dict.fromkeys(population.species[0], FAILED) | dict.fromkeys(population.species[1], 1.0),
    ):
        heir = population.next(fitness, random.Random(0))
        assert len(heir.members) == 8
        assert len(heir.species) == 2

    only = population.species[0][-1]
    fitness = dict.fromkeys(population.species[0], FAILED) | {only: -1.0}
    for seed in range(10):
        assert population.next(fitness, random.Random(seed)).species[0][0] == only


def test_children_are_those_of_genomes_that_did_not_fail():
    genes_only = {"add_layer": 0.0, "add_edge": 0.0, "remove_layer": 0.0, "remove_edge": 0.0}
    population = modules(species=1, ranges=replace(RANGES, **genes_only))
    parent = next(m for m in population.members if len(m.layers) == 3)
    fitness = {m.id: FAILED for m in population.members if m != parent} | {parent.id: -1.0}
    heir = population.next(fitness, random.Random(0))
    assert all(member.edges == parent.edges for member in heir.members)


def test_a_known_champion_is_preferred_to_one_with_the_same_supposed_fitness():
    population = modules()
    last = population.species[0][-1]
    assert population.next({last: 0.5}, random.Random(0)).species[0][0] == last


def test_the_fitness_of_strangers_is_refused():
    with pytest.raises(InputError, match="genome 99"):
        modules().next({99: 1.0}, random.Random(0))
    with pytest.raises(InputError, match="inf"):
        modules().next({0: math.inf}, random.Random(0))


def test_too_few_genomes_for_the_species_are_refused():
    with pytest.raises(InputError, match="3 genomes for 2 species of at least 2"):
        modules(size=3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_population_is_saved_and_goes_on_alike(kind):
    population = kind.random(random.Random(0), 8, 2, RANGES)
    for step in range(4):
        back = kind.from_json(json.loads(json.dumps(population.to_json())))
        assert back == population
        fitness = {m.id: -m.id for m in population.members}
        population = population.next(fitness, random.Random(step))
        assert back.next(fitness, random.Random(step)) == population
    with pytest.raises(InputError, match="not a population"):
        kind.from_json({"members": []})
    with pytest.raises(InputError, match="species"):
        kind.from_json({**population.to_json(), "species": [[0]]})


# ------------------------------------------------------------------ sets


def drawn(number=24, seed=0):
    population = modules()
    settings = GlobalPopulation.random(random.Random(1), 6, ranges=RANGES)
    return population, settings, draw_sets(population, settings, number, random.Random(seed))


def test_a_set_has_one_module_of_each_species():
    population, settings, sets = drawn()
    assert len(sets) == 24
    for group in sets:
        assert [m.id in ids for m, ids in zip(group.modules, population.species, strict=True)] == [True, True]
        assert group.settings in settings.members
    assert drawn()[2] == sets
    assert drawn(seed=1)[2] != sets


def test_the_genomes_of_a_species_get_into_equally_many_sets():
    population, _, sets = drawn(25)
    for position, ids in enumerate(population.species):
        counts = Counter(group.modules[position].id for group in sets)
        assert set(counts) == set(ids)
        assert max(counts.values()) - min(counts.values()) <= 1
    assert set(Counter(group.settings.id for group in sets).values()) == {4, 5}


def test_modules_are_credited_with_the_mean_of_their_sets():
    """A in sets with fitness 0.5 and 0.7, B in one with 0.7: A 0.6, B 0.7."""
    a, b, c = (genome((0, 1), id=i) for i in (10, 11, 12))
    results = [(ModuleSet(SETTINGS, (a, c)), 0.5), (ModuleSet(SETTINGS, (a, b)), 0.7)]
    assert attribute(results) == {10: pytest.approx(0.6), 11: 0.7, 12: 0.5}
    assert attribute_settings(results) == {SETTINGS.id: pytest.approx(0.6)}


def test_a_failed_set_counts_as_the_worst_of_the_others():
    a, b, c = (genome((0, 1), id=i) for i in (10, 11, 12))
    results = [(ModuleSet(SETTINGS, pair), f) for pair, f in [((a,), 0.6), ((b,), 0.2), ((a, c), FAILED)]]
    assert attribute(results) == {10: pytest.approx(0.4), 11: 0.2, 12: FAILED}
    assert attribute([(ModuleSet(SETTINGS, (a,)), math.nan)]) == {10: FAILED}
    assert attribute([]) == {}


def test_two_species_and_four_modules_are_two_architectures():
    _, _, sets = drawn()
    group = ModuleSet.from_json(json.loads(json.dumps(sets[0].to_json())))
    assert group == sets[0]
    pool = [group.make(k, axes=3) for k in range(4)]
    assert [m.genome for m in pool] == [*group.modules, *group.modules]
    weights = [next(m.parameters()) for m in pool]
    assert not weights[0].equal(weights[2])
    with pytest.raises(InputError, match="not a set"):
        ModuleSet.from_json({"modules": []})
