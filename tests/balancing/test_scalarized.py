"""Scalarizers of torchjd, all of them."""

from __future__ import annotations

import pytest
import torch
from losses_at_hand import a_model, plain, through_a_file, weights_of
from synthetic import scores_of, tiny_model, tiny_tasks
from torch import nn
from torchjd import scalarization

from moduli import Equal, Losses, Train, Trainer
from moduli.balancing.scalarized import Scalarized

W = torch.tensor([1.0, 2.0, 0.5])
MAKE = {
    "COSMOS": lambda: scalarization.COSMOS(0.5, W.clone()),
    "Constant": lambda: scalarization.Constant(W.clone()),
    "DWA": lambda: scalarization.DWA(temperature=0.5),
    "FAMO": lambda: scalarization.FAMO(3),
    "GeometricMean": scalarization.GeometricMean,
    "IMTLL": lambda: scalarization.IMTLL(3),
    "Mean": scalarization.Mean,
    "PBI": lambda: scalarization.PBI(1.0, W.clone(), reference=torch.zeros(3)),
    "Random": scalarization.Random,
    "STCH": lambda: scalarization.STCH(0.5),
    "Sum": scalarization.Sum,
    "UW": lambda: scalarization.UW(3),
}
LOSSES = {"a": 1.0, "b": 2.0, "c": 0.5}
every = pytest.mark.parametrize("name", MAKE)


def test_all_scalarizers_are_here():
    assert set(MAKE) == set(scalarization.__all__) - {"Scalarizer"}


def direct(name: str, values=(1.0, 2.0, 0.5)) -> list[float]:
    """The derivatives of a new scalarizer, without us."""
    x = torch.tensor(values, requires_grad=True)
    return torch.autograd.grad(MAKE[name]()(x), x)[0].tolist()


@pytest.mark.parametrize("name", sorted(set(MAKE) - {"Random"}))
def test_weights_are_the_derivatives(name):
    weights = weights_of(Scalarized(MAKE[name]()), LOSSES)
    assert list(weights.values()) == pytest.approx(direct(name), rel=1e-5)


def test_stch_of_a_worked_example():
    """mu log sum exp(L / (3 mu)): the derivatives are a softmax, over 3."""
    weights = weights_of(Scalarized(scalarization.STCH(0.5)), LOSSES)
    expected = torch.softmax(torch.tensor([1.0, 2.0, 0.5]) / 1.5, 0) / 3
    assert list(weights.values()) == pytest.approx(expected.tolist())


@every
def test_scale_of_fp16_changes_no_weight(name):
    unscaled, scaled = (weights_of(Scalarized(MAKE[name]()), LOSSES, scale=s) for s in (None, 2.0**12))
    assert scaled == pytest.approx(unscaled)


@every
@pytest.mark.parametrize("scale", [0.0, 1e-8, 1.0, 1e8])
def test_finite_weights_at_every_scale(name, scale):
    combine = Scalarized(MAKE[name]())
    for _ in range(3):
        weights = weights_of(combine, {task: scale * loss for task, loss in LOSSES.items()})
        combine.observe(scores_of(LOSSES))
    assert all(torch.tensor(w).isfinite() for w in weights.values())


@every
def test_absent_tasks_count_with_their_last_known_loss(name):
    some, all_ = Scalarized(MAKE[name]()), Scalarized(MAKE[name]())
    for combine in (some, all_):
        weights_of(combine, LOSSES)
    one = weights_of(some, {"b": 3.0}, "abc")
    assert one == {"b": weights_of(all_, LOSSES | {"b": 3.0})["b"]}


@every
def test_a_task_that_was_never_seen_counts_with_the_mean(name):
    weights = weights_of(Scalarized(MAKE[name]()), {"c": 2.0, "a": 1.0}, "abc")
    expected = weights_of(Scalarized(MAKE[name]()), {"a": 1.0, "b": 1.5, "c": 2.0})
    assert weights == {task: expected[task] for task in ("c", "a")}


def test_parameters_learn_from_the_same_number():
    combine = Scalarized(scalarization.IMTLL(3))
    (s,) = combine.parameters()
    weights_of(combine, LOSSES)
    assert s.grad.tolist() == pytest.approx([1.0 - 1, 2.0 - 1, 0.5 - 1])  # e^s L - s
    weights_of(combine, LOSSES, scale=4.0)
    assert s.grad.tolist() == pytest.approx([0.0, 5.0, -2.5])


def test_random_numbers_are_its_own():
    before = torch.get_rng_state()
    drawn = [weights_of(combine, LOSSES)["a"] for combine in [Scalarized(scalarization.Random())] * 3]
    assert torch.equal(torch.get_rng_state(), before)
    assert len(set(drawn)) == 3
    torch.manual_seed(7)
    assert weights_of(Scalarized(scalarization.Random()), LOSSES)["a"] == drawn[0]
    assert weights_of(Scalarized(scalarization.Random(), seed=1), LOSSES)["a"] not in drawn


def test_a_phase_is_an_epoch_to_dwa():
    ours, theirs = Scalarized(scalarization.DWA(0.5)), scalarization.DWA(0.5)
    for values in ([1.0, 2.0, 0.5], [0.7, 1.9, 0.2], [0.6, 1.0, 0.2]):
        x = torch.tensor(values, dtype=torch.float64, requires_grad=True)
        (expected,) = torch.autograd.grad(theirs(x), x)
        weights = weights_of(ours, dict(zip("abc", values, strict=True)))
        assert list(weights.values()) == pytest.approx(expected.tolist())
        theirs.step()
        ours.observe(scores_of(LOSSES))
    assert weights != {"a": 1.0, "b": 1.0, "c": 1.0}


def test_famo_learns_from_the_losses_after_the_step():
    """A task whose loss does not fall gets more weight; its logits are not the optimizer's business."""
    ours, theirs = Scalarized(scalarization.FAMO(3)), scalarization.FAMO(3).double()
    assert ours.parameters() == []
    for step in range(40):
        values = torch.tensor([1.0, 0.9**step, 0.9**step], dtype=torch.float64)
        weights_of(ours, dict(zip("abc", values.tolist(), strict=True)))
        theirs(values)
        after = values * torch.tensor([1.0, 0.9, 0.9])
        ours.after_step(lambda x=after: losses_of(x))
        theirs.update(after)
    torch.testing.assert_close(ours.scalarizer._w, theirs._w)
    assert ours.scalarizer._w[0] > ours.scalarizer._w[1] + 0.5


def test_to_famo_the_losses_of_absent_tasks_do_not_change():
    ours, theirs = Scalarized(scalarization.FAMO(3)), scalarization.FAMO(3).double()
    weights_of(ours, LOSSES)
    weights_of(ours, {"b": 1.5}, "abc")
    ours.after_step(lambda: losses_of([1.2], "b"))
    theirs(torch.tensor([1.0, 1.5, 0.5], dtype=torch.float64))
    theirs.update(torch.tensor([1.0, 1.2, 0.5], dtype=torch.float64))
    torch.testing.assert_close(ours.scalarizer._w, theirs._w)


def losses_of(values, tasks="abc") -> Losses:
    return Losses(dict(zip(tasks, torch.as_tensor(values, dtype=torch.float64), strict=True)), {}, {}, {})


class Before(Equal):
    """Notes the losses of the step, and those after it."""

    def backward(self, losses, model):
        self.before = losses.values()
        super().backward(losses, model)

    def after_step(self, recompute):
        with torch.no_grad():
            self.after = recompute().values()


def test_losses_after_a_step_are_those_of_the_same_batch():
    tasks = tiny_tasks()
    for lr in (1e-30, 0.01):
        combine = Before()
        trainer = Trainer(tiny_model(tasks), tasks, Train(optimizer="sgd", lr=lr), combine, device="cpu")
        trainer.one_step()
        fell = combine.before.sum() - combine.after.sum()
        assert fell > 0.01 if lr == 0.01 else torch.equal(combine.after, combine.before)


@every
def test_goes_on_from_its_state(name):
    """With history, and with what torchjd keeps outside of `state_dict`."""
    combine, other = Scalarized(MAKE[name]()), Scalarized(MAKE[name]())
    for step in range(5):
        weights_of(combine, {task: loss / (step + 1) for task, loss in LOSSES.items()})
        combine.after_step(lambda: losses_of([0.3, 0.1, 0.2]))
        if step % 2:
            combine.observe(scores_of(LOSSES))
        with torch.no_grad():
            for p in combine.parameters():
                p -= 0.1 * p.grad
    state = combine.state_dict()
    before = plain(state)
    other.load_state_dict(through_a_file(state))
    for step in range(4):
        losses = {task: loss * (step + 0.3) for task, loss in LOSSES.items()}
        assert weights_of(other, losses) == weights_of(combine, losses)
        for either in (combine, other):
            either.after_step(lambda: losses_of([0.1, 0.2, 0.1]))
            either.observe(scores_of(LOSSES))
    assert plain(state) == before


@every
def test_a_state_of_before_the_first_step_holds(name):
    other = Scalarized(MAKE[name]())
    weights_of(other, LOSSES)
    other.load_state_dict(through_a_file(Scalarized(MAKE[name]()).state_dict()))
    assert weights_of(other, LOSSES) == weights_of(Scalarized(MAKE[name]()), LOSSES)


@every
def test_trains(name):
    tasks = tiny_tasks()
    combine = Scalarized(MAKE[name]())
    trainer = Trainer(tiny_model(tasks), tasks, Train(lr=0.02), combine, device="cpu")
    before = [p.detach().clone() for p in (*trainer.model.parameters(), *combine.parameters())]
    for _ in range(3):
        trainer.one_step()
    after = [*trainer.model.parameters(), *combine.parameters()]
    assert all(not torch.equal(a, b) for a, b in zip(after, before, strict=True))
    (record,) = combine.record()
    assert set(record["weights"]) == {"a", "b", "c"}


def test_a_scalarizer_of_the_users_own():
    class Squares(nn.Module):
        def __init__(self):
            super().__init__()
            self.seen = [0]

        def forward(self, values):
            self.seen = [*self.seen, 1]
            return values.square().sum()

    combine = Scalarized(Squares())
    assert weights_of(combine, LOSSES) == {"a": 2.0, "b": 4.0, "c": 1.0}
    other = Scalarized(Squares())
    other.load_state_dict(through_a_file(combine.state_dict()))
    assert other.scalarizer.seen == [0, 1]


def test_refuses_what_is_no_scalarizer_and_another_number_of_tasks():
    with pytest.raises(ValueError, match="is no scalarizer: give a module that maps losses to a scalar"):
        Scalarized(lambda losses: losses.sum())  # type: ignore[arg-type]
    combine = Scalarized(scalarization.UW(2))
    combine.attach(a_model(*LOSSES))
    with pytest.raises(ValueError, match=r"UW.* refuses the losses of 3 tasks: .*should have shape"):
        weights_of(combine, LOSSES)
