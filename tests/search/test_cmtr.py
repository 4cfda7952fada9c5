"""CMTR: the search is a function of its settings and seed, wherever and however often it is run."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import shutil
import signal
from functools import partial
from pathlib import Path

import pytest
import torch
from synthetic import tiny_tasks
from torch.optim.lr_scheduler import LambdaLR

from moduli import Data, Multiclass, Task, TensorSource, permuted
from moduli.errors import InputError, Interrupted, RunError
from moduli.evolution.evaluators import InProcess, Processes, Ray, Unwatched
from moduli.evolution.ranges import Ranges
from moduli.search import Budget, InnerLoop, ModuleSearch, Training, default_ends, search_modules

RANGES = Ranges(filters=(2, 4), width=(3, 6), lr=(1e-3, 1e-2), dropout=(0.0, 0.2))
TINY = {
    "population": 4, "species": 2, "sets": 3, "generations": 2, "meta_iterations": 2, "finalists": 2,
    "final_iterations": 3, "layers": 2, "ranges": RANGES, "device": "cpu",
    "phase": 2, "batch_size": 4, "threads": 1,
}  # fmt: skip


def search(tasks=None, **options):
    return search_modules(tasks or tiny_tasks(("a", "b")), **{**TINY, **options})


def plain(found):
    """All that does not depend on who did it, and how fast."""
    trainings = [*found.evaluations, *found.finalists]
    weights = {} if found.fit is None else {k: x.tolist() for k, x in found.fit.model.state_dict().items()}
    return (
        [(e.id, e.modules, e.fitness, e.error, dict(e.found)) for e in trainings],
        list(found.generations),
        found.best,
        weights,
        found.fit and (found.fit.val, found.fit.test, found.fit.history),
    )


@pytest.fixture(scope="module")
def expected():
    """An uninterrupted search in this process."""
    return search()


class Noting:
    """Evaluates in this process, notes what is done, and may stop the search, or fail, at some of it."""

    def __init__(self, stop=None, fail=()):
        self.done, self.stop, self.fail = [], stop, fail

    def open(self, function, shared=None):
        def noted(shared, training):
            if training.folder.name == self.stop:
                raise KeyboardInterrupt
            self.done.append(training.folder.name)
            if training.folder.name in self.fail:
                raise ValueError("no such layer")
            return function(shared, training)

        return InProcess().open(noted, shared)


# ------------------------------------------------------------------ the search


def test_every_set_is_trained_and_the_best_in_full(expected):
    assert [e.id for e in expected.evaluations] == ["0-0", "0-1", "0-2", "1-0", "1-1", "1-2"]
    ranked = sorted(expected.evaluations, key=lambda e: -e.fitness)
    assert [e.id for e in expected.finalists] == [f"final-{e.id}" for e in ranked[:2]]
    assert all(len(e.found["curve"]) == 2 for e in expected.evaluations)
    assert all(len(e.found["curve"]) == 3 and e.found["steps"] == 6 for e in expected.finalists)
    winner = max(expected.finalists, key=lambda e: e.fitness)
    assert expected.best == winner.modules
    assert expected.fit.val.value("b") == winner.found["metrics"]["b"]
    assert not math.isnan(expected.fit.test.value("b"))
    assert not expected.failures


def test_the_fitness_is_the_best_validation_score_of_the_phases(expected):
    assert all(e.fitness == max(e.found["curve"]) for e in (*expected.evaluations, *expected.finalists))


def test_generations_are_told_of(expected):
    for number, record in enumerate(expected.generations):
        fitness = [e.fitness for e in expected.evaluations if e.id.startswith(f"{number}-")]
        assert record["best"] == max(fitness)
        assert record["mean"] == pytest.approx(sum(fitness) / 3)
        assert record["failed"] == 0
        assert sum(record["modules"]) == sum(record["settings"]) == 4


def test_the_set_decides_over_the_model_and_its_training(expected):
    inner = InnerLoop(tiny_tasks(("a", "b")), layers=3)
    model = inner.model(expected.best, seed=1)
    width, modules = expected.best.settings.width, model.routes.modules_pool
    assert [m.genome for m in modules] == [expected.best.modules[k % 2] for k in range(3)]
    assert model.decoders({"b": torch.zeros(1, width)})["b"].shape == (1, 3)
    assert not torch.equal(next(modules[0].parameters()), next(modules[2].parameters()))


def test_the_same_on_two_processes_though_a_worker_dies_in_the_middle_of_a_training(expected, tmp_path):
    marker = tmp_path / "died"
    os.environ["DIES_ONCE"] = str(marker)
    try:
        options = {"lr_schedule": dies_once, "folder": tmp_path / "search"}
        found = search(evaluator=Processes(workers=2), **options)
    finally:
        del os.environ["DIES_ONCE"]
    assert marker.exists()
    assert plain(found) == plain(expected)
    assert {e.worker for e in found.evaluations} == {"worker 1", "worker 2"}


def dies_once(optimizer):
    """A constant learning rate; the first worker that comes to step 3, after a phase of two, is killed."""

    def factor(step):
        marker = Path(os.environ.get("DIES_ONCE", "/"))
        if step == 3 and multiprocessing.parent_process() is not None and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return 1.0

    return LambdaLR(optimizer, factor)


def test_a_ray_run_finishes_with_the_same_result(expected):
    pytest.importorskip("ray", reason="the package ray is not installed")
    assert plain(search(evaluator=Ray(workers=2))) == plain(expected)


@pytest.mark.parametrize("where", ["0-0", "0-2", "1-1", "final-0-0", "any final"])
def test_a_search_that_was_stopped_goes_on_without_repeating_anything(expected, tmp_path, where):
    where = expected.finalists[1].id if "final" in where else where
    first, second, third = Noting(stop=where), Noting(), Noting()
    with pytest.raises(Interrupted, match="what was finished is kept"):
        search(evaluator=first, folder=tmp_path)
    assert plain(search(evaluator=second, folder=tmp_path)) == plain(expected)
    every = [e.id for e in (*expected.evaluations, *expected.finalists)]
    assert first.done + second.done == every
    assert plain(search(evaluator=third, folder=tmp_path)) == plain(expected)
    assert third.done == []


def test_more_generations_and_finalists_go_on_from_those_that_were(expected, tmp_path):
    search(folder=tmp_path, generations=1, finalists=0)
    more = Noting()
    assert plain(search(folder=tmp_path, evaluator=more)) == plain(expected)
    assert more.done == ["1-0", "1-1", "1-2", *(e.id for e in expected.finalists)]


def test_another_seed_is_another_search(expected):
    found = search(seed=1, generations=1, finalists=1)
    assert found.evaluations[0].modules != expected.evaluations[0].modules
    assert found.evaluations[0].fitness != expected.evaluations[0].fitness


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"seed": 1}, "is of a search with seed 0, now it is 1: give another folder"),
        ({"phase": 3}, r"with train.phase 2, now it is 3"),
        (
            {"ranges": Ranges(filters=(2, 5), width=(3, 6))},
            r"with ranges.filters \[2, 4\], now it is ",
        ),
        ({"tasks": tiny_tasks(("a", "c"))}, "is of a search with tasks "),
    ],
)
def test_a_folder_of_another_search_is_refused(tmp_path, options, line):
    search(folder=tmp_path, generations=1, finalists=0)
    with pytest.raises(InputError, match=line):
        search(**{"folder": tmp_path, **options})


# ------------------------------------------------------------------ failures, and when to stop


def test_a_set_that_fails_has_the_worst_fitness_and_its_error_is_kept(expected, tmp_path):
    found = search(evaluator=Noting(fail=["0-1", "1-0"]), folder=tmp_path)
    assert found.failures == {"0-1": "ValueError: no such layer", "1-0": "ValueError: no such layer"}
    assert [e.fitness for e in found.evaluations if e.error] == [-math.inf, -math.inf]
    assert [record["failed"] for record in found.generations] == [1, 1]
    assert found.evaluations[0].fitness == expected.evaluations[0].fitness
    assert not {"final-0-1", "final-1-0"} & {e.id for e in found.finalists}
    again = Noting()
    assert plain(search(evaluator=again, folder=tmp_path)) == plain(found)
    assert again.done == []  # failures are results too


def test_a_loss_that_is_no_number_is_a_failure(expected, monkeypatch):
    monkeypatch.setattr("moduli.training.loop.RunningMean.first_infinite", lambda self: "a")
    with pytest.raises(RunError, match=r"all sets of generation 0 failed, the first with: RunError: .*0-0"):
        search()


def test_no_better_set_ends_the_search(expected):
    bests = [record["best"] for record in search(generations=6, finalists=0).generations]
    first = next(n for n in range(1, 6) if bests[n] <= max(bests[:n]))
    found = search(generations=6, finalists=0, patience=1)
    assert len(found.generations) == first + 1
    assert found.fit is None
    assert found.best == max(found.evaluations, key=lambda e: e.fitness).modules


# ------------------------------------------------------------------ what is read and written


class Read(TensorSource):
    """Counts how often it is read."""

    times = 0

    def batches(self, batch_size, device):
        Read.times += 1
        return super().batches(batch_size, device)


def test_the_test_split_is_read_once_for_the_winner():
    data = tiny_tasks(("b",))[0].data
    spied = Data("b", data.shape, data.train, data.val, Read(data.test.inputs, data.test.targets))
    (task,) = tiny_tasks(("b",))
    tasks = [Task("b", task.kind, spied)]
    Read.times = 0
    search(tasks, finalists=0)
    found = ModuleSearch(InnerLoop(tasks), Budget(4, 2, 2, 1, None, 1, 1, 1), RANGES).run(test=False)
    assert math.isnan(found.fit.test.value("b"))
    assert Read.times == 0
    search(tasks)
    assert Read.times == 1


def test_the_folder_tells_all(expected, tmp_path):
    found = search(folder=tmp_path)
    told = json.loads((tmp_path / "search.json").read_text())
    assert told["generations"] == [dict(record) for record in expected.generations]
    assert [e["fitness"] for e in told["evaluations"]] == [e.fitness for e in expected.evaluations]
    assert told["best"]["set"] == expected.best.to_json()
    assert told["test"]["b"] == found.fit.test.metrics["b"]
    assert [task for task, route in told["routes"].items() if len(route["nodes"]) >= 2] == ["a", "b"]
    kept = sorted(path.parent.name for path in tmp_path.glob("trainings/*/checkpoints"))
    assert kept == [told["best"]["id"]]  # of the others only what was measured
    assert {path.name for path in (tmp_path / "trainings").iterdir()} == {e.id for e in found.finalists}


def test_a_winner_whose_state_is_gone_is_trained_again(expected, tmp_path):
    search(folder=tmp_path)
    shutil.rmtree(tmp_path / "trainings")
    again = Noting()
    assert plain(search(folder=tmp_path, evaluator=again)) == plain(expected)
    assert again.done == []


def test_a_training_without_the_test_split_has_no_scores_of_it(expected, tmp_path):
    inner = InnerLoop(tiny_tasks(("a", "b")), layers=2, train={"phase": 2})
    fit = inner.trainer(Training(expected.best, 0, 1, tmp_path)).run(test=False)
    assert math.isnan(fit.test.value("a"))
    assert not math.isnan(fit.val.value("a"))


def test_functions_are_known_by_their_names_in_every_process():
    told = InnerLoop(tiny_tasks(("a",)), order=partial(permuted, seed=3)).to_json()
    assert (told["order"], told["ends"]) == ("permuted(seed=3)", "default_ends")


def test_progress_is_told_what_runs_where():
    class Told(Unwatched):
        notes: list = []  # noqa: RUF012

        def begin(self, title, jobs, done):
            self.notes.append((title, jobs, done))

    search(progress=Told)
    assert Told.notes == [("generation 0", 3, 0), ("generation 1", 3, 0), ("finalists", 2, 0)]


# ------------------------------------------------------------------ images, and what cannot be


def image_tasks(size=8):
    generator = torch.Generator().manual_seed(0)
    tasks = []
    for name in ("x", "y"):
        parts = [
            TensorSource(
                torch.rand(n, 1, size, size, generator=generator),
                {name: torch.randint(0, 3, (n,), generator=generator)},
            )
            for n in (12, 6, 6)
        ]
        tasks.append(Task(name, Multiclass(3), Data(name, (1, size, size), *parts)))
    return tasks


def test_images_are_pooled_after_every_module():
    found = search(image_tasks(), generations=1, finalists=1)
    assert not found.failures
    levels = {route.level for route in found.fit.model.routes.routes.values()}
    assert levels == {2}


def test_images_that_are_too_small():
    with pytest.raises(InputError, match="are 4×4: too small for 3 poolings, use at most 2 layers"):
        search(image_tasks(4), layers=3)


def test_tables_and_images_together_are_refused():
    with pytest.raises(InputError, match=r"all tables, or all images \(a \(3,\), x \(1, 8, 8\), y"):
        search([*tiny_tasks(("a",)), *image_tasks()])


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"lr": 0.1}, "lr is given for a search of modules: leave it out"),
        ({"steps": 10}, "steps is given"),
        ({"optimizer": torch.optim.SGD}, "optimizer is a function"),
        ({"sets": 0}, "sets is 0: give at least 1"),
        ({"patience": 0}, "patience is 0"),
        ({"finalists": -1}, "finalists is -1: give at least 0"),
        ({"evolution": {"alpha": 2}}, "alpha is 2"),
    ],
)
def test_impossible_options(options, line):
    with pytest.raises(InputError, match=line):
        search(**options)


def test_the_users_own_ends_are_given_the_width_and_the_poolings():
    seen = []

    def ends(tasks, width, levels):
        seen.append((width, levels))
        return default_ends(tasks, width, levels)

    found = search(image_tasks(), ends=ends, generations=1, finalists=0)
    assert (found.best.settings.width, {"x": 2, "y": 2}) in seen
