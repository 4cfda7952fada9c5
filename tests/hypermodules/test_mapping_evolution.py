"""Which hypermodule generates which block, generation after generation (section 8.4 of Meyerson 2018)."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from synthetic import scores_of, tiny_data
from torch import nn

from moduli import InputError, Regression, Task, fit
from moduli.hypermodules import HyperModel, Hypermodules, MappingEvolution, reparameterize
from moduli.types import Phase

TRAIN = {"phase": 4, "batch_size": 6, "lr": 0.02, "patience": None, "device": "cpu"}


def network(features: int = 4, hidden: int = 8, outputs: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
        nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, outputs),
    )  # fmt: skip


def two(evolution: MappingEvolution | None, seed: int = 0, **options) -> HyperModel:
    """Two models with 4 + 4 blocks of 4 x 4 each."""
    torch.manual_seed(seed)
    models = {"a": network(), "b": network(5)}
    options = {"block": (4, 4), "context": 2} | options
    return reparameterize(models, evolution=evolution, **options)


def two_tasks() -> list[Task]:
    return [Task(n, Regression(), tiny_data(n, {n: Regression()}, f)) for n, f in (("a", 4), ("b", 5))]


def inputs() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {n: torch.randn(6, f, generator=generator) for n, f in (("a", 4), ("b", 5))}


def bank_of(mapping: list[int], c: int = 2) -> Hypermodules:
    torch.manual_seed(0)
    K = max(mapping) + 1
    return Hypermodules(torch.randn(K, c, 2, 2), torch.randn(len(mapping), c), torch.tensor(mapping))


def adam_after_steps(model: nn.Module, steps: int = 2) -> torch.optim.Optimizer:
    """An optimizer that knows something of every parameter."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        for p in model.parameters():
            p.grad = torch.randn_like(p)
        optimizer.step()
    return optimizer


# ------------------------------------------------------------------ soft weights


def test_the_worked_example_of_soft_weights():
    """Eq. 8.13 with Q = 4, alpha = 0.5: s_q = ln 0.5 - ln 4 - ln 0.5, shares 0.5 and 4 x 0.125."""
    bank = bank_of([0, 1, 2])
    bank.compete(torch.tensor([0, 2]), torch.tensor([[1, 1, 2, 0], [0, 1, 1, 1]]), alpha=0.5)
    assert bank.soft.shape == (2, 5)
    assert bank.soft[0].tolist() == pytest.approx([0.0] + [-1.386294] * 4, abs=1e-6)
    assert bank.soft[0].softmax(0).tolist() == pytest.approx([0.5] + [0.125] * 4)


@pytest.mark.parametrize("alpha", [0.01, 0.3, 0.9])
@pytest.mark.parametrize("Q", [1, 3])
def test_all_candidates_together_start_with_alpha(alpha, Q):
    bank = bank_of([0, 1])
    bank.compete(torch.tensor([1]), torch.zeros(1, Q, dtype=torch.long), alpha)
    shares = bank.soft[0].softmax(0)
    assert shares[0].item() == pytest.approx(1 - alpha, abs=1e-6)
    assert shares[1:].tolist() == pytest.approx([alpha / Q] * Q, abs=1e-6)


def test_blocks_of_competing_locations_are_mixed():
    bank = bank_of([0, 1, 2])
    before = bank().detach()
    bank.compete(torch.tensor([1]), torch.tensor([[0, 0]]), alpha=0.6)
    H, z = bank.table.detach().flatten(2), bank.contexts.detach()
    expected = before.clone()
    expected[1] = 0.4 * (z[1] @ H[1]) + 0.3 * (z[1] @ H[0]) + 0.3 * (z[1] @ H[0])
    torch.testing.assert_close(bank().detach(), expected)
    torch.testing.assert_close(bank(((1, 3),)).detach(), expected[1:])  # some locations alone
    torch.testing.assert_close(bank(((0, 1), (2, 3))).detach(), expected[[0, 2]])


def test_the_largest_share_wins_and_duplicates_are_summed():
    bank = bank_of([0, 1, 2, 3])
    bank.compete(torch.tensor([0, 1, 3]), torch.tensor([[1, 2, 2], [0, 2, 3], [3, 3, 0]]), alpha=0.5)
    with torch.no_grad():
        bank.soft.copy_(
            torch.tensor([[0.30, 0.28, 0.22, 0.20], [0.1, 0.2, 0.3, 0.4], [0.2, 0.15, 0.15, 0.5]]).log()
        )
    bank.settle(delete=False)
    # 2 has 0.42 together; 3 has 0.4; at the last location 3 stands three times: 0.5 against 0.5, and stays.
    assert bank.mapping.tolist() == [2, 3, 2, 3]
    assert bank.changed.tolist() == [2, 0]
    assert (len(bank.competing), len(bank.candidates), len(bank.soft)) == (0, 0, 0)


def test_of_equal_shares_the_present_module_stays():
    bank = bank_of([0, 1])
    bank.compete(torch.tensor([0, 1]), torch.tensor([[1], [0]]), alpha=0.5)
    bank.settle()
    assert bank.mapping.tolist() == [0, 1]


# ------------------------------------------------------------------ modules come and go


def test_unused_modules_are_deleted_and_ids_are_kept():
    bank = bank_of([0, 1, 2, 1])
    table = bank.table.detach().clone()
    bank.compete(torch.tensor([0]), torch.tensor([[2]]), alpha=0.9)
    assert len(bank.table) == 3  # while it competes, it is there
    bank.settle()
    assert bank.ids.tolist() == [1, 2]
    assert bank.ids[bank.mapping].tolist() == [2, 1, 2, 1]
    assert torch.equal(bank.table, table[1:])
    bank.compete(torch.tensor([0]), torch.tensor([[2]]), alpha=0.9, fresh=1)
    assert bank.ids.tolist() == [1, 2, 3]  # never one that was there before
    bank.settle()
    assert bank.ids[bank.mapping].tolist() == [3, 1, 2, 1]
    bank.compete(torch.tensor([0]), torch.tensor([[3]]), alpha=0.9, fresh=1)
    assert bank.ids.tolist() == [1, 2, 3, 4]


def test_new_modules_are_drawn_as_the_first_were():
    bank = Hypermodules(torch.zeros(1, 16, 16, 16), torch.ones(2, 16), torch.tensor([0, 0]))
    bank.compete(torch.tensor([0, 1]), torch.tensor([[1], [2]]), alpha=0.5, fresh=2)
    assert bank.table[1:].std().item() == pytest.approx(0.25, rel=0.03)
    assert not torch.equal(bank.table[1], bank.table[2])


def test_the_optimizers_state_follows_the_rows_that_stay():
    bank = bank_of([0, 1, 2, 3])
    optimizer = adam_after_steps(bank)
    before = {key: x.clone() for key, x in optimizer.state[bank.table].items()}
    of_contexts = optimizer.state[bank.contexts]["exp_avg"].clone()
    bank.compete(torch.tensor([0, 1]), torch.tensor([[4], [5]]), 0.9, optimizer, fresh=2)
    bank.settle(optimizer)  # 4 and 5 win over 0 and 1
    assert bank.ids.tolist() == [2, 3, 4, 5]
    after = optimizer.state[bank.table]
    for key in ("exp_avg", "exp_avg_sq"):
        assert torch.equal(after[key][:2], before[key][2:])
        assert after[key][2:].eq(0).all()
        assert after[key].shape == bank.table.shape
    assert after["step"] == before["step"]
    assert torch.equal(optimizer.state[bank.contexts]["exp_avg"], of_contexts)
    for p in bank.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()  # and it goes on


def test_what_the_optimizer_knew_of_soft_weights_is_forgotten():
    bank = bank_of([0, 1])
    bank.compete(torch.tensor([0]), torch.tensor([[1]]), 0.5)
    optimizer = adam_after_steps(bank)
    assert bank.soft in optimizer.state
    bank.compete(torch.tensor([1]), torch.tensor([[0]]), 0.5, optimizer)
    assert bank.soft not in optimizer.state
    assert bank.soft.grad is None
    optimizer = adam_after_steps(bank)
    bank.settle(optimizer)
    assert bank.soft not in optimizer.state


# ------------------------------------------------------------------ which locations, which candidates


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 1.0])
def test_a_share_of_the_locations_is_chosen(share):
    model = two(MappingEvolution(share=share, burn_in=0, candidates=3))
    L, bank = model.coverage.blocks, model.hypermodules
    assert L == 16
    assert len(bank.competing) == math.ceil(share * L)
    assert bank.competing.tolist() == sorted(set(bank.competing.tolist()))
    assert bank.candidates.shape == (math.ceil(share * L), 3)


def test_modules_are_drawn_in_proportion_to_use():
    evolution = MappingEvolution(share=1.0, burn_in=0, candidates=500, epsilon=0)
    model = two(evolution, mapping=[0] * 8 + [1] * 4 + [2] * 3 + [3])
    drawn = torch.bincount(model.hypermodules.candidates.flatten(), minlength=4) / (16 * 500)
    assert drawn.tolist() == pytest.approx([8 / 16, 4 / 16, 3 / 16, 1 / 16], abs=0.02)


def test_modules_are_drawn_uniformly_and_none_is_lost():
    evolution = MappingEvolution(share=1.0, burn_in=0, candidates=500, draw="uniform", epsilon=1.0)
    model = two(evolution, mapping=[0] * 15 + [1])
    bank = model.hypermodules
    drawn = torch.bincount(bank.candidates.flatten(), minlength=2) / (16 * 500)
    assert drawn.tolist() == pytest.approx([0.5, 0.5], abs=0.02)
    with torch.no_grad():
        bank.soft.zero_()
        bank.soft[:, 0] = 99.0
    bank.mapping.zero_()
    evolution.settle(model, None)
    assert bank.ids.tolist() == [0, 1]  # module 1 stands nowhere and is still there
    assert bank.changed.tolist() == [0, 0]  # and none was made, whatever epsilon is


def test_epsilon_one_makes_only_new_modules():
    model = two(MappingEvolution(share=0.5, burn_in=0, candidates=2, epsilon=1.0))
    bank = model.hypermodules
    assert bank.candidates.flatten().tolist() == list(range(16, 16 + 16))
    assert len(bank.table) == 32
    assert bank.changed.tolist() == [0, 16]
    assert model.record()[-1]["created"] == 16


def test_within_tasks_nothing_crosses():
    evolution = MappingEvolution(share=1.0, burn_in=0, candidates=4, within_tasks=True, epsilon=0.0)
    model = two(evolution)
    bank = model.hypermodules
    for _ in range(5):
        with torch.no_grad():
            bank.soft.normal_()
        evolution.settle(model, None)
        evolution.propose(model, None)
    mapping = bank.ids[bank.mapping]
    assert mapping[:8].max() < 8 <= mapping[8:].min()
    assert mapping.unique().numel() < 16  # something has spread
    assert [tasks for tasks, _ in model._sharing()] in ([["a"], ["b"]], [["b"], ["a"]])
    crossing = two(MappingEvolution(share=1.0, burn_in=0, candidates=4))
    drawn = crossing.hypermodules.candidates
    assert (drawn[:8] >= 8).any()


def test_within_tasks_is_refused_where_tasks_share_layers():
    shared = network()
    models = {"a": shared, "b": shared}
    with pytest.raises(InputError, match="within_tasks: some layers are shared"):
        reparameterize(models, block=(4, 4), evolution=MappingEvolution(within_tasks=True))


def test_select_random_does_not_ask_the_shares():
    evolution = MappingEvolution(share=1.0, burn_in=0, select="random", epsilon=0)
    accepted = 0
    for seed in range(20):
        model = two(evolution, seed)
        with torch.no_grad():
            model.hypermodules.soft[:, 0] = 99.0
        evolution.settle(model, None)
        accepted += int(model.hypermodules.changed[0])
    # Of 320 pairs half take the candidate, but for those where it is the present module (1 of 16).
    assert accepted / 320 == pytest.approx(0.5 * 15 / 16, abs=0.08)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("candidates", 0), ("share", 0.0), ("share", 1.1), ("epsilon", -0.1), ("alpha", 0.0), ("alpha", 1.0),
        ("soft_lr", 0.0), ("final", 1.0), ("burn_in", -1), ("select", "hard"), ("draw", "often"),
    ],
)  # fmt: skip
def test_impossible_settings(name, value):
    with pytest.raises(InputError, match=f"{name} of the evolution is"):
        MappingEvolution(**{name: value})


# ------------------------------------------------------------------ a run


def phase_of(model, number: int, step: int, steps: int, restored: list) -> Phase:
    optimizer = torch.optim.Adam(model.parameters())
    return Phase(model, scores_of({"a": 1.0}), optimizer, number, step, steps, lambda: restored.append(step))


def test_burn_in():
    """In the first generations there are no candidates."""
    model = two(MappingEvolution(burn_in=2, final=0.0))
    (control,) = model.controls()
    competing = [len(model.hypermodules.competing)]
    for number in (1, 2, 3):
        control.after_phase(phase_of(model, number, 10 * number, 100, []))
        competing.append(len(model.hypermodules.competing))
    assert competing == [0, 0, 8, 8]
    assert len(two(MappingEvolution(burn_in=0)).hypermodules.competing) == 8


def test_the_final_training_begins_once_from_the_best_model():
    model, restored = two(MappingEvolution(burn_in=0, final=0.25, epsilon=1.0)), []
    (control,) = model.controls()
    mappings = []
    for number in range(1, 11):
        phase = phase_of(model, number, 10 * number, 100, restored)
        for p in model.parameters():
            phase.optimizer.state[p]["exp_avg"] = torch.ones_like(p)
        control.after_phase(phase)
        mappings.append(model.hypermodules.ids[model.hypermodules.mapping].tolist())
        assert bool(phase.optimizer.state) == (number != 8)  # the optimizer begins anew, once
        assert bool(len(model.hypermodules.competing)) == (number < 8)
    assert restored == [80]
    assert mappings[7:] == [mappings[7]] * 3


def test_a_whole_run():
    """The final training returns to the best validation model; in it the mapping does not change."""
    evolution = MappingEvolution(burn_in=0, final=0.3, epsilon=0.2, soft_lr=0.5, candidates=2)
    model = two(evolution)
    result = fit(model, two_tasks(), steps=40, select="loss", **TRAIN)
    told = [r for r in result.history if r["split"] == "hypermodules"]
    assert [r["step"] for r in told] == list(range(4, 41, 4))
    losses: dict[int, float] = {}
    for r in result.history:
        if r["split"] == "val":
            losses[r["step"]] = losses.get(r["step"], 0.0) + r["loss"]
    mapping = {r["step"]: r["mapping"] for r in told}
    assert mapping[32] == mapping[36] == mapping[40]
    assert len({tuple(m) for m in mapping.values()}) > 3
    assert any(r["accepted"] for r in told)
    assert any(r["created"] for r in told)
    total = sum(result.val.loss.values())
    assert total == pytest.approx(min(losses.values()), rel=1e-5)


def test_records_say_who_shares():
    model = two(MappingEvolution(burn_in=0), mapping=[0] * 4 + [1] * 4 + [1] * 2 + [2] * 6)
    record = model.record()[-1]
    assert record["split"] == "hypermodules"
    assert record["modules"] == 3
    assert record["top"] in ([1, 6], [2, 6])
    assert sorted(record["sharing"]) == [[["a"], 1], [["a", "b"], 1], [["b"], 1]]
    assert record["mapping"] == [0] * 4 + [1] * 4 + [1] * 2 + [2] * 6


def test_soft_weights_have_their_own_learning_rate():
    model = two(MappingEvolution(soft_lr=0.25))
    assert {id(p): rate for p, rate in model.learning_rates().items()} == {id(model.hypermodules.soft): 0.25}
    assert two(None).learning_rates() == {}
    assert two(None).controls() == []


# ------------------------------------------------------------------ moments


def test_a_state_of_one_moment_loads_into_a_model_at_another():
    evolution = MappingEvolution(burn_in=0, epsilon=0.5, share=1.0, candidates=2)
    early, late = two(evolution, 0), two(evolution, 1)
    for _ in range(3):
        with torch.no_grad():
            late.hypermodules.soft.normal_()
        evolution.settle(late, None)
        evolution.propose(late, None)
    assert late.hypermodules.table.shape != early.hypermodules.table.shape
    for one, other in ((early, late), (late, early)):
        state = {key: x.clone() for key, x in one.state_dict().items()}
        twin = copy.deepcopy(other)
        twin(inputs())  # what follows from the mapping was worked out, and must not stay
        twin.load_state_dict(state)
        expected = one(inputs())
        for task, y in twin(inputs()).items():
            assert torch.equal(y, expected[task])
        sum(y.sum() for y in twin(inputs()).values()).backward()  # type: ignore[union-attr]
        assert twin.hypermodules.table.grad.shape == twin.hypermodules.table.shape  # type: ignore[union-attr]


def test_copies_after_a_forward_pass():
    model = two(MappingEvolution(burn_in=0))
    expected = {task: y.detach() for task, y in model(inputs()).items()}
    twin = copy.deepcopy(model)
    for task, y in twin(inputs()).items():
        assert torch.equal(y, expected[task])
    with torch.no_grad():
        for p in twin.parameters():
            p.zero_()
    for task, y in model(inputs()).items():
        assert torch.equal(y, expected[task])
    assert all(y.eq(0).all() for y in twin(inputs()).values())


def test_some_tasks_alone_give_the_same():
    model = two(MappingEvolution(burn_in=0, epsilon=0.2))
    together = model(inputs())
    for task, y in together.items():
        torch.testing.assert_close(model(inputs(), [task])[task], y)


# ------------------------------------------------------------------ a task that comes later


def test_borrowed_hypermodules_stay_as_they_are():
    """A later task learns contexts, mapping and what is not generated; earlier models stay bit for bit."""
    evolution = MappingEvolution(burn_in=0, epsilon=0.5, final=0.3)
    old = two(evolution)
    fit(old, two_tasks(), steps=8, **TRAIN)
    evolution.settle(old, None)
    before = {task: y.detach().clone() for task, y in old.eval()(inputs()).items()}
    table = old.hypermodules.table.detach().clone()

    torch.manual_seed(5)
    new = reparameterize({"c": network(3)}, evolution=evolution, hypermodules=old.hypermodules)
    assert new.hypermodules.frozen
    contexts = new.hypermodules.contexts.detach().clone()
    mappings = [new.hypermodules.mapping.tolist()]
    task = Task("c", Regression(), tiny_data("c", {"c": Regression()}, 3))
    result = fit(new, [task], steps=24, **TRAIN)
    bank = new.hypermodules
    mappings.append(bank.mapping.tolist())
    assert torch.equal(bank.table, table)  # none deleted, none made, none trained
    assert torch.equal(bank.ids, old.hypermodules.ids)
    assert not torch.equal(bank.contexts, contexts)
    assert mappings[0] != mappings[1]
    assert all(not r["created"] for r in result.history if r["split"] == "hypermodules")
    for name, y in old.eval()(inputs()).items():
        assert torch.equal(y, before[name])
    for y in new.materialise()["c"](torch.randn(2, 3)):
        assert y.isfinite().all()


def test_borrowed_modules_are_drawn_by_use_at_first():
    old = two(None, mapping=[0] * 14 + [1, 2])
    counts = torch.zeros(3)
    for seed in range(40):
        torch.manual_seed(seed)
        new = reparameterize({"c": network(3)}, evolution=None, hypermodules=old.hypermodules)
        counts += new.hypermodules.uses()
    assert (counts / counts.sum()).tolist() == pytest.approx([14 / 16, 1 / 16, 1 / 16], abs=0.04)
