"""Mutation, crossover and distance of genomes."""

import random
from dataclasses import replace

import pytest
from genomes import RANGES, SETTINGS, Bred, genome, layer

from moduli.evolution.genome import Innovations, ModuleGenome
from moduli.evolution.operators import (
    add_edge,
    add_layer,
    crossover,
    crossover_settings,
    delta,
    distance,
    mutate,
    mutate_settings,
    perturb,
    random_genome,
    random_settings,
    remove_edge,
    remove_layer,
    settings_distance,
)
from moduli.evolution.ranges import Ranges


def known(*pairs):
    """A table of innovations with the numbers that `genome` gives."""
    table = Innovations()
    for pair in pairs:
        table.edge(*pair)
    return table


def within(made, ranges):
    """Whether all genes are within their ranges; the graph is checked when a genome is made."""
    low, high = ranges.filters
    return len(made.layers) <= ranges.most_layers and all(
        low <= gene.filters <= high
        and gene.kernel in ranges.kernels
        and ranges.dropout[0] <= gene.dropout <= ranges.dropout[1]
        and gene.activation in ranges.activations
        and gene.merge in ranges.merges
        for gene in made.layers
    )


# ------------------------------------------------------------------ properties over many generations


@pytest.mark.parametrize("seed", range(5))
def test_whatever_is_bred_is_a_module_within_the_ranges(seed):
    ranges = Ranges(filters=(3, 9), kernels=(3, 5), dropout=(0.1, 0.3), most_layers=5)
    bred = Bred(seed, ranges, steps=6)
    for id in range(6, 500):
        child = bred.child(id)  # a graph that is no module raises
        assert child.id == id
        assert within(child, ranges)
        bred.genomes[id % 6] = child
    assert max(len(made.layers) for made in bred.genomes) > 2


def test_equal_edges_have_equal_numbers_in_all_genomes():
    bred = Bred(0)
    number = {}
    for edge in (edge for made in bred.genomes for edge in made.edges):
        assert number.setdefault((edge.start, edge.end), edge.number) == edge.number
    assert len(set(number.values())) == len(number)


def test_breeding_is_determined_by_the_random_numbers():
    assert Bred(3).genomes == Bred(3).genomes
    assert Bred(3).genomes != Bred(4).genomes


def test_random_genomes_are_small_and_unlike():
    rng, innovations = random.Random(0), Innovations()
    made = [random_genome(i, RANGES, innovations, rng) for i in range(50)]
    assert {len(m.layers) for m in made} == {1, 2, 3}
    assert len({m.genes for m in made}) == 50
    smallest = [random_genome(i, replace(RANGES, most_growth=0), innovations, rng) for i in range(9)]
    assert all(m.order == (1,) for m in smallest)


# ------------------------------------------------------------------ single mutations


def test_a_layer_splits_an_edge():
    innovations = Innovations()
    start = ModuleGenome(0, (layer(1),), (innovations.edge(0, 1),))
    made = add_layer(start, RANGES, innovations, random.Random(0))
    assert made.inputs == {1: (2,), 2: (0,)}
    assert made.layers[0] == start.layers[0]
    again = add_layer(start, RANGES, innovations, random.Random(1))
    assert [e.number for e in again.edges] == [e.number for e in made.edges] == [2, 3]


def test_an_edge_is_added_where_it_closes_no_cycle():
    pairs = [(0, 2), (2, 3), (3, 1)]
    made = {add_edge(genome(*pairs), RANGES, known(*pairs), random.Random(s)).edges[3] for s in range(40)}
    assert {(e.start, e.end) for e in made} == {(0, 3), (0, 1), (2, 1)}
    full = genome((0, 2), (2, 1), (0, 1))
    assert add_edge(full, RANGES, Innovations(), random.Random(0)) is None


def test_an_edge_is_removed_only_if_both_ends_have_another():
    full = genome((0, 2), (2, 1), (0, 1))
    made = {remove_edge(full, RANGES, Innovations(), random.Random(s)).order for s in range(20)}
    assert made == {(2, 1)}  # only the edge past the layer is spare
    assert remove_edge(genome((0, 2), (2, 1)), RANGES, Innovations(), random.Random(0)) is None


def test_removing_a_layer_undoes_its_splitting():
    innovations = Innovations()
    start = ModuleGenome(0, (layer(1),), (innovations.edge(0, 1),))
    split = add_layer(start, RANGES, innovations, random.Random(0))
    assert remove_layer(split, RANGES, innovations, random.Random(0)) == start
    assert remove_layer(start, RANGES, innovations, random.Random(0)) is None


def test_genes_are_perturbed_and_the_graph_is_kept():
    start = genome((0, 2), (0, 1), (2, 1))
    seen = {name: set() for name in RANGES.layer_genes}
    for seed in range(60):
        made = perturb(start, RANGES, random.Random(seed))
        assert made.edges == start.edges
        assert made != start
        assert made.layer(1).filters == start.layer(1).filters  # never looked at
        for name, values in seen.items():
            values.add(getattr(made.layer(2), name))
    assert all(len(values) > 1 for values in seen.values())


def test_structural_rates_of_zero_change_genes_only():
    ranges = replace(RANGES, add_layer=0.0, add_edge=0.0, remove_layer=0.0, remove_edge=0.0)
    start = genome((0, 2), (0, 1), (2, 1))
    for seed in range(20):
        assert mutate(start, 1, ranges, Innovations(), random.Random(seed)).edges == start.edges


def test_settings_are_mutated_within_their_ranges():
    rng = random.Random(0)
    genes = random_settings(0, RANGES, rng)
    for id in range(1, 300):
        before, genes = genes, mutate_settings(genes, id, RANGES, rng)
        assert genes.id == id
        assert genes.genes != before.genes or genes.width == before.width
        for name, (low, high) in {"width": RANGES.width, "lr": RANGES.lr}.items():
            assert low <= getattr(genes, name) <= high
        assert RANGES.weight_decay[0] <= genes.weight_decay <= RANGES.weight_decay[1]


# ------------------------------------------------------------------ crossover


@pytest.mark.parametrize("equal", [False, True])
def test_a_genome_crossed_with_itself_is_itself(equal):
    for made in Bred(1).genomes:
        assert crossover(made, made, made.id, RANGES, random.Random(0), equal) == made


def test_the_child_has_the_graph_of_the_fitter_and_layers_of_both():
    bred = Bred(2)
    mixed = 0
    for seed in range(40):
        a, b = bred.rng.sample(bred.genomes, 2)
        child = crossover(a, b, 99, RANGES, random.Random(seed))
        assert child.edges == a.edges
        theirs = {gene.number: gene for gene in b.layers}
        for mine, gene in zip(a.layers, child.layers, strict=True):
            assert gene in (mine, theirs.get(mine.number, mine))
            mixed += gene != mine
    assert mixed > 10


def test_of_equally_fit_parents_the_child_has_the_genes_of_both():
    innovations = Innovations()
    edges = {pair: innovations.edge(*pair) for pair in [(0, 1), (0, 2), (2, 1), (0, 3), (3, 1)]}
    a = ModuleGenome(0, (layer(1), layer(2)), (edges[0, 2], edges[2, 1]))
    b = ModuleGenome(1, (layer(1), layer(3)), (edges[0, 3], edges[3, 1]))
    child = crossover(a, b, 2, RANGES, random.Random(0), equal=True)
    assert child.edges == (edges[0, 2], edges[2, 1], edges[0, 3], edges[3, 1])
    narrow = replace(RANGES, most_layers=2)
    assert crossover(a, b, 2, narrow, random.Random(0), equal=True).edges == a.edges


def test_genes_of_both_parents_that_would_close_a_cycle_are_left_out():
    innovations = Innovations()
    three = (layer(1), layer(2), layer(3))
    a = ModuleGenome(0, three, tuple(innovations.edge(*p) for p in [(0, 2), (2, 3), (3, 1)]))
    b = ModuleGenome(1, three, tuple(innovations.edge(*p) for p in [(0, 3), (3, 2), (2, 1)]))
    child = crossover(a, b, 2, RANGES, random.Random(0), equal=True)
    assert {(e.start, e.end) for e in child.edges} == {(0, 2), (2, 3), (3, 1), (0, 3), (2, 1)}


def test_a_layer_that_this_leaves_without_an_end_is_left_out_too():
    innovations = Innovations()
    a, b = (
        ModuleGenome(id, tuple(layer(n) for n in layers), tuple(innovations.edge(*p) for p in pairs))
        for id, layers, pairs in [
            (0, (1, 2, 4), [(0, 2), (2, 4), (4, 1)]),
            (1, (1, 2, 4, 5), [(0, 4), (4, 5), (5, 2), (2, 1)]),
        ]
    )
    child = crossover(a, b, 2, RANGES, random.Random(0), equal=True)
    assert set(child.order) == {1, 2, 4}
    assert {(e.start, e.end) for e in child.edges} == {(0, 2), (2, 4), (4, 1), (0, 4), (2, 1)}


def test_each_setting_comes_from_either_parent():
    a, b = SETTINGS, replace(SETTINGS, width=8, lr=1e-3, weight_decay=1e-5, initialiser="he_uniform")
    children = [crossover_settings(a, b, 5, random.Random(s)).genes for s in range(200)]
    assert all(gene in pair for c in children for gene, *pair in zip(c, a.genes, b.genes, strict=True))
    assert len(set(children)) == 16


# ------------------------------------------------------------------ distance


def test_the_worked_example_of_the_distance():
    """Matching genes differ by 0.2, 0.4, 0; one gene is disjoint, two are excess: 2 + 1 + 0.4 * 0.2."""
    assert delta([1, 2, 3, 4], [1, 2, 3, 5, 6], [0.2, 0.4, 0.0], Ranges()) == pytest.approx(3.08)


def test_the_distance_of_large_genomes_is_per_gene():
    a, b = range(1, 41), range(1, 36)
    assert delta(a, b, [0.0], Ranges(c1=2.0)) == pytest.approx(2 * 5 / 40)


def test_the_distance_of_genomes_by_hand():
    a, b = genome((0, 1)), genome((0, 1), (0, 2), (2, 1))
    assert distance(a, b, RANGES) == pytest.approx(2.0)  # two excess edges, and equal last layers
    kernel = replace(a, layers=(layer(1, kernel=1, filters=16),))
    assert distance(a, kernel, RANGES) == pytest.approx(
        0.4 / 4
    )  # one of four genes; filters are not looked at
    assert distance(a, replace(a, layers=(layer(1, dropout=0.45),)), RANGES) == pytest.approx(0.4 / 8)


def test_distances_are_symmetric_and_zero_to_itself():
    bred = Bred(5)
    for a in bred.genomes:
        assert distance(a, a, RANGES) == 0
        for b in bred.genomes:
            assert distance(a, b, RANGES) == pytest.approx(distance(b, a, RANGES))
            assert (distance(a, b, RANGES) > 0) == (a.genes != b.genes) or a is b


def test_the_distance_of_settings_is_the_mean_difference():
    other = replace(SETTINGS, lr=1.8e-3, initialiser="he_normal")
    assert settings_distance(SETTINGS, other, Ranges(width=(1, 99))) == pytest.approx(0.4 * (0.5 + 1) / 4)
