"""Measures on learned scales by hand, and the figures drawn from them."""

import numpy as np
import pytest

from moduli.errors import InputError
from moduli.report.records import read_records
from moduli.report.scales import (
    cluster_order,
    distances,
    hardness,
    learned_scales,
    relatedness,
    relatedness_figure,
    scales_array,
    scales_over_time,
    soft_order_figure,
)

EVEN, FIRST, SECOND = [0.5, 0.5], [1.0, 0.0], [0.0, 1.0]


def test_distance_and_relatedness_by_hand():
    S = np.array([[FIRST, EVEN], [SECOND, EVEN], [EVEN, EVEN]])
    assert distances(S)[0].tolist() == [[0.0, 1.0, 0.5], [1.0, 0.0, 0.5], [0.5, 0.5, 0.0]]
    assert distances(S)[1].tolist() == np.zeros((3, 3)).tolist()
    assert relatedness(S)[0].tolist() == [1.0, 0.5, 0.75]


def test_relatedness_does_not_depend_on_the_numbering_of_layers():
    random = np.random.default_rng(0)
    S = random.dirichlet(np.ones(5), size=(4, 3))
    assert np.allclose(relatedness(S[..., [4, 2, 0, 1, 3]]), relatedness(S))
    assert (relatedness(S) == relatedness(S).T).all()


def test_hardness_is_one_for_a_hard_order_and_one_over_k_for_an_even_mix():
    assert hardness(np.array([[FIRST, EVEN], [SECOND, EVEN]])).tolist() == [1.0, 0.5]


def test_clusters_stand_side_by_side():
    similarity = np.full((6, 6), 0.1)
    for group in ([0, 2, 4], [1, 3, 5]):
        similarity[np.ix_(group, group)] = 0.9
    order = cluster_order(similarity)
    assert sorted(order) == list(range(6))
    assert {place % 2 for place in order[:3]} in ({0}, {1})
    assert {place % 2 for place in order[3:]} in ({0}, {1})
    assert cluster_order(similarity[:2, :2]) == [0, 1]


def test_scales_that_are_absent_or_broken_are_none_and_logits_are_refused():
    assert scales_array({"a": [EVEN]}, ["a", "b"]) is None
    assert scales_array({"a": [EVEN], "b": [EVEN, EVEN]}, ["a", "b"]) is None
    assert scales_array({"a": [[None, None]]}, ["a"]) is None
    assert scales_array({"a": [[float("nan"), 1.0]]}, ["a"]) is None
    assert scales_array({"a": []}, ["a"]) is None
    with pytest.raises(InputError, match="sum to 1"):
        scales_array({"a": [[3.0, -1.0]]}, ["a"])


def test_scales_are_found_by_seed(maker):
    found = learned_scales(maker.summary(), "soft")
    assert {seed: S.shape for seed, S in found.items()} == dict.fromkeys(range(3), (4, 4, 4))
    assert learned_scales(maker.summary(), "hard") == {}


def test_soft_order_draws_the_strongest_path_of_each_task(maker):
    summary = maker.summary()
    S = learned_scales(summary, "soft")[0]
    figure = soft_order_figure(summary, "soft")
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in panels] == [task["name"] for task in summary["tasks"]]
    for axes, own in zip(panels, S, strict=True):
        path = axes.get_lines()[0]
        assert path.get_ydata()[1:-1].tolist() == (own.argmax(1) + 1).tolist()
        shades = [patch.get_alpha() for patch in axes.patches if patch.get_fill()]
        assert shades == pytest.approx(own.ravel())


def test_beyond_twenty_tasks_a_note_says_so(make):
    summary = make([f"task {number}" for number in range(23)], ["soft"], [0], steps=2).summary()
    figure = soft_order_figure(summary, "soft")
    assert sum(bool(axes.get_title(loc="left")) for axes in figure.axes) == 20
    assert "First 20 of 23 tasks" in figure.texts[0].get_text()


def test_scales_over_time_ends_at_the_learned_scales(maker, tmp_path):
    summary = maker.summary()
    records = read_records(maker.write(tmp_path / "run") / "metrics.jsonl")
    apart, hard = scales_over_time(summary, records, "soft").axes
    final = list(learned_scales(summary, "soft").values())
    largest = np.mean([hardness(S) for S in final], axis=0)
    lines = [line for line in hard.get_lines() if len(line.get_xdata()) == 6]
    assert [line.get_ydata()[-1] for line in lines] == pytest.approx(largest)
    pairs = np.mean([distances(S)[:, ~np.eye(4, dtype=bool)].mean(1) for S in final], axis=0)
    assert [line.get_ydata()[-1] for line in apart.get_lines()] == pytest.approx(pairs)


def test_relatedness_shows_all_tasks_once_with_the_mean_over_seeds(maker):
    summary = maker.summary()
    axes = relatedness_figure(summary, "soft").axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    names = [task["name"] for task in summary["tasks"]]
    assert sorted(labels) == sorted(names)
    mean = np.mean([relatedness(S) for S in learned_scales(summary, "soft").values()], axis=0)
    order = [names.index(label) for label in labels]
    shown = axes.collections[0].get_array()
    assert shown.compressed() == pytest.approx(mean[np.ix_(order, order)][~np.eye(4, dtype=bool)])


def test_nothing_to_draw_without_scales_or_with_one_task(make, maker, tmp_path):
    records = read_records(tmp_path / "absent.jsonl")
    assert soft_order_figure(maker.summary(), "hard") is None
    assert relatedness_figure(maker.summary(), "hard") is None
    assert scales_over_time(maker.summary(), records, "soft") is None
    assert relatedness_figure(make(["a"], ["soft"], [0]).summary(), "soft") is None
