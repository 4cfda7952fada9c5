"""Every weighting in training: any structure, decoders, schedule and precision, resumed, without waiting."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchjd.scalarization
from synthetic import scores_of, sharing_tasks, tiny_model, tiny_tasks

from moduli import Equal, Losses, RunError, Schedule, Task, Train, Trainer, augment
from moduli.balancing.dtp import DynamicTaskPriority
from moduli.balancing.dwa import DWA
from moduli.balancing.exponent import Exponent
from moduli.balancing.focal import Focal
from moduli.balancing.prioritise import Prioritise
from moduli.balancing.random_weights import RandomWeights
from moduli.balancing.scalarized import Scalarized
from moduli.balancing.self_paced import SelfPaced
from moduli.balancing.uncertainty import Uncertainty

MAKE: dict[str, Callable[[list[Task]], Any]] = {
    "exponent": lambda tasks: Exponent(),
    "random": lambda tasks: RandomWeights(),
    "dwa": lambda tasks: DWA(),
    "uncertainty": Uncertainty,
    "dtp": DynamicTaskPriority,
    "focal": lambda tasks: Focal(tasks, alpha=0.3),
    "self-paced": lambda tasks: SelfPaced(),
    "self-paced-instance": lambda tasks: SelfPaced("instance"),
    "prioritise": lambda tasks: Prioritise("hardest"),
    "stch": lambda tasks: Scalarized(torchjd.scalarization.STCH(0.5)),
    "famo": lambda tasks: Scalarized(torchjd.scalarization.FAMO(len(tasks))),
    "imtl-l": lambda tasks: Scalarized(torchjd.scalarization.IMTLL(len(tasks))),
}
every = pytest.mark.parametrize("name", MAKE)
SETTINGS: dict[str, Any] = {"steps": 14, "phase": 4, "batch_size": 6, "lr": 0.02, "patience": None}


class InTurn(Schedule):
    """One task in a step."""

    def choose(self, tasks, step):
        return [tasks[step % len(tasks)]]


def trainer(name: str, folder=None, method="hard", schedule=None, pta="", tasks=None, **train) -> Trainer:
    tasks = tasks or sharing_tasks(missing=0.2)
    model = tiny_model(tasks, method, seed=1, dropout=0.2)
    model = augment(model, pta, 3) if pta else model
    settings = Train(**SETTINGS | train)
    return Trainer(model, tasks, settings, MAKE[name](tasks), schedule, device="cpu", folder=folder)


@pytest.mark.parametrize(
    "setup",
    [{}, {"method": "soft", "pta": "HGD"}, {"schedule": InTurn()}, {"precision": "fp16"}],
    ids=["hard", "soft-pta", "one-task", "fp16"],
)
@every
def test_resumes_to_the_same_bits(name, setup, tmp_path):
    whole = trainer(name, tmp_path / "whole", **setup).run()
    trainer(name, tmp_path / "parts", **setup, steps=8).run()
    resumed = trainer(name, tmp_path / "parts", **setup).run()
    torch.testing.assert_close(
        dict(resumed.model.state_dict()), dict(whole.model.state_dict()), rtol=0, atol=0
    )
    assert repr(resumed.history) == repr(whole.history)  # NaN included
    told = [record for record in whole.history if record["split"] == "balance"]
    assert len(told) == 4
    assert all(math.isfinite(w) for record in told for w in record["weights"].values())


@every
def test_half_precision_gives_the_same_step(name):
    """fp16 multiplies losses by a large factor; weights, and the gradients of own parameters, do not mind."""
    moved = []
    for precision in ("fp32", "fp16"):
        tasks = sharing_tasks(missing=0.2)
        combine = MAKE[name](tasks)
        settings = Train(precision=precision, optimizer="sgd", lr=0.1, momentum=0.0)
        made = Trainer(tiny_model(tasks), tasks, settings, combine, device="cpu")
        if precision == "fp16":  # far from an overflow
            scaler = made.parts.precision
            scaler.load_state_dict(scaler.state_dict() | {"scale": 2.0**8})
        parameters = [*made.model.parameters(), *combine.parameters()]
        before = [p.detach().clone() for p in parameters]
        made.one_step()
        moved.append(torch.cat([(p - b).flatten() for p, b in zip(parameters, before, strict=True)]))
    assert moved[0].norm() > 0
    assert (moved[1] - moved[0]).norm() < 0.02 * moved[0].norm()


@every
def test_a_loss_that_is_no_number_is_named(name):
    tasks = sharing_tasks()
    source = tasks[3].data.train
    source.inputs[:] = math.nan
    with pytest.raises(RunError, match="training loss of task 'own' is nan"):
        trainer(name, tasks=tasks).run()


@every
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_finite_in_single_precision(name, scale):
    tasks = tiny_tasks()
    model, combine = tiny_model(tasks), MAKE[name](tasks)
    inputs = {task.data.name: torch.randn(4, *task.data.shape) for task in tasks}
    targets = {"c": torch.tensor([0.0, 1.0, 1.0, 0.0])}
    for _ in range(3):
        outputs = model(inputs, ["a", "b", "c"])
        samples = {task: scale * y.square().mean(-1) for task, y in outputs.items()}
        means = {task: x.mean() for task, x in samples.items()}
        combine.backward(Losses(means, samples, outputs, targets), model)
        combine.observe(scores_of({task: x.item() for task, x in means.items()}))
    gradients = [p.grad for p in (*model.parameters(), *combine.parameters())]
    assert all(g.isfinite().all() for g in gradients)
    assert any(g.any() for g in gradients)


WAITS = ("item", "tolist", "__bool__", "__float__", "__int__", "__index__", "numpy", "cpu", "nonzero")


@pytest.mark.parametrize("name", sorted(set(MAKE) - {"famo"}))  # whose Adam counts its steps on the CPU
@pytest.mark.parametrize("schedule", [None, InTurn()], ids=["all", "one-task"])
def test_a_step_never_waits_for_an_accelerator(name, schedule, monkeypatch):
    """No number is fetched from a tensor."""
    made = trainer(name, schedule=schedule)
    for _ in range(5):  # all tasks were seen, all constants made
        made.one_step()
    waited = []
    for method in WAITS:
        original = getattr(torch.Tensor, method)

        def spy(self, *args, _original=original, _method=method, **options):
            waited.append(_method)
            return _original(self, *args, **options)

        monkeypatch.setattr(torch.Tensor, method, spy)
    for _ in range(4):
        made.one_step()
    monkeypatch.undo()
    assert waited == []


@every
def test_the_graph_grows_no_faster_than_the_number_of_tasks(name):
    """Autograd nodes of a step on 4, 8 and 16 inputs of their own."""
    added = {}
    for count in (4, 8, 16):
        tasks = tiny_tasks([f"t{i}" for i in range(count)])
        made = trainer(name, tasks=tasks)
        added[count] = nodes_of_a_step(made)
    assert added[16] - added[8] <= 2.5 * (added[8] - added[4]) + 10


def nodes_of_a_step(made: Trainer) -> int:
    roots = []
    original = torch.Tensor.backward

    def spy(self, *args, **options):
        roots.append(self)
        return original(self, *args, **options)

    torch.Tensor.backward = spy  # type: ignore[method-assign]
    try:
        made.one_step()
    finally:
        torch.Tensor.backward = original  # type: ignore[method-assign]
    seen, todo = set(), [root.grad_fn for root in roots]
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo += [parent for parent, _ in node.next_functions]
    return len(seen)


def test_weightings_that_say_nothing_are_equal_weighting():
    """Those whose weights are 1 at the start give the first step of `Equal`."""
    results = []
    for combine in (Equal(), DWA(), Exponent(1.0), DynamicTaskPriority(sharing_tasks(), gamma_samples=0.0)):
        tasks = sharing_tasks()
        made = Trainer(tiny_model(tasks), tasks, Train(), combine, device="cpu")
        made.one_step()
        results.append({name: x.clone() for name, x in made.model.state_dict().items()})
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], rtol=0, atol=0)
