"""Routes that grew by mutation: planned together they give what each gives by itself, in few calls."""

from __future__ import annotations

import pytest
import torch
from interpreter import assert_same, interpret
from synthetic import Counting
from torch import nn

from moduli import Apply, Conv, Dense, Merge, Route, RoutedStructure, chain
from moduli.evolution.mutation import draw
from moduli.sharing.grouping import grouped
from moduli.sharing.values import PoolInfo, Values

MODULES = range(3)


def evolved(tasks: int, mutations: int, seed: int, pooling: bool, challengers: int = 1) -> dict[str, Route]:
    """For each task a champion after some mutations, as `task/0`, and challengers with one more each."""
    torch.manual_seed(seed)
    routes = {}
    for task in range(tasks):
        champion = chain(MODULES, pooling)
        for _ in range(mutations):
            champion = mutated(champion)
        candidates = [champion, *(mutated(champion) for _ in range(challengers))]
        routes |= {f"{task}/{number}": route for number, route in enumerate(candidates)}
    return routes


def mutated(route: Route) -> Route:
    mutation = draw(route, MODULES)
    assert mutation is not None
    return mutation.apply(route)[0]


def ready(pool: list[nn.Module], routes: dict[str, Route], limit: int | None = None) -> RoutedStructure:
    structure = RoutedStructure(pool, routes, limit=limit)
    for p in structure.parameters():
        nn.init.normal_(p, std=0.5)
    return structure.double()


def inputs(routes: dict[str, Route], shape: tuple[int, ...], kind: str) -> dict[str, torch.Tensor]:
    """The candidates of a task have one input; `kind` says whether the tasks have, and equal batches."""
    tasks = dict.fromkeys(key.split("/")[0] for key in routes)
    sizes = {"own": lambda n: 2, "of other sizes": lambda n: 1 + n, "one for all": lambda n: 3}[kind]
    made = [torch.randn(sizes(n), *shape, dtype=torch.float64, requires_grad=True) for n in range(len(tasks))]
    of = {task: made[0 if kind == "one for all" else n] for n, task in enumerate(tasks)}
    return {key: of[key.split("/")[0]] for key in routes}


KINDS = pytest.mark.parametrize("kind", ["own", "of other sizes", "one for all"])
LIMITS = pytest.mark.parametrize("limit", [None, 0, 300], ids=["unlimited", "unbatched", "small chunks"])


@KINDS
@LIMITS
@pytest.mark.parametrize("mutations", [0, 3, 12])
def test_dense_pool(mutations, kind, limit):
    routes = evolved(3, mutations, seed=mutations, pooling=False, challengers=2)
    structure = ready([Dense(4), Dense(4), nn.Linear(4, 4)], routes, limit)
    assert_same(structure, inputs(routes, (4,), kind))


@KINDS
@LIMITS
@pytest.mark.parametrize("mutations", [0, 3, 10])
@pytest.mark.parametrize("channels", [1, 3])
def test_convolutional_pool(mutations, kind, limit, channels):
    """With fewer channels than the pool's, too: soft merges count what is missing as zeros."""
    routes = evolved(2, mutations, seed=mutations, pooling=True)
    structure = ready([Conv(3), Conv(3, 1), Conv(3)], routes, limit)
    assert_same(structure, inputs(routes, (channels, 9, 13), kind))


def test_some_of_the_candidates():
    routes = evolved(3, 6, seed=0, pooling=False)
    structure = ready([Dense(4) for _ in MODULES], routes)
    hidden = inputs(routes, (4,), "own")
    some = {key: hidden[key] for key in ("2/1", "0/0", "0/1")}
    torch.testing.assert_close(structure(some), interpret(structure, some))


def test_float_images_whatever_their_layout():
    """On a CPU convolutions put channels last; neither the input's layout nor single precision matter."""
    routes = evolved(2, 5, seed=1, pooling=True)
    structure = ready([Conv(3) for _ in MODULES], routes).float()
    for layout in (torch.contiguous_format, torch.channels_last):
        hidden = {k: x.float().to(memory_format=layout) for k, x in inputs(routes, (3, 8, 8), "own").items()}
        torch.testing.assert_close(structure(hidden), interpret(structure, hidden))


# ------------------------------------------------------------------ dropout


def test_dropout_draws_one_mask_for_what_candidates_share():
    """What champion and challenger share is computed once, mask included; what follows has its own."""
    shared = Route((Apply(0, 0), Apply(1, 1)), 2)
    longer = Route((Apply(0, 0), Apply(1, 1), Apply(2, 2)), 3)
    routes = {"t/0": shared, "t/1": shared, "t/2": longer}
    structure = RoutedStructure([nn.Linear(500, 500) for _ in MODULES], routes, dropout=0.5)
    x = torch.randn(1, 500)
    outputs = structure.train()(dict.fromkeys(structure.routes, x))
    assert torch.equal(outputs["t/0"], outputs["t/1"])
    last = structure.modules_pool[2](outputs["t/0"])
    kept = outputs["t/2"] != 0
    torch.testing.assert_close(outputs["t/2"][kept], 2 * last[kept])
    assert 150 < kept.sum() < 350


def test_dropout_is_drawn_anew_for_every_task():
    structure = RoutedStructure([nn.Linear(500, 500)], {"a": chain([0]), "b": chain([0])}, dropout=0.5)
    x = torch.ones(1, 500)
    outputs = structure.train()({"a": x, "b": x.clone()})
    assert not torch.equal(outputs["a"] == 0, outputs["b"] == 0)


def test_evolved_routes_without_dropout_at_evaluation():
    routes = evolved(2, 6, seed=3, pooling=True)
    structure = RoutedStructure([Conv(2) for _ in MODULES], routes, dropout=0.5).double().eval()
    assert_same(structure, inputs(routes, (2, 8, 8), "own"))


# ------------------------------------------------------------------ channels of zeros


def test_a_merge_counts_missing_channels_as_zeros():
    route = Route((Apply(0, 0), Merge((0, 1))), 2)
    structure = ready([Conv(3)], {"t": route})
    x = torch.randn(2, 1, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        assert structure.scales is not None
        structure.scales.copy_(torch.tensor([0.0, -torch.inf]))
    y = structure({"t": x})["t"]
    torch.testing.assert_close(y[:, :1], x)
    assert not y[:, 1:].any()


# ------------------------------------------------------------------ few calls


def counted(routes: dict[str, Route], **options) -> RoutedStructure:
    return RoutedStructure([Counting(nn.Linear(4, 4)) for _ in MODULES], routes, **options).double()


def test_a_kind_waits_until_more_of_it_is_ready():
    """Task b applies module 1 first, so its module 0 is ready late: task a's waits for it."""
    structure = counted({"a": chain([0, 2]), "b": chain([1, 0, 2])})
    x = torch.randn(1, 4, dtype=torch.float64)
    structure({"a": x, "b": x.clone()})
    assert [module.calls for module in structure.modules_pool] == [1, 1, 1]


def test_merges_of_other_widths_are_one_step():
    routes = {
        "a": Route((Apply(0, 0), Merge((0, 1))), 2),
        "b": Route((Apply(0, 0), Apply(1, 0), Merge((0, 1, 2))), 3),
    }
    structure = counted(routes)
    structure({t: torch.randn(1, 4, dtype=torch.float64) for t in routes})
    (plan,) = structure._plans.values()
    assert [type(step).__name__ for step in plan.steps].count("MergeStep") == 1


@pytest.mark.parametrize("mutations", [0, 4, 15])
def test_a_resolution_is_finished_before_the_next_begins(mutations):
    """So there is one pooling from each resolution to the next, for all tasks and candidates."""
    routes = evolved(5, mutations, seed=2, pooling=True)
    structure = RoutedStructure([Conv(2) for _ in MODULES], routes)
    structure.limit = None
    structure({k: x.float() for k, x in inputs(routes, (2, 8, 8), "own").items()})
    (plan,) = structure._plans.values()
    assert [type(step).__name__ for step in plan.steps].count("PoolStep") == 3


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_computed_after_their_inputs_and_each_value_once(seed):
    routes = evolved(4, 8, seed, pooling=True)
    row = {(k, n): i for i, (k, n) in enumerate((k, n) for k, r in routes.items() for n in r.merges)}
    pool = PoolInfo((None,) * 3, (False,) * 3, (seed % 2 == 0,) * 3, (2,) * 3)
    values = Values([(1, 2, 8, 8)] * 4, pool, True)
    for key, route in routes.items():
        values.of_route(key, route, int(key.split("/")[0]), row)
    done = set(range(4))
    for made in grouped(values.all, 4, pool, 500):
        assert all(set(values.all[n].inputs) <= done for n in made.values)
        assert not done & set(made.values)
        assert len({values.all[n].operation[0] for n in made.values}) == 1
        done |= set(made.values)
    assert done == set(range(len(values.all)))
