"""The four orders, and where they are one another."""

from __future__ import annotations

import pytest
import torch
from interpreter import gradients
from torch import nn

from moduli import Apply, Conv, Dense, InputError, chain, hard, permuted, single, soft

TASKS = ("a", "b", "c")
NEVER = float("-inf")


def images(k):
    return Conv(2)


def dense(k):
    return Dense(4)


CASES = pytest.mark.parametrize(
    ("make", "shape", "pooling"), [(dense, (4,), False), (images, (2, 13, 9), True)], ids=["dense", "conv"]
)


def batches(shape, dtype=torch.float64):
    return {t: torch.randn(2 + n, *shape, dtype=dtype, requires_grad=True) for n, t in enumerate(TASKS)}


def take_weights(target, source) -> None:
    """The same layers in two structures."""
    target.modules_pool.load_state_dict(source.modules_pool.state_dict())


def set_scales(structure, orders, on: float, off: float) -> None:
    """Logits that choose layer `orders[task][d]` at depth d."""
    for task, order in orders.items():
        (part,) = structure.own(task)
        logits = torch.full((len(order), part.value.numel() // len(order)), off)
        logits[range(len(order)), order] = on
        part.value.copy_(logits.flatten())


def assert_equal_structures(one, two, shape, exactly=False):
    x = batches(shape)
    y_one, y_two = one(x), two(x)
    for task in TASKS:
        if exactly:
            assert torch.equal(y_one[task], y_two[task])
        torch.testing.assert_close(y_one[task], y_two[task], rtol=1e-12, atol=1e-14)
    inputs = list(x.values())
    layers_one, layers_two = one.modules_pool[: len(two.modules_pool)], two.modules_pool
    torch.testing.assert_close(
        gradients(y_one, layers_one, inputs), gradients(y_two, layers_two, inputs), rtol=1e-12, atol=1e-13
    )


# ------------------------------------------------------------------ special cases of soft order


@CASES
@pytest.mark.parametrize("limit", [None, 0], ids=["batched", "unbatched"])
@pytest.mark.parametrize(("on", "off"), [(0.0, NEVER), (400.0, -400.0)], ids=["infinite", "large"])
def test_soft_order_with_one_hot_scales_is_parallel_order(make, shape, pooling, limit, on, off):
    one, two = soft(TASKS, make, 3, pooling=pooling).double(), hard(TASKS, make, 3, pooling=pooling).double()
    one.limit = two.limit = limit
    take_weights(one, two)
    set_scales(one, {key: [0, 1, 2] for key in TASKS}, on, off)
    assert_equal_structures(one, two, shape, exactly=limit == 0)


@CASES
@pytest.mark.parametrize("limit", [None, 0], ids=["batched", "unbatched"])
def test_soft_order_with_one_hot_scales_is_permuted_order(make, shape, pooling, limit):
    one = soft(TASKS, make, 3, pooling=pooling).double()
    two = permuted(TASKS, make, 3, pooling=pooling, seed=5).double()
    one.limit = two.limit = limit
    take_weights(one, two)
    orders = {task: [node.module for node in two.routes[task].nodes] for task in TASKS}
    assert len({tuple(order) for order in orders.values()}) > 1
    set_scales(one, orders, 0.0, NEVER)
    assert_equal_structures(one, two, shape, exactly=limit == 0)


@CASES
def test_soft_order_that_chooses_the_identity_passes_its_input_on(make, shape, pooling):
    structure = soft(TASKS, make, 2, pooling=pooling, identity=True, dropout=0.5).double().train()
    set_scales(structure, {key: [2, 2] for key in TASKS}, 0.0, NEVER)
    x = batches(shape)
    for task, y in structure(x).items():
        expected = x[task]
        for _ in range(2 if pooling else 0):
            expected = nn.functional.max_pool2d(expected, 2)
        assert torch.equal(y, expected)


def test_soft_order_that_never_chooses_the_identity_is_soft_order_without_it():
    one, two = soft(TASKS, dense, 2, identity=True).double(), soft(TASKS, dense, 2).double()
    one.modules_pool[:2].load_state_dict(two.modules_pool.state_dict())
    for task in TASKS:
        plain = two.own(task)[0].value.normal_().view(2, 2)
        one.own(task)[0].value.copy_(torch.cat([plain, torch.full((2, 1), NEVER)], 1).flatten())
    assert_equal_structures(one, two, (4,))


def test_soft_order_of_one_layer_is_parallel_order_of_one_layer():
    one, two = soft(TASKS, dense, 1).double(), hard(TASKS, dense, 1).double()
    take_weights(one, two)
    assert_equal_structures(one, two, (4,))


def test_soft_order_starts_as_the_mean_of_all_layers():
    structure = soft(TASKS, dense, 3, depth=2, identity=True).double()
    layers = list(structure.modules_pool)
    x = batches((4,))
    for task, y in structure(x).items():
        h = x[task]
        for _ in range(2):
            h = sum(layer(h) for layer in layers) / 4
        torch.testing.assert_close(y, h)
        assert structure.merge_weights_of(task) == [pytest.approx([0.25] * 4)] * 2


def test_soft_order_against_its_equation():
    """Eq. 7: y = sum_k softmax(S[t, d])_k relu(W_k y + b_k), for d = 1..D."""
    structure = soft(TASKS, dense, 3).double()
    nn.init.normal_(structure.scales)
    S = structure.scales.detach().view(3, 3, 3)
    x = batches((4,))
    for t, task in enumerate(TASKS):
        y = x[task]
        for d in range(3):
            exponentials = S[t, d].exp()
            y = sum(
                exponentials[k] / exponentials.sum() * (y @ m.weight.T + m.bias).clamp(min=0)
                for k, m in enumerate(structure.modules_pool)
            )
        torch.testing.assert_close(structure(x)[task], y)


# ------------------------------------------------------------------ the others


@pytest.mark.parametrize("order", [hard, permuted, soft], ids=["hard", "permuted", "soft"])
def test_one_layer_or_one_task_is_single_task_learning(order):
    """With one task and one order to apply the layers in, sharing has no meaning."""
    torch.manual_seed(3)
    one = single(["a"], dense, 1).double()
    torch.manual_seed(3)
    two = order(["a"], dense, 1).double()
    x = {"a": torch.randn(5, 4, dtype=torch.float64)}
    assert torch.equal(one(x)["a"], two(x)["a"])


@CASES
def test_hard_sharing_of_one_task_is_single_task_learning(make, shape, pooling):
    torch.manual_seed(3)
    one = single(["a"], make, 3, pooling=pooling).double()
    torch.manual_seed(3)
    two = hard(["a"], make, 3, pooling=pooling).double()
    x = {"a": torch.randn(5, *shape, dtype=torch.float64)}
    assert torch.equal(one(x)["a"], two(x)["a"])


def test_single_task_learning_is_one_network_for_each_task():
    structure = single(TASKS, dense, 2).double()
    x = batches((4,))
    layers = list(structure.modules_pool)
    for t, (task, y) in enumerate(structure(x).items()):
        torch.testing.assert_close(y, layers[2 * t + 1](layers[2 * t](x[task])))
    assert structure.shared_parameters() == []


def test_parallel_order_is_one_network_for_all_tasks():
    structure = hard(TASKS, dense, 3).double()
    x = batches((4,))
    network = nn.Sequential(*structure.modules_pool)
    for task, y in structure(x).items():
        torch.testing.assert_close(y, network(x[task]))
        assert structure.own(task) == []


def test_permuted_order_uses_every_layer_once_in_an_order_of_the_seed():
    tasks = [f"t{n}" for n in range(20)]

    def orders(seed):
        routes = permuted(tasks, dense, 4, seed=seed).routes
        return [[node.module for node in routes[task].nodes] for task in tasks]

    assert all(sorted(order) == [0, 1, 2, 3] for order in orders(0))
    assert orders(0) == orders(0) != orders(1)
    assert len({tuple(order) for order in orders(0)}) > 5


def test_permuted_order_leaves_the_callers_random_numbers_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    permuted(TASKS, lambda k: nn.Identity(), 4)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("order", "pools"),
    [(single, 3), (hard, 1), (permuted, 1), (soft, 1)],
    ids=["single", "hard", "permuted", "soft"],
)
def test_number_of_layers(order, pools):
    made = []
    structure = order(TASKS, lambda k: made.append(k) or Dense(4), 4)
    assert made == [0, 1, 2, 3] * pools
    assert len(structure.modules_pool) == 4 * pools


@pytest.mark.parametrize("order", [single, hard], ids=["single", "hard"])
def test_without_layers_everything_is_passed_on(order):
    structure = order(TASKS, dense, 0, dropout=0.5)
    hidden = {task: torch.randn(2, 3) for task in TASKS}
    passed_on = structure(hidden)
    assert all(passed_on[task] is hidden[task] for task in TASKS)
    assert not structure.shared_parameters()
    assert not structure.own(TASKS[0])


def test_poolings_follow_the_layers():
    """f1 -> pool -> f2 -> pool -> decoder."""
    route = chain([0, 1], pooling=True)
    assert route.nodes == (Apply(0, 0, 0), Apply(1, 1, 1))
    assert (route.sink, route.level) == (2, 2)
    layers = [Conv(2).double(), Conv(2).double()]
    structure = hard(["a"], lambda k: layers[k], 2, pooling=True).double()
    x = torch.randn(1, 2, 8, 8, dtype=torch.float64)
    pool = nn.MaxPool2d(2)
    torch.testing.assert_close(structure({"a": x})["a"], pool(layers[1](pool(layers[0](x)))))


@pytest.mark.parametrize("order", [single, hard, permuted, soft], ids=["single", "hard", "permuted", "soft"])
def test_impossible_sizes_are_refused(order):
    least = 0 if order in (single, hard) else 1
    with pytest.raises(InputError, match=f"layers is {least - 1}: give at least {least}"):
        order(TASKS, dense, least - 1)
    with pytest.raises(InputError, match="no tasks: give at least one"):
        order([], dense)
    for rate in (1.0, -0.1, float("nan")):
        with pytest.raises(InputError, match=f"dropout {rate} is not a rate"):
            order(TASKS, dense, dropout=rate)


@pytest.mark.parametrize("depth", [0, -1])
def test_an_impossible_depth_is_refused(depth):
    with pytest.raises(InputError, match=f"depth is {depth}: give at least 1"):
        soft(TASKS, dense, 2, depth=depth)
