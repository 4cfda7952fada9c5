"""Figures of pseudo-tasks, from made-up records of which the right picture is known."""

import json

import numpy as np
import pytest

from moduli.evaluation.summary import write_summary
from moduli.report import write_report
from moduli.report.decoders import MOST_POINTS, WINDOW, dropout_schedules, trajectories_figure
from moduli.report.records import read_records

PHASES, D = 12, 3


@pytest.fixture(scope="module")
def summary(make):
    return make(["a", "b"], ["single", "HGD", "F"], [0, 1], steps=2).summary()


def line(method, step, task, **more):
    return {"method": method, "seed": 0, "step": step, "split": "decoders", "task": task, "chosen": 1, **more}


def records(tmp_path, lines):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    return read_records(path)


def walk(phases=PHASES, decoders=D, frozen=0):
    """Weights `[phases, D, 20]` of decoders that wander, the last ones frozen."""
    random = np.random.default_rng(0)
    steps = random.normal(size=(phases, decoders, 20)) * 0.1
    steps[0] = random.normal(size=(decoders, 20))
    steps[1:, decoders - frozen :] = 0
    return steps.cumsum(0)


def trained(method, weights):
    return [line(method, 10 * (p + 1), "a", weights=w.tolist()) for p, w in enumerate(weights)]


def scheduled(method, rates, task="a", seed=0):
    return [line(method, 10 * (p + 1), task, rates=r, seed=seed) for p, r in enumerate(rates)]


# ------------------------------------------------------------------ records


def test_records_of_decoders_are_no_learning_curves(tmp_path):
    lines = [
        line("HGD", 20, "b", rates=[0.5]),
        line("HGD", 20, "a", rates=[0.5]),
        line("HGD", 10, "a", rates=[0.2]),
        line("HGD", 10, "a", rates=[0.3]),  # written again after a resumed run
        {"method": "HGD", "seed": 0, "step": 10, "split": "val", "task": "a", "loss": 1.0},
    ]
    found = records(tmp_path, lines)
    assert found.curves["split"].tolist() == ["val"]
    assert "rates" not in found.curves
    assert [(r["step"], r["task"], r["rates"]) for r in found.decoders] == [
        (10, "a", [0.3]),
        (20, "b", [0.5]),
        (20, "a", [0.5]),
    ]


# ------------------------------------------------------------------ trajectories


def test_every_method_has_a_panel_with_all_its_decoders(summary, tmp_path):
    found = records(tmp_path, trained("HGD", walk()) + trained("F", walk(frozen=2)))
    figure = trajectories_figure(summary, found)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["HGD", "F"]
    for axes in figure.axes:
        assert axes.get_title(loc="right") == "a, seed 0"
        assert [len(dots.get_offsets()) for dots in axes.collections] == [PHASES] * D
        for dots in axes.collections:
            opacity = dots.get_facecolors()[:, 3]
            assert (np.diff(opacity) > 0).all()
            assert opacity[-1] == 1


def test_a_frozen_decoder_is_one_point_and_the_trained_one_is_many(summary, tmp_path):
    axes = trajectories_figure(summary, records(tmp_path, trained("F", walk(frozen=2)))).axes[0]
    distinct = [len(np.unique(dots.get_offsets().data, axis=0)) for dots in axes.collections]
    assert distinct == [PHASES, 1, 1]


def test_the_ring_is_around_the_last_point_of_the_chosen_decoder(summary, tmp_path):
    axes = trajectories_figure(summary, records(tmp_path, trained("HGD", walk()))).axes[0]
    (ring,) = axes.get_lines()
    assert ring.get_xydata()[0] == pytest.approx(axes.collections[1].get_offsets()[-1])


def test_decoders_that_stay_near_each_other_are_drawn_near_each_other(summary, tmp_path):
    path = walk(40, 1)
    near = path + 1e-3 * np.random.default_rng(1).normal(size=(40, 3, 20))
    axes = trajectories_figure(summary, records(tmp_path, trained("HGD", near))).axes[0]
    points = np.stack([dots.get_offsets() for dots in axes.collections])  # [D, phases, 2]
    apart = np.linalg.norm(points - points.mean(0), axis=-1).mean()
    assert apart < 0.1 * np.linalg.norm(points.mean(0) - points.mean((0, 1)), axis=-1).mean()


def test_many_phases_are_thinned_out_but_the_first_and_the_last_stay(summary, tmp_path):
    lines = trained("HGD", walk(200, 4))
    axes = trajectories_figure(summary, records(tmp_path, lines)).axes[0]
    assert sum(len(dots.get_offsets()) for dots in axes.collections) == MOST_POINTS


def test_the_same_records_give_the_same_figure(summary, tmp_path):
    found = records(tmp_path, trained("HGD", walk()))
    once, twice = (trajectories_figure(summary, found).axes[0].collections[0].get_offsets() for _ in "12")
    assert (once == twice).all()


@pytest.mark.parametrize(
    "lines",
    [
        [],
        trained("HGD", walk(2)),
        trained("HGD", walk(20, 1)),
        trained("HGD", np.full((9, 3, 2), np.nan)),
        [line("HGD", 1, "a", weights=[[1.0], [2.0, 3.0]]), line("HGD", 2, "a", weights="x")],
        [line("HGD", step, "a") for step in range(20)],
        trained("another method", walk()),
    ],
    ids=["none", "too few", "one decoder", "not finite", "broken", "not logged", "not in the summary"],
)
def test_nothing_is_drawn_where_nothing_can_be_seen(summary, tmp_path, lines):
    assert trajectories_figure(summary, records(tmp_path, lines)) is None


# ------------------------------------------------------------------ dropout rates


def test_schedules_are_means_over_decoders_and_over_tasks(summary, tmp_path):
    lines = scheduled("HGD", [[0.5, 0.5], [0.4, 0.6], [0.2, 0.4]])
    lines += scheduled("HGD", [[0.5, 0.5], [0.7, 0.7], [0.7, 0.8]], "b")
    lines += scheduled("HGD", [[0.8, 0.8], [0.1, 0.1]], seed=1)
    (axes,) = dropout_schedules(summary, records(tmp_path, lines)).axes
    a, b, mean = (curve.get_ydata() for curve in axes.get_lines())
    assert a == pytest.approx([0.5, 0.5, 0.3])
    assert b == pytest.approx([0.5, 0.7, 0.75])
    assert mean == pytest.approx([0.5, 0.6, 0.525])
    assert axes.get_lines()[0].get_xdata().tolist() == [10, 20, 30]
    assert axes.get_lines()[-1].get_linewidth() > axes.get_lines()[0].get_linewidth()


def test_many_phases_are_smoothed_by_a_moving_average_and_the_note_says_so(summary, tmp_path):
    rates = np.random.default_rng(0).uniform(0.2, 0.8, size=(2 * WINDOW, 2))
    figure = dropout_schedules(summary, records(tmp_path, scheduled("HGD", rates.tolist())))
    curve = figure.axes[0].get_lines()[0]
    assert curve.get_ydata() == pytest.approx(
        np.convolve(rates.mean(1), np.full(WINDOW, 1 / WINDOW), "valid")
    )
    assert curve.get_xdata()[0] == 10 * WINDOW
    assert f"moving averages over {WINDOW} phases" in figure.texts[0].get_text()
    short = dropout_schedules(summary, records(tmp_path, scheduled("HGD", rates[:-1].tolist())))
    assert "moving" not in short.texts[0].get_text()
    assert len(short.axes[0].get_lines()[0].get_xdata()) == 2 * WINDOW - 1


def test_rates_that_never_change_are_not_drawn(summary, tmp_path):
    lines = scheduled("HGD", [[0.5, 0.5]] * 30) + trained("F", walk())
    assert dropout_schedules(summary, records(tmp_path, lines)) is None


# ------------------------------------------------------------------ the page


def test_the_report_shows_both_and_a_run_without_pseudo_tasks_neither(make, tmp_path):
    made = make(["a"], ["single", "HGD"], [0], steps=2)
    for name, lines in (("plain", []), ("pta", trained("HGD", walk()) + scheduled("HGD", [[0.5], [0.2]]))):
        folder = tmp_path / name
        folder.mkdir()
        write_summary(folder / "summary.json", made.summary())
        (folder / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
        page = write_report(folder).read_text()
        shown = [f'id="figure-{figure}"' in page for figure in ("trajectories", "dropout-schedules")]
        assert shown == [name == "pta"] * 2
        assert ("#decoders" in page) == (name == "pta")
        assert (folder / "plots" / "trajectories.png").exists() == (name == "pta")
