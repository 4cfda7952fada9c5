"""Mixed precision and compilation are the same training, nearly."""

from __future__ import annotations

import functools
import os
import shutil

import pytest
import torch
from synthetic import sharing_tasks, tiny_model, tiny_tasks

from moduli import Train, Trainer, fit

SETTINGS = {"steps": 12, "phase": 6, "lr": 0.01, "batch_size": 16, "device": "cpu", "select": "last"}


def trained(precision: str, method: str = "soft", **options):
    tasks = sharing_tasks()
    model = tiny_model(tasks, method, width=8)
    return fit(model, tasks, precision=precision, **SETTINGS | options)


@pytest.mark.parametrize("method", ["hard", "soft"])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_close(precision, method):
    one, two = trained("fp32", method), trained(precision, method)
    assert all(p.dtype == torch.float32 for p in two.model.parameters())
    for task, loss in one.val.loss.items():
        assert two.val.loss[task] == pytest.approx(loss, rel=0.05, abs=0.02)
    different = [
        not torch.equal(a, b) for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True)
    ]
    assert any(different), "autocast did nothing"


@pytest.mark.parametrize("clip", [None, 0.1])
def test_scaled_losses_leave_the_gradient_as_it_is(clip):
    """fp16 multiplies losses by a large factor and divides gradients by it, clipping in between."""
    norms = []
    for precision in ("fp32", "fp16"):
        tasks = tiny_tasks()
        trainer = Trainer(
            tiny_model(tasks), tasks, Train(precision=precision, clip=clip, optimizer="sgd"), device="cpu"
        )
        before = [p.detach().clone() for p in trainer.model.parameters()]
        trainer.one_step()
        moved = [(p - b).norm() for p, b in zip(trainer.model.parameters(), before, strict=True)]
        norms.append(torch.stack(moved).norm().item())
    assert norms[1] == pytest.approx(norms[0], rel=0.02)
    assert norms[1] > 0


def test_a_step_that_overflows_is_left_out_and_the_scale_reduced():
    tasks = tiny_tasks()
    trainer = Trainer(tiny_model(tasks), tasks, Train(precision="fp16"), device="cpu")
    before = [p.detach().clone() for p in trainer.model.parameters()]
    state = trainer.parts.precision.state_dict()
    trainer.parts.precision.load_state_dict(state | {"scale": 2.0**60})
    trainer.one_step()
    assert all(torch.equal(p, b) for p, b in zip(trainer.model.parameters(), before, strict=True))
    assert trainer.parts.precision.state_dict()["scale"] == 2.0**59


def test_the_scale_of_fp16_is_part_of_the_state(tmp_path):
    def made(folder, steps):
        tasks = tiny_tasks()
        settings = {"steps": steps, "phase": 4, "precision": "fp16", "patience": None}
        return Trainer(tiny_model(tasks), tasks, Train(**settings), device="cpu", folder=folder)

    whole = made(tmp_path / "whole", 8)
    expected = whole.run()
    half = made(tmp_path / "half", 4)
    half.run()
    assert half.state_dict()["precision"]["scale"] > 1
    resumed = made(tmp_path / "half", 8)
    result = resumed.run()
    assert resumed.state_dict()["precision"] == whole.state_dict()["precision"]
    torch.testing.assert_close(
        dict(result.model.state_dict()), dict(expected.model.state_dict()), rtol=0, atol=0
    )


def test_compiled_training_is_the_same_training(monkeypatch):
    """With the graph captured and run as it is: a compiler would take half a minute."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    assert_same_training()


@pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler")
@pytest.mark.skipif(
    "MODULI_COMPILE" not in os.environ, reason="takes over 20 s: set MODULI_COMPILE to run it"
)
def test_code_that_was_compiled_is_the_same_training():
    assert_same_training()


def assert_same_training():
    tasks = tiny_tasks(("a", "b"))
    settings = {"steps": 4, "phase": 2, "lr": 0.01, "device": "cpu"}
    one, two = (fit(tiny_model(tasks, "soft", layers=1), tasks, compile=c, **settings) for c in (False, True))
    torch.testing.assert_close(
        dict(two.model.state_dict()), dict(one.model.state_dict()), rtol=1e-4, atol=1e-5
    )
