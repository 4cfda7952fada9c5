"""The gradients of every task's loss: both ways give what autograd gives for one loss after another."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from synthetic import sharing_tasks, tiny_data, tiny_model, tiny_tasks
from torch import nn

from moduli import (
    LSTM,
    Conv,
    Data,
    Dense,
    JointModel,
    LinearBank,
    Multiclass,
    Task,
    TensorSource,
    augment,
    hard,
)
from moduli.balancing.task_gradients import CommonGradients, TaskGradients, gram_cosines
from moduli.functional import linear_by_blocks
from moduli.modules.alias import alias
from moduli.tasks import task_losses
from moduli.types import Losses

ORDERS = ["hard", "soft", "permuted"]


def losses_of(model, tasks, sizes=(5, 5, 5), seed=0) -> Losses:
    by_name = {task.name: task for task in tasks}
    inputs, targets = {}, {}
    for task, size in zip(tasks, sizes, strict=True):
        source = task.data.train
        inputs[task.data.name] = source.inputs[:size]
        targets[task.name] = source.targets[task.name][: len(inputs[task.data.name])]
    torch.manual_seed(seed)
    return task_losses(by_name, model(inputs, list(by_name)), targets)


def by_autograd(model, losses, parameters) -> torch.Tensor:
    rows = []
    for loss in losses.mean.values():
        grads = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        grads = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, grads, strict=True)]
        rows.append(torch.cat([g.flatten() for g in grads]))
    return torch.stack(rows)


def check(model, tasks, sizes=(5, 5, 5), rtol=1e-9):
    """Both ways against autograd: the matrix, and the gradients of what is not shared."""
    plain = losses_of(model, tasks, sizes)
    shared = [p for p in model.shared_parameters() if p.requires_grad]
    expected = by_autograd(model, plain, shared)
    others = [p for p in model.parameters() if id(p) not in {id(q) for q in shared} and p.requires_grad]
    total = torch.stack(list(plain.mean.values())).sum()
    own = torch.autograd.grad(total, others, allow_unused=True, retain_graph=True)

    model.zero_grad(set_to_none=True)
    one = TaskGradients(plain, model)
    torch.testing.assert_close(one.matrix, expected, rtol=rtol, atol=1e-12)
    torch.testing.assert_close([p.grad for p in others], list(own), rtol=rtol, atol=1e-12)

    assert model.keep_apart()
    model.zero_grad(set_to_none=True)
    apart = losses_of(model, tasks, sizes)
    torch.testing.assert_close(dict(apart.mean), dict(plain.mean), rtol=rtol, atol=1e-12)
    two = TaskGradients(apart, model)
    assert model.copies(), "tasks were not kept apart"
    torch.testing.assert_close(two.matrix, expected, rtol=rtol, atol=1e-12)
    torch.testing.assert_close([p.grad for p in others], list(own), rtol=rtol, atol=1e-12)
    assert all(p.grad is None for p in shared)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("sizes", [(5, 5, 5), (5, 3, 4)], ids=["equal", "unequal"])
def test_both_ways_are_autograds(order, sizes):
    tasks = tiny_tasks(dtype=torch.float64)
    check(tiny_model(tasks, order, dtype=torch.float64).train(), tasks, sizes)


@pytest.mark.parametrize("order", ["hard", "soft"])
def test_dropout_draws_the_same_masks_both_ways(order):
    """Where calls are grouped alike; other groups draw in another order."""
    tasks = tiny_tasks(dtype=torch.float64)
    check(tiny_model(tasks, order, dtype=torch.float64, dropout=0.4).train(), tasks)


def test_with_several_decoders():
    tasks = tiny_tasks(dtype=torch.float64)
    model = augment(tiny_model(tasks, "soft", dtype=torch.float64), "I", 3, dropout=0.0).double().train()
    check(model, tasks)


def test_modules_without_apart_have_an_alias_for_each_task():
    tasks = tiny_tasks(dtype=torch.float64)
    names = [task.name for task in tasks]
    structure = hard(names, lambda k: nn.Sequential(nn.Linear(6, 6), nn.Tanh()), 2)
    encoders = {t.data.name: nn.Linear(t.data.shape[0], 6) for t in tasks}
    model = JointModel(tasks, structure, encoders, {t.name: nn.Linear(6, t.kind.outputs) for t in tasks})
    check(model.double(), tasks)


def test_a_stage_that_cannot_keep_apart_beside_one_that_can():
    """A user's encoder that all tasks share gets a pass for each task; the layers above do not."""

    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 6)

        def forward(self, inputs):
            return {name: self.layer(x) for name, x in inputs.items()}

        def shared_parameters(self):
            return list(self.parameters())

        def own(self, name):
            return []

    tasks = [
        Task(name, Multiclass(3), tiny_data(name, {name: Multiclass(3)}, 3, dtype=torch.float64))
        for name in "abc"
    ]
    decoders = {name: nn.Linear(6, 3) for name in "abc"}
    model = JointModel(tasks, hard("abc", lambda k: Dense(6), 2), Shared(), decoders).double()
    check(model, tasks)


def test_texts_that_share_an_encoder():
    """An alias of the encoder for each input; a decoder that two tasks share as well."""
    tasks = []
    for seed, name in enumerate("abc"):
        tokens = torch.randint(1, 9, (6, 4), generator=torch.Generator().manual_seed(seed))
        source = TensorSource(tokens, {name: torch.arange(6) % 3})
        tasks.append(Task(name, Multiclass(3), Data(name, (4,), source, source, source, tokens=9)))
    encoder, decoder = LSTM(9, 5), nn.Linear(5, 3)
    decoders = {"a": decoder, "b": nn.Linear(5, 3), "c": decoder}
    structure = hard("abc", lambda k: Dense(5), 1)
    check(JointModel(tasks, structure, dict.fromkeys("abc", encoder), decoders).double().train(), tasks)


def test_stages_with_parameters_in_common_are_not_kept_apart():
    tasks = [Task(n, Multiclass(3), tiny_data(n, {n: Multiclass(3)}, 6)) for n in "ab"]
    layer = Dense(6)
    model = JointModel(tasks, hard("ab", lambda k: layer, 1), {"a": layer, "b": layer}, {
        n: nn.Linear(6, 3) for n in "ab"
    })  # fmt: skip
    assert not model.keep_apart()


def test_convolutions():
    torch.manual_seed(0)
    tasks = []
    for name in "ab":
        source = TensorSource(torch.randn(6, 2, 8, 8, dtype=torch.float64), {name: torch.arange(6) % 3})
        tasks.append(Task(name, Multiclass(3), Data(name, (2, 8, 8), source, source, source)))
    structure = hard(["a", "b"], lambda k: Conv(2), 2, pooling=True)
    ends = {name: nn.Sequential(nn.Flatten(), nn.Linear(8, 3)) for name in "ab"}
    model = JointModel(tasks, structure, {"a": nn.Identity(), "b": nn.Identity()}, ends).double()
    check(model, tasks, (4, 4))


def test_tasks_that_share_an_input_are_not_kept_apart():
    tasks = sharing_tasks()
    assert not tiny_model(tasks).keep_apart()


def test_only_some_parameters():
    tasks = tiny_tasks(dtype=torch.float64)
    model = tiny_model(tasks, "hard", dtype=torch.float64).train()
    losses, last = losses_of(model, tasks), model.shared_parameters()[-2:]
    expected = by_autograd(model, losses, last)
    first = model.shared_parameters()[0]
    total = torch.stack(list(losses.mean.values())).sum()
    (rest,) = torch.autograd.grad(total, [first], retain_graph=True)
    found = TaskGradients(losses, model, only=last)
    torch.testing.assert_close(found.matrix, expected)
    torch.testing.assert_close(first.grad, rest)
    assert last[0].grad is None


@pytest.mark.parametrize("apart", [False, True])
def test_following_all_ones_is_the_gradient_of_the_sum(apart):
    tasks = tiny_tasks(dtype=torch.float64)
    model = tiny_model(tasks, "soft", dtype=torch.float64).train()
    losses = losses_of(model, tasks)
    torch.stack(list(losses.mean.values())).sum().backward()
    expected = [p.grad.clone() for p in model.parameters()]
    if apart:
        model.keep_apart()
    model.zero_grad(set_to_none=True)
    found = TaskGradients(losses_of(model, tasks), model)
    found.follow(torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close([p.grad for p in model.parameters()], expected)


def test_a_model_is_copied_without_the_graph_of_its_last_step():
    tasks = tiny_tasks()
    model = tiny_model(tasks, "soft").train()
    model.keep_apart()
    model.keep_common()
    losses_of(model, tasks)
    twin = copy.deepcopy(model)
    assert twin.copies() == []
    losses = losses_of(twin, tasks)
    assert len(TaskGradients(losses, twin).matrix) == 3


def test_aliases_are_made_anew_when_the_weights_moved():
    """`.to(device)` and the like put weights elsewhere; old aliases would train on stale ones."""
    tasks = tiny_tasks(dtype=torch.float64)
    names = [task.name for task in tasks]
    structure = hard(names, lambda k: nn.Sequential(nn.Linear(6, 6), nn.Tanh()), 1)
    encoders = {t.data.name: nn.Linear(t.data.shape[0], 6) for t in tasks}
    model = JointModel(tasks, structure, encoders, {t.name: nn.Linear(6, t.kind.outputs) for t in tasks})
    model = model.double().train()
    model.keep_apart()
    before = losses_of(model, tasks).mean["a"].item()
    for p in model.shared_parameters():
        p.data = p.data * 0.5
    assert losses_of(model, tasks).mean["a"].item() != before


def test_an_alias_sees_every_update():
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    other = alias(module)
    with torch.no_grad():
        module[0].weight.mul_(2.0)
    assert torch.equal(module[0].weight, other[0].weight)
    assert module[0].weight is not other[0].weight
    other(torch.randn(4, 3))
    assert module[1].num_batches_tracked == 1


def nodes_of(losses) -> int:
    """Nodes of the graphs of all losses, each graph counted by itself."""
    count = 0
    for loss in losses.mean.values():
        seen, front = set(), [loss.grad_fn]
        while front:
            node = front.pop()
            if node is not None and node not in seen:
                seen.add(node)
                front += [n for n, _ in node.next_functions]
        count += len(seen)
    return count


def test_a_step_grows_linearly_with_the_number_of_tasks():
    """Counted: calls in the backward passes of one step, with 8 and 16 tasks that have their own inputs."""
    calls = []
    for number in (8, 16):
        tasks = tiny_tasks([f"t{i}" for i in range(number)])
        model = tiny_model(tasks, "soft").train()
        model.keep_apart()
        losses = losses_of(model, tasks, (5,) * number)
        with torch.profiler.profile() as profile:
            TaskGradients(losses, model).follow(torch.ones(number))
        calls.append(sum(event.count for event in profile.key_averages() if "Backward" in event.key))
    assert calls[1] < 2.2 * calls[0]


def test_graphs_of_tasks_that_share_an_input_grow_linearly():
    """A loss must not lead to the losses of other tasks: each graph is as large as that of one task."""
    sizes = []
    for number in (4, 8):
        x = torch.randn(6, 3)
        labels = {f"t{i}": torch.arange(6) % 3 for i in range(number)}
        source = TensorSource(x, labels)
        data = Data("x", (3,), source, source, source)
        tasks = [Task(name, Multiclass(3), data) for name in labels]
        structure = hard(list(labels), lambda k: Dense(4), 2)
        decoders = LinearBank(dict.fromkeys(labels, (4, 3)))
        model = JointModel(tasks, structure, LinearBank({"x": (3, 4)}, relu=True), decoders).train()
        outputs = model({"x": x}, list(labels))
        losses = task_losses({t.name: t for t in tasks}, outputs, labels)
        sizes.append(nodes_of(losses) / number)
    assert sizes[1] < 1.2 * sizes[0]


# ------------------------------------------------------------------ at the representation


def one_input(order, dense=True):
    """Three tasks of one input, a model, and the losses of a batch as a function."""
    tasks = sharing_tasks(dtype=torch.float64)[:3]
    assert len({task.data.name for task in tasks}) == 1
    model = tiny_model(tasks, order, dtype=torch.float64).train()
    if not dense:
        names = [task.name for task in tasks]
        structure = hard(names, lambda k: nn.Sequential(nn.Linear(6, 6), nn.GroupNorm(2, 6), nn.Tanh()), 2)
        model = JointModel(tasks, structure, model.encoders, model.decoders).double().train()
    by_name = {task.name: task for task in tasks}
    source = tasks[0].data.train
    targets = {name: source.targets[name][:6] for name in by_name}

    def losses():
        outputs = model({tasks[0].data.name: source.inputs[:6]}, list(by_name))
        return task_losses(by_name, outputs, targets)

    return model, losses


def split(model):
    shared = model.shared_parameters()
    return shared, [p for p in model.parameters() if id(p) not in {id(q) for q in shared}]


@pytest.mark.parametrize("order", ["hard", "soft"])
def test_gradients_at_the_representation(order):
    model, losses = one_input(order)
    weights = torch.tensor([0.2, 0.5, 3.0], dtype=torch.float64)
    shared, others = split(model)
    plain = losses()
    total = sum(w * x for w, x in zip(weights, plain.mean.values(), strict=True))
    expected = torch.autograd.grad(total, shared, retain_graph=True)
    own = torch.autograd.grad(sum(plain.mean.values()), others, allow_unused=True)

    model.keep_common()
    found = CommonGradients(losses(), model)
    common = model.common()
    assert (common.copies is not None) == (order == "hard")
    assert found.matrix.shape == (3, common.tensor.numel())
    found.follow(weights)
    torch.testing.assert_close([p.grad for p in shared], list(expected))
    torch.testing.assert_close([p.grad for p in others], list(own))


@pytest.mark.parametrize("dense", [True, False], ids=["batched", "loop"])
@pytest.mark.parametrize("backwards", [False, True])
def test_gradients_across_a_common_hidden_tensor(dense, backwards):
    """Tasks of one input that part at their decoders: the matrix is autograd's, in any order of tasks."""
    model, losses = one_input("hard", dense)
    shared, others = split(model)
    plain = losses()
    expected = by_autograd(model, plain, shared)
    own = torch.autograd.grad(sum(plain.mean.values()), others)
    model.keep_common()
    cut = losses()
    if backwards:
        cut = replace(cut, mean=dict(reversed(cut.mean.items())))
        expected = expected.flip(0)
    found = TaskGradients(cut, model)
    assert model.common().dense == dense
    torch.testing.assert_close(found.matrix, expected)
    torch.testing.assert_close([p.grad for p in others], list(own))
    assert all(p.grad is None for p in shared)


def test_only_the_last_layer_across_a_common_hidden_tensor():
    model, losses = one_input("hard")
    shared, _ = split(model)
    plain = losses()
    expected = by_autograd(model, plain, shared[-2:])
    earlier = torch.autograd.grad(sum(plain.mean.values()), shared[:-2])
    model.keep_common()
    found = TaskGradients(losses(), model, only=shared[-2:])
    torch.testing.assert_close(found.matrix, expected)
    torch.testing.assert_close([p.grad for p in shared[:-2]], list(earlier))


def test_evaluation_does_not_cut_the_graph():
    model, losses = one_input("hard")
    model.keep_common()
    model.eval()
    total = sum(losses().mean.values())
    assert all(g is not None for g in torch.autograd.grad(total, model.shared_parameters()))


def test_without_a_common_input_there_is_no_representation():
    tasks = tiny_tasks()
    model = tiny_model(tasks, "hard").train()
    model.keep_common()
    with pytest.raises(ValueError, match=r"no hidden tensor in common.*take them at the parameters"):
        CommonGradients(losses_of(model, tasks), model)


# ------------------------------------------------------------------ functions


def test_cosines():
    g = torch.tensor([[3.0, 0.0], [1.0, 1.0], [-2.0, 0.0], [0.0, 0.0]])
    cosines = gram_cosines(g @ g.t())
    half = 0.5**0.5
    expected = torch.tensor(
        [[1, half, -1, 0], [half, 1, -half, 0], [-1, -half, 1, 0], [0, 0, 0, 0]], dtype=torch.float32
    )
    torch.testing.assert_close(cosines, expected)


@pytest.mark.parametrize(
    "blocks",
    [
        (((0, 2), (1, 2)), ((0, 2), (1, 2))),
        (((1, 2), (0, 2)), ((2, 2), (1, 2))),
        (((0, 3), (2, 1)), ((1, 1), (1, 3))),
    ],
    ids=["alike", "permuted", "unequal"],
)
def test_linear_by_blocks(blocks):
    """Against one product for each block with its own leaf; by finite differences as well."""
    torch.manual_seed(0)
    x = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    weights = [torch.randn(5, 3, dtype=torch.float64) for _ in range(2)]
    biases = [torch.randn(5, dtype=torch.float64) for _ in range(2)]
    upstream = torch.randn(2, 4, 5, dtype=torch.float64)

    def views():
        return ([w.expand(3, 5, 3).detach().requires_grad_() for w in weights],
                [b.expand(3, 5).detach().requires_grad_() for b in biases])  # fmt: skip

    w, b = views()
    y = linear_by_blocks(x, w, b, blocks)
    got = torch.autograd.grad((y * upstream).sum(), [x, *w, *b])

    w, b = views()
    rows = []
    for layer in range(2):
        start, parts = 0, []
        for source, number in blocks[layer]:
            piece = x[layer, start : start + number]
            parts.append(piece @ w[layer][source].t() + b[layer][source])
            start += number
        rows.append(torch.cat(parts))
    expected_y = torch.stack(rows)
    torch.testing.assert_close(y, expected_y)
    expected = torch.autograd.grad((expected_y * upstream).sum(), [x, *w, *b], allow_unused=True)
    expected = [torch.zeros_like(g) if e is None else e for g, e in zip(got, expected, strict=True)]
    torch.testing.assert_close(list(got), expected)
    torch.autograd.gradcheck(lambda x: linear_by_blocks(x, w, b, blocks), x)
