"""The simulated theory of hypermodule mapping: every time has its theory beside it, and is near to it."""

# pyright: reportMissingImports=false

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "experiments"))

import muir_onemax
from sweep import sweep_summary


@pytest.fixture(scope="module")
def summary() -> dict:
    by_tasks = muir_onemax.of_levels("by tasks", "T", {tasks: (256, 8, tasks) for tasks in (4, 16)}, 50)
    panels, theory = zip(muir_onemax.by_locations(256, 50), by_tasks, strict=True)
    return sweep_summary("times", "iterations", "lower", panels, device="cpu", seeds=50, theory=theory)


def test_times_are_near_to_what_is_predicted(summary):
    for panel, theory in zip(summary["panels"], summary["theory"], strict=True):
        assert panel["series"].keys() == theory["orders"].keys() == theory["near"].keys()
        for method, values in panel["series"].items():
            means = np.mean(values, 1)
            np.testing.assert_allclose(means, theory["near"][method], rtol=0.3, err_msg=method)
            assert len(theory["orders"][method]) == len(panel["points"]) == len(means)


def test_everything_that_was_simulated_is_in_the_figure(summary):
    figure = muir_onemax.figure(summary)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["K = 8, T = 8", "by tasks"]
    for axes, panel in zip(figure.axes, summary["panels"], strict=True):
        assert len(axes.containers) == len(panel["series"])
        for bars, values in zip(axes.containers, panel["series"].values(), strict=True):
            drawn = np.asarray(bars.lines[0].get_ydata(), dtype=float)
            np.testing.assert_allclose(drawn, np.mean(values, 1))
