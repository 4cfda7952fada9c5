"""Planned, batched execution gives what interpreting every route by itself gives."""

from __future__ import annotations

import copy

import pytest
import torch
from interpreter import assert_same, interpret, interpret_route, routes_text
from synthetic import Counting
from torch import nn

from moduli import (
    Apply,
    Conv,
    Dense,
    InputError,
    Merge,
    PadChannels,
    Route,
    RoutedStructure,
    chain,
    hard,
    permuted,
    single,
    soft,
    soft_order,
)  # fmt: skip

TASKS = ("a", "b", "c")
LIMITS = pytest.mark.parametrize("limit", [None, 0, 40], ids=["unlimited", "unbatched", "small chunks"])
INPUTS = pytest.mark.parametrize("kind", ["equal batches", "other batches", "one tensor", "two of three"])


def given(kind: str, shape: tuple[int, ...]) -> dict[str, torch.Tensor]:
    def x(n):
        return torch.randn(n, *shape, dtype=torch.float64, requires_grad=True)

    if kind == "one tensor":
        return dict.fromkeys(TASKS, x(3))
    if kind == "two of three":
        shared = x(2)
        return {"a": shared, "b": x(3), "c": shared}
    return {task: x(3 if kind == "equal batches" else 1 + n) for n, task in enumerate(TASKS)}


def dense(width=4):
    return lambda k: Dense(width)


def conv(k):
    return Conv(2)


ORDERS = {
    "single": single,
    "hard": hard,
    "permuted": permuted,
    "soft": soft,
    "soft-identity": lambda *a, **o: soft(*a, identity=True, **o),
}
orders = pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS.keys())


def ready(structure: RoutedStructure, limit=None) -> RoutedStructure:
    structure.limit = limit
    for p in structure.parameters():
        nn.init.normal_(p, std=0.7)
    return structure.double()


@orders
@LIMITS
@INPUTS
def test_dense(order, kind, limit):
    assert_same(ready(order(TASKS, dense(), 3), limit), given(kind, (4,)))


@orders
@LIMITS
@INPUTS
def test_images_with_pooling(order, kind, limit):
    assert_same(ready(order(TASKS, conv, 3, pooling=True), limit), given(kind, (2, 7, 10)))


@orders
def test_odd_sizes_of_the_paper(order):
    """105 -> 52 -> 26 -> 13 -> 6, four poolings (A.3)."""
    structure = ready(order(TASKS[:2], lambda k: Conv(1), 4, pooling=True))
    x = {task: torch.randn(1, 1, 105, 105, dtype=torch.float64) for task in TASKS[:2]}
    assert structure(x)["a"].shape == (1, 1, 6, 6)
    assert_same(structure, x)


def test_maps_of_one_row_are_not_pooled_further():
    structure = ready(hard(TASKS, conv, 4, pooling=True))
    hidden = given("equal batches", (2, 3, 9))
    assert structure(hidden)["a"].shape == (3, 2, 1, 4)
    assert_same(structure, hidden)


def test_sequences_of_vectors():
    """Any shape that modules keep: here [B, steps, width], which has no levels."""
    assert_same(ready(soft(TASKS, lambda k: nn.Linear(4, 4), 2)), given("other batches", (3, 4)))


by_hand = {
    "a": Route((Apply(0, 0), Merge((1, 0)), Apply(1, 2), Merge((3, 2, 1)), Merge((4,)), Apply(0, 5)), 6),
    "b": Route((Apply(1, 0), Apply(1, 1), Merge((1, 2, 0, 2))), 3),
    "c": Route((Apply(0, 0), Apply(0, 0), Merge((0, 0))), 0),
}


@LIMITS
@INPUTS
def test_a_route_by_hand(kind, limit):
    """Merges of 1 to 4 inputs, repeated inputs and nodes, nodes that lead nowhere, a sink at the source."""
    structure = RoutedStructure([Dense(4), Dense(4)], by_hand)
    assert_same(ready(structure, limit), given(kind, (4,)))


def test_modules_of_other_kinds_in_one_pool():
    pool = [
        Dense(4),
        Dense(4, activation=False),
        nn.Sequential(nn.Linear(4, 4), nn.Tanh()),
        nn.Identity(),
        Dense(4),
    ]
    routes = {task: soft_order(range(5), 2) for task in TASKS}
    assert_same(ready(RoutedStructure(pool, routes)), given("other batches", (4,)))


def test_a_resolution_of_its_own_for_every_task():
    structure = ready(soft(TASKS, conv, 2, pooling=True))
    hidden = {t: torch.randn(2, 2, 4 + n, 9 - n, dtype=torch.float64) for n, t in enumerate(TASKS)}
    assert_same(structure, hidden)


def test_fewer_channels_than_the_pool_count_as_zeros():
    """Conv fills up what is missing; the rest of the route sees all channels."""
    structure = ready(soft(TASKS, lambda k: Conv(3), 2, pooling=True))
    x = {t: torch.randn(2, 1, 6, 6, dtype=torch.float64, requires_grad=True) for t in TASKS}
    padded = {t: PadChannels(3)(v) for t, v in x.items()}
    assert_same(structure, x)
    torch.testing.assert_close(structure(x), structure(padded))


def test_a_merge_of_unlike_shapes_is_refused():
    """Only channels that a module of the pool would put out are filled up."""
    structure = soft(TASKS, lambda k: Conv(3), 2, identity=True)
    with pytest.raises(
        InputError, match=r"'a' merges samples of shapes \(3, 6, 6\) and \(5, 6, 6\): .*PadChannels"
    ):
        structure({"a": torch.randn(2, 5, 6, 6)})


def test_another_pooling():
    structure = ready(soft(TASKS, conv, 2, pooling=True))
    structure.pool = lambda x: nn.functional.avg_pool2d(x, 2)
    x = torch.randn(2, 2, 4, 4, dtype=torch.float64)
    hard_mean = nn.functional.avg_pool2d
    first, second = structure.modules_pool
    weights = torch.tensor(structure.merge_weights_of("b"), dtype=torch.float64)
    h = sum(w * hard_mean(m(x), 2) for w, m in zip(weights[0], (first, second), strict=True))
    h = sum(w * hard_mean(m(h), 2) for w, m in zip(weights[1], (first, second), strict=True))
    torch.testing.assert_close(structure({"b": x})["b"], h)


# ------------------------------------------------------------------ random routes


def random_route(generator: torch.Generator, modules: int, levels: int) -> Route:
    def draw(n: int) -> int:
        return int(torch.randint(n, (1,), generator=generator))

    nodes: list[Apply | Merge] = []
    level_of = [0]
    for number in range(1, 1 + draw(9)):
        inputs = tuple(draw(number) for _ in range(1 + draw(4)))
        lowest = max(level_of[i] for i in inputs)
        if draw(2):
            inputs, lowest = inputs[:1], level_of[inputs[0]]
            nodes.append(Apply(draw(modules), inputs[0], min(levels, lowest + draw(2))))
        else:
            nodes.append(Merge(inputs, min(levels, lowest + draw(2))))
        level_of.append(nodes[-1].level)
    sink = draw(len(level_of)) if draw(4) == 0 else len(nodes)
    return Route(tuple(nodes), sink, level_of[sink] + draw(2) if levels else 0)


@pytest.mark.parametrize("seed", range(100))
def test_random_routes(seed):
    generator = torch.Generator().manual_seed(seed)

    def draw(n: int) -> int:
        return int(torch.randint(n, (1,), generator=generator))

    images = bool(draw(2))
    if images:
        pool = [[Conv(2), Conv(2, 1), nn.Identity()][draw(3)] for _ in range(1 + draw(3))]
        shape: tuple[int, ...] = (2, 3 + draw(8), 3 + draw(8))
    else:
        pool = [
            [Dense(3), Dense(3, activation=False), nn.Linear(3, 3), nn.Identity()][draw(4)]
            for _ in range(1 + draw(4))
        ]
        shape = (3,)
    tasks = "abcde"[: 1 + draw(5)]
    routes = {task: random_route(generator, len(pool), 3 if images else 0) for task in tasks}
    if len(tasks) > 1 and draw(2):
        routes[tasks[1]] = routes[tasks[0]]
    structure = ready(RoutedStructure(pool, routes), [None, 0, 1 + draw(200)][draw(3)])
    inputs = [torch.randn(1 + draw(3), *shape, dtype=torch.float64, requires_grad=True) for _ in tasks]
    hidden = {task: inputs[draw(len(inputs))] for task in tasks}
    try:
        assert_same(structure, hidden)
    except Exception as error:
        raise AssertionError(
            f"{error}\nlimit {structure.limit}, {shape}, {pool}\n{routes_text(routes)}"
        ) from error


# ------------------------------------------------------------------ modules that mix samples


def normed(k: int) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))


@pytest.mark.parametrize("order", [single, hard, soft], ids=["single", "hard", "soft"])
@pytest.mark.parametrize("kind", ["equal batches", "other batches"])
def test_batch_normalisation_sees_one_task_at_a_time(order, kind):
    """In training: the statistics of each task's own batch, and the same running statistics."""
    structure = ready(order(TASKS, normed, 2)).train()
    literal = copy.deepcopy(structure)
    hidden = {t: torch.randn(len(x) + 1, 4, dtype=torch.float64) for t, x in given(kind, (4,)).items()}
    if order is soft:  # a literal run visits the layers in another order: compare the outputs only
        torch.testing.assert_close(structure(hidden), interpret(literal, hidden))
        return
    assert_same(structure, hidden, literal)
    torch.testing.assert_close(dict(structure.named_buffers()), dict(literal.named_buffers()))
    tracked = structure.modules_pool[0][1].num_batches_tracked
    assert int(tracked) == (1 if order is single else 3)


def test_batch_normalisation_is_batched_when_evaluating():
    pool = [Counting(normed(0))]
    structure = RoutedStructure(pool, dict.fromkeys(TASKS, chain([0])))
    structure.double().eval()(given("equal batches", (4,)))
    assert pool[0].calls == 1
    structure.train()(given("equal batches", (4,)))
    assert pool[0].calls == 1 + 3


def test_a_module_may_say_that_it_mixes_samples():
    class Centre(nn.Module):
        mixes_samples = True

        def forward(self, x):
            return x - x.mean(0)

    structure = RoutedStructure([Centre()], dict.fromkeys(TASKS, chain([0])))
    hidden = given("other batches", (4,))
    for task, y in structure.train()(hidden).items():
        torch.testing.assert_close(y, hidden[task] - hidden[task].mean(0))


# ------------------------------------------------------------------ what is computed how often


def counted(routes, count, **options) -> RoutedStructure:
    return RoutedStructure([Counting(nn.Linear(4, 4)) for _ in range(count)], routes, **options).double()


def calls(structure) -> list[int]:
    return [module.calls for module in structure.modules_pool]


def rows(structure) -> list[int]:
    return [module.rows for module in structure.modules_pool]


@pytest.mark.parametrize("tasks", [1, 2, 30])
def test_hard_sharing_calls_every_layer_once(tasks):
    names = [f"t{n}" for n in range(tasks)]
    structure = counted(dict.fromkeys(names, chain(range(4))), 4)
    structure({name: torch.randn(1 + n % 3, 4, dtype=torch.float64) for n, name in enumerate(names)})
    assert calls(structure) == [1] * 4


def test_unbatched_means_one_call_for_each_application():
    structure = counted(dict.fromkeys(TASKS, chain(range(2))), 2, limit=0)
    structure(given("other batches", (4,)))
    assert calls(structure) == [3, 3]


def test_chunks_keep_to_the_limit():
    structure = counted(dict.fromkeys("abcdef", chain([0])), 1, limit=5 * 4)
    structure({task: torch.randn(2, 4, dtype=torch.float64) for task in "abcdef"})
    assert calls(structure) == [3]  # two tasks of 2 x 4 numbers at a time


def test_a_shared_input_goes_through_the_first_depth_once():
    structure = counted(dict.fromkeys(TASKS, soft_order(range(2), 2)), 2)
    nn.init.normal_(structure.scales)
    structure(given("one tensor", (4,)))
    assert rows(structure) == [3 + 3 * 3] * 2
    assert calls(structure) == [2, 2]


def test_equal_routes_on_one_input_are_computed_once():
    structure = counted(dict.fromkeys(TASKS, chain(range(3))), 3)
    outputs = structure(given("one tensor", (4,)))
    assert rows(structure) == [3, 3, 3]
    assert torch.equal(outputs["a"], outputs["c"])


def test_what_two_candidates_have_in_common_is_computed_once():
    """A champion and its challenger, which adds one application at the end."""
    champion = chain([0, 1])
    challenger = Route((*champion.nodes, Apply(2, 2), Merge((2, 3))), 4)
    structure = counted({"champion": champion, "challenger": challenger}, 3)
    structure(dict.fromkeys(("champion", "challenger"), torch.randn(5, 4, dtype=torch.float64)))
    assert rows(structure) == [5, 5, 5]


def test_nothing_else_is_shared():
    """Merges with scales of their own are different values, however alike they look."""
    structure = ready(soft(TASKS, dense(), 2))
    x = torch.randn(2, 4, dtype=torch.float64)
    outputs = structure(dict.fromkeys(TASKS, x))
    assert not torch.equal(outputs["a"], outputs["b"])
    for task in TASKS:
        torch.testing.assert_close(outputs[task], interpret_route(structure, task, x))


def test_a_plan_is_made_once_for_equal_shapes(monkeypatch):
    from moduli.sharing import structure as room

    made = []
    make_plan = room.make_plan
    monkeypatch.setattr(room, "make_plan", lambda *a, **o: made.append(1) or make_plan(*a, **o))
    structure = ready(soft(TASKS, dense(), 2))
    for _ in range(3):
        structure(given("equal batches", (4,)))
    assert len(made) == 1
    structure(given("other batches", (4,)))
    structure({"a": torch.randn(3, 4, dtype=torch.float64)})
    structure(given("equal batches", (4,)))
    assert len(made) == 3


def test_many_shapes_do_not_fill_the_memory():
    structure = ready(hard(TASKS, dense(), 1))
    for n in range(1, 400):
        structure({"a": torch.zeros(n, 4, dtype=torch.float64)})
    assert len(structure._plans) < 300
