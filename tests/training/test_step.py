"""A training step, against the same step written by hand."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from synthetic import Counting, sharing_tasks, tiny_data, tiny_model, tiny_tasks
from torch import nn

from moduli import (
    Binary,
    Combine,
    Data,
    Dense,
    JointModel,
    Losses,
    Multiclass,
    Multilabel,
    Regression,
    Schedule,
    Task,
    TensorSource,
    Train,
    Trainer,
    dense_ends,
    fit,
    hard,
)  # fmt: skip

DOUBLE = torch.float64


def trainer_of(model, tasks, **options) -> Trainer:
    settings = {key: options.pop(key) for key in list(options) if key in Train.__dataclass_fields__}
    return Trainer(model, tasks, Train(**settings), device="cpu", **options)


# ------------------------------------------------------------------ the same as a loop by hand


class Plain(nn.Module):
    """Hard sharing as anyone would write it: a layer for each task, shared layers, a layer for each task."""

    def __init__(self, model: JointModel, tasks):
        super().__init__()
        self.encoders = nn.ModuleDict({t.name: linear(*model.encoders.own(t.data.name)) for t in tasks})
        self.core = nn.ModuleList()
        for layer in model.structure.modules_pool:
            self.core.append(nn.Linear(*reversed(layer.weight.shape), dtype=layer.weight.dtype))
            self.core[-1].load_state_dict(copy.deepcopy(layer.state_dict()))
        self.decoders = nn.ModuleDict({t.name: linear(*model.decoders.own(t.name)) for t in tasks})

    def forward(self, x, task):
        x = self.encoders[task](x).relu()
        for layer in self.core:
            x = layer(x).relu()
        return self.decoders[task](x)


def linear(weight, bias) -> nn.Linear:
    layer = nn.Linear(*weight.value.shape, dtype=weight.value.dtype)
    with torch.no_grad():
        layer.weight.copy_(weight.value.T)
        layer.bias.copy_(bias.value)
    return layer


def plain_loss(kind, outputs, y):
    if isinstance(kind, Multiclass):
        return F.cross_entropy(outputs, y)
    if isinstance(kind, Binary):
        return F.binary_cross_entropy_with_logits(outputs.squeeze(-1), y)
    if isinstance(kind, Multilabel):
        return F.binary_cross_entropy_with_logits(outputs, y)
    return F.mse_loss(outputs.squeeze(-1), y)


OPTIMIZERS = {
    "adam": ({"optimizer": "adam", "lr": 0.01}, lambda p: torch.optim.Adam(p, lr=0.01)),
    "adamw": (
        {"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.1},
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    ),
    "sgd": (
        {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01},
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    ),
    "rmsprop": (
        {"optimizer": "rmsprop", "lr": 0.01, "momentum": 0.5},
        lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5),
    ),
    "adagrad": ({"optimizer": "adagrad", "lr": 0.1}, lambda p: torch.optim.Adagrad(p, lr=0.1)),
    "users": (
        {"optimizer": lambda p: torch.optim.NAdam(p, lr=0.01)},
        lambda p: torch.optim.NAdam(p, lr=0.01),
    ),
    "clipped": ({"lr": 0.01, "clip": 0.5}, lambda p: torch.optim.Adam(p, lr=0.01)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_twenty_steps_are_those_of_a_plain_loop(name):
    settings, make = OPTIMIZERS[name]
    tasks = tiny_tasks(("a", "b", "c", "d"), DOUBLE)
    model = tiny_model(tasks, "hard", dtype=DOUBLE)
    plain = Plain(model, tasks)
    trainer = trainer_of(model, tasks, batch_size=5, **settings)
    streams = trainer_of(copy.deepcopy(model), tasks, batch_size=5).parts.streams  # the same batches again
    optimizer = make(plain.parameters())
    for _ in range(20):
        trainer.one_step()
        optimizer.zero_grad()
        total = 0
        for task in tasks:
            batch = streams[task.data.name].draw()
            total = total + plain_loss(task.kind, plain(batch.inputs, task.name), batch.targets[task.name])
        total.backward()
        if "clip" in settings:
            nn.utils.clip_grad_norm_(plain.parameters(), settings["clip"])
        optimizer.step()
    trained = Plain(model, tasks)
    torch.testing.assert_close(dict(trained.state_dict()), dict(plain.state_dict()), rtol=1e-9, atol=1e-11)
    before = Plain(tiny_model(tasks, "hard", dtype=DOUBLE), tasks)
    assert not torch.equal(before.core[0].weight, trained.core[0].weight)


def test_clipping_bounds_the_norm_of_the_whole_gradient():
    tasks = tiny_tasks(dtype=DOUBLE)
    norms = {}
    for clip in (None, 1e-3):
        trainer = trainer_of(tiny_model(tasks, dtype=DOUBLE), tasks, clip=clip)
        trainer.one_step()
        norms[clip] = torch.stack([p.grad.norm() for p in trainer.model.parameters()]).norm().item()
    assert norms[None] > 1e-3
    assert norms[1e-3] == pytest.approx(1e-3, rel=1e-3)


# ------------------------------------------------------------------ losses and labels


class Spy(Combine):
    """An equal-weights combine that keeps the losses it was given."""

    def __init__(self):
        self.seen: list[Losses] = []

    def backward(self, losses, model):
        self.seen.append(losses)
        sum(losses.mean.values()).backward()

    def parameters(self):
        return ()

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def test_losses_carry_samples_outputs_and_targets():
    tasks, spy = sharing_tasks(missing=0.4), Spy()
    trainer_of(tiny_model(tasks), tasks, combine=spy, batch_size=7).one_step()
    (losses,) = spy.seen
    assert list(losses.mean) == ["x", "y", "z", "own"]
    for task in tasks:
        name, kind = task.name, task.kind
        samples, labelled = losses.samples[name], kind.labelled(losses.targets[name])
        assert losses.outputs[name].shape == (7, kind.outputs)
        assert samples.shape == (7,)
        assert not samples[~labelled].any()
        torch.testing.assert_close(losses.mean[name], samples[labelled].mean())
        torch.testing.assert_close(samples, kind.loss(losses.outputs[name], losses.targets[name]))


def unlabelled(task: Task, rows: slice | None = None) -> Task:
    """The task without its labels in some training rows (all by default)."""
    data = task.data
    targets = dict(data.train.targets)
    target = targets[task.name].clone()
    target[rows or slice(None)] = float("nan") if target.is_floating_point() else -1
    train = TensorSource(data.train.inputs, targets | {task.name: target})
    return Task(task.name, task.kind, Data(data.name, data.shape, train, data.val, data.test))


@pytest.mark.parametrize("index", range(4), ids=["regression", "multiclass", "binary", "multilabel"])
def test_a_task_without_labels_in_the_batch_contributes_nothing(index):
    names = ("a", "b", "c", "d")
    tasks = tiny_tasks(names, DOUBLE)
    tasks[index] = unlabelled(tasks[index])
    without = [task for task in tasks if task is not tasks[index]]
    model = tiny_model(tasks, dtype=DOUBLE)
    spy = Spy()
    trainer_of(model, tasks, combine=spy).one_step()
    name = names[index]
    assert spy.seen[0].mean[name].item() == 0
    for part in model.own(name):
        assert part.grad is None or not part.grad.any()
    shared = [p.grad.clone() for p in model.shared_parameters()]

    # The others' gradients are as if the task were not there.
    class Others(Spy):
        def backward(self, losses, model):
            sum(loss for task, loss in losses.mean.items() if task != name).backward()

    other = tiny_model(tasks, dtype=DOUBLE)
    trainer_of(other, tasks, combine=Others()).one_step()
    torch.testing.assert_close([p.grad for p in other.shared_parameters()], shared)
    assert len(without) == 3


def test_only_labelled_samples_count():
    """The step is that of a batch which holds the labelled samples alone."""
    task = tiny_tasks(["a"], DOUBLE)[0]
    half = unlabelled(task, slice(0, 12))
    spies = Spy(), Spy()
    models = [tiny_model([task], dtype=DOUBLE) for _ in range(2)]
    trainer_of(models[0], [half], combine=spies[0], batch_size=24).one_step()
    source = task.data.train
    rest = TensorSource(source.inputs[12:], {"a": source.targets["a"][12:]})
    alone = Task("a", task.kind, Data("a", task.data.shape, rest, task.data.val, task.data.test))
    trainer_of(models[1], [alone], combine=spies[1], batch_size=12).one_step()
    torch.testing.assert_close(spies[0].seen[0].mean, spies[1].seen[0].mean)
    torch.testing.assert_close(*[[p.grad for p in model.parameters()] for model in models])


# ------------------------------------------------------------------ batches


def test_tasks_of_one_input_share_the_batch_and_its_encoding():
    tasks = sharing_tasks()
    encoders = {"panel": Counting(nn.Linear(4, 6)), "own": Counting(nn.Linear(3, 6))}
    structure = hard([task.name for task in tasks], lambda k: Dense(6), 1)
    model, spy = JointModel(tasks, structure, encoders, dense_ends(tasks, 6)[1]), Spy()
    trainer = trainer_of(model, tasks, combine=spy, batch_size=5)
    trainer.one_step()
    assert [(e.calls, e.rows) for e in encoders.values()] == [(1, 5), (1, 5)]
    rows = {}
    for name in ("x", "y", "z"):
        whole = tasks[0].data.train.targets[name]
        rows[name] = [y in whole for y in spy.seen[0].targets[name]]
    x, source = spy.seen[0].targets["x"], tasks[0].data.train
    index = [int((source.targets["x"] == value).nonzero()[0]) for value in x]
    assert torch.equal(source.targets["y"][index], spy.seen[0].targets["y"])
    assert torch.equal(source.targets["z"][index], spy.seen[0].targets["z"])


def test_an_input_that_no_chosen_task_reads_is_not_drawn():
    class OnlyOwn(Schedule):
        def choose(self, tasks, step):
            return ["own"]

    tasks = sharing_tasks()
    encoders = {"panel": Counting(nn.Linear(4, 6)), "own": Counting(nn.Linear(3, 6))}
    structure = hard([task.name for task in tasks], lambda k: Dense(6), 1)
    model = JointModel(tasks, structure, encoders, dense_ends(tasks, 6)[1])
    trainer = trainer_of(model, tasks, schedule=OnlyOwn())
    trainer.one_step()
    assert [e.calls for e in encoders.values()] == [0, 1]


def test_a_task_may_have_a_batch_size_of_its_own():
    one, two = tiny_tasks(["a", "b"])
    two = Task("b", two.kind, two.data, batch_size=3)
    spy = Spy()
    trainer_of(tiny_model([one, two]), [one, two], combine=spy, batch_size=8).one_step()
    assert [len(y) for y in spy.seen[0].targets.values()] == [8, 3]


@pytest.mark.parametrize("size", [0, -1])
def test_an_impossible_batch_size_is_refused(size):
    task = tiny_tasks(["a"])[0]
    task = Task("a", task.kind, task.data, batch_size=size)
    with pytest.raises(ValueError, match=f"batch size of input 'a' is {size}: give at least 1"):
        trainer_of(tiny_model([task]), [task])


def test_batches_larger_than_the_data():
    task, spy = tiny_tasks(["a"])[0], Spy()
    trainer_of(tiny_model([task]), [task], combine=spy, batch_size=100).one_step()
    assert len(spy.seen[0].targets["a"]) == 100


# ------------------------------------------------------------------ parameters without a gradient


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "adagrad"])
@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_parameter_that_gets_no_gradient_stays_as_it_is(optimizer, clip):
    class WithUnused(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(4, 6), nn.Linear(4, 6)

        def forward(self, x):
            return self.used(x)

    task = Task("t", Regression(), tiny_data("t", {"t": Regression()}))
    encoder = WithUnused()
    before = copy.deepcopy(encoder.state_dict())
    model = JointModel([task], hard(["t"], lambda k: Dense(6), 1), {"t": encoder}, dense_ends([task], 6)[1])
    fit(model, [task], steps=3, phase=3, optimizer=optimizer, clip=clip, weight_decay=0.1, device="cpu")
    assert torch.equal(encoder.unused.weight, before["unused.weight"])
    assert not torch.equal(encoder.used.weight, before["used.weight"])


def test_a_frozen_parameter_stays_as_it_is():
    tasks = tiny_tasks()
    model = tiny_model(tasks)
    layer = model.structure.modules_pool[0].requires_grad_(False)
    before = layer.weight.clone()
    fit(model, tasks, steps=3, phase=3, weight_decay=0.1, device="cpu")
    assert torch.equal(layer.weight, before)
