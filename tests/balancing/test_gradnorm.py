"""GradNorm: the worked example, and what it is for."""

from __future__ import annotations

import math

import pytest
import torch
from synthetic import sharing_tasks, tiny_model, tiny_tasks

from moduli import GradNorm, RoundRobin, Train, Trainer
from moduli.balancing.gradnorm import updated_weights

NAN = float("nan")


def test_worked_example():
    norms, ratios, w = torch.tensor([3.0, 1.0]), torch.tensor([0.5, 1.0]), torch.ones(2)
    present = torch.ones(2, dtype=torch.bool)
    r = ratios / ratios.mean()
    target = norms.mean() * r**1.5
    torch.testing.assert_close(target, torch.tensor([1.088662, 3.079201]))
    assert (w * norms - target).abs().sum().item() == pytest.approx(3.990539, rel=1e-6)
    updated = updated_weights(w, norms, ratios, present, alpha=1.5, lr=0.025)
    torch.testing.assert_close(updated, torch.tensor([0.948718, 1.051282]))


def test_the_update_follows_the_gradient_of_the_objective():
    """sign(G - target) ||g|| is the derivative of sum |w ||g|| - target| for a constant target."""
    torch.manual_seed(0)
    norms, ratios = torch.rand(5, dtype=torch.float64) + 0.1, torch.rand(5, dtype=torch.float64) + 0.1
    w = (torch.rand(5, dtype=torch.float64) + 0.5).requires_grad_()
    target = ((w * norms).mean() * (ratios / ratios.mean()) ** 0.7).detach()
    (expected,) = torch.autograd.grad((w * norms - target).abs().sum(), w)
    with torch.no_grad():
        step = w - 0.01 * expected
        got = updated_weights(w.detach(), norms, ratios, torch.ones(5, dtype=torch.bool), 0.7, 0.01)
    torch.testing.assert_close(got, 5 * step / step.sum())


def test_with_alpha_0_all_norms_become_equal():
    w, norms, present = torch.ones(3), torch.tensor([5.0, 1.0, 0.2]), torch.ones(3, dtype=torch.bool)
    for step in range(4000):
        lr = 0.01 if step < 2000 else 0.0005
        w = updated_weights(w, norms, torch.ones(3), present, 0.0, lr)
    G = w * norms
    assert (G / G.mean() - 1).abs().max() < 0.05
    assert w.sum() == pytest.approx(3.0)


def test_tasks_that_are_absent_or_unknown_keep_their_share():
    w = torch.tensor([0.5, 1.0, 1.5])
    present = torch.tensor([True, False, False])
    got = updated_weights(w, torch.tensor([2.0, 1.0, NAN]), torch.tensor([1.0, 1.0, NAN]), present, 1.5, 0.1)
    assert got.isfinite().all()
    assert (got[1] / got[2]).item() == pytest.approx(1 / 1.5)
    assert got.sum().item() == pytest.approx(3.0)


def test_weights_stay_above_zero():
    present = torch.ones(2, dtype=torch.bool)
    w = updated_weights(torch.ones(2), torch.tensor([1e8, 1.0]), torch.ones(2), present, 1.5, 0.025)
    assert (w > 0).all()
    assert w.sum().item() == pytest.approx(2.0)


def one_weight_after(gradnorm, tasks, steps=3, **options):
    model = tiny_model(tasks, "hard")
    trainer = Trainer(model, tasks, Train(lr=0.01, **options), combine=gradnorm, device="cpu")
    for _ in range(steps):
        trainer.one_step()
    (record,) = gradnorm.record()
    return record["weights"], model


def test_apart_or_one_by_one_the_weights_are_the_same(monkeypatch):
    weights, model = one_weight_after(GradNorm(lr=0.1), tiny_tasks())
    monkeypatch.setattr("moduli.JointModel.keep_apart", lambda self, wanted=True: False)
    others, other = one_weight_after(GradNorm(lr=0.1), tiny_tasks())
    assert weights == pytest.approx(others, rel=1e-4)
    assert any(abs(w - 1) > 0.01 for w in weights.values())
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-5)


def test_in_fp16_the_weights_are_those_of_fp32():
    """Losses are scaled there; norms and ratios must not be."""
    weights, _ = one_weight_after(GradNorm(lr=0.1), tiny_tasks())
    halves, _ = one_weight_after(GradNorm(lr=0.1), tiny_tasks(), precision="fp16")
    assert halves == pytest.approx(weights, rel=0.05)


def test_tasks_of_one_input_and_tasks_by_turns():
    tasks = sharing_tasks()
    weights, _ = one_weight_after(GradNorm(lr=0.1), tasks)
    assert sum(weights.values()) == pytest.approx(len(tasks), rel=0.1)
    combine = GradNorm(lr=0.1)
    trainer = Trainer(tiny_model(tasks), tasks, Train(), combine=combine, schedule=RoundRobin(), device="cpu")
    for _ in range(9):
        trainer.one_step()
    (record,) = combine.record()
    assert set(record["weights"]) == {task.name for task in tasks}
    assert all(math.isfinite(w) and w > 0 for w in record["weights"].values())


def test_a_theoretical_start():
    combine = GradNorm(initial={"a": 2.0})
    tasks = tiny_tasks()
    trainer = Trainer(tiny_model(tasks), tasks, Train(), combine=combine, device="cpu")
    trainer.one_step()
    assert combine._first[0] == 2.0
    assert combine._first[1] == combine.last[1]


def test_in_a_model_that_shares_nothing_all_weigh_1():
    tasks = tiny_tasks()
    combine = GradNorm(lr=0.1)
    trainer = Trainer(tiny_model(tasks, "single"), tasks, combine=combine, device="cpu")
    for _ in range(3):
        trainer.one_step()
    assert combine.record() == [{"split": "balance", "weights": {"a": 1.0, "b": 1.0, "c": 1.0}}]


@pytest.mark.parametrize("options", [{"alpha": -1.0}, {"lr": -0.1}, {"alpha": NAN}])
def test_impossible_numbers_are_refused(options):
    with pytest.raises(ValueError, match="give numbers of at least 0"):
        GradNorm(**options)
