"""The mathematics of the soft-ordering experiments: what their own functions compute."""

# pyright: reportMissingImports=false

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from moduli import Dense, RoutedStructure, chain, soft

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "experiments"))

import soft_fours
import soft_mnist
import soft_omniglot
import soft_random_patterns


@pytest.fixture
def core() -> RoutedStructure:
    core = soft(["a", "b"], lambda k: Dense(5), 3, depth=2)
    assert core.scales is not None
    core.scales.data.normal_()
    return core.eval()


# ------------------------------------------------------------------ fours


def test_following_a_route_with_the_learned_scales_is_what_the_structure_does(core: RoutedStructure):
    x = torch.randn(7, 5)
    for task, expected in core({"a": x, "b": x}).items():
        scales = torch.tensor(core.merge_weights_of(task))
        found = soft_fours.follow(core.routes[task], list(core.modules_pool), x, scales)
        torch.testing.assert_close(found, expected)


def test_following_a_route_takes_scales_as_they_are(core: RoutedStructure):
    x, pool = torch.randn(7, 5), list(core.modules_pool)
    scales = torch.tensor([[2.0, 0.0, 1.0], [0.0, 0.5, 0.0]])
    first = 2 * pool[0](x) + pool[2](x)
    torch.testing.assert_close(soft_fours.follow(core.routes["a"], pool, x, scales), 0.5 * pool[1](first))


def test_sigmoid_scales_do_not_depend_on_each_other_and_start_where_softmax_does():
    pixels = torch.rand(soft_fours.SIDE**2)
    source = soft_fours.TensorSource(soft_fours.pixel_grid(), {"one": pixels})
    data = soft_fours.Data("pixels", (2,), source, source, source)
    joint = soft_fours.model("sigmoid", [soft_fours.Task("one", soft_fours.Regression(), data)], seed=0)
    scales = joint.structure.scales
    assert scales is not None
    before = soft_fours.learned(joint, "one")
    torch.testing.assert_close(before, torch.full((4, 4), 0.25))
    scales.data[0] += 3  # type: ignore[index]
    after = soft_fours.learned(joint, "one")
    assert after[0, 0] > 0.8
    torch.testing.assert_close(after.flatten()[1:], before.flatten()[1:])


def test_the_grid_runs_row_by_row_with_x_first():
    grid = soft_fours.pixel_grid()
    assert grid[0].tolist() == [0, 0]
    assert grid[1].tolist() == [pytest.approx(1 / 27), 0]
    assert grid[28].tolist() == [0, pytest.approx(1 / 27)]
    assert grid[-1].tolist() == [1, 1]


def test_similarity_keeps_layers_and_depths_apart():
    layers = np.array([[1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]])  # their correlation is -1
    found = {((task, d), k): layers[k] for task in "ab" for d in range(2) for k in range(2)}
    result = soft_fours.similarity(found)
    assert list(result) == ["1 and 1", "1 and 2", "2 and 2"]
    for by_layer in result.values():
        assert by_layer == {"the same layer": pytest.approx(1), "another layer": pytest.approx(-1)}


# ------------------------------------------------------------------ the other scripts


def test_permuted_order_commutes_exactly_where_the_layers_are_equal():
    tasks = soft_random_patterns.random_tasks(6, 4, seed=0)
    setting = soft_random_patterns.Setting(4, relu=True, sizes=(6,))
    x = torch.rand(3, 4)
    hard = soft_random_patterns.model("hard", tasks, setting, seed=0)
    permuted = soft_random_patterns.model("permuted", tasks, setting, seed=0)
    outputs = hard({"first": x, "second": x})
    torch.testing.assert_close(outputs["first"], outputs["second"])  # one model for both tasks
    structure = permuted.structure
    assert isinstance(structure, RoutedStructure)
    assert structure.routes == {"first": chain([0, 1]), "second": chain([1, 0])}
    apart = permuted({"first": x, "second": x})
    assert not torch.allclose(apart["first"], apart["second"])
    structure.modules_pool[1].load_state_dict(structure.modules_pool[0].state_dict())
    outputs = permuted({"first": x, "second": x})
    torch.testing.assert_close(outputs["first"], outputs["second"])


def test_single_task_models_share_nothing_and_have_twice_the_parameters():
    tasks = soft_random_patterns.random_tasks(6, 4, seed=0)
    setting = soft_random_patterns.Setting(4, relu=False, sizes=(6,))
    counts = {
        method: soft_random_patterns.model(method, tasks, setting, seed=0).count_parameters()
        for method in soft_random_patterns.METHODS
    }
    each = 2 * (4 * 4 + 4) + 5
    assert counts == {"single": 2 * each, "hard": each, "permuted": each}


def test_random_tasks_of_fewer_samples_begin_those_of_more():
    few, many = (soft_random_patterns.random_tasks(n, 4, seed=1) for n in (3, 6))
    for one, other in zip(few, many, strict=True):
        torch.testing.assert_close(one.data.train.inputs, other.data.train.inputs[:3])  # type: ignore[attr-defined]
        assert one.data.test is one.data.train


def test_half_as_many_looks_up_half_of_each_size():
    assert soft_random_patterns.half_as_many((64, 96, 128), [[1.0], [2.0], [3.0]]) == [[], [], [1.0]]


def test_relative_is_a_percentage_of_the_same_seed():
    series = {"hard": [[2.0, 4.0]], "soft": [[1.0, 5.0]]}
    assert soft_mnist.relative(series, "hard") == {"hard": [[100.0, 100.0]], "soft": [[50.0, 125.0]]}


@pytest.mark.parametrize(("size", "side"), [(105, 6), (101, 6), (32, 2), (16, 1), (8, 1)])
def test_side_after_four_poolings(size: int, side: int):
    assert soft_omniglot.side_after(size) == side
