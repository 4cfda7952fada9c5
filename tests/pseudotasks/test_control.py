"""The six letters: what each does to the decoders of a task, and which combinations make sense."""

import math

import pytest
import torch
from synthetic import tiny_model, tiny_tasks

from moduli import PTA, DecoderBank, InputError, Train, Trainer, augment, fit
from moduli.pseudotasks.trajectory import sketch

EIGHT = ["I", "F", "P", "D", "FP", "GP", "GD", "HGD"]
COSTS = [(0.3, 1.0), (0.1, 2.0), (0.2, 0.5), (0.1, 3.0)]  # the second is the best


def bank_of(letters: str, number: int = 4, **options) -> DecoderBank:
    torch.manual_seed(0)
    return DecoderBank({"t": (50, 20), "u": (5, 2)}, number, PTA(letters, **options))


def updated(bank: DecoderBank, costs=COSTS, optimizer=None):
    """Weights of all decoders of task t before and after, and the rates after."""
    before = bank.decoders_of("t").vectors()
    other = bank.decoders_of("u").vectors()
    with torch.no_grad():
        bank.control.update(bank.decoders_of("t", optimizer), costs)  # type: ignore[union-attr]
    assert all(torch.equal(x, y) for x, y in zip(other, bank.decoders_of("u").vectors(), strict=True))
    return before, bank.decoders_of("t").vectors(), bank.decoders_of("t").rates.tolist()


@pytest.mark.parametrize("letters", ["I", "F", "D"])
def test_these_change_nothing_between_phases(letters):
    before, after, rates = updated(bank_of(letters))
    assert all(torch.equal(x, y) for x, y in zip(before, after, strict=True))
    assert rates == [0.5] * 4


@pytest.mark.parametrize("letters", ["P", "FP", "PD"])
def test_perturb_adds_noise_to_all_but_the_best(letters):
    before, after, _ = updated(bank_of(letters, eps_p=0.01))
    for d, (x, y) in enumerate(zip(before, after, strict=True)):
        if d == 1:
            assert torch.equal(x, y)
        else:  # 1020 normal numbers
            assert (y - x).std().item() == pytest.approx(0.01, rel=0.1)
            assert abs((y - x).mean().item()) < 0.002


def test_eps_may_be_a_variance():
    before, after, _ = updated(bank_of("P", eps_p=0.01, eps_is_variance=True))
    assert (after[0] - before[0]).std().item() == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("letters", ["GD", "GDF"])
def test_greedy_makes_all_equal_to_the_best(letters):
    before, after, _ = updated(bank_of(letters))
    assert all(torch.equal(y, before[1]) for y in after)


def test_greedy_then_perturb_moves_around_the_best():
    before, after, _ = updated(bank_of("GP"))
    assert torch.equal(after[1], before[1])
    for d in (0, 2, 3):
        assert (after[d] - before[1]).std().item() == pytest.approx(0.01, rel=0.1)


def test_hyperperturb_moves_the_rates_of_all_but_the_best_within_their_range():
    bank = bank_of("HD", eps_h=0.1)
    seen = []
    for _ in range(200):
        before, after, rates = updated(bank)
        assert rates[1] == 0.5
        assert all(torch.equal(x, y) for x, y in zip(before, after, strict=True))
        seen += [rates[d] for d in (0, 2, 3)]
    assert min(seen) == pytest.approx(0.2)
    assert max(seen) == pytest.approx(0.8)
    assert all(0.2 - 1e-6 <= rate <= 0.8 + 1e-6 for rate in seen)


def test_greedy_copies_the_rate_before_it_is_perturbed():
    bank = bank_of("HGD", eps_h=1e-6)
    bank.rates[0] = torch.tensor([0.3, 0.6, 0.7, 0.8])
    _, _, rates = updated(bank)
    assert rates == pytest.approx([0.6] * 4, abs=1e-4)


def test_ties_are_broken_by_loss_then_by_number():
    ties = [(0.1, 2.0), (0.1, 1.0), (0.1, 1.0)]
    before, after, _ = updated(bank_of("P", 3), ties)
    same = [torch.equal(x, y) for x, y in zip(before, after, strict=True)]
    assert same == [False, True, False]


def test_literally_all_that_tie_are_left_alone():
    before, after, _ = updated(bank_of("P", literal=True))
    assert [torch.equal(x, y) for x, y in zip(before, after, strict=True)] == [False, True, False, True]
    before, after, _ = updated(bank_of("GP", literal=True))
    assert torch.equal(after[3], before[1])


def test_nothing_is_done_where_nothing_is_known():
    tasks = tiny_tasks(("a",), missing=1.0)
    model = augment(tiny_model(tasks), "GP", 3)
    before = model.decoders.decoders_of("a").vectors()
    fit(model, tasks, steps=4, phase=2, select="last", device="cpu")
    after = model.decoders.decoders_of("a").vectors()
    assert all(torch.equal(x, y) for x, y in zip(before, after, strict=True))


# ------------------------------------------------------------------ the optimizer


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
def test_what_the_optimizer_knows_is_copied_with_the_weights(optimizer):
    tasks = tiny_tasks()
    model = augment(tiny_model(tasks), "GD", 3)
    trainer = Trainer(model, tasks, Train(steps=4, phase=4, optimizer=optimizer, momentum=0.9), device="cpu")
    for _ in range(3):
        trainer.one_step()
    bank, adam = model.decoders, trainer.parts.optimizer

    def known(task, d):
        parts = bank.decoders_of(task).weights[d]
        states = [adam.state[part.tensor] for part in parts]
        return [
            value[part.index].clone()
            for part, state in zip(parts, states, strict=True)
            for value in state.values()
            if isinstance(value, torch.Tensor) and value.shape == part.tensor.shape
        ]

    others = known("b", 0)
    source = known("a", 2)
    assert source
    with torch.no_grad():
        bank.decoders_of("a", adam).copy(2, 0)
    assert all(torch.equal(x, y) for x, y in zip(known("a", 0), source, strict=True))
    assert all(torch.equal(x, y) for x, y in zip(known("b", 0), others, strict=True))


def test_a_copy_of_a_frozen_decoder_begins_anew():
    tasks = tiny_tasks(("a",))
    model = augment(tiny_model(tasks), "FGP", 3)
    trainer = Trainer(model, tasks, Train(steps=4, phase=4), device="cpu")
    for _ in range(3):
        trainer.one_step()
    decoders = model.decoders.decoders_of("a", trainer.parts.optimizer)
    (weight, _), momentum = decoders.weights[0], lambda p: trainer.parts.optimizer.state[p.tensor]["exp_avg"]
    assert momentum(weight)[weight.index].any()
    with torch.no_grad():
        decoders.copy(1, 0)
    assert not momentum(weight)[weight.index].any()
    assert torch.equal(decoders.vectors()[0], decoders.vectors()[1])


# ------------------------------------------------------------------ letters


@pytest.mark.parametrize("letters", [*EIGHT, "DGH", "hgd", "PTA-HGD", "IFDPHG", "IGP"])
def test_these_make_sense(letters):
    tasks = tiny_tasks(("a", "b"))
    result = fit(augment(tiny_model(tasks), letters, 3), tasks, steps=4, phase=2, device="cpu")
    assert all(math.isfinite(x) for x in result.test.loss.values())


@pytest.mark.parametrize(
    ("letters", "reason"),
    [
        ("X", "unknown letter 'X'"),
        ("HG", "H perturbs the rates of independent dropout, so add D"),
        ("HGP", "so add D"),
        ("G", "equal for ever"),
        ("IG", "equal for ever"),
        ("PP", "letter P twice"),
        ("", "give letters"),
        (3, "give letters"),
    ],
)
def test_these_do_not_and_the_reason_is_said(letters, reason):
    with pytest.raises(InputError, match=reason):
        PTA(letters)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"eps_p": 0.0}, "eps_p is 0"),
        ({"eps_h": -1}, "eps_h is -1"),
        ({"rates": (0.5, 0.2)}, "rates are"),
        ({"rates": (0.2, 1.0)}, "rates are"),
    ],
)
def test_impossible_numbers_are_refused(options, reason):
    with pytest.raises(InputError, match=reason):
        PTA("HGDP", **options)


def test_independent_dropout_needs_a_rate():
    with pytest.raises(InputError, match="dropout 0"):
        augment(tiny_model(tiny_tasks()), "D", 3, dropout=0.0)


# ------------------------------------------------------------------ a user's own control


class TowardsTheBest:
    """Moves every decoder a third of the way to the best one, and counts."""

    def __init__(self):
        self.calls = 0

    def initialize(self, bank):
        bank.drop_apart()

    def update(self, decoders, costs):
        self.calls += 1
        best = min(range(len(decoders)), key=costs.__getitem__)
        for parts in decoders.weights:
            for part, target in zip(parts, decoders.weights[best], strict=True):
                part.value.lerp_(target.value, 1 / 3)

    def state_dict(self):
        return {"calls": self.calls}

    def load_state_dict(self, state):
        self.calls = state["calls"]


def test_a_users_control_is_a_small_class(tmp_path):
    tasks = tiny_tasks(("a", "b"))
    control = TowardsTheBest()
    model = augment(tiny_model(tasks), control, 3)
    assert model.decoders.apart
    options = {"phase": 2, "patience": None, "device": "cpu", "folder": tmp_path}
    fit(model, tasks, steps=6, **options)
    assert control.calls == 2 * 3
    again = TowardsTheBest()
    Trainer(augment(tiny_model(tasks), again, 3), tasks, Train(steps=6, phase=2, patience=None), device="cpu",
            folder=tmp_path).run()  # fmt: skip
    assert again.calls == 6


# ------------------------------------------------------------------ records


def test_records_tell_rates_weights_and_the_chosen_decoder():
    tasks = tiny_tasks(("a", "b"))
    result = fit(augment(tiny_model(tasks), "HGD", 3), tasks, steps=6, phase=2, patience=None, device="cpu")
    records = [record for record in result.history if record["split"] == "decoders"]
    assert [(r["step"], r["task"]) for r in records] == [(s, t) for s in (2, 4, 6) for t in ("a", "b")]
    assert all(len(r["rates"]) == 3 and 0 <= r["chosen"] < 3 for r in records)
    assert all(("weights" in r) is (r["task"] == "a") for r in records)
    assert all(len(r["weights"]) == 3 for r in records if r["task"] == "a")


def test_records_are_of_the_decoders_that_were_scored():
    """Under G all are equal after the control; what was trained, and scored, was not."""
    tasks = tiny_tasks(("a",))
    result = fit(augment(tiny_model(tasks), "GD", 3), tasks, steps=4, phase=2, patience=None, device="cpu")
    for record in result.history:
        if record["split"] == "decoders":
            assert record["weights"][0] != record["weights"][1]


def test_a_sketch_keeps_angles_and_distances():
    generator = torch.Generator().manual_seed(0)
    x, noise = torch.randn(2, 20_000, generator=generator)
    y = x + 0.5 * noise
    a, b = torch.tensor(sketch(x)), torch.tensor(sketch(y))
    assert len(a) == 256
    cosine = torch.cosine_similarity
    assert cosine(a, b, dim=0).item() == pytest.approx(cosine(x, y, dim=0).item(), abs=0.05)
    assert (a - b).norm().item() == pytest.approx((x - y).norm().item(), rel=0.15)
    assert sketch(x[:129]) == pytest.approx(x[:129].tolist(), rel=1e-4)
