"""What the monitor sees, and that looking changes nothing."""

from __future__ import annotations

import math

import pytest
import torch
from synthetic import Counting, Rows, sharing_tasks, tiny_data, tiny_model, tiny_tasks
from torch import nn

from moduli import Binary, Data, Each, InputError, Multiclass, Multilabel, Regression, Task, TensorSource
from moduli.functional import batch_hard, histogram, margin
from moduli.model import JointModel
from moduli.modules import Dense
from moduli.scheduling.monitor import MEASURES, Monitor, class_probabilities
from moduli.sharing import hard
from moduli.tasks import DatasetSource
from moduli.training import evaluate


def as_is(tasks, **options) -> JointModel:
    """A model whose outputs are its inputs."""
    names = [task.name for task in tasks]

    class Nothing(nn.Module):
        def forward(self, hidden):
            return hidden

        def shared_parameters(self):
            return []

        def own(self, task):
            return []

    model = JointModel(
        tasks, Nothing(), {t.data.name: nn.Identity() for t in tasks}, {n: nn.Identity() for n in names}
    )
    model.register_parameter("unused", nn.Parameter(torch.zeros(())))
    return model


def data(name: str, x: torch.Tensor, y: torch.Tensor) -> Data:
    source = TensorSource(x, {name: y})
    return Data(name, tuple(x.shape[1:]), source, source, source)


def test_the_state_is_the_histograms_of_the_margin_one_after_another():
    p = torch.tensor([[0.7, 0.2, 0.1], [0.4, 0.35, 0.25], [1 / 3, 1 / 3, 1 / 3], [1.0, 0.0, 0.0]]).double()
    p[2] = 1 / 3
    many = Task("many", Multiclass(3), data("many", p.log(), torch.tensor([0, 1, -1, 0])))
    logits = torch.tensor([[0.0], [50.0]])  # margins 1 and 0
    two = Task("two", Binary(), data("two", logits, torch.tensor([0.0, 1.0])))
    look = Monitor([many, two], bins=5).look(as_is([many, two]))
    assert look.state.tolist() == pytest.approx([0.25, 0, 0.25, 0, 0.5, 0.5, 0, 0, 0, 0.5])
    assert look.state.dtype == torch.float32


def test_multilabel_tasks_have_the_mean_margin_of_their_labels():
    x = torch.tensor([[0.0, 50.0], [50.0, -50.0]])
    task = Task("l", Multilabel(2), data("l", x, torch.zeros(2, 2)))
    assert Monitor([task], bins=4).look(as_is([task])).state.tolist() == [0.5, 0, 0.5, 0]


def test_regression_has_a_squashed_loss_of_labelled_samples():
    x, y = torch.tensor([[0.0], [1.0], [30.0]]), torch.tensor([0.0, 0.0, math.nan])
    task = Task("r", Regression(), data("r", x, y))
    state = Monitor([task], bins=10).look(as_is([task])).state
    assert state.nonzero().flatten().tolist() == [0, 6]  # 1 - exp(-1) = 0.632
    assert state.sum() == 1


@pytest.mark.parametrize("measure", MEASURES)
def test_all_measures_lie_on_the_unit_interval(measure):
    for kind in (Binary(), Multiclass(4), Multilabel(3)):
        p = class_probabilities(kind, torch.zeros(5, kind.outputs))
        assert p is not None
        u = MEASURES[measure](p)
        top = 1 - 1 / p.shape[-1] if measure == "least_confidence" else 1.0
        torch.testing.assert_close(u, torch.full_like(u, top))


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_losses_and_metrics_are_those_of_evaluation(missing):
    tasks = sharing_tasks(missing=missing)
    model = tiny_model(tasks)
    look = Monitor(tasks, batch_size=5).look(model)
    scores = evaluate(model, {task.name: task for task in tasks}, "val")
    assert look.losses == pytest.approx(scores.loss)
    assert look.values == pytest.approx({task.name: scores.value(task.name) for task in tasks})
    assert Monitor(tasks).look(model, scores=False).losses == {}


@pytest.mark.parametrize("batch_size", [1, 5, 12, 24])
def test_the_batch_size_changes_nothing_and_bounds_the_rows(batch_size):
    tasks = sharing_tasks()
    model = tiny_model(tasks)
    expected = Monitor(tasks).look(model).state
    seen = []

    def count(module, given, result):
        seen.append(sum(map(len, {id(x): x for x in given[0].values()}.values())))  # of each input once

    model.structure.register_forward_hook(count)
    torch.testing.assert_close(Monitor(tasks, batch_size=batch_size).look(model).state, expected)
    assert max(seen) <= batch_size
    assert sum(seen) == 24


def test_a_shared_input_goes_through_the_model_once():
    tasks = sharing_tasks()
    encoders = {t.data.name: Counting(nn.Linear(t.data.shape[0], 6)) for t in tasks}
    decoders = {t.name: nn.Linear(6, t.kind.outputs) for t in tasks}
    model = JointModel(tasks, hard([t.name for t in tasks], lambda k: Dense(6), 1), Each(encoders), decoders)
    monitor = Monitor(tasks)
    monitor.look(model)
    assert {name: encoder.calls for name, encoder in encoders.items()} == {"panel": 1, "own": 1}
    assert monitor.rows == 24


def test_the_model_and_the_random_numbers_are_left_as_they_were():
    tasks = sharing_tasks()
    model = tiny_model(tasks, dropout=0.5)
    model.train()
    model.decoders.eval()
    modes = [module.training for module in model.modules()]
    before, numbers = {n: x.clone() for n, x in model.state_dict().items()}, torch.get_rng_state()
    monitor = Monitor(tasks)
    first = monitor.look(model).state
    torch.testing.assert_close(monitor.look(model).state, first, rtol=0, atol=0)  # no dropout
    assert [module.training for module in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())
    for name, x in model.state_dict().items():
        assert torch.equal(x, before[name])
    assert torch.equal(torch.get_rng_state(), numbers)
    assert not first.requires_grad


def test_the_mode_is_restored_after_a_failure():
    tasks = sharing_tasks()
    model = tiny_model(tasks).train()
    model.structure.forward = lambda hidden: 1 / 0
    with pytest.raises(ZeroDivisionError):
        Monitor(tasks).look(model)
    assert model.training


def test_a_draw_of_samples_is_the_same_every_time():
    tasks = sharing_tasks()
    model = tiny_model(tasks)
    monitor = Monitor(tasks, samples=5)
    first = monitor.look(model)
    assert monitor.rows == 10
    assert torch.equal(Monitor(tasks, samples=5, batch_size=2).look(model).state, first.state)
    assert not torch.equal(Monitor(tasks, samples=5, seed=1).look(model).state, first.state)
    assert torch.equal(Monitor(tasks, samples=99).look(model).state, Monitor(tasks).look(model).state)
    assert (first.state * 5).frac().abs().max() < 1e-6  # five samples each


def test_a_user_data_set_is_read_as_well():
    x, y = torch.randn(9, 1), torch.tensor([0.0, 1.0, 1.0] * 3)
    tensors, rows = data("d", x, y), DatasetSource(Rows(x, y), ["d"])
    tasks = [[Task("d", Binary(), Data("d", (1,), source, source, source))] for source in (tensors.val, rows)]
    states = [Monitor(t, samples=4, batch_size=3).look(as_is(t)).state for t in tasks]
    assert torch.equal(*states)


def test_unlabelled_inputs_count_in_the_histogram_of_their_task_only():
    tasks = sharing_tasks()
    model = tiny_model(tasks)
    more = torch.randn(6, 4)
    plain, with_more = Monitor(tasks), Monitor(tasks, unlabelled={"y": more}, batch_size=4)
    a, b = plain.look(model), with_more.look(model)
    logits = model.eval()({"panel": more}, ["y"])["y"]
    u = margin(class_probabilities(Binary(), logits))  # type: ignore[arg-type]
    expected = (12 * a.state[20:40] + 6 * histogram(u)) / 18
    torch.testing.assert_close(b.state[20:40], expected)
    for part in (slice(0, 20), slice(40, 80)):
        torch.testing.assert_close(a.state[part], b.state[part])
    assert a.losses == pytest.approx(b.losses)
    assert with_more.rows == plain.rows + 6


def test_hard_looks_at_marked_samples_only():
    kinds = {"y": Binary(), "z": Multiclass(3)}
    source = tiny_data("panel", kinds, samples=(24, 40, 12), missing=0.2)
    tasks = [Task(name, kind, source) for name, kind in kinds.items()]
    model = tiny_model(tasks).eval()
    state = Monitor(tasks, hard=True).look(model).state
    batch = next(source.val.batches(99, torch.device("cpu")))
    for k, (name, kind) in enumerate(kinds.items()):
        hidden = model.hidden({"panel": batch.inputs}, [name])
        keep = kind.labelled(batch.targets[name])
        marked = batch_hard(hidden[name][keep], batch.targets[name][keep]).marked()
        assert len(marked) < int(keep.sum())
        p = class_probabilities(kind, model.decoders(hidden)[name])
        assert p is not None
        torch.testing.assert_close(state[20 * k : 20 * k + 20], histogram(margin(p)[keep][marked]))


def test_hard_with_one_class_looks_at_all():
    task = Task("y", Binary(), data("y", torch.randn(5, 1), torch.ones(5)))
    model = as_is([task])
    assert torch.equal(Monitor([task], hard=True).look(model).state, Monitor([task]).look(model).state)


def test_a_diverged_model_has_a_state():
    tasks = sharing_tasks()
    model = tiny_model(tasks)
    for parameter in model.parameters():
        parameter.data.fill_(math.nan)
    look = Monitor(tasks).look(model)
    assert look.state.isfinite().all()
    assert all(map(math.isnan, look.losses.values()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"measure": "margins"}, "did you mean 'margin'"),
        ({"bins": 0}, "bins of the uncertainty monitor is 0"),
        ({"samples": 0}, "samples of the uncertainty monitor is 0"),
        ({"unlabelled": {"w": torch.ones(2, 4)}}, "unlabelled inputs for 'w'"),
        ({"unlabelled": {"x": torch.ones(2, 4)}}, "regression task 'x'"),
        ({"unlabelled": {"y": torch.ones(2, 4)}, "hard": True}, "not both"),
        ({"hard": True}, "task 'x' is regression"),
    ],
)
def test_errors(options, message):
    with pytest.raises(InputError, match=message):
        Monitor(sharing_tasks(), **options)


def test_a_task_without_labels_to_look_at_is_named():
    task = Task("y", Binary(), data("y", torch.randn(5, 1), torch.full((5,), math.nan)))
    monitor = Monitor([task])
    assert monitor.look(as_is([task]), scores=False).state.sum() == pytest.approx(1)
    with pytest.raises(InputError, match="task 'y' has no label"):
        monitor.look(as_is([task]))


def test_histograms_by_task():
    tasks = tiny_tasks(("a", "b"))
    monitor = Monitor(tasks, bins=2)
    found = monitor.histograms(torch.tensor([0.0, 1.0, 0.5, 0.5]))
    assert found == {"a": [0, 1], "b": [0.5, 0.5]}
