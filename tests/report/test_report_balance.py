"""Figures of balancing, from made-up records of which the right picture is known."""

from itertools import combinations

import numpy as np
import pytest
from made_up import read_lines as read

from moduli.evaluation.summary import write_summary
from moduli.report import write_report
from moduli.report.balance import conflict_figure, weights_figure
from moduli.report.over_time import MOST_COLUMNS, apart, evenly, task_style

TASKS = ["a", "b", "c"]


@pytest.fixture(scope="module")
def summary(make):
    return make(TASKS, ["single", "M"], [0, 1], steps=2).summary()


def told(what, values, method="M", seed=0, split="balance"):
    """One record for each of some `{task: value}`, 10 steps apart."""
    head = {"method": method, "seed": seed, "split": split}
    return [{**head, "step": 10 * (p + 1), what: value} for p, value in enumerate(values)]


def weights(*rows, **options):
    return told("weights", [dict(zip(TASKS, row, strict=False)) for row in rows], **options)


def cosines(ab, ac, bc):
    return {"a": {"b": ab, "c": ac}, "b": {"a": ab, "c": bc}, "c": {"a": ac, "b": bc}}


def lines_of(axes):
    """The curves, without the strokes that lead to the names."""
    return [line for line in axes.get_lines() if line.get_clip_on()]


# ------------------------------------------------------------------ records


def test_records_of_one_step_with_different_content_are_all_kept(tmp_path):
    lines = [*weights([1, 2, 3]), *weights([4, 5, 6]), *told("cosine", [cosines(1, 1, 1)])]
    lines += told("shares", [{"a": 1.0}], split="schedule")
    found = read(tmp_path, lines)
    assert [record["weights"]["a"] for record in found.balance if "weights" in record] == [4]  # written again
    assert len(found.balance) == 2
    assert [record["shares"] for record in found.schedule] == [{"a": 1.0}]
    assert found.curves.empty


# ------------------------------------------------------------------ weights


def test_weights_have_a_line_for_each_task_with_its_name(summary, tmp_path):
    lines = weights([1, 1, 1], [2, 0.5, 0.5], [1.5, 0.5, 1]) + weights([9, 9, 8], seed=1)
    figure = weights_figure(summary, read(tmp_path, lines), "M")
    (axes,) = figure.axes
    assert [line.get_ydata().tolist() for line in lines_of(axes)] == [[1, 2, 1.5], [1, 0.5, 0.5], [1, 0.5, 1]]
    assert lines_of(axes)[0].get_xdata().tolist() == [10, 20, 30]
    names = {text.get_text(): text.get_position()[1] for text in axes.texts}
    assert names["a"] > names["c"] > names["b"]
    assert axes.get_yscale() == "linear"
    assert "M, seed 0" in figure.texts[0].get_text()


def test_weights_that_span_decades_get_a_logarithmic_axis_unless_one_is_zero(summary, tmp_path):
    figure = weights_figure(summary, read(tmp_path, weights([1, 1, 1], [1e-3, 1, 10])), "M")
    assert figure.axes[0].get_yscale() == "log"
    assert "logarithmic" in figure.texts[0].get_text()
    figure = weights_figure(summary, read(tmp_path, weights([1, 1, 1], [0, 1, 10])), "M")
    assert figure.axes[0].get_yscale() == "linear"


def test_a_task_without_a_weight_for_a_while_has_no_point_there(summary, tmp_path):
    lines = told("weights", [{"a": 1.0}, {"a": 2.0, "b": 1.0, "c": None}, {"a": 3.0, "b": 2.0}])
    figure = weights_figure(summary, read(tmp_path, lines), "M")
    assert [line.get_xdata().tolist() for line in lines_of(figure.axes[0])] == [[10, 20, 30], [20, 30]]
    assert [text.get_text() for text in figure.axes[0].texts] == ["a", "b"]


@pytest.mark.parametrize("count", [2, 30])
def test_names_do_not_overlap(make, tmp_path, count):
    names = [f"task {i}" for i in range(count)]
    summary = make(names, ["M"], [0], steps=2).summary()
    found = read(tmp_path, told("weights", [dict.fromkeys(names, 1.0), dict.fromkeys(names, 2.0)]))
    figure = weights_figure(summary, found, "M")
    axes = figure.axes[0]
    height = axes.get_position().height * figure.get_size_inches()[1]
    places = np.sort([text.get_position()[1] for text in axes.texts]) * height
    assert len(places) == count
    assert (np.diff(places) > 0.13).all()
    assert places[0] > -0.01
    assert places[-1] < height + 0.01


def test_lines_of_one_colour_differ_in_style():
    styles = [task_style(row) for row in range(30)]
    assert all(one != other for one, other in combinations(styles, 2))


def test_many_phases_are_averaged(summary, tmp_path):
    rows = np.random.default_rng(0).uniform(1, 2, size=(5 * MOST_COLUMNS, 3))
    figure = weights_figure(summary, read(tmp_path, weights(*rows.tolist())), "M")
    curve = lines_of(figure.axes[0])[1]
    assert curve.get_ydata() == pytest.approx(rows[:, 1].reshape(MOST_COLUMNS, 5).mean(1))
    assert curve.get_xdata()[0] == pytest.approx(25)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        weights([1, 1, 1], [1, 1, 1]),
        weights([1, 2, 3], method="another"),
        told("weights", [{"z": 1.0}, {"z": 2.0}]),
        told("weights", [{"a": None}, {"a": float("nan")}]),
        told("weights", [{"a": "x"}, {"a": [1.0, 2.0]}]),
        told("weights", [None, [1.0]]),
    ],
    ids=["none", "equal", "not in the summary", "unknown tasks", "no numbers", "broken", "no dicts"],
)
def test_nothing_is_drawn_where_nothing_can_be_seen(summary, tmp_path, lines):
    assert weights_figure(summary, read(tmp_path, lines), "M") is None


# ------------------------------------------------------------------ conflict


def test_conflict_is_the_mean_cosine_over_phases_and_seeds(summary, tmp_path):
    lines = told("cosine", [cosines(0.5, -0.5, 0.1), cosines(0.3, -0.1, 0.1)])
    lines += told("cosine", [cosines(0.1, 0.0, -0.5)], seed=1)
    figure = conflict_figure(summary, read(tmp_path, lines), "M")
    shown = figure.axes[0].collections[0].get_array()
    order = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    cells = {
        (a, b): shown[i, j] for i, a in enumerate(order) for j, b in enumerate(order) if not shown.mask[i, j]
    }
    expected = {("a", "b"): 0.3, ("a", "c"): -0.2, ("b", "c"): -0.1}
    assert cells == pytest.approx({**expected, **{(b, a): c for (a, b), c in expected.items()}})
    note = figure.texts[0].get_text()
    assert "mean over 2 seeds" in note
    assert note.endswith("33%")  # 3 of 9
    over_time = figure.axes[-1].get_lines()[0]
    assert over_time.get_xdata().tolist() == [10, 20]
    assert over_time.get_ydata() == pytest.approx([2 / 6, 1 / 3])


def test_half_a_matrix_is_enough_and_unknown_pairs_stay_empty(summary, tmp_path):
    lines = told("cosine", [{"a": {"a": 1.0, "b": -0.5}, "b": {}, "c": {"b": None}}])
    figure = conflict_figure(summary, read(tmp_path, lines), "M")
    shown = figure.axes[0].collections[0].get_array()
    assert sorted(shown.compressed()) == [-0.5, -0.5]
    assert figure.texts[0].get_text().endswith("100%")
    assert len(figure.axes) == 2  # heat map and colour bar: one phase has no course


@pytest.mark.parametrize(
    "lines",
    [
        [],
        told("cosine", [{"a": {"b": None}, "b": {}}]),
        told("cosine", [{"a": {}}]),
        told("cosine", [cosines(1, 1, 1)], method="another"),
    ],
    ids=["none", "no numbers", "one task", "not in the summary"],
)
def test_no_conflict_is_drawn_where_none_was_logged(summary, tmp_path, lines):
    assert conflict_figure(summary, read(tmp_path, lines), "M") is None


# ------------------------------------------------------------------ what figures are made of


def test_pieces_of_time_are_means_over_the_steps_in_them():
    steps, values = np.array([100.0, 200.0, 250.0]), np.array([1.0, np.nan, 4.0])
    pieces = evenly(steps, values)
    width = 250 / len(pieces)
    centre = (np.arange(len(pieces)) + 0.5) * width
    assert pieces[centre < 100 - width] == pytest.approx(1.0)
    assert np.isnan(pieces[(centre > 100 + width) & (centre < 200 - width)]).all()
    assert pieces[centre > 200 + width] == pytest.approx(4.0)


@pytest.mark.parametrize("phases", [1, 7, 240, 241, 1000])
def test_pieces_keep_the_mean(phases):
    values = np.random.default_rng(0).normal(size=(phases, 2, 3))
    pieces = evenly(np.arange(1.0, phases + 1), values)
    assert len(pieces) <= MOST_COLUMNS
    assert pieces.mean(0) == pytest.approx(values.mean(0))


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ([0.1, 0.5, 0.9], [0.1, 0.5, 0.9]),
        ([0.5, 0.5, 0.9], [0.45, 0.55, 0.9]),
        ([0.0, 0.0, 0.0], [0.0, 0.1, 0.2]),
        ([1.0, 1.0], [0.9, 1.0]),
    ],
)
def test_names_move_as_little_as_needed(at, expected):
    assert apart(np.array(at), 0.1) == pytest.approx(np.array(expected))


# ------------------------------------------------------------------ the page


def test_the_report_shows_both_and_a_run_without_balancing_neither(make, tmp_path):
    made = make(["a", "b"], ["single", "M"], [0], steps=2)
    cosine = told("cosine", [{"a": {"b": -0.2}, "b": {"a": -0.2}}])
    for name, lines in (("plain", []), ("balanced", weights([1, 2], [2, 1]) + cosine)):
        folder = tmp_path / name
        folder.mkdir()
        write_summary(folder / "summary.json", made.summary())
        read(folder, lines)
        page = write_report(folder).read_text()
        shown = [
            text in page for text in ('id="figure-weights-2"', 'id="figure-conflict-2"', 'href="#balance"')
        ]
        assert shown == [name == "balanced"] * 3
