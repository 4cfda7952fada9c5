"""Figures of hypermodules, from made-up mappings of which the right picture is known, and from a real run."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from made_up import read_lines as read
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from synthetic import tiny_model, tiny_tasks

import moduli
from moduli.errors import InputError
from moduli.evaluation.summary import read_summary
from moduli.hypermodules import MappingEvolution, reparameterize
from moduli.report import write_report
from moduli.report.groups import group_scores, grouping_figure
from moduli.report.hypermodules import (
    growth_figure,
    hypermodule_methods,
    parameter_rows,
    sharing_figure,
    task_sets,
)
from moduli.report.layers import Layer, RowNames, joined, layer_sharing, layers_figure, layers_of, short_names
from moduli.report.mappings import mapping_figure, module_colors, telling
from moduli.report.pictures import hypermodule_pictures
from moduli.report.records import read_records
from moduli.report.style import PALETTE

TASKS = ["a", "b", "c"]


def told(layers, mapping, step=10, seed=0, method="muir", accepted=0):
    """The record of a phase of a run with layers `[(task, blocks)]`, as a model makes it."""
    users, first = {}, 0
    for task, blocks in layers:
        for module in mapping[first : first + blocks]:
            users.setdefault(module, set()).add(task)
        first += blocks
    names = list(dict.fromkeys(task for task, _ in layers))
    sets = [tuple(name for name in names if name in some) for some in users.values()]
    top = max(users, key=mapping.count)
    return {
        "method": method,
        "seed": seed,
        "step": step,
        "split": "hypermodules",
        "modules": len(users),
        "top": [top, mapping.count(top)],
        "sharing": [[list(some), sets.count(some)] for some in dict.fromkeys(sets)],
        "accepted": accepted,
        "created": 0,
        "mapping": mapping,
    }


def described(layers, mapping, parameters=(1000, 2500, 900)):
    """The `extra` of the run."""
    rows, first = [], 0
    for number, (task, blocks) in enumerate(layers):
        rows.append(
            {"task": task, "name": f"layer{number}.weight", "shape": [4, 4], "first": first, "blocks": blocks}
        )
        first += blocks
    counts = dict(zip(("original", "training", "inference"), parameters, strict=True))
    made = {"block": [2, 2], "context": 1, "layers": rows, "mapping": mapping, "parameters": counts}
    return {"best_step": 30, "hypermodules": made}


@pytest.fixture
def summary(make):
    """Of a method "single", and of "muir" with the given extra in each of two runs."""

    def build(*extras, tasks=TASKS):
        made = make(tasks, ["single", "muir"], list(range(len(extras))), steps=2).summary()
        for run, extra in zip(made["methods"]["muir"]["runs"], extras, strict=True):
            run["extra"] = extra
        return made

    return build


# ------------------------------------------------------------------ group score


@pytest.mark.parametrize(
    ("mapping", "score"),
    [
        ([0, 1, 2, 3, 4, 5], 0),  # no other task uses it
        ([0, 0, 2, 3, 4, 5], 2),  # shared in the group
        ([0, 1, 2, 0, 4, 5], -2),  # with another group
        ([0, 0, 2, 0, 4, 5], -3),  # with the own and another group
        ([0, 0, 0, 3, 3, 3], 6),  # the truth
        ([7, 7, 1, 9, 9, 9], 5),  # numbers mean nothing; one alone
        ([0] * 6, -6),
    ],
)
def test_the_group_score_counts_tasks_that_share_within_and_beyond_their_group(mapping, score):
    assert group_scores([mapping, [0, 0, 0, 1, 1, 1]], [0, 0, 0, 1, 1, 1]) == [score, 6]


def test_the_best_group_score_is_the_number_of_tasks():
    groups = [task // 10 for task in range(30)]
    assert group_scores([groups, list(range(30)), [0] * 30], groups) == [30, 0, -30]


def test_groups_of_another_number_of_tasks_are_refused():
    with pytest.raises(InputError, match="mapping of 3 locations and groups of 2"):
        group_scores([[0, 1, 2]], [0, 0])


def test_score_and_modules_are_means_over_seeds_by_generation(summary, tmp_path):
    layers = [(task, 1) for task in "abcd"]
    runs = {0: [[0, 1, 2, 3], [0, 0, 2, 3], [0, 0, 2, 2]], 1: [[0, 1, 2, 3], [0, 1, 0, 3]]}
    lines = [told(layers, m, 50 * (g + 1), seed) for seed, own in runs.items() for g, m in enumerate(own)]
    made = summary(described(layers, [0, 0, 2, 2]), described(layers, [0, 1, 0, 3]), tasks=list("abcd"))
    score, modules = grouping_figure(made, read(tmp_path, lines), [0, 0, 1, 1]).axes
    line, truth = score.get_lines()
    assert line.get_xdata().tolist() == [1, 2, 3]
    assert line.get_ydata().tolist() == [0, 0, 1]  # the second run keeps its last: -2
    assert truth.get_ydata() == [4, 4]
    line, truth = modules.get_lines()
    assert line.get_ydata().tolist() == [4, 3, 2.5]
    assert truth.get_ydata() == [2, 2]
    assert grouping_figure(made, read(tmp_path, []), [0, 0, 1, 1]) is None


# ------------------------------------------------------------------ sharing


def test_sets_of_few_tasks_have_names_and_those_of_many_are_counted():
    assert task_sets(["a", "b"]).names == ["both tasks", "a", "b"]
    three = task_sets(TASKS)
    assert three.names == ["all 3 tasks", "a + b", "a + c", "b + c", "a", "b", "c"]
    assert len(set(three.colors)) == 7
    assert [three.names[three.place(some)] for some in (["c"], ["c", "a"], TASKS)] == [
        "c",
        "a + c",
        "all 3 tasks",
    ]
    five = task_sets(list("abcde"))
    assert five.names == ["all 5 tasks", "4 tasks", "3 tasks", "2 tasks", "1 task"]
    assert five.names[five.place(["a", "e"])] == "2 tasks"
    many = task_sets([f"t{i}" for i in range(30)])
    assert many.names == [
        "17 to 30 tasks",
        "9 to 16 tasks",
        "5 to 8 tasks",
        "3 to 4 tasks",
        "2 tasks",
        "1 task",
    ]
    assert [many.place(["x"] * n) for n in (1, 2, 3, 4, 5, 10, 16, 17, 30)] == [5, 4, 3, 3, 2, 1, 1, 0, 0]
    assert task_sets(["a"]).names == ["a"]


def test_areas_are_the_numbers_of_modules_of_each_set_of_tasks(summary, tmp_path):
    layers = [("a", 2), ("b", 2)]
    lines = [told(layers, [0, 1, 2, 3], 10), told(layers, [0, 0, 0, 3], 20)]
    lines += [told(layers, [0, 1, 2, 3], 10, seed=1), told(layers, [0, 1, 1, 3], 20, seed=1)]
    made = summary(described(layers, [0] * 4), described(layers, [0] * 4), tasks=["a", "b"])
    number, share = sharing_figure(made, read(tmp_path, lines), "muir").axes
    (total,) = number.get_lines()
    assert total.get_ydata().tolist() == [4, 2.5]
    assert [text.get_text() for text in share.texts] == ["both tasks", "a", "b"]
    tops = [area.get_paths()[0].vertices[:, 1].max() for area in share.collections]
    assert tops == pytest.approx([0.4, 0.6, 1])  # at the end: 1, 0.5 and 1 of 2.5, "a" half at the start
    heights = [area.get_paths()[0].vertices[:, 1].max() for area in number.collections[:3]]
    assert heights == [1, 2, 4]


def test_one_generation_is_not_drawn(summary, tmp_path):
    layers = [("a", 2), ("b", 2)]
    found = read(tmp_path, [told(layers, [0, 1, 2, 3])])
    made = summary(described(layers, [0, 1, 2, 3]), tasks=["a", "b"])
    assert sharing_figure(made, found, "muir") is None
    assert mapping_figure(made, found, "muir") is None
    assert growth_figure(made, found) is not None


# ------------------------------------------------------------------ growth


def test_growth_is_a_share_of_all_locations(summary, tmp_path):
    layers = [("a", 2), ("b", 2)]
    lines = [told(layers, [0, 1, 2, 3], 10), told(layers, [0, 0, 2, 0], 20, accepted=2)]
    made = summary(described(layers, [0, 0, 2, 0]), tasks=["a", "b"])
    top, modules, changes = growth_figure(made, read(tmp_path, lines)).axes
    assert top.get_lines()[0].get_ydata().tolist() == [0.25, 0.75]
    assert modules.get_lines()[0].get_ydata().tolist() == [4, 2]
    assert changes.get_lines()[0].get_ydata().tolist() == [0, 2]
    assert top.yaxis.get_major_formatter()(0.5, 0) == "50%"


def test_a_run_that_ended_keeps_its_modules_and_changes_nothing_more(summary, tmp_path):
    layers = [("a", 2), ("b", 2)]
    lines = [told(layers, [0, 1, 2, 3], 10, accepted=1), told(layers, [0, 0, 2, 0], 20, accepted=2)]
    lines += [told(layers, [0, 1, 2, 2], 10, seed=1, accepted=3)]
    made = summary(described(layers, [0, 0, 2, 0]), described(layers, [0, 1, 2, 2]), tasks=["a", "b"])
    _, modules, changes = growth_figure(made, read(tmp_path, lines)).axes
    assert modules.get_lines()[0].get_ydata().tolist() == [3.5, 2.5]
    assert changes.get_lines()[0].get_ydata().tolist() == [2, 2]


def test_numbers_of_parameters_are_means_over_seeds(summary):
    layers = [("a", 2), ("b", 2)]
    first = described(layers, [0, 0, 0, 1], (1000, 2000, 500))
    second = described(layers, [0, 1, 2, 2], (1000, 3000, 1000))
    made = summary(first, second, tasks=["a", "b"])
    assert parameter_rows(made) == [("muir", ["4", "2.5", "62.5 %", "1,000", "2,500 (250 %)", "750 (75 %)"])]


# ------------------------------------------------------------------ mapping


def test_first_last_and_the_generations_of_change_are_shown():
    mappings = np.zeros((100, 4), dtype=np.int64)
    mappings[40:, 0], mappings[41:, 1], mappings[42:, 2], mappings[43:, 3] = 1, 2, 3, 4
    shown = telling(mappings, 6)
    assert shown[0] == 0
    assert shown[-1] == 99
    assert len([g for g in shown if 39 <= g <= 43]) >= 2
    assert telling(np.zeros((3, 4), dtype=np.int64), 10) == [0, 1, 2]


def test_most_used_modules_have_strong_colours_and_neighbours_differ():
    random = np.random.default_rng(0)
    start = np.arange(60)
    end = np.where(random.random(60) < 0.5, start % 9, start)
    mappings = np.stack([start, end])
    colors = module_colors(mappings)
    assert set(colors) == set(start.tolist())
    strong = {k: color for k, color in colors.items() if color[3] == 1}
    assert len(strong) == len(set(strong.values())) == len(PALETTE)
    assert set(strong) <= set(range(9))
    for row in mappings.tolist():
        for a, b in pairwise(row):
            assert a == b or colors[a] != colors[b]


def test_a_column_is_a_generation_and_a_row_a_location(summary, tmp_path):
    layers = [("a", 2), ("b", 1), ("b", 2)]
    mappings = [[0, 1, 2, 3, 4], [0, 0, 2, 3, 0], [0, 0, 0, 3, 3]]
    lines = [told(layers, mapping, 20 * (g + 1)) for g, mapping in enumerate(mappings)]
    lines += [told(layers, [1, 1, 1, 1, 1], 20, seed=1)]  # of another run
    made = summary(described(layers, mappings[-1]), described(layers, [1] * 5), tasks=["a", "b"])
    figure = mapping_figure(made, read(tmp_path, lines), "muir")
    axes, key = figure.axes
    image = np.asarray(axes.get_images()[0].get_array())
    assert image.shape == (5, 3, 4)
    colors = [to_hex(color) for color in image[:, 2]]
    assert colors[0] == colors[1] == colors[2] != colors[3] == colors[4]
    assert (image[0, 0] == image[0, 2]).all()  # the same module all the time
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "3"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["layer0", "layer1", "layer2"]
    assert [text.get_text() for text in axes.texts] == ["a", "b"]
    assert [text.get_text() for text in key.texts] == ["module 0: 3", "module 3: 2"]


def test_without_logged_mappings_there_is_no_map_of_colours(summary, tmp_path):
    layers = [("a", 2), ("b", 2)]
    lines = [told(layers, [0, 1, 2, 3], step) for step in (10, 20)]
    for line in lines:
        del line["mapping"]
    made = summary(described(layers, [0, 0, 2, 0]), tasks=["a", "b"])
    assert mapping_figure(made, read(tmp_path, lines), "muir") is None
    assert sharing_figure(made, read(tmp_path, lines), "muir") is not None


# ------------------------------------------------------------------ layers


def test_sharing_of_layers_is_seen_from_the_row():
    layers = [Layer("a", "x", 0, 4), Layer("a", "y", 4, 5), Layer("b", "z", 5, 7)]
    S = layer_sharing(layers, [9, 9, 1, 2, 9, 3, 2])
    assert S.tolist() == [[0.5, 0.5, 0.25], [1, 0, 0], [0.5, 0, 0]]


def test_neighbours_of_one_task_are_taken_together_where_there_are_many():
    layers = [Layer("a", f"a{i}", i, i + 1) for i in range(9)] + [
        Layer("b", f"b{i}", 9 + i, 10 + i) for i in range(3)
    ]
    found = joined(layers, 7)
    assert [layer.name for layer in found] == ["a0 +2", "a3 +2", "a6 +2", "b0", "b1", "b2"]
    assert [(layer.first, layer.end) for layer in found][:4] == [(0, 3), (3, 6), (6, 9), (9, 10)]
    assert joined(layers, 12) == layers
    assert [layer.name for layer in joined(layers, 1)] == ["a0 +8", "b0 +2"]  # never of two tasks
    alike = [Layer(task, f"{task}{i}", 0, 0) for task in "abcd" for i in range(3)]
    assert [layer.name for layer in joined(alike, 11)] == [f"{t}{i}" for t in "abcd" for i in ("0 +1", "2")]


def test_names_lose_what_all_have_in_common():
    names = ["structure.pool.0.weight", "structure.pool.1.weight"]
    assert short_names(names) == ["pool.0", "pool.1"]
    assert short_names(["conv.weight", "lstm.weight_ih_l0"]) == ["conv", "lstm.weight_ih_l0"]
    run = {"extra": described([("a", 1)], [0])}
    run["extra"]["hypermodules"]["layers"][0]["name"] = "a.net.conv.weight"
    assert layers_of(run)[0].name == "conv"


def test_layers_of_tasks_are_a_matrix_divided_by_tasks(summary):
    layers = [("a", 2), ("a", 1), ("b", 2), (None, 1)]
    figure = layers_figure(summary(described(layers, [0, 0, 5, 0, 6, 6]), tasks=["a", "b"]), "muir")
    (axes,) = [axes for axes in figure.axes if axes.get_yticklabels()]
    shades = np.asarray(axes.get_images()[0].get_array())[..., 3]
    assert shades.tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [0.5, 0, 0, 0.5], [0, 0, 1, 0]]
    assert {text.get_text() for text in axes.texts} == {"100", "50", "a", "b", "several tasks"}
    assert "seed 0 at step 30" in figure.texts[0].get_text()


def test_layers_that_share_nothing_are_not_drawn(summary):
    assert (
        layers_figure(summary(described([("a", 2), ("b", 1)], [0, 1, 2]), tasks=["a", "b"]), "muir") is None
    )
    assert layers_figure(summary({}), "single") is None


def test_rows_that_are_too_low_have_no_names():
    layers = [Layer("a", "small", 0, 1), Layer("a", "large", 1, 50), Layer("b", "other", 50, 99)]

    def named(layers, edges, row):
        axes = Figure().subplots()
        RowNames(layers, edges, row).draw(axes)
        return [label.get_text() for label in axes.get_yticklabels()]

    assert named(layers, [0, 1, 50, 99], 0.2) == ["small", "large", "other"]
    assert named(layers, [0, 1, 50, 99], 0.02) == ["large", "other"]
    assert named([Layer("a", "w", 0, 1), Layer("b", "w", 1, 2)], [0, 1, 2], 0.2) == ["a", "b"]


@pytest.mark.parametrize(
    ("tasks", "each", "blocks"), [(1, 3, 2), (2, 30, 8), (30, 1, 1), (30, 4, 4), (130, 1, 1)]
)
def test_everything_lies_on_the_sheet_for_any_number_of_tasks(summary, tmp_path, tasks, each, blocks):
    names = [f"task with a long name {i}" for i in range(tasks)]
    layers = [(name, blocks) for name in names for _ in range(each)]
    random, mapping, lines = np.random.default_rng(0), np.arange(tasks * each * blocks), []
    for generation in range(12):
        lines.append(told(layers, mapping.tolist(), 10 * (generation + 1)))
        moved = random.random(len(mapping)) < 0.4
        mapping = np.where(moved, random.choice(mapping, len(mapping)), mapping)
    made = summary(described(layers, mapping.tolist()), tasks=names)
    pictures = hypermodule_pictures(made, read(tmp_path, lines))
    expected = ["hypermodules", "module-sharing-2", "mapping-2", "layer-sharing-2"]
    assert [picture.name for picture in pictures] == [
        name for name in expected if tasks > 1 or "module-" not in name
    ]
    for picture in pictures:
        for axes in picture.figure.axes:
            box = axes.get_position()
            assert 0 <= box.x0 < box.x1 <= 1
            assert 0 <= box.y0 < box.y1 <= 1
        renderer = FigureCanvasAgg(picture.figure).get_renderer()
        for text in (t for axes in picture.figure.axes for t in [*axes.texts, *axes.get_yticklabels()]):
            place = text.get_window_extent(renderer)
            assert place.x0 >= -1, (picture.name, text)
            assert place.x1 <= picture.figure.bbox.width + 1, (picture.name, text)


# ------------------------------------------------------------------ the page


def test_other_methods_have_none_of_it(make, tmp_path):
    made = make(TASKS, ["single", "soft"], [0], steps=3)
    folder = made.write(tmp_path / "run")
    summary, records = read_summary(folder / "summary.json"), read_records(folder / "metrics.jsonl")
    assert hypermodule_methods(summary) == []
    assert parameter_rows(summary) == []
    assert hypermodule_pictures(summary, records) == []
    assert "hypermodules" not in write_report(folder).read_text(encoding="utf-8")


def test_a_line_that_was_written_twice_counts_once_as_written_last(tmp_path):
    layers = [("a", 2)]
    found = read(tmp_path, [told(layers, [0, 1]), told(layers, [0, 0])])
    assert [record["mapping"] for record in found.hypermodules] == [[0, 0]]


def test_a_real_run_is_shown_in_the_report(tmp_path):
    tasks = tiny_tasks(("a", "b"))
    evolution = MappingEvolution(select="random", burn_in=1, final=0.2)

    def muir(seed):
        return reparameterize(tiny_model(tasks, "single", 4, 3), tasks, block=(2, 2), evolution=evolution)

    torch.manual_seed(0)
    moduli.compare(
        {"muir": muir}, tasks, seeds=2, folder=tmp_path, steps=20, phase=2, patience=None, select="last"
    )
    records = read_records(tmp_path / "metrics.jsonl")
    assert {(r["method"], r["seed"]) for r in records.hypermodules} == {("muir", 0), ("muir", 1)}
    page = write_report(tmp_path).read_text(encoding="utf-8")
    for name in ("hypermodules", "module-sharing-1", "mapping-1", "layer-sharing-1"):
        assert f'id="figure-{name}"' in page
        assert (tmp_path / "plots" / f"{name}.png").exists()
    assert 'href="#hypermodules"' in page
    (row,) = parameter_rows(json.loads((tmp_path / "summary.json").read_text()))
    assert row[1][0] == "24"
    assert all(f"<td>{text}</td>" in page for text in row[1])
