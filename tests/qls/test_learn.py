"""Learning a schedule: the whole first phase on tiny tasks, stopped and gone on with."""

from __future__ import annotations

import json
import os
import signal

import pytest
import torch
from synthetic import sharing_tasks, tiny_model

from moduli import InputError, Interrupted, fit
from moduli.qls import learn_schedule
from moduli.scheduling.qls import Policy, QLearningScheduler

TASKS = sharing_tasks()
SETTINGS = {
    "steps": 90, "reset_every": 20, "state_every": 3, "batch_size": 4, "device": "cpu",
    "dqn": {"batch": 8, "learning_starts": 8, "target_every": 5},
}  # fmt: skip


def build(seed: int):
    return tiny_model(TASKS, seed=seed, dropout=0.2)


def learn(**options) -> Policy:
    return learn_schedule(build, TASKS, **{**SETTINGS, **options})


class StopAfter:
    """A progress report that sends a SIGINT after so many actions."""

    def __init__(self, actions: int):
        self.left = actions

    def start(self, title, step, steps): ...

    def wants_losses(self):
        return True

    def update(self, step, losses):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)

    def stop(self): ...


def lines(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]


def test_a_policy_is_learned_and_used(tmp_path):
    policy = learn(folder=tmp_path, samples=6, measure="entropy")
    assert policy.tasks == ("x", "y", "z", "own")
    assert (policy.state_every, policy.samples, policy.measure) == (3, 6, "entropy")
    saved = Policy.load(tmp_path / "policy.safetensors")
    torch.testing.assert_close(dict(saved.weights), dict(policy.weights), rtol=0, atol=0)
    schedule = QLearningScheduler(saved, TASKS, batch_size=4)
    assert fit(build(0), TASKS, schedule=schedule, steps=10, phase=5, device="cpu").steps == 10


def test_its_history(tmp_path):
    learn(folder=tmp_path, baselines={"x": 1.0, "y": 2.0, "z": 2.0, "own": 1.0})  # out of reach
    history = lines(tmp_path)
    assert [(r["episode"], r["step"]) for r in history] == [(0, 20), (1, 40), (2, 60), (3, 80), (4, 92)]
    for record in history:
        assert record["punished"] == 1
        assert record["reward"] == record["last_reward"] == -10
        assert sum(record["picked"].values()) == pytest.approx(1)
        assert list(record["q"]) == ["x", "y", "z", "own"]
        assert 0 <= record["greedy"] <= 1
    assert history[0]["return"] == -70  # seven actions
    assert history[0]["loss"] is None or history[0]["loss"] > 0
    assert history[-1]["loss"] > 0
    assert history[-1]["temperature"] < history[0]["temperature"]


def test_the_seed_decides():
    first, again, other = learn(), learn(), learn(seed=1)
    torch.testing.assert_close(dict(first.weights), dict(again.weights), rtol=0, atol=0)
    assert not torch.equal(first.weights["0.weight"], other.weights["0.weight"])


@pytest.mark.parametrize("stops", [[3], [7, 2], [14, 9, 1]], ids=str)
def test_goes_on_after_ctrl_c_to_the_same_bits(tmp_path, stops):
    whole = learn(folder=tmp_path / "whole")
    for actions in stops:
        with pytest.raises(Interrupted, match=r"stopped at step .*; the state was saved"):
            learn(folder=tmp_path / "parts", progress=StopAfter(actions))
    parts = learn(folder=tmp_path / "parts")
    torch.testing.assert_close(dict(parts.weights), dict(whole.weights), rtol=0, atol=0)
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")


def test_a_finished_run_is_not_trained_again(tmp_path):
    first = learn(folder=tmp_path)

    def never(seed):
        raise AssertionError("trained again")

    before = lines(tmp_path)
    again = learn_schedule(build, TASKS, **{**SETTINGS, "folder": tmp_path, "progress": StopAfter(1)})
    torch.testing.assert_close(dict(first.weights), dict(again.weights), rtol=0, atol=0)
    assert lines(tmp_path) == before


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"state_every": 4}, "was begun with state_every 3, now it is 4: give another folder"),
        ({"lr": 0.01}, "was begun with training"),
        ({"dqn": {"gamma": 0.5}}, "was begun with dqn"),
    ],
)
def test_a_folder_of_another_run_is_refused(tmp_path, changed, message):
    learn(folder=tmp_path, steps=20)
    with pytest.raises(InputError, match=message):
        learn(folder=tmp_path, steps=20, **changed)


def test_without_a_folder_nothing_is_saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Interrupted, match="nothing was saved"):
        learn(progress=StopAfter(2))
    assert list(tmp_path.iterdir()) == []


def test_looks_are_affordable_by_default():
    assert learn(state_every=None, steps=20).state_every == 18  # 24 samples, batches of 4


def test_impossible_options():
    with pytest.raises(InputError, match="steps is 0"):
        learn(steps=0)
    with pytest.raises(InputError, match=r"train\.lr"):
        learn(lr=-1.0)
