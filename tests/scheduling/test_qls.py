"""The Q-learning scheduler: following a policy, saving one, and refusing one of other tasks."""

from __future__ import annotations

import io

import pytest
import torch
from safetensors.torch import save_file
from synthetic import sharing_tasks, tiny_model, tiny_tasks

from moduli import InputError, RunError, fit
from moduli.scheduling.dqn import QNetwork
from moduli.scheduling.monitor import Monitor
from moduli.scheduling.qls import Policy, QLearningScheduler, affordable

TASKS = ("a", "b", "c")


def policy_for(names=TASKS, seed: int = 0, **options) -> Policy:
    torch.manual_seed(seed)
    options = {"state_every": 1, **options}
    network = QNetwork(options.get("bins", 20) * len(names), len(names))
    for parameter in network.parameters():
        parameter.data *= 5  # so that states make a difference
    return Policy(tuple(names), network.state_dict(), **options)


def made(tasks=None, model=None, policy=None, **options) -> QLearningScheduler:
    tasks = tasks or tiny_tasks()
    schedule = QLearningScheduler(policy or policy_for(), tasks, **options)
    schedule.attach(model or tiny_model(tasks))
    return schedule


def test_it_takes_the_task_with_the_highest_q_value():
    tasks, policy = tiny_tasks(), policy_for()
    for seed in range(10):
        model = tiny_model(tasks, seed=seed)
        q = policy.network()(Monitor(tasks).look(model).state)
        assert made(tasks, model, policy).choose(list(TASKS), 0) == [TASKS[int(q.argmax())]]


def test_the_order_of_the_tasks_does_not_matter():
    tasks, policy = tiny_tasks(), policy_for()
    model = tiny_model(tasks)
    one, other = made(tasks, model, policy), made(tasks[::-1], model, policy)
    assert one.choose(list(TASKS), 0) == other.choose(list(TASKS)[::-1], 0)


def test_of_equal_values_the_first_and_only_of_those_that_are_there():
    policy = policy_for()
    for x in policy.weights.values():
        x.zero_()
    schedule = made(policy=policy)
    assert schedule.choose(["a", "b", "c"], 0) == ["a"]
    assert schedule.choose(["b", "c"], 1) == ["b"]


def test_a_choice_holds_until_the_next_look():
    tasks = tiny_tasks()
    model = tiny_model(tasks)
    schedule = made(tasks, model, state_every=4)
    looks = []
    look = schedule.monitor.look
    schedule.monitor.look = lambda *a, **k: (looks.append(step), look(*a, **k))[1]
    chosen = []
    for step in range(9):
        chosen += schedule.choose(list(TASKS), step)
        for parameter in model.parameters():
            parameter.data.normal_(generator=torch.Generator().manual_seed(step))
    assert looks == [0, 4, 8]
    assert len(set(chosen[:4])) == len(set(chosen[4:8])) == 1


def test_looks_are_affordable_by_default():
    assert affordable(3200, 16) == 600  # the paper's 16 domains of 200 samples
    assert affordable(1, 128) == 1
    tasks = tiny_tasks()  # 36 validation samples
    assert made(tasks, batch_size=3).state_every == 36
    assert made(tasks, batch_size=3, policy=policy_for(samples=2)).state_every == 6
    assert made(tasks, batch_size=3, policy=policy_for(state_every=50)).state_every == 50
    assert made(tasks, batch_size=3, state_every=1).state_every == 1


def test_it_trains_a_model_and_tells_of_it():
    tasks = sharing_tasks()
    names = tuple(task.name for task in tasks)
    schedule = QLearningScheduler(policy_for(names), tasks, state_every=2)
    done = fit(tiny_model(tasks), tasks, schedule=schedule, steps=20, phase=10, device="cpu")
    told = [record for record in done.history if record["split"] == "schedule"]
    histograms = [record["histograms"] for record in told if "histograms" in record]
    values = [record["q"] for record in told if "q" in record]
    assert len(histograms) == len(values) == 2
    assert list(histograms[0]) == list(values[0]) == list(names)
    assert all(len(h) == 20 and sum(h) == pytest.approx(1) for h in histograms[0].values())


def test_q_values_are_means_of_the_phase():
    tasks = tiny_tasks()
    model = tiny_model(tasks)
    schedule = made(tasks, model, state_every=1)
    assert schedule.record() == []
    seen = []
    for step in range(3):
        schedule.choose(list(TASKS), step)
        seen.append(schedule._q)
        for parameter in model.parameters():
            parameter.data.mul_(3)
    assert schedule.record()[1]["q"] == pytest.approx(
        dict(zip(TASKS, torch.stack(seen).mean(0).tolist(), strict=True))
    )
    assert schedule.record()[1]["q"] == pytest.approx(dict(zip(TASKS, seen[-1].tolist(), strict=True)))


def test_goes_on_from_its_state():
    tasks = tiny_tasks()
    model = tiny_model(tasks)
    schedule = made(tasks, model, state_every=4)
    schedule.choose(list(TASKS), 0)
    file = io.BytesIO()
    torch.save(schedule.state_dict(), file)
    file.seek(0)
    other = made(tasks, model, state_every=4)
    other.load_state_dict(torch.load(file, weights_only=True))
    for parameter in model.parameters():
        parameter.data.neg_()  # a look between would see another model
    assert other.choose(list(TASKS), 1) == schedule.choose(list(TASKS), 1)
    assert other.record() == schedule.record()


def test_a_training_goes_on_to_the_same_bits(tmp_path):
    tasks = tiny_tasks()

    def trained(steps: int, folder: str):
        schedule = QLearningScheduler(policy_for(), tasks, state_every=4)
        options = {"phase": 3, "patience": None, "select": "last", "device": "cpu", "lr": 0.05}
        return fit(
            tiny_model(tasks), tasks, schedule=schedule, steps=steps, folder=tmp_path / folder, **options
        )

    whole = trained(12, "whole")
    trained(6, "parts")
    parts = trained(12, "parts")  # goes on between two looks
    assert parts.history == whole.history
    torch.testing.assert_close(parts.model.state_dict(), whole.model.state_dict(), rtol=0, atol=0)


def test_it_has_to_be_attached():
    with pytest.raises(InputError, match="attach"):
        QLearningScheduler(policy_for(), tiny_tasks()).choose(list(TASKS), 0)


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "d"), ("a", "b", "c", "d")])
def test_a_policy_of_other_tasks_is_refused(names):
    with pytest.raises(InputError, match=r"the policy schedules a, b.*, the tasks are a, b, c: learn"):
        QLearningScheduler(policy_for(names), tiny_tasks())


def test_impossible_state_every():
    with pytest.raises(InputError, match="state_every is 0"):
        made(state_every=0)


def test_a_policy_is_saved_in_one_file_and_loaded(tmp_path):
    policy = policy_for(state_every=7, bins=5, measure="entropy", samples=3)
    path = policy.save(tmp_path / "policy.safetensors")
    loaded = Policy.load(path)
    assert [p.name for p in tmp_path.iterdir()] == ["policy.safetensors"]
    for name in ("tasks", "state_every", "bins", "measure", "samples", "hard"):
        assert getattr(loaded, name) == getattr(policy, name)
    torch.testing.assert_close(dict(loaded.weights), dict(policy.weights), rtol=0, atol=0)
    tasks = tiny_tasks()
    model = tiny_model(tasks, seed=3)
    assert made(tasks, model, policy).choose(list(TASKS), 0) == made(tasks, model, loaded).choose(
        list(TASKS), 0
    )


def test_files_that_are_no_policy(tmp_path):
    missing, damaged, other = (tmp_path / name for name in ("missing", "damaged", "other"))
    damaged.write_bytes(b"{}")
    save_file({"x": torch.ones(1)}, other)
    for path, message in ((missing, "no policy at"), (damaged, "damaged"), (other, "is no policy")):
        with pytest.raises(RunError, match=message):
            Policy.load(path)


def test_the_network_of_a_policy_is_its_own_copy():
    policy = policy_for()
    before = policy.weights["0.bias"].clone()
    numbers = torch.get_rng_state()
    network = policy.network()
    assert torch.equal(torch.get_rng_state(), numbers)
    network[0].bias.data.zero_()
    assert torch.equal(policy.weights["0.bias"], before)
