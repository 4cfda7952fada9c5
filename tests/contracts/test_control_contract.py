"""The contract of every control (`moduli.types.Control`), and what the loop promises to it."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from implementations import CONTROLS, TASKS
from synthetic import scores_of, tiny_model, tiny_tasks

from moduli import Train, Trainer, fit
from moduli.types import Control, Phase

controls = pytest.mark.parametrize("make", CONTROLS.values(), ids=CONTROLS.keys())
SCORES = scores_of({"a": 3.0, "b": 1.0, "c": 2.0}, {"a": 0.1, "b": 0.9, "c": 0.5})


def trained() -> Trainer:
    """A model, and an optimizer with a history."""
    tasks = tiny_tasks(TASKS)
    trainer = Trainer(tiny_model(tasks, "soft"), tasks, Train(steps=4, phase=4), device="cpu")
    trainer.run()
    return trainer


def phase_of(trainer: Trainer, number: int = 1) -> Phase:
    return Phase(trainer.model, SCORES, trainer.parts.optimizer, number, trainer.step)


@controls
def test_speaks_the_protocol(make):
    assert isinstance(make(), Control)


@controls
def test_the_optimizer_keeps_what_it_knows_of_every_parameter(make):
    trainer, control = trained(), make()
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
def test_training_goes_on_after_it(make):
    tasks, control = tiny_tasks(TASKS), make()
    result = fit(
        tiny_model(tasks, "soft"), tasks, controls=[control], steps=9, phase=2, device="cpu", patience=None
    )
    assert result.steps == 9
    assert all(p.isfinite().all() for p in result.model.parameters())


@controls
def test_goes_on_from_its_state(make):
    one, control = trained(), make()
    control.after_phase(phase_of(one))
    file = io.BytesIO()
    torch.save(control.state_dict(), file)
    file.seek(0)
    other = make()
    other.load_state_dict(torch.load(file, weights_only=True))
    two = copy.deepcopy(one.model)
    control.after_phase(phase_of(one, 2))
    other.after_phase(Phase(two, SCORES, torch.optim.Adam(two.parameters()), 2, 4))
    torch.testing.assert_close(dict(two.state_dict()), dict(one.model.state_dict()), rtol=0, atol=0)
