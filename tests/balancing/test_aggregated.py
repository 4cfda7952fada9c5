"""torchjd's aggregators on any sharing structure."""

from __future__ import annotations

import copy
import functools
import json

import pytest
import torch
import torchjd.aggregation as library
from synthetic import sharing_tasks, tiny_model, tiny_tasks
from torchjd.autojac import jac_to_grad, mtl_backward

from moduli import Aggregated, Equal, RoundRobin, RunError, Train, Trainer, augment, fit
from moduli.tasks import task_losses

OPTIONS = {
    "CAGrad": {"c": 0.5},
    "Constant": {"weights": torch.tensor([1.0, 2.0, 3.0])},
    "FairGrad": {"alpha": 1.0},
    "Krum": {"n_byzantine": 0},
    "NashMTL": {"n_tasks": 3},
    "TrimmedMean": {"trim_number": 0},
}
BASES = {"Aggregator", "WeightedAggregator", "GramianWeightedAggregator"}
AGGREGATORS = [
    name
    for name in library.__all__
    if name not in BASES and issubclass(getattr(library, name), library.Aggregator)
]


def made(name: str) -> library.Aggregator:
    return getattr(library, name)(**OPTIONS.get(name, {}))


def test_all_of_the_library_is_here():
    wanted = {
        "PCGrad",
        "CAGrad",
        "MGDA",
        "NashMTL",
        "IMTLG",
        "UPGrad",
        "AlignedMTL",
        "GradVac",
        "FairGrad",
        "GradDrop",
    }
    assert wanted <= set(AGGREGATORS)


def trained(tasks, order="hard", combine=None, steps=6, **options):
    torch.manual_seed(0)
    model = tiny_model(tasks, order)
    return fit(model, tasks, combine=combine, steps=steps, phase=3, device="cpu", select="last", **options)


@pytest.mark.parametrize(("aggregator", "factor"), [(library.Sum(), 1.0), (library.Mean(), 1 / 3)])
def test_sum_and_mean_are_equal_weights(aggregator, factor):
    tasks = tiny_tasks()
    grads = []
    for combine in (Equal(), Aggregated(aggregator)):
        trainer = Trainer(tiny_model(tasks, "soft"), tasks, combine=combine, device="cpu")
        trainer.one_step()
        shared = {id(p) for p in trainer.model.shared_parameters()}
        grads.append([(id(p) in shared, p.grad) for p in trainer.model.parameters()])
    for (is_shared, expected), (_, got) in zip(*grads, strict=True):
        torch.testing.assert_close(got, expected * (factor if is_shared else 1.0))


@pytest.mark.parametrize("name", ["UPGrad", "MGDA", "IMTLG", "AlignedMTL", "ConFIG", "DualProj"])
def test_on_hard_sharing_it_is_what_the_library_does(name):
    tasks = sharing_tasks(dtype=torch.float64)[:3]
    by_name = {task.name: task for task in tasks}
    model = tiny_model(tasks, "hard", dtype=torch.float64).train()
    source, data = tasks[0].data.train, tasks[0].data.name
    targets = {n: source.targets[n][:8] for n in by_name}

    hidden = model.hidden({data: source.inputs[:8]}, list(by_name))
    assert len({id(h) for h in hidden.values()}) == 1
    losses = task_losses(by_name, model.decoders(hidden), targets)
    mtl_backward(list(losses.mean.values()), features=hidden[tasks[0].name], retain_graph=True)
    jac_to_grad(model.shared_parameters(), made(name))
    expected = [p.grad.clone() for p in model.parameters()]

    model.zero_grad(set_to_none=True)
    losses = task_losses(by_name, model({data: source.inputs[:8]}, list(by_name)), targets)
    Aggregated(made(name)).backward(losses, model)
    torch.testing.assert_close([p.grad for p in model.parameters()], expected)


@pytest.mark.parametrize("name", AGGREGATORS)
def test_every_aggregator_trains_and_resumes_to_the_same_bits(name, tmp_path):
    tasks = tiny_tasks()
    whole = trained(tasks, "soft", Aggregated(made(name), seed=1), folder=tmp_path / "whole")
    trained(tasks, "soft", Aggregated(made(name), seed=1), steps=3, folder=tmp_path / "half")
    resumed = trained(tasks, "soft", Aggregated(made(name), seed=1), folder=tmp_path / "half")
    torch.testing.assert_close(
        dict(resumed.model.state_dict()), dict(whole.model.state_dict()), rtol=0, atol=0
    )
    assert json.dumps(resumed.history) == json.dumps(whole.history)


@pytest.mark.parametrize("order", ["single", "hard", "permuted", "soft"])
def test_with_every_order_of_layers_with_pseudo_tasks_and_autocast(order):
    tasks = tiny_tasks()
    model = augment(tiny_model(tasks, order), "HGD", 3)
    result = fit(
        model, tasks, combine=Aggregated(library.UPGrad()), steps=4, phase=2, device="cpu", precision="bf16"
    )
    assert all(x == x for x in result.val.loss.values())


def test_in_fp16_a_step_is_that_of_fp32():
    moved = []
    for precision in ("fp32", "fp16"):
        tasks = tiny_tasks()
        train = Train(precision=precision, optimizer="sgd")
        trainer = Trainer(tiny_model(tasks), tasks, train, Aggregated(library.MGDA()), device="cpu")
        before = [p.detach().clone() for p in trainer.model.parameters()]
        trainer.one_step()
        moved.append(
            torch.stack([(p - b).norm() for p, b in zip(trainer.model.parameters(), before, strict=True)])
        )
    torch.testing.assert_close(moved[1], moved[0], rtol=0.05, atol=1e-6)


def test_an_overflow_in_fp16_leaves_the_step_out():
    tasks = tiny_tasks()
    trainer = Trainer(
        tiny_model(tasks), tasks, Train(precision="fp16"), Aggregated(library.UPGrad()), device="cpu"
    )
    before = copy.deepcopy(trainer.model.state_dict())
    state = trainer.parts.precision.state_dict()
    trainer.parts.precision.load_state_dict(state | {"scale": 2.0**60})
    trainer.one_step()
    torch.testing.assert_close(dict(trainer.model.state_dict()), dict(before), rtol=0, atol=0)


def test_a_gradient_that_is_no_number_is_named():
    tasks = tiny_tasks()
    trainer = Trainer(tiny_model(tasks), tasks, combine=Aggregated(library.CAGrad(c=0.5)), device="cpu")
    for part in trainer.model.own("b"):
        part.value.fill_(float("nan"))
    with pytest.raises(RunError, match="gradient of task 'b' is not finite: try a lower lr, or clip"):
        trainer.one_step()


@pytest.mark.parametrize("tasks", [tiny_tasks, lambda: sharing_tasks()[:3]], ids=["own inputs", "one input"])
def test_a_model_can_be_trained_on_without_it(tasks):
    """What gradients needed of the model is undone: shared parameters are trained as ever."""
    tasks = tasks()
    model = trained(tasks, combine=Aggregated(library.UPGrad())).model
    before = [p.detach().clone() for p in model.shared_parameters()]
    fit(model, tasks, steps=2, phase=2, device="cpu", select="last")
    assert all(not torch.equal(p, b) for p, b in zip(model.shared_parameters(), before, strict=True))
    model.train()
    trainer = Trainer(model, tasks, combine=Aggregated(library.UPGrad()), device="cpu")
    trainer.one_step()
    trainer = Trainer(model, tasks, device="cpu")  # one that was not run to its end
    trainer.one_step()
    assert all(p.grad is not None for p in model.shared_parameters())


def test_a_compiled_step_gives_the_same_gradients(monkeypatch):
    """With the graph captured and run as it is: a compiler would take half a minute."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    one, two = (trained(tiny_tasks(("a", "b")), "hard", Aggregated(library.UPGrad()), steps=3, compile=c)
                for c in (False, True))  # fmt: skip
    torch.testing.assert_close(dict(two.model.state_dict()), dict(one.model.state_dict()))


def test_weights_and_conflicts_are_recorded():
    tasks = tiny_tasks()
    combine = Aggregated(library.UPGrad())
    result = trained(tasks, combine=combine)
    records = [r for r in result.history if r["split"] == "balance"]
    assert [sorted(r) for r in records] == [["split", "step", "weights"], ["cosine", "split", "step"]] * 2
    cosine = records[1]["cosine"]
    assert set(cosine) == {"a", "b", "c"}
    assert cosine["a"]["a"] == pytest.approx(1.0, abs=1e-5)
    assert cosine["a"]["b"] == pytest.approx(cosine["b"]["a"])
    assert -1 <= cosine["a"]["b"] < 1


def test_one_task_at_a_time_is_that_tasks_gradient():
    results = []
    for combine in (Equal(), Aggregated(library.NashMTL(3, max_norm=0.001))):
        results.append(trained(tiny_tasks(), "soft", combine, schedule=RoundRobin()).model.state_dict())
    torch.testing.assert_close(dict(results[1]), dict(results[0]))


def test_some_tasks_at_a_time():
    result = trained(tiny_tasks(), "soft", Aggregated(library.NashMTL(3)), schedule=RoundRobin(2))
    assert all(x == x for x in result.val.loss.values())


def test_one_that_needs_more_tasks_says_so():
    tasks = tiny_tasks(("a", "b"))
    with pytest.raises(ValueError, match=r"Krum with 2 tasks: .*at least 3 rows"):
        trained(tasks, combine=Aggregated(library.Krum(0)))


def test_at_the_representation_the_weights_are_those_of_its_gradients():
    tasks = sharing_tasks()[:3]
    combine = Aggregated(library.MGDA(), at="representation")
    result = trained(tasks, combine=combine)
    (record, *_) = [r for r in result.history if r["split"] == "balance" and "weights" in r]
    assert sum(record["weights"].values()) == pytest.approx(1.0, abs=1e-4)


def test_at_the_representation_only_weights_can_be_used():
    with pytest.raises(ValueError, match="GradDrop gives no weights: use it at the parameters"):
        Aggregated(library.GradDrop(), at="representation")
    with pytest.raises(ValueError, match="at is 'features': give parameters or representation"):
        Aggregated(library.MGDA(), at="features")  # type: ignore[arg-type]


def test_random_aggregators_leave_the_global_random_numbers_alone():
    tasks = tiny_tasks()
    trainer = Trainer(tiny_model(tasks), tasks, combine=Aggregated(library.PCGrad()), device="cpu")
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    trainer.one_step()
    torch.testing.assert_close(torch.rand(2), expected)
