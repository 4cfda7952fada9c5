"""Pseudo-tasks in whole runs: any structure, any kind of task, and resuming to the same bits."""

import math
import shutil

import pytest
import torch
from synthetic import METHODS, sharing_tasks, tiny_data, tiny_model, tiny_tasks
from torch import nn

from moduli import (
    Binary,
    Conv,
    Data,
    Each,
    JointModel,
    Multiclass,
    Task,
    TensorSource,
    Train,
    Trainer,
    augment,
    compare,
    fit,
    hard,
)

OPTIONS = {"steps": 15, "phase": 5, "batch_size": 5, "patience": None, "device": "cpu"}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("letters", ["I", "FP", "HGD"])
def test_every_structure_and_every_kind_of_task(method, letters):
    tasks = sharing_tasks(missing=0.2) + tiny_tasks(("r", "m", "b", "l"))
    result = fit(augment(tiny_model(tasks, method, dropout=0.2), letters, 3), tasks, **OPTIONS)
    assert all(math.isfinite(x) for x in result.test.loss.values())
    assert result.val.costs == {}  # of the model that is kept, not of its candidates


def test_images():
    generator = torch.Generator().manual_seed(0)
    tasks = []
    for name, classes in {"a": 3, "b": 5}.items():
        images = torch.rand(20, 1, 8, 8, generator=generator)
        source = TensorSource(images, {name: torch.randint(classes, (20,), generator=generator)})
        tasks.append(Task(name, Multiclass(classes), Data(name, (1, 8, 8), source, source, source)))
    core = hard(["a", "b"], lambda k: Conv(4), 2, dropout=0.3, pooling=True)
    heads = {t.name: nn.Sequential(nn.Flatten(), nn.Linear(16, t.kind.outputs)) for t in tasks}
    model = JointModel(tasks, core, {"a": nn.Identity(), "b": nn.Identity()}, heads)
    result = fit(augment(model, "HGD", 3), tasks, **OPTIONS)
    assert all(math.isfinite(x) for x in result.test.loss.values())


def test_many_labels_of_one_input():
    kinds = {f"y{k}": Binary() for k in range(6)}
    data = tiny_data("x", kinds)
    tasks = [Task(name, kind, data) for name, kind in kinds.items()]
    for letters in ("I", "HGD"):
        result = fit(augment(tiny_model(tasks), letters, 4), tasks, **OPTIONS)
        assert all(math.isfinite(x) for x in result.test.loss.values())


def trainer(letters, folder, method="soft", **options):
    tasks = sharing_tasks(missing=0.3)
    model = augment(tiny_model(tasks, method, dropout=0.3), letters, 3)
    if options.pop("modules", False):
        model = tiny_model(tasks, method)
        model.decoders = Each(
            {
                t.name: nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, t.kind.outputs))
                for t in tasks
            }
        )
        augment(model, letters, 3)
    settings = {**OPTIONS, "lr": 0.02, **options}
    device = settings.pop("device")
    return Trainer(model, tasks, Train(**settings), seed=3, device=device, folder=folder)


SETUPS = {
    "soft": {},
    "single": {"method": "single"},
    "modules": {"modules": True},
    "momentum": {"optimizer": "sgd", "momentum": 0.9},
}


class StoppedError(Exception):
    """Thrown in the middle of a step."""


@pytest.mark.parametrize("letters", ["I", "FP", "GP", "HGD"])
@pytest.mark.parametrize("setup", SETUPS.values(), ids=SETUPS.keys())
def test_a_stopped_run_ends_with_the_same_bits(letters, setup, tmp_path, monkeypatch):
    whole = trainer(letters, tmp_path / "whole", **setup)
    expected = whole.run()

    stopped = trainer(letters, tmp_path / "stopped", **setup)
    step = stopped.one_step

    def fails():
        if stopped.step == 12:
            raise StoppedError
        step()

    stopped.one_step = fails
    with pytest.raises(StoppedError):
        stopped.run()
    resumed = trainer(letters, tmp_path / "stopped", **setup)
    result = resumed.run()
    assert result.history == expected.history
    assert result.test == expected.test
    for (name, x), y in zip(
        result.model.state_dict().items(), expected.model.state_dict().values(), strict=True
    ):
        assert torch.equal(x, y), name


def test_separate_models_keep_their_own_best_decoders():
    """Each task restores weights, rates and choice of its own best phase."""
    tasks = tiny_tasks(("a", "b"))
    train = Train(steps=20, phase=2, patience=None, lr=0.05)
    made = Trainer(augment(tiny_model(tasks, "single"), "HGD", 3), tasks, train, device="cpu")
    seen = {}

    class Look:
        def after_phase(self, phase):
            bank = phase.model.decoders
            seen[phase.step] = ({t: [p.value.clone() for p in bank.own(t)] for t in bank.tasks}, phase.scores)

        def state_dict(self):
            return {}

        def load_state_dict(self, state):
            pass

    made.controls.insert(0, Look())  # before the decoders' own control
    made.run()
    steps = made.selection.best_step
    assert len(steps) == 2
    for task, step in zip(("a", "b"), steps, strict=True):
        for now, then in zip(made.model.decoders.own(task), seen[step][0][task], strict=True):
            assert torch.equal(now.value, then)


def test_variants_are_compared_like_any_methods(tmp_path):
    tasks = tiny_tasks(("a", "b"))
    methods = {"plain": lambda seed: tiny_model(tasks, seed=seed)}
    for letters in ("I", "HGD"):
        methods[letters] = lambda seed, c=letters: augment(tiny_model(tasks, seed=seed), c, 3)
    first = compare(methods, tasks, 2, folder=tmp_path / "run", **OPTIONS)
    assert not first.failures
    shutil.rmtree(tmp_path / "run" / "training" / "HGD" / "seed-1")
    again = compare(methods, tasks, 2, folder=tmp_path / "run", **OPTIONS)
    for one, two in zip(first.outcomes, again.outcomes, strict=True):
        assert one.test == two.test


def test_half_precision_trains():
    result = fit(augment(tiny_model(tiny_tasks()), "HGD", 3), tiny_tasks(), precision="bf16", **OPTIONS)
    assert all(math.isfinite(x) for x in result.test.loss.values())
