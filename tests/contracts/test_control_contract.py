"""The contract of every control (`moduli.types.Control`), and what the loop promises to it."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from implementations import CONTROLS, TASKS, ControlCase
from synthetic import scores_of, tiny_tasks

from moduli import Train, Trainer, fit
from moduli.types import Control, Phase

controls = pytest.mark.parametrize("case", CONTROLS, ids=lambda case: case.name)
SCORES = scores_of({"a": 3.0, "b": 1.0, "c": 2.0}, {"a": 0.1, "b": 0.9, "c": 0.5})


def trained(case: ControlCase) -> Trainer:
    """A model, and an optimizer with a history."""
    tasks = tiny_tasks(TASKS)
    trainer = Trainer(case.model(tasks), tasks, Train(steps=4, phase=4), device="cpu")
    trainer.run()
    return trainer


def phase_of(trainer: Trainer, number: int = 1) -> Phase:
    return Phase(trainer.model, SCORES, trainer.parts.optimizer, number, trainer.step, 100)


@controls
def test_speaks_the_protocol(case):
    assert isinstance(case.make(), Control)


@controls
def test_the_optimizer_keeps_what_it_knows_of_every_parameter(case):
    trainer, control = trained(case), case.make()
    before = {p: copy.deepcopy(state) for p, state in trainer.parts.optimizer.state.items()}
    assert before
    for number in (1, 2, 3):
        control.after_phase(phase_of(trainer, number))
    staying = [p for p in trainer.model.parameters() if p in before]
    for p in staying:
        torch.testing.assert_close(trainer.parts.optimizer.state[p], before[p], rtol=0, atol=0)
    trained_now = {p for group in trainer.parts.optimizer.param_groups for p in group["params"]}
    assert set(staying) <= trained_now


@controls
def test_training_goes_on_after_it(case):
    tasks, control = tiny_tasks(TASKS), case.make()
    result = fit(case.model(tasks), tasks, controls=[control], steps=9, phase=2, device="cpu", patience=None)
    assert result.steps == 9
    assert all(p.isfinite().all() for p in result.model.parameters())


@controls
def test_goes_on_from_its_state(case):
    """With the global random numbers, which a run saves."""
    one, control = trained(case), case.make()
    control.after_phase(phase_of(one))
    file = io.BytesIO()
    torch.save(control.state_dict(), file)
    file.seek(0)
    other = case.make()
    other.load_state_dict(torch.load(file, weights_only=True))
    two = copy.deepcopy(one.model)
    torch.manual_seed(1)
    control.after_phase(phase_of(one, 2))
    torch.manual_seed(1)
    other.after_phase(Phase(two, SCORES, torch.optim.Adam(two.parameters()), 2, 4, 100))
    torch.testing.assert_close(dict(two.state_dict()), dict(one.model.state_dict()), rtol=0, atol=0)
