"""CMTR in a run file: the search, the methods beside it, stops, what is predicted, and mistakes."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from moduli.errors import InputError
from moduli.runs import load_predictor, read_run_file, resume, run_file
from moduli.training import Trainer

DATA = Path(os.environ.get("MODULI_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
SMALL = {"population": 4, "sets": 2, "generations": 2, "meta_iterations": 2, "finalists": 1, "layers": 2}
NARROW = {"filters": [2, 6], "width": [4, 8]}


def searching(path, **options):
    """The run file of `clinic` with a tiny search."""
    sharing = {"kind": "cmtr", **SMALL, "ranges": NARROW, **options}
    train = {"steps": 20, "batch_size": 16, "phase": 5}
    content = {**yaml.safe_load(path.read_text()), "sharing": sharing, "train": train, "seeds": 2}
    path.write_text(yaml.safe_dump({**content, "compare": ["hard"]}))
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory, write_clinic):
    """The comparison and the folder of a finished run."""
    folder = tmp_path_factory.mktemp("cmtr")
    return run_file(searching(write_clinic(folder)), folder / "out"), folder / "out"


def test_what_was_found_is_trained_with_every_seed(whole):
    result, folder = whole
    assert not result.failures
    search = json.loads((folder / "searches" / "cmtr" / "search.json").read_text())
    assert len(search["evaluations"]) == 4
    assert "test" not in search, "the test split is for the comparison"
    best = search["best"]["set"]
    for outcome in result.outcomes:
        assert outcome.steps == 20
    pool = result.best_models["cmtr"].structure.modules_pool
    assert [m.genome.id for m in pool] == [genome["id"] for genome in best["modules"]]
    assert {m.filters for m in pool} == {best["settings"]["width"]}
    assert "modules-1" in {path.stem for path in (folder / "plots").glob("*.png")}


def test_it_learns_at_the_rate_that_was_found(whole, monkeypatch):
    result, folder = whole
    settings = json.loads((folder / "searches" / "cmtr" / "search.json").read_text())["best"]["set"][
        "settings"
    ]
    rates = {}
    begin = Trainer.__init__

    def noted(self, *args, **kwargs):
        begin(self, *args, **kwargs)
        rates[self.title.split(",")[0]] = self.train.lr, self.train.weight_decay

    monkeypatch.setattr(Trainer, "__init__", noted)
    path = folder.parent / "again.yaml"
    options = {"kind": "cmtr", "layers": 2, "modules": str(folder / "searches" / "cmtr" / "search.json")}
    content = yaml.safe_load((folder.parent / "clinic.yaml").read_text())
    path.write_text(yaml.safe_dump({**content, "sharing": options}))
    again = run_file(path, folder.parent / "again")
    assert rates["cmtr"] == (settings["lr"], settings["weight_decay"])
    assert rates["hard"] == (0.001, 0.0)
    assert not (folder.parent / "again" / "searches").exists(), "nothing is searched again"
    for one, two in zip(result.outcomes, again.outcomes, strict=True):
        assert repr(one.test) == repr(two.test)  # NaN included


def test_predicts_what_the_best_model_says(whole):
    result, folder = whole
    model = result.best_models["cmtr"]
    tasks = {task.name: task for task in read_run_file(folder / "config.yaml").load_tasks()}
    inputs = tasks["heart"].data.test.inputs
    with torch.no_grad():
        expected = tasks["heart"].kind.predict(model({tasks["heart"].data.name: inputs}, ["heart"])["heart"])
    said = load_predictor(folder, "cmtr").predict("heart", inputs)
    assert said.iloc[:, -1].to_numpy() == pytest.approx(expected.numpy(), abs=1e-5)
    heart = pd.read_csv(folder.parent / "heart.csv")
    assert len(load_predictor(folder).predict("heart", heart)) == len(heart)


@pytest.mark.parametrize("at", ["search", "comparison"])
def test_a_stopped_run_goes_on_to_the_same_numbers(whole, clinic, monkeypatch, at):
    result, _ = whole
    step = Trainer.one_step
    title = "training 1-0" if at == "search" else "cmtr, seed 1"

    def stops(self):
        if self.title.startswith(title) and self.step == 7:
            raise KeyboardInterrupt
        step(self)

    path = searching(clinic)
    monkeypatch.setattr(Trainer, "one_step", stops)
    with pytest.raises(KeyboardInterrupt, match="moduli resume"):
        run_file(path, path.parent / "out")
    monkeypatch.undo()
    resumed = resume(path.parent / "out")
    for one, two in zip(result.outcomes, resumed.outcomes, strict=True):
        assert repr(one.test) == repr(two.test)  # NaN included


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"width": 8}, "sharing.width: unknown key"),
        ({"sets": 0}, "sharing.sets"),
        ({"ranges": {"filter": [2, 4]}}, "sharing.ranges: unknown range 'filter'"),
        ({"ranges": {"filters": [4, 2]}}, "sharing.ranges: filters is"),
        ({"population": 3}, "3 genomes for 2 species"),
        ({"modules": "nowhere/search.json"}, "sharing.modules: there is no file nowhere/search.json"),
        ({"workers": 0}, "sharing.workers"),
    ],
)
def test_bad_input_gets_one_clear_line_before_anything_is_trained(clinic, options, words):
    path = searching(clinic, **options)
    with pytest.raises(InputError, match=words) as caught:
        run_file(path, path.parent / "out")
    assert "\n" not in str(caught.value)
    assert not (path.parent / "out").exists()


def test_texts_have_no_modules_to_search_for(clinic, monkeypatch):
    from moduli.runs.config import Run
    from moduli.tasks.arrays import from_arrays

    texts = from_arrays("review", torch.randint(0, 9, (40, 5)), torch.arange(40) % 2, tokens=9)
    monkeypatch.setattr(Run, "load_tasks", lambda self: texts)
    path = searching(clinic)
    with pytest.raises(InputError, match="all tables, or all images"):
        run_file(path, path.parent / "out")


@pytest.mark.data
@pytest.mark.parametrize("kind", ["ctr", "cmtr"])
def test_runs_on_omniglot(kind, tmp_path, monkeypatch):
    if not (DATA / "omniglot_105.npz").exists():
        pytest.skip("no Omniglot under MODULI_DATA")
    monkeypatch.setenv("MODULI_DATA", str(DATA))
    options = {"width": 4, "layers": 3} if kind == "ctr" else {**SMALL, "ranges": NARROW, "workers": 2}
    content = {
        "tasks": [{"data": "omniglot", "alphabets": 2, "size": 12, "seed": 3}],
        "sharing": {"kind": kind, **options},
        "compare": [],
        "train": {"steps": 6, "phase": 2, "batch_size": 2},
        "seeds": 1,
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(content))
    result = run_file(tmp_path / "run.yaml", tmp_path / "out")
    assert not result.failures
    predictor = load_predictor(tmp_path / "out")
    task = predictor.tasks[0]
    assert len(predictor.predict(task, torch.rand(3, 1, 12, 12))) == 3
