"""Genomes: what is a module and what is not, JSON, ranges, innovation numbers."""

import json
import random
from dataclasses import replace

import pytest
from genomes import SETTINGS, genome, layer

from moduli.errors import InputError
from moduli.evolution.genome import GlobalGenome, Innovations, ModuleGenome
from moduli.evolution.ranges import Choice, Interval, Ranges

# ------------------------------------------------------------------ graphs


def test_the_smallest_genome_is_one_layer():
    assert genome((0, 1)).order == (1,)


def test_the_module_of_the_papers_figure():
    """Fig. 7.4 b: input to 4 and 3, 4 to 5, and 3, 4, 5 merged into the last."""
    made = genome((0, 4), (0, 3), (4, 5), (3, 1), (4, 1), (5, 1))
    assert made.inputs[1] == (3, 4, 5)
    assert made.order.index(4) < made.order.index(5) < made.order.index(1)


def test_layers_and_edges_are_kept_in_the_order_of_their_numbers():
    a = genome((0, 2), (2, 1))
    b = ModuleGenome(0, tuple(reversed(a.layers)), tuple(reversed(a.edges)))
    assert a == b
    assert a.genes == replace(a, id=7).genes


@pytest.mark.parametrize(
    ("pairs", "layers", "says"),
    [
        ([(0, 2), (2, 3), (3, 2), (3, 1)], None, "cycle"),
        ([(0, 1), (2, 1)], None, "layer 2"),
        ([(0, 1), (0, 2)], None, "layer 2"),
        ([(0, 1)], [1, 2], "layer 2"),
        ([(0, 1), (0, 2), (2, 1)], [1], "no layer 2"),
        ([(0, 1), (1, 2)], None, "layer 2"),
        ([(0, 2)], [2], "no layer 1"),
        ([(0, 1), (0, 1)], None, "equal numbers or ends"),
        ([(0, 1), (1, 0)], [1], "no layer 0"),
    ],
)
def test_what_is_no_module(pairs, layers, says):
    with pytest.raises(InputError, match=says):
        genome(*pairs, layers=layers)


@pytest.mark.parametrize(
    ("gene", "says"),
    [
        ({"filters": 0}, "filters"),
        ({"kernel": 2}, "odd"),
        ({"dropout": 1.0}, "dropout"),
        ({"activation": "relo"}, "did you mean 'relu'"),
        ({"merge": "product"}, "concat"),
    ],
)
def test_impossible_layers_are_refused(gene, says):
    with pytest.raises(InputError, match=says):
        layer(2, **gene)


@pytest.mark.parametrize(
    "gene", [{"width": 0}, {"lr": 0.0}, {"weight_decay": -1.0}, {"initialiser": "zeros"}]
)
def test_impossible_settings_are_refused(gene):
    with pytest.raises(InputError, match=str(next(iter(gene.values())))):
        replace(SETTINGS, **gene)


# ------------------------------------------------------------------ JSON


def there_and_back(thing):
    return type(thing).from_json(json.loads(json.dumps(thing.to_json())))


def test_json_there_and_back():
    made = genome((0, 2), (0, 1), (2, 1), id=12)
    assert there_and_back(made) == made
    assert there_and_back(SETTINGS) == SETTINGS
    ranges = Ranges(filters=(8, 32), kernels=(1, 3, 5), c3=1.0)
    assert there_and_back(ranges) == ranges


@pytest.mark.parametrize("kind", [ModuleGenome, GlobalGenome, Innovations])
@pytest.mark.parametrize("data", [{}, {"id": 1, "edges": [], "layers": [{"number": 1}]}, {"edges": 3}])
def test_what_is_no_genome_in_json(kind, data):
    with pytest.raises(InputError, match="not a"):
        kind.from_json(data)


# ------------------------------------------------------------------ innovations


def test_the_same_change_has_the_same_number():
    table = Innovations()
    first, second = table.edge(0, 1), table.edge(0, 2)
    assert (first.number, second.number) == (1, 2)
    assert table.edge(0, 1) == first
    assert table.layer(0, 1) == table.layer(0, 1) == 2
    assert table.layer(0, 2) == 3


def test_an_edge_that_is_split_again_gives_another_layer():
    table = Innovations()
    assert table.layer(0, 1) == 2
    assert table.layer(0, 1, taken=[1, 2]) == 3
    assert table.layer(2, 1, taken=[1, 2, 3]) == 4
    assert table.layer(0, 1, taken=[1, 2]) == 3
    assert table.layer(0, 1, taken=[1, 3]) == 2


def test_innovations_are_saved_and_copies_grow_apart():
    table = Innovations()
    table.edge(0, 1), table.layer(0, 1), table.edge(0, 2), table.layer(0, 2), table.layer(0, 1, [2])
    back = there_and_back(table)
    assert back == table
    assert back.layer(0, 1, taken=[2]) == 4
    assert back.edge(2, 1) == table.copy().edge(2, 1)
    assert back != table


# ------------------------------------------------------------------ ranges


def test_numbers_are_drawn_over_all_of_their_range():
    rng = random.Random(0)
    whole = Interval(8, 11, whole=True)
    assert {whole.draw(rng) for _ in range(200)} == {8, 9, 10, 11}
    rates = [Interval(1e-4, 1e-2, log=True).draw(rng) for _ in range(2000)]
    assert all(1e-4 <= r <= 1e-2 for r in rates)
    assert sum(r < 1e-3 for r in rates) / 2000 == pytest.approx(0.5, abs=0.05)  # the middle on a log scale


def test_perturbed_numbers_stay_near_and_within_the_range():
    rng = random.Random(0)
    near = [Interval(0.0, 1.0).near(0.5, 0.2, rng) for _ in range(500)]
    assert 0.3 <= min(near) < 0.32
    assert 0.68 < max(near) <= 0.7
    ends = [Interval(1e-4, 1e-2, log=True).near(1e-2, 0.5, rng) for _ in range(500)]
    assert min(ends) >= 1e-3 * (1 - 1e-9)
    assert max(ends) == 1e-2


def test_a_value_of_other_ranges_is_drawn_in():
    rng = random.Random(0)
    assert all(8 <= Interval(8, 32, whole=True).near(500, 0.2, rng) <= 32 for _ in range(50))
    assert Interval(1e-9, 1e-3, log=True).near(0.0, 0.0, rng) == pytest.approx(1e-9)


def test_differences_are_shares_of_the_range():
    assert Interval(0, 10).difference(2, 7) == 0.5
    assert Interval(1e-4, 1e-2, log=True).difference(1e-3, 1e-2) == pytest.approx(0.5)
    assert Interval(8, 8).difference(8, 8) == 0
    assert Choice((1, 3)).difference(1, 3) == 1
    assert Choice((1, 3)).difference(3, 3) == 0


def test_choices_change_to_another_value():
    rng = random.Random(0)
    assert {Choice((1, 3, 5)).near(3, 0.2, rng) for _ in range(50)} == {1, 5}
    assert Choice((3,)).near(3, 0.2, rng) == 3


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"filters": (32, 8)}, "filters"),
        ({"filters": (8.5, 32)}, "whole"),
        ({"width": 32}, "least and the greatest"),
        ({"dropout": (0, 1.0)}, "below 1"),
        ({"lr": (0, 0.1)}, "logarithmic"),
        ({"weight_decay": (-1, 0.1)}, "weight_decay"),
        ({"kernels": (2,)}, "odd"),
        ({"kernels": ()}, "odd"),
        ({"activations": ("tanh",)}, "relu"),
        ({"merges": "sum"}, "merges"),
        ({"initialisers": ("he",)}, "initialisers"),
        ({"most_layers": 0}, "most_layers"),
        ({"add_layer": 0.9, "add_edge": 0.9}, "add up"),
        ({"crossover": 1.5}, "crossover"),
        ({"spread": float("nan")}, "spread"),
        ({"c1": -1}, "c1"),
        ({"least": 0}, "least"),
    ],
)
def test_impossible_ranges_are_refused(values, says):
    with pytest.raises(InputError, match=says):
        Ranges(**values)


def test_an_unknown_range_is_named():
    with pytest.raises(InputError, match="did you mean 'filters'"):
        Ranges.from_json({"filter": [8, 32]})
