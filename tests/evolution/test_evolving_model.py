"""CTR: champions and challengers in one model, and what happens to them between phases."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from synthetic import sharing_tasks, tiny_data, tiny_model, tiny_tasks
from torch import nn
from torchjd.aggregation import UPGrad

from moduli import (
    Aggregated,
    Conv,
    Data,
    Dense,
    InputError,
    JointModel,
    LinearBank,
    Multiclass,
    PadChannels,
    RandomTasks,
    Task,
    TensorSource,
    Train,
    Trainer,
    Uncertainty,
    augment,
    evolve,
    fit,
    hard,
    minimal,
    random_chains,
    single,
)
from moduli.evolution.mutation import complexity, from_json
from moduli.sharing.route import chain
from moduli.training.weights import load_weights, save_weights
from moduli.types import Phase

TRAIN = {"phase": 4, "batch_size": 6, "lr": 0.02, "patience": None, "device": "cpu"}


def image_tasks(number: int = 2, size: int = 8) -> list[Task]:
    generator = torch.Generator().manual_seed(0)
    tasks = []
    for t in range(number):
        sources = []
        for n in (16, 12, 12):
            x = torch.rand(n, 1, size, size, generator=generator)
            sources.append(TensorSource(x, {f"i{t}": (x.mean((1, 2, 3)) > 0.5).long()}))
        tasks.append(Task(f"i{t}", Multiclass(2), Data(f"i{t}", (1, size, size), *sources)))
    return tasks


def image_model(tasks, start=hard, filters: int = 4, layers: int = 2, dropout: float = 0.0) -> JointModel:
    torch.manual_seed(0)
    structure = start([t.name for t in tasks], lambda k: Conv(filters), layers, dropout, pooling=True)
    left = tasks[0].data.shape[1] >> layers
    encoder = PadChannels(filters) if start is minimal else nn.Identity()
    decoders = LinearBank({t.name: (filters * left**2, 2) for t in tasks})
    return JointModel(tasks, structure, {t.data.name: encoder for t in tasks}, decoders)


def inputs_for(tasks, samples: int = 5):
    return {task.data.name: torch.rand(samples, *task.data.shape) for task in tasks}


def spread(model) -> None:
    """Weights and scales as after some training: no candidate like another."""
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn_like(p))


# ------------------------------------------------------------------ special cases


def scores(result):
    return [r for r in result.history if r["split"] in ("train", "val")]


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_without_challengers_it_is_hard_sharing(dropout):
    tasks = [*tiny_tasks(), *sharing_tasks(missing=0.2)]
    plain = fit(tiny_model(tasks, dropout=dropout), tasks, steps=12, **TRAIN)
    model = evolve(tiny_model(tasks, dropout=dropout), challengers=0)
    evolved = fit(model, tasks, steps=12, **TRAIN)
    assert scores(evolved) == scores(plain)
    assert evolved.test == plain.test
    assert evolved.model.count_parameters() == plain.model.count_parameters()


def test_at_the_start_challengers_predict_almost_as_their_champions():
    tasks = tiny_tasks()
    far, near = (evolve(tiny_model(tasks, "soft"), challengers=3, alpha=a) for a in (0.3, 1e-9))
    inputs = inputs_for(tasks)
    for model, close in ((near, True), (far, False)):
        every = model.every(inputs)
        for task in model.input_of:
            champion, *others = model.routes.active(task)
            assert len(others) == 3
            same = [torch.allclose(every[name], every[champion], atol=1e-6) for name in others]
            assert all(same) if close else not any(same)


def test_a_task_learns_from_the_mean_loss_of_its_candidates():
    tasks = tiny_tasks()
    model = evolve(tiny_model(tasks), challengers=2).train()
    spread(model)
    outputs, every = model(inputs := inputs_for(tasks)), model.every(inputs)
    for task in model.input_of:
        assert outputs[task].shape == (3, *every[task].shape[1:])
        for row, name in zip(outputs[task], model.routes.active(task), strict=True):
            torch.testing.assert_close(row, every[name][0])


# ------------------------------------------------------------------ selection


def choose(model, errors):
    """The candidates for a task have these errors; their losses are of no matter."""
    for task, some in errors.items():
        names = model.routes.active(task)
        model.choose({name: [(error, 0.0)] for name, error in zip(names, some, strict=True)})


@pytest.mark.parametrize(
    ("errors", "best"), [([0.5, 0.4], 1), ([0.5, 0.5], 0), ([0.5, 0.6], 0), ([float("inf")] * 2, 0)]
)
def test_a_challenger_has_to_be_strictly_better(errors, best):
    tasks = tiny_tasks()
    model = evolve(tiny_model(tasks))
    choose(model, {"a": errors})
    assert model.routes.chosen["a"] == ("a", "a#1")[best]
    assert model.routes.chosen["b"] == "b"


def test_of_several_challengers_the_best_wins():
    model = evolve(tiny_model(tiny_tasks()), challengers=3)
    choose(model, {"b": [0.5, 0.4, 0.1, 0.1]})
    assert model.routes.chosen["b"] == "b#2"


def trained(model, tasks, **options) -> Trainer:
    trainer = Trainer(model, tasks, Train(steps=4, phase=100, batch_size=6, lr=0.02), device="cpu", **options)
    trainer.model.train()
    for _ in range(4):
        trainer.one_step()
    return trainer


def end_phase(trainer) -> None:
    trainer.model.evolution.after_phase(Phase(trainer.model, None, trainer.parts.optimizer, 1, 4))


@pytest.mark.parametrize("pta", [False, True])
def test_the_winner_becomes_champion_with_all_that_it_learned(pta):
    tasks = tiny_tasks()
    model = tiny_model(tasks)
    model = evolve(augment(model, "D", decoders=3) if pta else model)
    trainer = trained(model, tasks)
    spread(model)
    route, before = model.routes.routes["a#1"], model.eval().every(inputs := inputs_for(tasks))
    choose(model, {"a": [0.5, 0.4], "b": [0.4, 0.5]})
    torch.testing.assert_close(model(inputs)["a"], before["a#1"][0])
    end_phase(trainer)
    after = model.every(inputs)
    torch.testing.assert_close(after["a"], before["a#1"])
    torch.testing.assert_close(after["b"], before["b"])
    assert model.routes.routes["a"] == route
    assert model.routes.chosen["a"] == "a"
    assert model.routes.mutations.keys() == {"a#1", "b#1", "c#1"}


# ------------------------------------------------------------------ the optimizer


def knowledge(trainer, parts):
    return [trainer.parts.optimizer.state[p.tensor]["exp_avg_sq"][p.index].clone() for p in parts]


def test_the_optimizer_keeps_what_it_knows_of_the_rest():
    tasks = tiny_tasks()
    model = evolve(tiny_model(tasks, "soft"))
    trainer = trained(model, tasks)
    optimizer, shared = trainer.parts.optimizer, model.shared_parameters()
    choose(model, {"a": [0.5, 0.4], "b": [0.4, 0.5]})
    state = {p: copy.deepcopy(optimizer.state[p]) for p in shared}
    ends = {name: knowledge(trainer, model.ends_of(name)) for name in ("a#1", "b")}
    scales, where = model.routes.scales, model.routes.scales_of
    squares = optimizer.state[scales]["exp_avg_sq"].clone()
    of = {name: squares[where(name)] for name in ("a#1", "b")}
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    end_phase(trainer)
    for p, before in state.items():
        torch.testing.assert_close(optimizer.state[p], before, rtol=0, atol=0)
    for name, source in [("a", "a#1"), ("a#1", "a#1"), ("b", "b"), ("b#1", "b")]:
        for now, before in zip(knowledge(trainer, model.ends_of(name)), ends[source], strict=True):
            torch.testing.assert_close(now, before, rtol=0, atol=0)
    now = optimizer.state[scales]["exp_avg_sq"]
    torch.testing.assert_close(now[where("a")], of["a#1"], rtol=0, atol=0)
    torch.testing.assert_close(now[where("b")], of["b"], rtol=0, atol=0)
    fresh = [p for group in optimizer.param_groups for p in group["params"]]
    assert all(p is q for p, q in zip(fresh, parameters, strict=True)), "no parameter comes or goes"


def test_of_new_scales_the_optimizer_knows_the_mean():
    tasks = tiny_tasks()
    model = evolve(tiny_model(tasks, "soft"))
    trainer = trained(model, tasks)
    state = trainer.parts.optimizer.state[model.routes.scales]
    before = {key: state[key].clone() for key in ("exp_avg", "exp_avg_sq")}
    end_phase(trainer)
    heir = model.routes.scales_of("a#1")
    mean = before["exp_avg_sq"].mean()
    assert (state["exp_avg_sq"][heir] == mean).sum() in (1, 2)
    assert before["exp_avg"].mean().abs() < 1e-6, "gradients of the scales of a merge add up to zero"


# ------------------------------------------------------------------ runs


def test_the_accepted_mutations_lead_from_the_first_routes_to_the_last():
    tasks = tiny_tasks()
    result = fit(evolve(tiny_model(tasks), removal=0.2), tasks, steps=120, select="last", **TRAIN)
    for task in result.model.input_of:
        route = chain(range(2))
        records = [r for r in result.history if r["split"] == "evolution" and r["task"] == task]
        assert len(records) == 30
        for record in records:
            assert (record["accepted"] is None) == (record["chosen"] == 0)
            if record["accepted"] is not None:
                assert record["errors"][record["chosen"]] < record["errors"][0]
                route, _ = from_json(record["accepted"]).apply(route)
        assert records[-1]["nodes"][records[-1]["chosen"]] == complexity(route)
        assert result.model.exported().structure.routes[task] == route
    (*_, last) = (r["uses"] for r in result.history if r["split"] == "modules")
    assert sum(last) == sum(complexities(result.model).values())
    assert any(r["accepted"] for r in result.history if r["split"] == "evolution")


def complexities(model) -> dict[str, int]:
    return {task: complexity(route) for task, route in model.exported().structure.routes.items()}


def test_the_model_of_the_best_phase_comes_back_routes_included():
    tasks = tiny_tasks()
    result = fit(evolve(tiny_model(tasks)), tasks, steps=60, **TRAIN)
    evolution = [r for r in result.history if r["split"] == "evolution"]
    of_best = [r for r in evolution if r["step"] == result.best_step]
    assert {r["step"] for r in evolution} == set(range(4, 61, 4))
    assert complexities(result.model) == {r["task"]: r["nodes"][r["chosen"]] for r in of_best}
    assert {t: result.val.fitness(t) for t in ("a", "b", "c")} == pytest.approx(
        {r["task"]: -min(r["errors"]) for r in of_best}
    )


class StopError(Exception):
    pass


def stopped_at(step: int):
    class Scripted(RandomTasks):
        def choose(self, tasks, now):
            if now == step:
                raise StopError
            return tasks

    return Scripted


@pytest.mark.parametrize("at", [3, 4, 9, 15])
@pytest.mark.parametrize("kind", ["tables", "images", "pta"])
def test_a_run_stopped_in_mid_evolution_ends_with_the_same_bits(kind, at, tmp_path):
    tasks = image_tasks() if kind == "images" else [*tiny_tasks(), *sharing_tasks()]

    def make():
        if kind == "images":
            return evolve(image_model(tasks, dropout=0.2), challengers=2, removal=0.3)
        model = evolve(tiny_model(tasks, dropout=0.2), challengers=2, removal=0.3)
        return augment(model, "HGD", decoders=2) if kind == "pta" else model

    options = {"steps": 18, **TRAIN}
    whole = fit(make(), tasks, folder=tmp_path / "whole", **options)
    with pytest.raises(StopError):
        fit(make(), tasks, schedule=stopped_at(at)(1), folder=tmp_path / "again", **options)
    torch.manual_seed(99)  # a model that begins with other mutations
    again = fit(make(), tasks, folder=tmp_path / "again", **options)
    assert again.history == whole.history
    assert again.test == whole.test
    for (name, x), y in zip(whole.model.state_dict().items(), again.model.state_dict().values(), strict=True):
        assert torch.equal(x, y), name


def test_what_is_exported_is_plain_and_predicts_the_same():
    for tasks, model in [
        (tiny_tasks(), evolve(tiny_model(tiny_tasks(), "soft"))),
        (sharing_tasks(), evolve(augment(tiny_model(sharing_tasks()), "HGD", decoders=3))),
        (image_tasks(), evolve(image_model(image_tasks()))),
    ]:
        result = fit(model, tasks, steps=20, **TRAIN)
        plain, inputs = result.model.exported(), inputs_for(tasks)
        assert type(plain) is JointModel
        assert result.model.count_parameters() == plain.count_parameters()
        for task, y in plain(inputs).items():
            torch.testing.assert_close(result.model(inputs)[task], y)


def test_weights_on_disk_bring_their_routes(tmp_path):
    tasks = tiny_tasks()
    result = fit(evolve(tiny_model(tasks)), tasks, steps=40, **TRAIN)
    save_weights(tmp_path / "w.safetensors", result.model)
    other = evolve(tiny_model(tasks, seed=5)).eval()
    load_weights(tmp_path / "w.safetensors", other)
    inputs = inputs_for(tasks)
    for task, y in result.model(inputs).items():
        torch.testing.assert_close(other(inputs)[task], y, rtol=0, atol=0)


def test_nothing_evolves_beyond_the_bound():
    tasks = tiny_tasks()
    result = fit(evolve(tiny_model(tasks), max_nodes=3), tasks, steps=80, **TRAIN)
    assert max(n for r in result.history if r["split"] == "evolution" for n in r["nodes"]) == 3
    assert max(complexities(result.model).values()) == 3


class Users(nn.Module):
    """A user's module with batch statistics, which mixes the samples of a batch."""

    def __init__(self, width: int):
        super().__init__()
        self.layer, self.norm = nn.Linear(width, width), nn.BatchNorm1d(width)

    def forward(self, x):
        return torch.tanh(self.norm(self.layer(x)))


def users_model(tasks) -> JointModel:
    structure = hard([t.name for t in tasks], lambda k: Users(6), 2)
    encoders = {t.data.name: nn.Sequential(nn.Linear(t.data.shape[0], 6), nn.BatchNorm1d(6)) for t in tasks}
    decoders = {
        t.name: nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, t.kind.outputs)) for t in tasks
    }
    return JointModel(tasks, structure, encoders, decoders)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"combine": Uncertainty},
        {"combine": lambda tasks: Aggregated(UPGrad())},
        {"schedule": lambda tasks: RandomTasks(1)},
    ],
    ids=["plain", "uncertainty", "upgrad", "one task at a time"],
)
@pytest.mark.parametrize("kind", ["dense", "images", "users", "minimal", "random", "minimal images"])
def test_evolves_with_any_pool_balancing_and_schedule(kind, options):
    tasks = image_tasks() if "images" in kind else tiny_tasks()
    names = [t.name for t in tasks]
    model = {
        "dense": lambda: tiny_model(tasks),
        "images": lambda: image_model(tasks),
        "users": lambda: users_model(tasks),
        "minimal": lambda: tiny_with(tasks, minimal(names, lambda k: Dense(6), 3)),
        "random": lambda: tiny_with(tasks, random_chains(names, lambda k: Dense(6), 3, seed=1)),
        "minimal images": lambda: image_model(tasks, minimal),
    }[kind]()
    parts = {key: make(tasks) for key, make in options.items()}
    result = fit(evolve(model, removal=0.2), tasks, steps=24, **parts, **TRAIN)
    assert all(p.isfinite().all() for p in result.model.parameters())
    assert all(loss < float("inf") for loss in result.test.loss.values())


def tiny_with(tasks, structure) -> JointModel:
    model = tiny_model(tasks)
    model.structure = structure
    return model


def test_random_chains_are_drawn_from_their_seed():
    names = [str(t) for t in range(6)]
    one, same, other = (random_chains(names, lambda k: Dense(3), 4, seed=s).routes for s in (0, 0, 1))
    assert one == same
    assert one != other
    assert len(set(one.values())) > 1
    assert all(len(route.nodes) == 4 for route in one.values())


def test_a_shared_encoder_is_not_copied_and_an_own_one_is():
    tasks = sharing_tasks()
    model = evolve(tiny_model(tasks))
    assert model.encoder_of["x#1"] == model.encoder_of["y"] == "panel"
    assert model.encoder_of["own#1"] == "own#1"
    assert model.encoder_of["own"] == "own"
    images = evolve(image_model(image_tasks()))
    assert images.encoder_of["i0#1"] == "i0", "without weights there is nothing to copy"


def test_ends_that_are_modules_of_their_own_are_copied_as_well():
    model = evolve(tiny_model(tiny_tasks()).separate_ends())
    mine, other = ({id(part.tensor) for part in model.ends_of(name)} for name in ("a", "a#1"))
    assert len(mine) == len(other) == 4
    assert not mine & other


def test_parts_belong_to_one_task_each():
    tasks = tiny_tasks()
    model = evolve(tiny_model(tasks, "soft"), challengers=2)
    count = {id(p): torch.zeros(p.shape) for p in model.parameters()}
    for p in model.shared_parameters():
        count[id(p)] += 1
    for task in model.input_of:
        for part in model.own(task):
            if isinstance(part.tensor, nn.Parameter):
                count[id(part.tensor)][part.index] += 1
    names = {id(p): name for name, p in model.named_parameters()}
    for key, number in count.items():
        assert number.max() == 1, names[key]
    assert count[id(model.routes.scales)].min() == 1


def test_a_model_that_evolves_can_be_copied():
    tasks = tiny_tasks()
    model = evolve(tiny_model(tasks))
    twin = copy.deepcopy(model)
    fit(model, tasks, steps=20, **TRAIN)
    assert json.dumps(twin.record())
    assert max(len(r.nodes) for r in twin.routes.routes.values()) <= 4


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda t: evolve(tiny_model(t, "single")), "belong to single tasks"),
        (lambda t: evolve(tiny_model(t), challengers=-1), "challengers is -1"),
        (lambda t: evolve(tiny_model(t), alpha=0.0), "alpha is 0.0"),
        (lambda t: evolve(tiny_model(t), alpha=1.0), "alpha is 1.0"),
        (lambda t: evolve(tiny_model(t), removal=1.5), "removal is 1.5"),
        (lambda t: evolve(tiny_model(t), max_nodes=1), "has 2 nodes at the start"),
        (lambda t: evolve(evolve(tiny_model(t))), "cannot evolve"),
        (lambda t: evolve(JointModel(t, nn.Identity(), *two_ends(t))), "Identity cannot evolve"),
    ],
)
def test_bad_input_gets_one_clear_line(make, words):
    with pytest.raises(InputError, match=words) as caught:
        make(tiny_tasks())
    assert "\n" not in str(caught.value)


def two_ends(tasks):
    model = tiny_model(tasks)
    return model.encoders, model.decoders


def test_names_of_challengers_are_their_own():
    data = tiny_data("a", {"a": Multiclass(3)})
    other = tiny_data("a#1", {"a#1": Multiclass(3)})
    tasks = [Task("a", Multiclass(3), data), Task("a#1", Multiclass(3), other)]
    with pytest.raises(InputError, match="'a#1' would be the name of a challenger"):
        evolve(tiny_model(tasks))


def test_stages_that_cannot_be_copied_are_named():
    tasks = tiny_tasks()
    model = tiny_model(tasks)

    class Odd(nn.Module):
        def own(self, task):
            return []

        def shared_parameters(self):
            return []

    model.decoders = Odd()
    with pytest.raises(InputError, match="decoders of type Odd cannot be copied"):
        evolve(model)


def test_single_is_not_shared_and_says_so():
    tasks = tiny_tasks()
    model = tiny_with(tasks, single([t.name for t in tasks], lambda k: Dense(6), 2))
    with pytest.raises(InputError, match="pool that all tasks share"):
        evolve(model)
