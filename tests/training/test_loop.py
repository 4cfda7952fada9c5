"""The loop: the order of things, what it leaves alone, and how it fails."""

from __future__ import annotations

import random
import signal
from typing import Any

import numpy as np
import pytest
import torch
from synthetic import Rows, scores_of, sharing_tasks, tiny_data, tiny_model, tiny_tasks
from torch import nn
from users import Perturb

from moduli import (
    Binary,
    Data,
    DatasetSource,
    Dense,
    Interrupted,
    JointModel,
    Phase,
    Regression,
    RunError,
    Scores,
    Task,
    TensorSource,
    Train,
    Trainer,
    dense_ends,
    fit,
    hard,
)
from moduli.balancing import Equal
from moduli.scheduling import AllTasks
from moduli.training import checkpoint, evaluate, loop as room

# ------------------------------------------------------------------ the order of things


class Diary:
    """A combine, a schedule and controls that write down when they are called."""

    def __init__(self):
        self.entries: list[Any] = []

    def control(self, name: str):
        diary = self

        class Control:
            def after_phase(self, phase: Phase):
                assert isinstance(phase.scores, Scores)
                assert phase.scores.split == "val"
                diary.entries.append((name, phase.number, phase.step))

            def state_dict(self):
                return {}

            def load_state_dict(self, state):
                pass

        return Control()

    def schedule(self):
        diary = self

        class Schedule(AllTasks):
            def choose(self, tasks, step):
                diary.entries.append(("choose", step))
                return tasks

            def observe(self, scores):
                diary.entries.append("observe")

        return Schedule()

    def combine(self):
        diary = self

        class Combine(Equal):
            def backward(self, losses, model):
                diary.entries.append("backward")
                super().backward(losses, model)

        return Combine()


def test_the_order_of_a_run(tmp_path, monkeypatch):
    diary, tasks = Diary(), tiny_tasks()
    evaluate, save = room.evaluate, room.Checkpoints.save
    monkeypatch.setattr(
        room, "evaluate", lambda m, t, s, *r: diary.entries.append(s) or evaluate(m, t, s, *r)
    )
    monkeypatch.setattr(
        room.Checkpoints, "save", lambda self, step, *r: diary.entries.append("save") or save(self, step, *r)
    )
    Trainer(
        tiny_model(tasks), tasks, Train(steps=3, phase=2), diary.combine(), diary.schedule(),
        [diary.control("first"), diary.control("second")], device="cpu", folder=tmp_path,
    ).run()  # fmt: skip
    assert diary.entries == [
        ("choose", 0), "backward", ("choose", 1), "backward",
        "val", ("first", 1, 2), ("second", 1, 2), "observe", "save",
        ("choose", 2), "backward",
        "val", ("first", 2, 3), ("second", 2, 3), "observe", "save",
        "val", "test",
    ]  # fmt: skip


def test_a_control_sees_the_model_and_its_scores():
    seen = []

    class Look(Perturb):
        def after_phase(self, phase):
            seen.append(phase)
            again = evaluate(phase.model, tasks_by_name, "val")
            assert phase.scores.loss == pytest.approx(again.loss)

    tasks = tiny_tasks()
    tasks_by_name = {task.name: task for task in tasks}
    model = tiny_model(tasks, dropout=0.5)
    fit(model, tasks, controls=[Look()], steps=4, phase=2, device="cpu")
    assert [phase.number for phase in seen] == [1, 2]
    assert all(phase.model is model for phase in seen)


def test_the_weights_that_were_scored_are_those_that_are_kept():
    """A control acts after the evaluation: what it does belongs to the next phase."""

    class Ruin:
        def after_phase(self, phase):
            for p in phase.model.parameters():
                p.data.fill_(100.0)

        def state_dict(self):
            return {}

        def load_state_dict(self, state):
            pass

    tasks = tiny_tasks()
    result = fit(tiny_model(tasks), tasks, controls=[Ruin()], steps=6, phase=3, device="cpu")
    val = {r["task"]: r["loss"] for r in result.history if r["split"] == "val" and r["step"] == 3}
    assert result.best_step == 3
    assert result.val.loss == pytest.approx(val)


def test_the_test_split_is_read_once_at_the_end(monkeypatch):
    class Guarded(TensorSource):
        reads = 0

        def batches(self, *args):
            Guarded.reads += 1
            return super().batches(*args)

        def stream(self, *args):
            raise AssertionError("trained on the test split")

    task = tiny_tasks(["a"])[0]
    data = task.data
    test = Guarded(data.test.inputs, data.test.targets)
    task = Task("a", task.kind, Data("a", data.shape, data.train, data.val, test))
    fit(tiny_model([task]), [task], steps=6, phase=2, device="cpu")
    assert Guarded.reads == 1


def test_the_training_loss_in_the_history_is_the_mean_of_its_phase():
    seen: dict[str, list[float]] = {}

    class Listening(Equal):
        def backward(self, losses, model):
            for task, loss in losses.mean.items():
                seen.setdefault(task, []).append(loss.item())
            super().backward(losses, model)

    class Alternating(AllTasks):
        def choose(self, tasks, step):
            return tasks[step % 2 : step % 2 + 1] if step < 3 else tasks

    tasks = tiny_tasks(("a", "b"))
    result = fit(
        tiny_model(tasks), tasks, combine=Listening(), schedule=Alternating(), steps=8, phase=4, device="cpu"
    )
    training = [(r["step"], r["task"], r["loss"]) for r in result.history if r["split"] == "train"]
    expected = [  # task a: steps 1, 3, 4; task b: steps 2, 4; then both in all
        (4, "a", np.mean(seen["a"][:3])), (4, "b", np.mean(seen["b"][:2])),
        (8, "a", np.mean(seen["a"][3:])), (8, "b", np.mean(seen["b"][2:])),
    ]  # fmt: skip
    assert [t[:2] for t in training] == [t[:2] for t in expected]
    assert [t[2] for t in training] == pytest.approx([t[2] for t in expected], rel=1e-5)


# ------------------------------------------------------------------ what is left alone


def states():
    return (
        torch.get_rng_state().tolist(),
        random.getstate(),
        [x.tolist() if hasattr(x, "tolist") else x for x in np.random.get_state()],
    )


@pytest.mark.parametrize("ending", ["finished", "resumed", "interrupted", "failed"])
def test_the_callers_random_numbers_go_on_as_if_nothing_had_happened(ending, tmp_path):
    class Noisy(Dense):
        def forward(self, x):
            return (
                super().forward(x)
                + 0.01 * np.random.normal()
                + 0.01 * random.random()
                + 0.01 * torch.randn(())
            )

    tasks = tiny_tasks()
    model = JointModel(tasks, hard(["a", "b", "c"], lambda k: Noisy(6), 1), *dense_ends(tasks, 6))
    if ending == "resumed":
        fit(model, tasks, steps=2, phase=1, device="cpu", folder=tmp_path)

    class Acting(AllTasks):
        def choose(self, tasks, step):
            if step == 3 and ending == "interrupted":
                signal.raise_signal(signal.SIGINT)
            if step == 3 and ending == "failed":
                raise ZeroDivisionError
            return tasks

    random.random(), np.random.random(), torch.rand(1)
    before = states()
    try:
        fit(model, tasks, steps=5, phase=2, device="cpu", folder=tmp_path, schedule=Acting())
    except (Interrupted, ZeroDivisionError):
        assert ending in ("interrupted", "failed")
    else:
        assert ending in ("finished", "resumed")
    assert states() == before


def test_the_result_does_not_depend_on_the_callers_random_numbers():
    """Whatever a user's module or data set draws from global generators is decided by the seed."""

    class Noisy(Dense):
        def forward(self, x):
            noise = np.random.normal() + random.random() + torch.randn(()).item()
            return super().forward(x) + 0.1 * noise

    def run(seed):
        tasks = tiny_tasks()
        torch.manual_seed(0)
        model = JointModel(tasks, hard(["a", "b", "c"], lambda k: Noisy(6), 1), *dense_ends(tasks, 6))
        torch.manual_seed(seed), np.random.seed(seed), random.seed(seed)
        result = fit(model, tasks, steps=4, phase=2, device="cpu")
        return [r["loss"] for r in result.history if r["split"] == "train"]

    assert run(1) == run(2)


def test_the_seed_decides_what_is_drawn_while_training():
    class Drawing(Dense):
        def forward(self, x):
            drawn.append((torch.rand(()).item(), np.random.random(), random.random()))
            return super().forward(x)

    runs = []
    for seed in (0, 0, 1):
        drawn: list[tuple[float, ...]] = []
        tasks = tiny_tasks()
        model = JointModel(tasks, hard(["a", "b", "c"], lambda k: Drawing(6), 1), *dense_ends(tasks, 6))
        fit(model, tasks, steps=2, phase=2, seed=seed, device="cpu")
        runs.append(drawn)
    assert runs[0] == runs[1]
    assert all(
        a != b for one, two in zip(runs[0], runs[2], strict=True) for a, b in zip(one, two, strict=True)
    )


def test_a_model_may_be_trained_further():
    tasks = tiny_tasks()
    model = tiny_model(tasks)
    first = fit(model, tasks, steps=20, phase=10, lr=0.01, device="cpu")
    second = fit(first.model, tasks, steps=20, phase=10, lr=0.01, device="cpu")
    assert sum(second.val.loss.values()) < sum(first.val.loss.values())


def test_learning_happens():
    """On data that a linear model can learn, every kind of task ends far better than it began."""
    tasks = tiny_tasks(("a", "b", "c", "d"), samples=(200, 60, 60))
    before = evaluate(tiny_model(tasks, "soft"), {t.name: t for t in tasks}, "test")
    result = fit(tiny_model(tasks, "soft"), tasks, steps=300, phase=50, lr=0.01, device="cpu")
    for task in "abcd":
        assert result.test.loss[task] < 0.7 * before.loss[task]
    assert result.test.value("c") > 0.75


@pytest.mark.parametrize("wanted", [True, False])
def test_deterministic_kernels_while_the_run_lasts(wanted):
    class Look(AllTasks):
        def choose(self, tasks, step):
            assert torch.are_deterministic_algorithms_enabled() == wanted
            return tasks

    tasks = tiny_tasks()
    model = tiny_model(tasks)
    fit(model, tasks, steps=2, phase=1, deterministic=wanted, schedule=Look(), device="cpu")
    assert not torch.are_deterministic_algorithms_enabled()


# ------------------------------------------------------------------ failures


def exploding(step: int, task: str = "b"):
    """A combine that makes the weights of one task infinite in one step."""

    class Explode(Equal):
        calls = 0

        def backward(self, losses, model):
            super().backward(losses, model)
            self.calls += 1
            if self.calls == step:
                for part in model.own(task):
                    part.grad.fill_(float("inf"))

    return Explode()


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(tmp_path):
    tasks = tiny_tasks()
    settings = {"steps": 50, "phase": 4, "optimizer": "sgd", "device": "cpu", "folder": tmp_path}
    with pytest.raises(RunError) as caught:
        fit(tiny_model(tasks, "single"), tasks, combine=exploding(10), **settings)
    message = str(caught.value)
    assert "training loss of task 'b' is nan at step 12" in message
    assert "try a lower lr (now 0.001) or clip (now None); the checkpoint of step 8 is kept" in message
    assert "\n" not in message
    checkpoint = torch.load(tmp_path / "checkpoints/step-000000008.pt", weights_only=True)
    assert all(x.isfinite().all() for x in checkpoint["model"].values())
    assert fit(tiny_model(tasks, "single"), tasks, **settings | {"steps": 12}).steps == 12


def test_without_a_folder_nothing_is_said_of_checkpoints():
    tasks = tiny_tasks()
    with pytest.raises(RunError) as caught:
        fit(tiny_model(tasks), tasks, combine=exploding(1), steps=4, phase=2, optimizer="sgd", device="cpu")
    assert "checkpoint" not in str(caught.value)


def test_weights_that_explode_in_the_last_step_of_a_phase_are_not_saved(tmp_path):
    """The losses of the phase were still fine; what is saved must be a good state."""
    tasks = tiny_tasks()
    with pytest.raises(RunError) as caught:
        fit(
            tiny_model(tasks), tasks, combine=exploding(4), steps=50, phase=2, optimizer="sgd", device="cpu",
            folder=tmp_path,
        )  # fmt: skip
    assert "is not finite at step 4: try a lower lr" in str(caught.value)
    assert "the checkpoint of step 2 is kept" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000000002.pt"]


def test_an_interrupt_does_not_save_weights_that_are_no_numbers(tmp_path):
    class Stop(AllTasks):
        def choose(self, tasks, step):
            if step == 6:
                signal.raise_signal(signal.SIGINT)
            return tasks

    tasks = tiny_tasks()
    with pytest.raises(RunError, match="the checkpoint of step 4 is kept"):
        fit(
            tiny_model(tasks), tasks, combine=exploding(6), schedule=Stop(), steps=50, phase=4,
            optimizer="sgd", device="cpu", folder=tmp_path,
        )  # fmt: skip
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000000004.pt"]


def test_a_full_disk_is_a_run_error(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    tasks = tiny_tasks()
    monkeypatch.setattr(checkpoint.torch, "save", full)
    with pytest.raises(RunError, match=r"could not write .*step-000000002.pt \(No space left on device\)"):
        fit(tiny_model(tasks), tasks, steps=4, phase=2, device="cpu", folder=tmp_path)
    assert list((tmp_path / "checkpoints").iterdir()) == []


# ------------------------------------------------------------------ users' data and modules


def test_nests_of_tensors_through_a_data_set():
    """Inputs that are dicts of tensors, from a Dataset, into an encoder of the user's."""

    class TwoViews(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Linear(2, 6), nn.Linear(3, 6)

        def forward(self, x):
            return (self.left(x["left"]) + self.right(x["right"]["deep"])).relu()

    def source(n):
        inputs = {"left": torch.randn(n, 2), "right": {"deep": torch.randn(n, 3)}}
        total = inputs["left"].sum(1) + inputs["right"]["deep"].sum(1)
        return DatasetSource(Rows(inputs, {"sum": total, "sign": (total > 0).float()}), ["sum", "sign"])

    data = Data("views", (5,), source(200), source(60), source(60))
    tasks = [Task("sum", Regression(), data), Task("sign", Binary(), data), *tiny_tasks(["t"])]
    structure = hard(["sum", "sign", "t"], lambda k: Dense(6), 2)
    encoders = {"views": TwoViews(), "t": nn.Linear(3, 6)}
    decoders = {"sum": nn.Linear(6, 1), "sign": nn.Linear(6, 1), "t": nn.Linear(6, 1)}
    model = JointModel(tasks, structure, encoders, decoders)
    result = fit(model, tasks, steps=150, phase=50, lr=0.01, device="cpu")
    assert result.test.loss["sum"] < 1.5
    assert result.test.value("sign") > 0.8


# ------------------------------------------------------------------ evaluation


def by_name(tasks):
    return {task.name: task for task in tasks}


@pytest.mark.parametrize("size", [1, 5, 4096])
def test_evaluation_does_not_depend_on_the_batch_size(size):
    tasks = sharing_tasks(missing=0.3)
    model = tiny_model(tasks, "soft", dropout=0.5)
    expected = evaluate(model, by_name(tasks), "val")
    scores = evaluate(model, by_name(tasks), "val", size)
    assert scores.loss == pytest.approx(expected.loss, rel=1e-5)
    for task in tasks:
        assert scores.metrics[task.name] == pytest.approx(expected.metrics[task.name], rel=1e-5)


@pytest.mark.parametrize("train", [True, False])
def test_evaluation_restores_the_mode_and_keeps_no_graph(train):
    tasks = tiny_tasks()
    model = tiny_model(tasks, dropout=0.5).train(train)
    one, two = (evaluate(model, by_name(tasks), "test") for _ in range(2))
    assert one == two
    assert model.training == train


def test_evaluation_that_fails_restores_the_mode():
    tasks = tiny_tasks()
    model = tiny_model(tasks).train()
    model.decoders = nn.Identity()
    with pytest.raises(Exception):  # noqa: B017, PT011
        evaluate(model, by_name(tasks), "test")
    assert model.training


def test_scores_are_over_the_labelled_samples():
    kind = Regression(mean=10.0, scale=2.0)
    data = tiny_data("t", {"t": kind}, missing=0.5)
    task = Task("t", kind, data, metric="mae")
    model = tiny_model([task])
    scores = evaluate(model, {"t": task}, "val")
    outputs = model.eval()({"t": data.val.inputs})["t"].squeeze(-1)
    known = ~data.val.targets["t"].isnan()
    error = (outputs - data.val.targets["t"])[known]
    assert 0 < known.sum() < len(known)
    assert scores.loss["t"] == pytest.approx(error.square().mean().item(), rel=1e-5)
    assert scores.metrics["t"]["mae"] == pytest.approx(2.0 * error.abs().mean().item(), rel=1e-5)
    assert scores.value("t") == scores.metrics["t"]["mae"] == -scores.fitness("t")


def test_a_task_without_labels_in_a_split_has_no_score():
    tasks = sharing_tasks(missing=1.0)
    scores = evaluate(tiny_model(tasks), by_name(tasks), "val")
    assert np.isnan([scores.loss[t] for t in ("x", "y", "z")]).all()
    assert np.isnan([scores.value(t) for t in ("x", "y", "z")]).all()
    assert not np.isnan(scores.loss["own"])


def test_only_the_metric_of_the_task_if_asked_for():
    tasks = tiny_tasks()
    scores = evaluate(tiny_model(tasks), by_name(tasks), "val", every_metric=False)
    assert {task: list(m) for task, m in scores.metrics.items()} == {
        "a": ["rmse"], "b": ["accuracy"], "c": ["accuracy"],
    }  # fmt: skip


def test_scores_are_signed_so_that_more_is_better():
    scores = scores_of({"a": 1.0}, {"a": 0.3}, higher=False)
    assert (scores.value("a"), scores.fitness("a")) == (0.3, -0.3)
