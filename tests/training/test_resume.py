"""A run that is stopped at any moment and resumed ends with the same bits as one that never was."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from synthetic import Rows, sharing_tasks, tiny_data, tiny_model
from users import ByRecentLoss, Perturb, WorstTwo

from moduli import (
    Data,
    DatasetSource,
    Interrupted,
    Multiclass,
    RunError,
    Schedule,
    Task,
    Train,
    Trainer,
    Weights,
)
from moduli.training import Fit, loop as room

STEPS, PHASE = 17, 5
BASE: dict[str, Any] = {"steps": STEPS, "phase": PHASE, "batch_size": 5, "lr": 0.02, "patience": None}


def mixed_tasks() -> list[Task]:
    """Three tasks with missing labels on one input, one alone, and one read through a DataLoader."""
    tensors = tiny_data("rows", {"rows": Multiclass(3)})
    parts = [tensors.split(name) for name in ("train", "val", "test")]
    data = Data("rows", (4,), *(DatasetSource(Rows(p.inputs, p.targets["rows"]), ["rows"]) for p in parts))
    return [*sharing_tasks(missing=0.3), Task("rows", Multiclass(3), data, batch_size=3)]


class Everywhere(Schedule):
    """A schedule around another that does something at one step."""

    def __init__(self, inner, step: int, act):
        self.inner, self.step, self.act = inner, step, act

    def choose(self, tasks, step):
        if step == self.step:
            self.act()
        return self.inner.choose(tasks, step)

    def observe(self, scores):
        self.inner.observe(scores)

    def state_dict(self):
        return self.inner.state_dict()

    def load_state_dict(self, state):
        self.inner.load_state_dict(state)


SETUPS: dict[str, dict[str, Any]] = {
    "adam": {},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1},
    "sgd": {"optimizer": "sgd", "momentum": 0.9},
    "rmsprop": {"optimizer": "rmsprop", "momentum": 0.5},
    "adagrad": {"optimizer": "adagrad"},
    "users": {"optimizer": lambda p: torch.optim.NAdam(p, lr=0.02)},
    "cosine-clip": {"lr_schedule": "cosine", "warmup": 3, "clip": 0.5},
    "linear": {"lr_schedule": "linear"},
    "step-schedule": {"lr_schedule": lambda o: torch.optim.lr_scheduler.StepLR(o, 4, 0.5)},
    "one-cycle": {
        "lr_schedule": lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.05, total_steps=STEPS + 1)
    },
    "bf16": {"precision": "bf16"},
    "patience": {"patience": 1, "lr": 0.5},
    "metric": {"select": "metric", "patience": 1, "lr": 0.5},
}


def trainer(folder: Path | None, setup: str = "adam", schedule=None, init: int = 0, **options) -> Trainer:
    tasks = options.pop("tasks", None) or mixed_tasks()
    return Trainer(
        tiny_model(tasks, options.pop("method", "soft"), seed=init, dropout=0.3),
        tasks,
        Train(**BASE | SETUPS[setup] | options),
        Weights({"x": 2.0, "own": 0.5}),
        schedule,
        seed=3,
        device="cpu",
        folder=folder,
    )


def picture(fit: Fit, last: Trainer) -> dict[str, Any]:
    """Everything that must be the same, to the bit; NaN made comparable."""
    state = last.checkpoints.latest()
    state.pop("seconds")
    return {
        "steps": fit.steps,
        "best": fit.best_step,
        "weights": bits(fit.model.state_dict()),
        "scores": bits([fit.val.loss, fit.val.metrics, fit.test.loss, fit.test.metrics]),
        "history": bits(fit.history),
        "state": bits(state),
    }


def bits(value: Any) -> Any:
    """A value in a form in which only what is equal to the bit is equal, NaN included."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.detach().flatten().view(torch.uint8).tolist()
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [bits(item) for item in value]
    return repr(value)


def assert_same(one: dict[str, Any], two: dict[str, Any]) -> None:
    for key, value in one.items():
        assert value == two[key], f"{key} differs"


def run(made: Trainer) -> dict[str, Any]:
    return picture(made.run(), made)


def snapshot_at(step: int, source: Path, target: Path, inner=None) -> Everywhere:
    """Copies the run folder before a step, as a kill at that moment would leave it."""
    return Everywhere(inner or room.AllTasks(), step, lambda: shutil.copytree(source, target))


# ------------------------------------------------------------------ killed


@pytest.mark.parametrize("setup", SETUPS)
def test_killed_and_resumed(setup, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    expected = run(trainer(whole, setup, snapshot_at(8, whole, killed)))
    assert trainer_step(killed) == 5
    resumed = trainer(killed, setup, init=99)  # other initial weights: all must come from the folder
    assert_same(run(resumed), expected)
    if setup in ("patience", "metric"):
        assert resumed.step < STEPS, "should have stopped early"


def trainer_step(folder: Path) -> int:
    return max(int(path.stem.split("-")[1]) for path in folder.glob("checkpoints/*.pt"))


@pytest.mark.parametrize("step", [0, 1, 5, 9, 10, STEPS - 1])
def test_killed_at_any_step(step, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    expected = run(trainer(whole, schedule=snapshot_at(step, whole, killed)))
    # Before the first checkpoint there is nothing to go on from: the run starts again, from its own start.
    assert_same(run(trainer(killed, init=0 if step < PHASE else 99)), expected)
    assert (killed / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()


def test_killed_twice(tmp_path):
    folders = [tmp_path / name for name in ("whole", "once", "twice")]
    folders[0].mkdir()
    expected = run(trainer(folders[0], schedule=snapshot_at(7, folders[0], folders[1])))
    run(trainer(folders[1], schedule=snapshot_at(13, folders[1], folders[2]), init=1))
    assert_same(run(trainer(folders[2], init=2)), expected)


@pytest.mark.parametrize("method", ["single", "hard", "permuted", "soft"])
def test_every_order(method, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    tasks = mixed_tasks()[3:]  # without a shared input, so that separate models are selected one by one
    options = {"method": method, "patience": 1, "lr": 0.3}
    expected = run(trainer(whole, schedule=snapshot_at(8, whole, killed), tasks=tasks, **options))
    assert_same(run(trainer(killed, init=9, tasks=tasks, **options)), expected)


def test_every_part_that_keeps_state(tmp_path):
    """Balancing with a parameter of its own, a schedule and a control with memory."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()

    def made(folder, schedule, seed):
        tasks = mixed_tasks()
        return Trainer(
            tiny_model(tasks, "soft", seed=seed, dropout=0.3), tasks, Train(**BASE), ByRecentLoss(), schedule,
            [Perturb(seed), Perturb(seed + 1, 0.1)], device="cpu", folder=folder,
        )  # fmt: skip

    first = made(whole, snapshot_at(12, whole, killed, WorstTwo()), 0)
    expected = run(first)
    second = made(killed, WorstTwo(), 5)
    assert_same(run(second), expected)
    assert second.combine.log_gain.item() == first.combine.log_gain.item() != 0


# ------------------------------------------------------------------ interrupted


@pytest.mark.parametrize("step", [0, 4, 5, 7, STEPS - 1])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "terminate"])
def test_interrupted_and_resumed(step, number, tmp_path):
    expected = run(trainer(tmp_path / "whole"))
    stop = Everywhere(room.AllTasks(), step, lambda: signal.raise_signal(number))
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match=f"stopped at step {step + 1}; the state was saved"):
        trainer(tmp_path / "stopped", schedule=stop).run()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert_same(run(trainer(tmp_path / "stopped", init=99)), expected)
    assert (tmp_path / "stopped/metrics.jsonl").read_text() == (tmp_path / "whole/metrics.jsonl").read_text()


def test_interrupted_without_a_folder(tmp_path):
    stop = Everywhere(room.AllTasks(), 3, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(Interrupted, match="without a folder nothing was saved"):
        trainer(None, schedule=stop).run()


def test_a_second_interrupt_acts_at_once(tmp_path):
    before = signal.getsignal(signal.SIGINT)

    def twice():
        signal.raise_signal(signal.SIGINT)
        while signal.getsignal(signal.SIGINT) is not before:
            """Until the first was dealt with: two at once would count as one."""
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        trainer(tmp_path / "run", schedule=Everywhere(room.AllTasks(), 3, twice)).run()
    assert not isinstance(caught.value, Interrupted)


def test_interrupted_while_evaluating_at_the_end(tmp_path, monkeypatch):
    evaluate, calls = room.evaluate, []

    def interrupting(model, tasks, split, *rest):
        if split == "test":
            calls.append(1)
            signal.raise_signal(signal.SIGINT)
        return evaluate(model, tasks, split, *rest)

    expected = run(trainer(tmp_path / "whole"))
    monkeypatch.setattr(room, "evaluate", interrupting)
    with pytest.raises(Interrupted, match="stopped after the last step"):
        trainer(tmp_path / "stopped").run()
    monkeypatch.undo()
    assert calls
    assert_same(run(trainer(tmp_path / "stopped", init=99)), expected)


# ------------------------------------------------------------------ at awkward moments


def test_stopped_between_the_log_and_the_checkpoint(tmp_path, monkeypatch):
    """`metrics.jsonl` has lines of a phase that has no checkpoint: they are written again, not twice."""
    expected = run(trainer(tmp_path / "whole"))
    save = room.Checkpoints.save

    def failing(self, step, *rest):
        if step == 10:
            raise RunError("could not write: no space left")
        save(self, step, *rest)

    monkeypatch.setattr(room.Checkpoints, "save", failing)
    with pytest.raises(RunError, match="no space left"):
        trainer(tmp_path / "stopped").run()
    monkeypatch.undo()
    log = tmp_path / "stopped/metrics.jsonl"
    assert {json.loads(line)["step"] for line in log.read_text().splitlines()} == {5, 10}
    assert_same(run(trainer(tmp_path / "stopped", init=99)), expected)
    assert log.read_text() == (tmp_path / "whole/metrics.jsonl").read_text()


def test_a_line_that_was_half_written_is_dropped(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    expected = run(trainer(whole, schedule=snapshot_at(8, whole, killed)))
    with open(killed / "metrics.jsonl", "a") as log:
        log.write('{"step": 10, "split": "train", "ta')
    assert_same(run(trainer(killed, init=99)), expected)
    assert (killed / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()


def test_the_newest_checkpoint_is_damaged(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    expected = run(trainer(whole, schedule=snapshot_at(12, whole, killed)))
    newest = killed / "checkpoints/step-000000010.pt"
    newest.write_bytes(newest.read_bytes()[:1000])
    with pytest.warns(UserWarning, match=r"step-000000010.pt is damaged .*; going on from step 5"):
        got = run(trainer(killed, init=99))
    assert_same(got, expected)


def test_a_finished_run_is_not_trained_again(tmp_path):
    expected = run(trainer(tmp_path))

    def never():
        raise AssertionError("a step was taken")

    again = trainer(tmp_path, schedule=Everywhere(room.AllTasks(), STEPS, never), init=99)
    again.schedule.choose = lambda tasks, step: never()
    assert_same(run(again), expected)


def test_a_run_that_stopped_early_is_not_trained_again(tmp_path):
    expected = run(trainer(tmp_path, "patience"))
    again = trainer(tmp_path, "patience", init=99)
    again.schedule.choose = None  # would raise
    assert_same(run(again), expected)


def test_the_log_is_the_history(tmp_path):
    result = trainer(tmp_path).run()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert json.dumps(lines) == json.dumps(result.history)
    assert sorted({r["step"] for r in lines if r["split"] == "scales"}) == [5, 10, 15, 17]
    lines = [record for record in lines if record["split"] in ("train", "val")]
    tasks = ["x", "y", "z", "own", "rows"]
    expected = [(s, split, t) for s in (5, 10, 15, 17) for split in ("train", "val") for t in tasks]
    assert [(r["step"], r["split"], r["task"]) for r in lines] == expected
    assert all("loss" in record for record in lines)
    assert all("accuracy" in r for r in lines if r["split"] == "val" and r["task"] in ("y", "z", "rows"))


# ------------------------------------------------------------------ what cannot be resumed


def refusal(tmp_path, change) -> str:
    tasks = mixed_tasks()
    trainer(tmp_path, steps=5).run()
    options = {
        "train": Train(**BASE),
        "controls": [],
        "combine": None,
        "model": tiny_model(tasks, "soft"),
        "tasks": tasks,
    }
    options |= change(tasks)
    with pytest.raises(RunError) as caught:
        Trainer(device="cpu", folder=tmp_path, **options).run()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda tasks: {"model": tiny_model(tasks, "hard")},
        lambda tasks: {"model": tiny_model(tasks, "soft", width=7)},
        lambda tasks: {"model": tiny_model(tasks[:2], "soft"), "tasks": tasks[:2]},
        lambda tasks: {"controls": [Perturb()]},
        lambda tasks: {"combine": ByRecentLoss()},
    ],
    ids=["structure", "width", "tasks", "controls", "combine"],
)
def test_a_checkpoint_of_something_else_is_refused(tmp_path, change):
    assert "the checkpoint is of another model" in refusal(tmp_path, change)
