"""Checkpoints are whole or not there, and read without running code."""

from __future__ import annotations

import os
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from moduli import RunError
from moduli.files import write_atomically
from moduli.rng import rng_state, set_rng_state
from moduli.training import checkpoint as room
from moduli.training.checkpoint import Checkpoints, load_checkpoint, save_checkpoint


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ------------------------------------------------------------------ writing


def test_a_file_is_written_with_its_folder(tmp_path):
    path = tmp_path / "new" / "deep" / "file.txt"
    write_atomically(path, lambda file: file.write(b"whole"))
    assert path.read_bytes() == b"whole"
    assert files(path.parent) == ["file.txt"]


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("writer failed\nat 0x1")]
)
def test_a_write_that_fails_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write(file):
        file.write(b"half of the n")
        raise error

    with pytest.raises(
        RunError, match=r"could not write .*file.txt \((No space left|writer failed).*\): free"
    ) as e:
        write_atomically(path, write)
    assert "\n" not in str(e.value)
    assert path.read_text() == "old"
    assert files(tmp_path) == ["file.txt"]


def test_a_bug_while_writing_leaves_the_old_file_too(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError):
        write_atomically(path, lambda file: 1 / 0)
    assert files(tmp_path) == ["file.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="Permission denied"):
        write_atomically(tmp_path / "file.txt", lambda file: file.write(b"x"))


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "run").write_text("in the way")
    with pytest.raises(RunError, match="could not write"):
        save_checkpoint(tmp_path / "run" / "step-000000001.pt", {})


# ------------------------------------------------------------------ reading


def test_a_state_makes_the_round_trip(tmp_path):
    state = {
        "tensors": {"x": torch.randn(3), "y": [torch.arange(3), None]},
        "numbers": [1, 2.5, float("inf"), True],
        "text": "ä",
    }
    save_checkpoint(tmp_path / "c.pt", state)
    loaded = load_checkpoint(tmp_path / "c.pt")
    torch.testing.assert_close(loaded["tensors"], state["tensors"], rtol=0, atol=0)
    assert {k: loaded[k] for k in ("numbers", "text")} == {k: state[k] for k in ("numbers", "text")}


def one_line(caught) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 half a zip", bytes(1000)])
def test_a_damaged_file_is_one_line(tmp_path, content):
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(RunError) as caught:
        load_checkpoint(tmp_path / "c.pt")
    assert "c.pt is damaged or no checkpoint of moduli" in one_line(caught)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    "foreign", [{"model": {}}, [1, 2], {"format": "other", "version": 1}, torch.zeros(3)]
)
def test_a_foreign_file_is_one_line(tmp_path, foreign):
    torch.save(foreign, tmp_path / "c.pt")
    with pytest.raises(RunError) as caught:
        load_checkpoint(tmp_path / "c.pt")
    assert "c.pt is no checkpoint of moduli" in one_line(caught)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_file_with_code_is_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path / 'exploded'}",))

    torch.save({"format": room.FORMAT, "version": 1, "bomb": Bomb()}, tmp_path / "c.pt")
    with open(tmp_path / "d.pt", "wb") as file:
        pickle.dump(Bomb(), file)
    for name in ("c.pt", "d.pt"):
        with pytest.raises(RunError, match="damaged"):
            load_checkpoint(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


def test_a_later_version_is_refused(tmp_path):
    torch.save({"format": room.FORMAT, "version": room.VERSION + 1}, tmp_path / "c.pt")
    with pytest.raises(RunError, match=r"c.pt is of version \d+, this moduli reads \d+: upgrade moduli"):
        load_checkpoint(tmp_path / "c.pt")


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(RunError, match=r"no checkpoint at .*c.pt: was the run folder moved"):
        load_checkpoint(tmp_path / "c.pt")


# ------------------------------------------------------------------ the checkpoints of a run


def saved(folder: Path, steps, keep: int, best=lambda step: 0) -> Checkpoints:
    checkpoints = Checkpoints(folder, keep)
    for step in steps:
        checkpoints.save(step, {"step": step}, best(step))
    return checkpoints


def test_the_newest_is_latest(tmp_path):
    assert saved(tmp_path, [1, 5, 10, 100], 3).latest()["step"] == 100


def test_without_checkpoints_there_is_no_latest(tmp_path):
    assert Checkpoints(tmp_path / "nowhere", 2).latest() is None


@pytest.mark.parametrize("keep", [1, 2, 5])
def test_the_last_few_are_kept(tmp_path, keep):
    assert saved(tmp_path, range(1, 8), keep).steps() == list(range(1, 8))[-keep:]


def test_the_best_is_kept_as_long_as_it_is_best(tmp_path):
    checkpoints = saved(tmp_path, range(1, 7), 2, best=lambda step: min(step, 2))
    assert checkpoints.steps() == [2, 5, 6]
    checkpoints.save(7, {"step": 7}, 7)
    assert checkpoints.steps() == [6, 7]


def test_a_damaged_newest_falls_back_to_the_one_before(tmp_path):
    checkpoints = saved(tmp_path, [1, 2, 3], 3)
    for newest in (3, 2):
        (tmp_path / f"step-{newest:09}.pt").write_bytes(b"damaged")
        with pytest.warns(
            UserWarning, match=rf"step-000000003.pt is damaged .*; going on from step {newest - 1}"
        ):
            assert checkpoints.latest()["step"] == newest - 1


def test_only_damaged_ones_are_an_error_about_the_newest(tmp_path):
    checkpoints = saved(tmp_path, [1, 2], 2)
    for path in tmp_path.iterdir():
        path.write_bytes(b"damaged")
    with pytest.raises(RunError, match=r"step-000000002.pt is damaged"):
        checkpoints.latest()


def test_other_files_in_the_folder_do_no_harm(tmp_path):
    for name in ("step-best.pt", "notes.txt", ".step-000000009.pt.123.tmp", "step-000000007.txt"):
        (tmp_path / name).write_text("x")
    assert Checkpoints(tmp_path, 2).steps() == []
    assert saved(tmp_path, [1], 1).latest()["step"] == 1


def test_a_save_that_fails_leaves_the_earlier_ones(tmp_path, monkeypatch):
    checkpoints = saved(tmp_path, [1, 2], 2)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(room.torch, "save", full)
    with pytest.raises(RunError, match="No space left on device"):
        checkpoints.save(3, {"step": 3}, 0)
    assert checkpoints.steps() == [1, 2]
    assert files(tmp_path) == ["step-000000001.pt", "step-000000002.pt"]


# ------------------------------------------------------------------ random numbers


def test_random_numbers_go_on_where_they_were(tmp_path):
    def draw():
        return (
            torch.rand(3).tolist(),
            torch.randn(1).item(),
            np.random.normal(size=3).tolist(),
            random.gauss(0, 1),
        )

    draw()
    save_checkpoint(tmp_path / "c.pt", {"rng": rng_state()})
    expected = draw(), draw()
    torch.manual_seed(99), np.random.seed(99), random.seed(99)
    set_rng_state(load_checkpoint(tmp_path / "c.pt")["rng"])
    assert (draw(), draw()) == expected
