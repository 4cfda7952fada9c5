"""What the report shows of a search for modules."""

from __future__ import annotations

import json
from random import Random

import pytest

from moduli.evolution.population import GlobalPopulation, ModulePopulation, draw_sets
from moduli.report.pictures import search_pictures
from moduli.report.search import modules_figure, search_figure, searches


@pytest.fixture
def search() -> dict:
    """Two generations of three sets, of which one failed."""
    rng = Random(0)
    sets = draw_sets(ModulePopulation.random(rng, 6), GlobalPopulation.random(rng, 6), 6, rng)
    fitness = [0.2, None, 0.3, 0.5, 0.4, 0.5]
    tried = [
        {"id": f"{n // 3}-{n % 3}", "set": chosen.to_json(), "fitness": f, "error": None if f else "RunError"}
        for n, (chosen, f) in enumerate(zip(sets, fitness, strict=True))
    ]
    return {
        "settings": {"tasks": [["a", "multiclass", "accuracy", [1, 8, 8], 9, 9]]},
        "generations": [
            {"generation": 0, "best": 0.3, "mean": 0.25, "best_so_far": 0.3, "failed": 1},
            {"generation": 1, "best": 0.5, "mean": 0.46, "best_so_far": 0.5, "failed": 0},
        ],
        "evaluations": tried,
        "finalists": [],
        "best": tried[3],
    }


def test_every_set_that_did_not_fail_is_a_dot_and_the_best_so_far_a_line(search):
    figure = search_figure(search)
    (axes,) = figure.axes
    dots, best, mean = (line.get_ydata().tolist() for line in axes.lines)
    assert dots == [0.2, 0.3, 0.5, 0.4, 0.5]
    assert best == [0.3, 0.5]
    assert mean == [0.25, 0.46]
    assert "6 sets of modules in 2 generations, 1 failed" in figure.texts[0].get_text()


def test_the_modules_shown_are_those_of_the_best_set(search):
    text = " ".join(t.get_text() for t in modules_figure(search).texts)
    for genome in search["best"]["set"]["modules"]:
        assert f"genome {genome['id']}" in text


def test_searches_that_did_not_end_are_not_shown(search, tmp_path):
    for name, content in (("done", search), ("going-on", {k: v for k, v in search.items() if k != "best"})):
        (tmp_path / "searches" / name).mkdir(parents=True)
        (tmp_path / "searches" / name / "search.json").write_text(json.dumps(content))
    found = searches(tmp_path)
    assert list(found) == ["done"]
    assert [picture.name for picture in search_pictures(found)] == ["search-1", "modules-1"]
    assert searches(tmp_path / "elsewhere") == {}
