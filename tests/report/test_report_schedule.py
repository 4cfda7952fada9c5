"""Figures of schedules, from made-up records of which the right picture is known."""

import numpy as np
import pytest
from made_up import read_lines as read

from moduli.evaluation.summary import write_summary
from moduli.report import write_report
from moduli.report.schedule import histograms_figure, probabilities_figure, q_figure, shares_figure
from moduli.report.style import MUTED, SHADE

TASKS = ["a", "b", "c"]


@pytest.fixture(scope="module")
def summary(make):
    return make(TASKS, ["single", "M"], [0, 1], steps=2).summary()


def told(what, *rows, method="M", seed=0):
    """One record for each row of values, 10 steps apart."""
    head = {"method": method, "seed": seed, "split": "schedule"}
    named = [dict(zip(TASKS, row, strict=False)) for row in rows]
    return [{**head, "step": 10 * (p + 1), what: values} for p, values in enumerate(named)]


def image_of(axes):
    """Opacity `[rows, columns]` from the top of the picture down."""
    (image,) = axes.get_images()
    shades = np.asarray(image.get_array())[..., 3]
    return shades if axes.yaxis_inverted() else shades[::-1]


# ------------------------------------------------------------------ what was trained


def test_rows_are_tasks_and_shades_are_shares(summary, tmp_path):
    lines = told("shares", [0.8, 0.2, 0.0], [0.0, 0.4, 0.6]) + told("shares", [1, 0, 0], seed=1)
    figure = shares_figure(summary, read(tmp_path, lines), "M")
    (axes,) = figure.axes
    shades = image_of(axes)
    half = shades.shape[1] // 2
    assert shades[:, 0] == pytest.approx([1, 0.25, 0])
    assert shades[:, half - 1] == pytest.approx([1, 0.25, 0])
    assert shades[:, half] == pytest.approx([0, 0.5, 0.75])
    assert [label.get_text() for label in axes.get_yticklabels()] == TASKS
    assert axes.yaxis_inverted()
    texts = [text.get_text() for text in figure.texts]
    assert "0 to 80%" in texts[0]
    assert texts[-3:] == ["40.0%", "30.0%", "30.0%"]


def test_the_share_of_the_run_counts_steps_not_phases(summary, tmp_path):
    lines = told("shares", [1.0, 0.0], [1.0, 0.0], [0.0, 1.0])
    lines[-1]["step"] = 60  # three phases of 10, 10 and 40 steps
    figure = shares_figure(summary, read(tmp_path, lines), "M")
    assert [text.get_text() for text in figure.texts][-2:] == ["33.3%", "66.7%"]


def test_a_task_that_is_not_named_in_a_phase_was_not_trained_in_it(summary, tmp_path):
    lines = told("shares", [1.0, 0.5], [1.0])
    shades = image_of(shares_figure(summary, read(tmp_path, lines), "M").axes[0])
    assert shades[1, [0, -1]] == pytest.approx([0.5, 0.0])


@pytest.mark.parametrize(
    "lines",
    [[], told("shares", [1, 1, 1], [1, 1, 1]), told("shares", [1, 0, 0], method="another")],
    ids=["none", "all tasks", "not in the summary"],
)
def test_a_schedule_of_all_tasks_is_not_drawn(summary, tmp_path, lines):
    assert shares_figure(summary, read(tmp_path, lines), "M") is None


# ------------------------------------------------------------------ probabilities and Q values


def test_probabilities_that_change_and_q_values_are_lines(summary, tmp_path):
    lines = told("probabilities", [0.5, 0.3, 0.2], [0.1, 0.3, 0.6]) + told("q", [-1.0, -2.0, -1.5])
    found = read(tmp_path, lines)
    axes = probabilities_figure(summary, found, "M").axes[0]
    assert axes.get_lines()[0].get_ydata().tolist() == [0.5, 0.1]
    assert axes.get_yscale() == "linear"
    axes = q_figure(summary, found, "M").axes[0]
    assert [text.get_text() for text in axes.texts] == TASKS
    assert axes.get_lines()[1].get_ydata().tolist() == [-2.0]


def test_probabilities_that_never_change_are_not_drawn(summary, tmp_path):
    found = read(tmp_path, told("probabilities", [0.5, 0.3, 0.2], [0.5, 0.3, 0.2]))
    assert probabilities_figure(summary, found, "M") is None
    assert q_figure(summary, found, "M") is None


# ------------------------------------------------------------------ histograms


def histogram(bin_, share=1.0):
    made = [0.0] * 20
    made[bin_] = share
    return made


def test_each_task_has_its_histograms_with_certain_samples_below(summary, tmp_path):
    first = [histogram(19), histogram(10), histogram(0)]
    lines = told("histograms", first, [histogram(0, 0.5), histogram(10), None])
    figure = histograms_figure(summary, read(tmp_path, lines), "M")
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in panels] == TASKS
    uncertain, _, certain = (image_of(axes) for axes in panels)
    assert uncertain.shape[0] == 20
    assert uncertain[[0, -1], 0] == pytest.approx([1, 0])
    assert uncertain[[0, -1], -1] == pytest.approx([0, 0.5])
    assert certain[[0, -1], 0] == pytest.approx([0, 1])
    assert 0 < certain[:, -1].min() == certain[:, -1].max() < 0.3  # unknown, in grey


def test_shades_are_of_one_colour_and_what_is_unknown_is_grey(summary, tmp_path):
    from matplotlib.colors import to_hex

    lines = told("histograms", [histogram(3), histogram(3)], [None, histogram(3)])
    figure = histograms_figure(summary, read(tmp_path, lines), "M")
    axes = next(axes for axes in figure.axes if axes.get_title(loc="left") == "a")
    colors = np.asarray(axes.get_images()[0].get_array())
    assert to_hex(colors[3, 0, :3]) == SHADE
    assert to_hex(colors[3, -1, :3]) == MUTED


@pytest.mark.parametrize("count", [1, 2, 7, 30])
def test_any_number_of_tasks_has_its_panels_inside_the_sheet(make, tmp_path, count):
    names = [f"task {i}" for i in range(count)]
    summary = make(names, ["M"], [0], steps=2).summary()
    lines = [
        {
            "method": "M",
            "seed": 0,
            "step": 1,
            "split": "schedule",
            "histograms": {n: histogram(1) for n in names},
        }
    ]
    figure = histograms_figure(summary, read(tmp_path, lines), "M")
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert len(panels) == count
    for axes in figure.axes:
        box = axes.get_position()
        assert 0 <= box.x0 < box.x1 <= 1
        assert 0 <= box.y0 < box.y1 <= 1


@pytest.mark.parametrize(
    "lines",
    [[], told("histograms", [0.5, 0.5, 0.5]), told("histograms", [[0.5], [0.5, 0.5], [0.1]])],
    ids=["none", "numbers", "not alike"],
)
def test_broken_histograms_are_not_drawn(summary, tmp_path, lines):
    assert histograms_figure(summary, read(tmp_path, lines), "M") is None


# ------------------------------------------------------------------ the page


def test_the_report_shows_them_and_a_run_of_all_tasks_none(make, tmp_path):
    made = make(TASKS, ["single", "M"], [0], steps=2)
    lines = told("shares", [1, 0, 0], [0, 1, 0]) + told("q", [1, 2, 3], [1, 2, 4])
    lines += told("histograms", [histogram(1)] * 3) + told("probabilities", [1, 0, 0], [0, 1, 0])
    figures = [f'id="figure-{name}-2"' for name in ("shares", "probabilities", "histograms", "q")]
    for name, logged in (("all", told("shares", [1, 1, 1])), ("scheduled", lines)):
        folder = tmp_path / name
        folder.mkdir()
        write_summary(folder / "summary.json", made.summary())
        read(folder, logged)
        page = write_report(folder).read_text()
        assert [text in page for text in [*figures, 'href="#schedule"']] == [name == "scheduled"] * 5
