"""The joint model: what flows through it, who owns what in it."""

from __future__ import annotations

import copy

import pytest
import torch
from synthetic import METHODS, Counting, sharing_tasks, tiny_data, tiny_model, tiny_tasks
from torch import nn

from moduli import (
    Data,
    Dense,
    Each,
    InputError,
    JointModel,
    LinearBank,
    Regression,
    Task,
    TensorSource,
    dense_ends,
    hard,
    single,
)

methods = pytest.mark.parametrize("method", METHODS)


def inputs_for(model: JointModel, tasks, rows=3, dtype=torch.float64):
    return {
        data.name: torch.randn(rows + n, *data.shape, dtype=dtype)
        for n, data in enumerate(dict.fromkeys(task.data for task in tasks))
    }


def double_model(tasks, method="soft"):
    return tiny_model(tasks, method, dtype=torch.float64)


# ------------------------------------------------------------------ what flows


@methods
def test_outputs_of_all_tasks(method):
    tasks = sharing_tasks()
    model = double_model(tasks, method)
    outputs = model(inputs_for(model, tasks))
    assert list(outputs) == ["x", "y", "z", "own"]
    assert [tuple(y.shape) for y in outputs.values()] == [(3, 1), (3, 1), (3, 3), (4, 1)]


def test_it_is_the_composition_of_its_stages():
    tasks = sharing_tasks()
    model = double_model(tasks).eval()
    inputs = inputs_for(model, tasks)
    encoded = model.encoders(inputs)
    hidden = {"x": encoded["panel"], "y": encoded["panel"], "z": encoded["panel"], "own": encoded["own"]}
    torch.testing.assert_close(model(inputs), model.decoders(model.structure(hidden)))


@methods
def test_some_tasks_of_an_input(method):
    tasks = sharing_tasks()
    model = double_model(tasks, method)
    inputs = inputs_for(model, tasks)
    everything = model(inputs)
    some = model(inputs, ["z", "x"])
    assert list(some) == ["z", "x"]
    torch.testing.assert_close(some, {task: everything[task] for task in some})
    only = model({"own": inputs["own"]})
    torch.testing.assert_close(only, {"own": everything["own"]})


def test_a_shared_input_is_encoded_once():
    tasks = sharing_tasks()
    encoders = {"panel": Counting(nn.Linear(4, 6)), "own": Counting(nn.Linear(3, 6))}
    structure = hard([task.name for task in tasks], lambda k: Counting(nn.Linear(6, 6)), 1)
    model = JointModel(tasks, structure, encoders, dense_ends(tasks, 6)[1])
    model({"panel": torch.randn(5, 4), "own": torch.randn(2, 3)})
    assert [(e.calls, e.rows) for e in encoders.values()] == [(1, 5), (1, 2)]
    assert structure.modules_pool[0].rows == 5 + 2


def test_gradients_through_a_shared_input_are_the_sum_of_all_tasks():
    tasks = sharing_tasks()[:3]
    model = double_model(tasks)
    inputs = inputs_for(model, tasks)
    weight = model.encoders.own("panel")[0]
    total = {}
    for wanted in (["x"], ["y"], ["z"], ["x", "y", "z"]):
        model.zero_grad()
        sum(y.square().sum() for y in model(inputs, wanted).values()).backward()
        total["".join(wanted)] = weight.grad.clone()
    torch.testing.assert_close(total["xyz"], total["x"] + total["y"] + total["z"])


# ------------------------------------------------------------------ who owns what


def owners_of(model: JointModel, tasks) -> dict[str, torch.Tensor]:
    """How often every number of every parameter is listed."""
    count = {id(p): torch.zeros(p.shape) for p in model.parameters()}
    for p in model.shared_parameters():
        count[id(p)] += 1
    for task in tasks:
        for part in model.own(task.name):
            if id(part.tensor) in count:
                count[id(part.tensor)][part.index] += 1
    return {name: count[id(p)] for name, p in model.named_parameters()}


@methods
@pytest.mark.parametrize("names", [["a"], ["a", "b", "c"]], ids=["one task", "three tasks"])
def test_every_number_has_one_owner(method, names):
    tasks = tiny_tasks(names)
    model = double_model(tasks, method)
    for name, count in owners_of(model, tasks).items():
        assert count.max() == 1, name
        assert not dict(model.named_parameters())[name].detach()[count == 0].any()


def test_encoders_apart_make_single_task_models_separate_also_on_a_shared_input():
    tasks = sharing_tasks()
    names = [task.name for task in tasks]
    ends = dense_ends(tasks, 6, encode_apart=True)
    model = JointModel(tasks, single(names, lambda k: Dense(6), 2), *ends, encode_apart=True)
    assert model.shared_parameters() == []
    inputs = inputs_for(model, tasks, dtype=torch.float32)
    outputs = model(inputs)
    assert list(outputs) == names
    outputs["x"].sum().backward()
    moved = [name for name in names if any(p.grad is not None and p.grad.any() for p in model.own(name))]
    assert moved == ["x"]


def test_the_encoder_of_a_shared_input_is_shared():
    tasks = sharing_tasks()
    encoders = {"panel": nn.Linear(4, 6), "own": nn.Linear(3, 6)}
    structure = hard([task.name for task in tasks], lambda k: Dense(6), 1)
    model = JointModel(tasks, structure, encoders, dense_ends(tasks, 6)[1])
    assert set(encoders["panel"].parameters()) <= set(model.shared_parameters())
    assert set(encoders["own"].parameters()) <= {part.tensor for part in model.own("own")}
    assert all(count.max() == 1 for count in owners_of(model, tasks).values())


@methods
def test_part_names_are_those_of_the_state(method):
    tasks = sharing_tasks()
    model = double_model(tasks, method)
    for task in tasks:
        for part in model.own(task.name):
            assert model.state_dict()[part.name].data_ptr() == part.tensor.data_ptr()


@methods
def test_the_loss_of_a_task_reaches_only_shared_numbers_and_its_own(method):
    tasks = sharing_tasks()
    model = double_model(tasks, method)
    inputs = inputs_for(model, tasks)
    for task in tasks:
        model.zero_grad(set_to_none=True)
        model(inputs)[task.name].square().sum().backward()
        for other in tasks:
            if other is not task:
                assert not any(part.grad.any() for part in model.own(other.name) if part.grad is not None)


def test_separate_models_share_nothing():
    assert double_model(tiny_tasks(), "single").shared_parameters() == []
    assert double_model(tiny_tasks(), "hard").shared_parameters() != []


@methods
@pytest.mark.parametrize("tasks", [tiny_tasks(), sharing_tasks()], ids=["apart", "shared input"])
def test_number_of_parameters(method, tasks):
    """Against the arithmetic: padding does not count, shared numbers count once."""
    width, layers = 6, 2
    count = tiny_model(tasks, method, width, layers).count_parameters()
    inputs = {task.data.name: task.data.shape[0] for task in tasks}
    encoders = sum(features * width + width for features in inputs.values())
    decoders = sum(width * task.kind.outputs + task.kind.outputs for task in tasks)
    core = layers * (width * width + width) * (len(tasks) if method == "single" else 1)
    scales = len(tasks) * layers * layers if method == "soft" else 0
    assert count == encoders + core + scales + decoders


def test_frozen_parameters_do_not_count():
    tasks = tiny_tasks(["a"])
    model = tiny_model(tasks, "hard", 6, 2)
    before = model.count_parameters()
    model.structure.modules_pool[0].requires_grad_(False)
    assert model.count_parameters() == before - (36 + 6)


def test_state_and_copies():
    tasks = sharing_tasks()
    one, two = tiny_model(tasks, "soft", seed=1), tiny_model(tasks, "soft", seed=2)
    inputs = inputs_for(one, tasks, dtype=torch.float32)
    two.load_state_dict(one.state_dict())
    torch.testing.assert_close(two(inputs), one(inputs), rtol=0, atol=0)
    torch.testing.assert_close(copy.deepcopy(one)(inputs), one(inputs), rtol=0, atol=0)


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("encoders", "decoders", "message"),
    [
        ({"a": nn.Identity()}, None, "input 'b' has no encoder: give a module for each input"),
        (None, {"b": nn.Identity()}, "task 'a' has no decoder: give a module for each task"),
        (None, nn.ModuleDict({"a": nn.Identity()}), "task 'b' has no decoder"),
    ],
)
def test_missing_ends_are_refused(encoders, decoders, message):
    tasks = tiny_tasks(["a", "b"])
    first, last = dense_ends(tasks, 6)
    with pytest.raises(InputError, match=message):
        JointModel(tasks, hard(["a", "b"], lambda k: Dense(6), 1), encoders or first, decoders or last)


def test_ends_of_the_users_that_are_too_many_do_no_harm():
    tasks = tiny_tasks(["a"])
    decoders = {"a": nn.Linear(6, 1), "unused": nn.Linear(6, 1)}
    model = JointModel(tasks, hard(["a"], lambda k: Dense(6), 1), dense_ends(tasks, 6)[0], decoders)
    assert model.count_parameters() == 3 * 6 + 6 + 36 + 6 + 6 + 1


def test_two_tasks_of_one_name_are_refused():
    task = tiny_tasks(["a"])[0]
    with pytest.raises(InputError, match="two tasks are called 'a'"):
        tiny_model([task, task])


def test_dense_ends_want_vectors():
    source = TensorSource(torch.zeros(4, 1, 3, 3), {"a": torch.zeros(4)})
    task = Task("a", Regression(), Data("images", (1, 3, 3), source, source, source))
    with pytest.raises(InputError, match=r"input 'images' has samples of shape \(1, 3, 3\)"):
        dense_ends([task], 6)


def test_dense_ends_fit_the_tasks():
    tasks = sharing_tasks()
    encoders, decoders = dense_ends(tasks, 6)
    assert isinstance(encoders, LinearBank)
    assert encoders.relu
    assert isinstance(decoders, LinearBank)
    assert not decoders.relu
    assert encoders.sizes == {"panel": (4, 6), "own": (3, 6)}
    assert decoders.sizes == {"x": (6, 1), "y": (6, 1), "z": (6, 3), "own": (6, 1)}


def test_a_stage_of_the_users_is_taken_as_it_is():
    data = tiny_data("t", {"t": Regression()})
    encoders = Each({"t": nn.Linear(4, 6)})
    task = Task("t", Regression(), data)
    model = JointModel([task], hard(["t"], lambda k: Dense(6), 1), encoders, dense_ends([task], 6)[1])
    assert model.encoders is encoders
