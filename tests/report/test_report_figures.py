"""Figures show the numbers that they are made from, and the same figure is the same file."""

import re
import xml.etree.ElementTree as ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from moduli.report.figures import comparison_figure, gains_figure
from moduli.report.style import MARKERS, PALETTE, method_styles, png, shorten, svg


def texts(figure):
    return [text.get_text() for text in figure.findobj(mpl.text.Text)]


def marked(axes, marker):
    """Where a marker of the mean stands: x values of lines with this marker and one point."""
    lines = [line for line in axes.get_lines() if line.get_marker() == marker and len(line.get_xdata()) == 1]
    return [line.get_xdata()[0] for line in lines]


def test_comparison_draws_every_mean_and_interval(maker):
    summary = maker.summary()
    figure = comparison_figure(summary)
    # Two tasks share accuracy, in units of its own is the one with rmse.
    assert [len(axes.get_yticks()) for axes in figure.axes] == [3, 1]
    accuracy = figure.axes[0]
    style = method_styles(list(summary["methods"]), "single")["soft"]
    names = [task["name"] for task in summary["tasks"] if task["metric"] == "accuracy"]
    results = [summary["methods"]["soft"]["tasks"][name] for name in names]
    assert marked(accuracy, style["marker"]) == [result["mean"] for result in results]
    ends = [list(line.get_xdata()) for line in accuracy.get_lines() if len(line.get_xdata()) == 2]
    for result in results:
        assert [result["mean"] - result["ci95"], result["mean"] + result["ci95"]] in ends


def test_gains_draw_delta_m_above_the_tasks(maker):
    summary = maker.summary()
    axes = gains_figure(summary).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["all tasks (Δm)", *(task["name"] for task in summary["tasks"])]
    style = method_styles(list(summary["methods"]), "single")["soft"]
    assert marked(axes, style["marker"])[0] == pytest.approx(summary["methods"]["soft"]["delta_m"])


def test_no_gains_without_a_baseline_to_compare_with(make):
    assert gains_figure(make(["heart"], ["soft"], [0]).summary()) is None


def test_one_wide_interval_does_not_hide_the_others(maker):
    summary = maker.summary()
    name = summary["tasks"][0]["name"]
    summary["methods"]["hard"]["tasks"][name]["ci95"] = 1e6
    low, high = comparison_figure(summary).axes[0].get_xlim()
    assert high - low < 2


def test_nothing_to_show_is_shown_as_nothing(maker):
    summary = maker.summary()
    for method in summary["methods"].values():
        for result in method["tasks"].values():
            result |= {"mean": None, "ci95": None, "values": [None] * 3}
    assert png(comparison_figure(summary)).startswith(b"\x89PNG")


def test_the_same_figure_is_the_same_file_whatever_the_users_settings(maker):
    summary = maker.summary()
    first = png(comparison_figure(summary)), svg(comparison_figure(summary), "a")
    with mpl.rc_context({"font.size": 30, "text.usetex": True, "axes.facecolor": "red"}):
        second = png(comparison_figure(summary)), svg(comparison_figure(summary), "a")
    assert first == second


def test_drawing_changes_no_global_setting(maker):
    before = dict(mpl.rcParams)
    svg(comparison_figure(maker.summary()), "a")
    assert dict(mpl.rcParams) == before


def test_svg_takes_the_colours_of_the_page_and_keeps_its_ids_apart(maker):
    drawing = svg(comparison_figure(maker.summary()), "first")
    root = ElementTree.fromstring(drawing)
    assert root.tag.endswith("svg")
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert ids
    assert all(name.startswith("first-") for name in ids)
    used = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', drawing)
    assert used
    assert {a or b for a, b in used} <= set(ids)
    assert "var(--ink)" in drawing
    assert "<style" not in drawing


def test_task_names_are_text_and_nothing_else(make, recwarn):
    names = ['a<b & "c"', "$x$", 'id="x" url(#y) #1f2329', "心臓"]
    figure = comparison_figure(make(names, ["single", "soft"], [0, 1]).summary())
    root = ElementTree.fromstring(svg(figure, "n"))
    shown = {element.text for element in root.iter() if element.text}
    assert set(names) <= shown
    png(figure)
    assert not recwarn


def test_methods_can_be_told_apart():
    methods = ["single", *(f"m{number}" for number in range(2 * len(PALETTE)))]
    styles = method_styles(methods, "single")
    assert len({(s["color"], s["marker"], str(s["linestyle"])) for s in styles.values()}) == len(methods)
    assert list(styles) == methods
    assert {style["marker"] for style in styles.values()} <= set(MARKERS)


def test_colours_are_readable_on_light_and_on_dark():
    def luminance(color):
        rgb = np.array(mpl.colors.to_rgb(color))
        linear = np.where(rgb <= 0.03928, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    for color in PALETTE:
        light, dark, own = luminance("#ffffff"), luminance("#16191d"), luminance(color)
        assert (light + 0.05) / (own + 0.05) > 2.6
        assert (own + 0.05) / (dark + 0.05) > 3.0


def test_long_names_lose_their_middle():
    assert shorten("short") == "short"
    assert shorten("two\nlines") == "two lines"
    assert shorten("abcdefghijklmnopqrstuvwxyz0123456789", 11) == "abcde…56789"


def test_figures_are_plain_figures(maker):
    assert isinstance(comparison_figure(maker.summary()), Figure)
    assert "accuracy ↑" in texts(comparison_figure(maker.summary()))
