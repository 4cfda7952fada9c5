"""From a run file to a run folder, and going on after a stop of any kind."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from moduli import files
from moduli.errors import InputError, Interrupted, SaveError
from moduli.runs import is_finished, resume, run_file
from moduli.runs.runner import describe
from moduli.tasks.arrays import from_arrays

VARYING = {"seconds", "seconds_values"}


def numbers(folder: Path):
    """The summary without what differs from run to run."""

    def strip(value):
        if isinstance(value, dict):
            return {key: strip(item) for key, item in value.items() if key not in VARYING}
        return [strip(item) for item in value] if isinstance(value, list) else value

    return strip(json.loads((folder / "summary.json").read_text()))


def start(*words: str | Path) -> subprocess.Popen:
    """The command line in a process of its own, with as many threads as here."""
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-m", "moduli", *map(str, words)]
    return subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )


def wait_for_checkpoints(process: subprocess.Popen, folder: Path, count: int) -> None:
    """Returns when so many more checkpoints were seen, or the process has ended."""
    seen = set(folder.glob("training/*/*/checkpoints/*.pt"))
    wanted = len(seen) + count
    while len(seen) < wanted and process.poll() is None:
        seen |= set(folder.glob("training/*/*/checkpoints/*.pt"))
        time.sleep(0.001)


def test_a_run_folder_holds_what_the_page_says(finished):
    found = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    top = {"config.yaml", "run.json", "summary.json", "metrics.jsonl", "comparison.md", "comparison.csv"}
    models = {
        f"models/{m}/{file}" for m in ("soft", "single") for file in ("model.json", "model.safetensors")
    }
    assert top | models | {"report.html"} <= found
    assert not any(name.endswith((".pt", ".tmp")) for name in found)
    summary = json.loads((finished / "summary.json").read_text())
    assert [task["name"] for task in summary["tasks"]] == ["heart", "glucose", "diabetic"]
    assert (list(summary["methods"]), summary["baseline"], summary["seeds"]) == (
        ["soft", "single"],
        "single",
        [0, 1],
    )
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert {(line["method"], line["seed"]) for line in lines} == {
        (m, s) for m in ("soft", "single") for s in (0, 1)
    }
    note = json.loads((finished / "run.json").read_text())
    assert note["sessions"][0]["torch"] == torch.__version__
    assert "left out" in note["data"]["glucose"]["notes"][0]
    assert is_finished(finished)


def test_the_same_file_gives_the_same_numbers(clinic, finished, tmp_path):
    run_file(clinic, tmp_path / "again")
    assert numbers(tmp_path / "again") == numbers(finished)


def test_resuming_a_finished_run_trains_nothing_and_changes_no_number(clinic, tmp_path):
    comparison = run_file(clinic, tmp_path / "out")
    before = json.loads((tmp_path / "out" / "summary.json").read_text())
    again = resume(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == before
    for method, model in comparison.best_models.items():
        for name, x in model.state_dict().items():
            assert torch.equal(x, again.best_models[method].state_dict()[name])


def test_interrupted_then_killed_at_random_moments_ends_with_the_same_numbers(clinic, tmp_path):
    changes = ["train.steps=150", "train.phase=10"]
    run_file(clinic, tmp_path / "whole", changes)

    folder = tmp_path / "stopped"
    sets = [word for change in changes for word in ("--set", change)]
    process = start("run", clinic, "--out", folder, *sets)
    wait_for_checkpoints(process, folder, random.SystemRandom().randrange(1, 25))
    process.send_signal(signal.SIGINT)
    message = process.communicate(timeout=60)[1]
    assert process.returncode == 130, message
    assert f"moduli resume {folder}" in message.splitlines()[-1]
    assert not is_finished(folder)

    process = start("resume", folder)
    wait_for_checkpoints(process, folder, random.SystemRandom().randrange(1, 25))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL

    resume(folder)
    assert numbers(folder) == numbers(tmp_path / "whole")
    curves = [(path / "metrics.jsonl").read_text() for path in (folder, tmp_path / "whole")]
    assert curves[0] == curves[1]
    assert len(json.loads((folder / "run.json").read_text())["sessions"]) == 3


class StopAt:
    """A progress report that presses Ctrl-C at the start of the n-th training."""

    def __init__(self, number: int):
        self.left = number

    def start(self, title, step, steps):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)

    def wants_losses(self):
        return False

    def update(self, step, losses): ...

    def stop(self): ...


def interrupted(clinic: Path, folder: Path, number: int = 2, *changes: str) -> Path:
    with pytest.raises(
        Interrupted, match=f"stopped at step 1; the state was saved; go on with: moduli resume {folder}"
    ):
        run_file(clinic, folder, changes, progress=StopAt(number))
    return folder


def test_a_damaged_checkpoint_costs_a_phase_and_is_said(clinic, finished, tmp_path):
    folder = interrupted(clinic, tmp_path / "out", 1)
    (folder / "training/soft/seed-0/checkpoints/step-000000007.pt").write_bytes(b"damaged")
    with pytest.warns(UserWarning, match=r"step-000000007.pt is damaged .* going on from step 1"):
        resume(folder)
    assert numbers(folder) == numbers(finished)


def test_changed_data_are_refused(clinic, tmp_path):
    folder = interrupted(clinic, tmp_path / "out")
    frame = pd.read_csv(tmp_path / "heart.csv")
    frame.loc[3, "age"] += 1
    frame.to_csv(tmp_path / "heart.csv", index=False)
    with pytest.raises(InputError, match=r"the data of task 'heart' have changed since .*out was begun"):
        resume(folder)


def test_a_full_disk_ends_the_run_and_keeps_the_last_checkpoint(clinic, finished, tmp_path, monkeypatch):
    full, write = tmp_path / "full", files.os.fsync
    count = iter(range(100))

    def fsync(number):
        if next(count) >= 5:  # config.yaml, run.json, settings.json, two checkpoints
            raise OSError(28, "No space left on device")
        write(number)

    monkeypatch.setattr(files.os, "fsync", fsync)
    with pytest.raises(
        SaveError, match=r"could not write .*No space left.*then go on with: moduli resume"
    ) as caught:
        run_file(clinic, full)
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    assert sorted(p.name for p in full.rglob("*.pt")) == ["step-000000020.pt", "step-000000040.pt"]
    assert not list(full.rglob("*.tmp"))
    resume(full)
    assert numbers(full) == numbers(finished)


def test_a_method_that_fails_leaves_the_others(clinic, tmp_path):
    change = "compare=[single, {kind: hard, name: wild, width: 4}]"
    comparison = run_file(clinic, tmp_path / "out", [change, "train.lr=1e30", "train.optimizer=sgd"], seeds=1)
    assert [(f.method, f.seed) for f in comparison.failures] == [("soft", 0), ("single", 0), ("wild", 0)]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert "try a lower lr" in summary["failures"][0]["error"]
    assert summary["methods"]["wild"]["tasks"]["heart"]["values"] == [None]
    assert not is_finished(tmp_path / "out")


def test_a_folder_in_use_is_not_overwritten(clinic, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"out exists already: choose another folder with --out"):
        run_file(clinic, tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"
    with pytest.raises(InputError, match="is no run folder"):
        resume(tmp_path / "out")


def test_what_is_wrong_is_said_before_a_folder_is_made(clinic, tmp_path):
    for change in ("tasks.0.target=diseas", "balance={kind: weights, weights: {hart: 1}}"):
        with pytest.raises(InputError, match="did you mean"):
            run_file(clinic, tmp_path / "out", [change])
    assert not (tmp_path / "out").exists()


def test_lines_before_training_say_what_was_understood(clinic, tmp_path):
    lines: list[str] = []
    run_file(clinic, tmp_path / "out", ["train.steps=1"], seeds=1, say=lines.append)
    assert lines[0].startswith("heart: binary (sick, well), 60 rows")
    assert any(line.startswith("note: table panel: left out") for line in lines)
    assert any(line.startswith("method single: ") for line in lines)


def test_tasks_without_a_table_are_described_by_their_shape():
    (task,) = from_arrays("photo", torch.rand(50, 1, 8, 8), torch.arange(50) % 5)
    assert describe(task) == "photo: multiclass, 50 samples (32/8/10), inputs 1×8×8"
