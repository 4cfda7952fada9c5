"""A run with an evolving mapping that is stopped and resumed ends with the same bits."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from synthetic import same, tiny_data
from torch import nn

from moduli import Interrupted, Regression, Schedule, Task, fit
from moduli.hypermodules import HyperModel, MappingEvolution, reparameterize

EVOLUTION = MappingEvolution(
    burn_in=1, candidates=2, share=0.5, epsilon=0.2, alpha=0.6, soft_lr=0.5, final=0.3
)
STEPS = 30  # ten generations; the final training begins at step 21
SETTINGS: dict[str, Any] = {
    "steps": STEPS, "phase": 3, "batch_size": 6, "lr": 0.02, "patience": None, "device": "cpu"
}  # fmt: skip


class StopAt(Schedule):
    """All tasks, and an interrupt at a step."""

    def __init__(self, step: int | None):
        self.step = step

    def choose(self, tasks, step):
        if step == self.step:
            signal.raise_signal(signal.SIGINT)
        return tasks


def tasks() -> list[Task]:
    return [Task(n, Regression(), tiny_data(n, {n: Regression()}, f)) for n, f in (("a", 4), ("b", 5))]


def model(seed: int) -> HyperModel:
    torch.manual_seed(seed)
    made = {}
    for name, features in (("a", 4), ("b", 5)):
        layers = [nn.Linear(features, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 8), nn.ReLU()]
        made[name] = nn.Sequential(*layers, nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
    return reparameterize(made, block=(4, 4), context=2, evolution=EVOLUTION)


def trained(folder: Path, seed: int = 0, stop: int | None = None) -> dict[str, Any]:
    """Everything that must be the same, to the bit."""
    result = fit(model(seed), tasks(), folder=folder, schedule=StopAt(stop), seed=3, **SETTINGS)
    return {
        "weights": dict(result.model.state_dict()),
        "scores": [result.val.loss, result.test.loss],
        "best": result.best_step,
        "history": result.history,
        "log": (folder / "metrics.jsonl").read_text(),
    }


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> dict[str, Any]:
    return trained(tmp_path_factory.mktemp("whole"))


def test_the_run_has_everything_in_it(expected):
    told = [record for record in expected["history"] if record["split"] == "hypermodules"]
    assert sum(record["accepted"] for record in told) > 3
    assert sum(record["created"] for record in told) > 0
    assert len({record["modules"] for record in told}) > 2, "modules should come and go"
    mapping = {record["step"]: record["mapping"] for record in told}
    assert mapping[24] == mapping[27] == mapping[30]


# Before the first checkpoint, in burn-in, while candidates compete, at the end of a generation, at the last
# one, and in the final training.
@pytest.mark.parametrize("step", [0, 2, 4, 8, 11, 17, 20, 21, 25, STEPS - 1])
def test_interrupted_and_resumed(step, expected, tmp_path):
    with pytest.raises(Interrupted, match=f"stopped at step {step + 1}; the state was saved"):
        trained(tmp_path, stop=step)
    resumed = trained(tmp_path, seed=99)  # other weights and candidates: all must come from the folder
    for key, value in expected.items():
        assert same(resumed[key], value), f"{key} differs"


def test_interrupted_twice(expected, tmp_path):
    for seed, step in ((0, 7), (5, 22)):
        with pytest.raises(Interrupted):
            trained(tmp_path, seed, step)
    assert same(trained(tmp_path, seed=99), expected)
