"""Figures of evolution, from made-up records and routes of which the right picture is known."""

from itertools import combinations

import numpy as np
import pytest
from made_up import read_lines as read

from moduli.evaluation.summary import write_summary
from moduli.evolution.features import features, uses
from moduli.evolution.mutation import Add, complexity
from moduli.report import write_report
from moduli.report.evolution import evolution_figure, evolved_methods, module_use_figure
from moduli.report.evolved_routes import evolved_routes, evolved_routes_figure
from moduli.report.pictures import evolution_pictures, sharing_pictures
from moduli.report.records import read_records
from moduli.report.scales import learned_scales, scales_over_time
from moduli.report.topologies import LINE, place_labels, project, topologies_figure
from moduli.sharing.route import Apply, Merge, Route, chain

TASKS = ["a", "b", "c"]
METHODS = ["single", "ctr"]


@pytest.fixture(scope="module")
def evolved(make, tmp_path_factory):
    """Summary and records of 8 tasks, of which every method but the first two evolved routes."""
    made = make([f"task {i}" for i in range(8)], ["single", "soft", "ctr"], [0, 1], steps=6)
    return made.summary(), read(tmp_path_factory.mktemp("evolved"), made.records)


def told(step, task, sizes, chosen=0, seed=0):
    """A record of one phase of one task; a challenger that is chosen was accepted."""
    head = {"method": "ctr", "seed": seed, "step": step, "split": "evolution", "task": task}
    mutation = Add(0, None, 1, 0).to_json() if chosen else None
    return {**head, "chosen": chosen, "errors": [0.5] * len(sizes), "nodes": sizes, "accepted": mutation}


def with_routes(summary, routes, scales=None):
    """The summary as if its "ctr" had ended with these routes."""
    extra = {"routes": {task: route.to_json() for task, route in routes.items()}, "scales": scales or {}}
    runs = [{**run, "extra": extra} for run in summary["methods"]["ctr"]["runs"]]
    methods = {**summary["methods"], "ctr": {**summary["methods"]["ctr"], "runs": runs}}
    return {**summary, "methods": methods}


@pytest.fixture(scope="module")
def summary(make):
    return make(TASKS, METHODS, [0], steps=2).summary()


# ------------------------------------------------------------------ records


def test_records_of_evolution_are_read_by_task_and_the_last_line_counts(tmp_path):
    uses_line = {"method": "ctr", "seed": 0, "step": 10, "split": "modules", "uses": [3, 1]}
    found = read(tmp_path, [told(10, "a", [4, 5]), told(10, "b", [4]), told(10, "a", [4, 6], 1), uses_line])
    assert [(r["task"], r["nodes"]) for r in found.evolution] == [("a", [4, 6]), ("b", [4])]
    assert [r["uses"] for r in found.modules] == [[3, 1]]
    assert found.curves.empty
    absent = read_records(tmp_path / "absent.jsonl")
    assert absent.evolution == absent.modules == []


# ------------------------------------------------------------------ fitness and growth


def test_growth_is_of_the_chosen_routes_and_accepted_mutations_are_counted(summary, tmp_path):
    lines = [told(10, "a", [4, 5], 1), told(10, "b", [4, 5]), told(20, "a", [5, 6]), told(20, "b", [4, 9], 1)]
    lines += [told(30, task, [6]) for task in "ab"]
    figure = evolution_figure(summary, read(tmp_path, lines))
    _, grown, taken = figure.axes
    (line,) = grown.get_lines()
    assert line.get_xdata().tolist() == [1, 2, 3]
    assert line.get_ydata().tolist() == [4.5, 7, 6]
    band = grown.collections[0].get_paths()[0].vertices
    assert {tuple(v) for v in band} >= {(1, 4), (1, 5), (2, 5), (2, 9), (3, 6)}
    assert taken.get_lines()[0].get_ydata().tolist() == [1, 1, 0]


def test_accepted_mutations_are_a_mean_over_the_seeds_that_still_ran(summary, tmp_path):
    lines = [told(10, "a", [4, 5], 1), told(10, "a", [4, 5], seed=1), told(20, "a", [5, 6], 1)]
    taken = evolution_figure(summary, read(tmp_path, lines)).axes[2]
    assert taken.get_lines()[0].get_ydata().tolist() == [0.5, 1.0]


def test_fitness_is_drawn_for_all_methods_by_meta_iteration(evolved):
    fitness = evolution_figure(*evolved).axes[0]
    assert "accuracy" in fitness.get_title(loc="left")
    lines = fitness.get_lines()
    assert len(lines) == 3
    assert all(line.get_xdata().tolist() == [1, 2, 3, 4, 5, 6] for line in lines)
    shown = {"method": "ctr", "split": "val"}
    rows = evolved[1].curves
    own = rows[np.logical_and.reduce([rows[key] == value for key, value in shown.items()])]
    assert lines[2].get_ydata() == pytest.approx(own.groupby("step")["accuracy"].mean().to_numpy())


def test_tasks_with_units_of_their_own_have_their_loss_drawn(make, tmp_path):
    made = make(["a", "b", "c", "d", "e"], ["ctr"], [0], steps=3)
    made.tasks = [made.tasks[1], made.tasks[4]]  # the regressions
    for outcome in made.outcomes:
        outcome.extra.clear()
    records = read(tmp_path, made.records)
    summary = {**make(["x"], ["ctr"], [0]).summary(), "tasks": made.tasks}
    assert "loss" in evolution_figure(summary, records).axes[0].get_title(loc="left")


def test_without_evolution_nothing_is_drawn(summary, tmp_path):
    records = read(tmp_path, [])
    assert evolved_methods(summary, records) == []
    assert evolution_figure(summary, records) is None
    assert evolution_pictures(summary, records) == []


# ------------------------------------------------------------------ modules


def test_a_table_of_modules_by_tasks_counts_uses_from_simple_to_complex(summary, tmp_path):
    routes = {"a": chain([0, 0, 1]), "b": chain([1]), "c": chain([2, 2])}
    (table,) = module_use_figure(with_routes(summary, routes), read(tmp_path, []), "ctr").axes
    assert [label.get_text() for label in table.get_xticklabels()] == ["b", "c", "a"]
    shades = np.asarray(table.get_images()[0].get_array())[..., 3]
    assert (shades * 2).tolist() == [[0, 0, 2], [1, 0, 1], [0, 2, 0]]
    assert sorted(text.get_text() for text in table.texts) == ["1", "1", "2", "2"]


def test_uses_over_time_end_at_the_uses_of_the_final_routes(evolved):
    summary, records = evolved
    stacked, table = module_use_figure(summary, records, "ctr").axes
    final = evolved_routes(summary, "ctr")
    total = sum(uses(route, 4, 4).sum() for route in final.routes.values())
    top = max(area.get_paths()[0].vertices[:, 1].max() for area in stacked.collections)
    assert len(stacked.collections) == 4
    assert top == total
    assert sum(int(text.get_text()) for text in table.texts) == total


# ------------------------------------------------------------------ routes


def test_routes_are_sorted_by_size_and_the_first_run_that_has_them_is_shown(evolved, summary):
    final = evolved_routes(evolved[0], "ctr")
    sizes = [complexity(route) for route in final.routes.values()]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) > 2
    assert (final.seed, final.modules, final.levels) == (0, 4, 4)
    assert evolved_routes(evolved[0], "single") is None
    broken = with_routes(summary, {"a": chain([0]), "b": chain([0])})  # task c is missing
    assert evolved_routes(broken, "ctr") is None
    assert evolved_routes_figure(broken, "ctr") is None


def test_of_many_tasks_the_simplest_the_median_and_the_most_complex_are_drawn(evolved):
    names = list(evolved_routes(evolved[0], "ctr").routes)
    figure = evolved_routes_figure(evolved[0], "ctr", most=3)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [names[0], names[4], names[7]]
    assert "3 of 8 tasks" in figure.texts[0].get_text()
    figure = evolved_routes_figure(evolved[0], "ctr")
    assert [axes.get_title(loc="left") for axes in figure.axes] == names
    for axes in figure.axes:
        box = axes.get_position()
        assert 0 <= box.x0 < box.x1 <= 1
        assert 0 <= box.y0 < box.y1 <= 1


def test_shares_of_merges_are_drawn(summary):
    route = Route((Apply(0, 0), Apply(1, 0), Merge((1, 2))), 3)
    made = with_routes(summary, dict.fromkeys(TASKS, route), {key: [[0.9, 0.1]] for key in TASKS})
    widths = evolved_routes_figure(made, "ctr").axes[0].collections[0].get_linewidths()
    assert max(widths) == widths[0] == widths[1]  # from the source
    assert sorted(widths)[0] < 0.3 * sorted(widths)[1]


# ------------------------------------------------------------------ similar routes


def test_every_task_is_a_named_point_and_groups_have_their_colours(evolved):
    summary, _ = evolved
    names = [task["name"] for task in summary["tasks"]]
    axes = topologies_figure(summary, "ctr").axes[0]
    assert sorted(text.get_text() for text in axes.texts) == sorted(names)
    groups = {name: "even" if i % 2 else "odd" for i, name in enumerate(names[:6])}
    figure = topologies_figure(summary, "ctr", groups)
    (legend,) = figure.legends
    assert {text.get_text() for text in legend.get_texts()} == {"even", "odd", "no group"}
    points = [line for line in figure.axes[0].get_lines() if line.get_marker() not in ("", "None", None)]
    assert len({line.get_color() for line in points}) == 3


def test_few_routes_are_projected_linearly_and_equal_ones_to_one_place():
    vectors = np.array([[0, 0, 1.0], [1, 0, 1], [0, 3, 1], [0, 0, 1]])
    points, how = project(vectors)
    assert "principal components" in how
    assert (points[0] == points[3]).all()
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    assert distance == pytest.approx(np.linalg.norm(vectors[:, None] - vectors[None], axis=-1))


def test_tsne_keeps_clusters_together_and_is_the_same_every_time():
    random = np.random.default_rng(0)
    vectors = np.concatenate([random.normal(size=(6, 5)), 30 + random.normal(size=(6, 5))])
    points, how = project(vectors)
    assert "t-SNE" in how
    assert (project(vectors)[0] == points).all()
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    assert distance[:6, :6].max() < distance[:6, 6:].min()


def test_no_map_of_two_tasks_or_of_equal_routes(summary):
    assert topologies_figure(with_routes(summary, dict.fromkeys(TASKS, chain([0, 1]))), "ctr") is None
    two = {**summary, "tasks": summary["tasks"][:2]}
    assert topologies_figure(with_routes(two, {"a": chain([0]), "b": chain([1])}), "ctr") is None


@pytest.mark.parametrize("count", [5, 50])
def test_labels_do_not_overlap_and_stay_on_the_sheet(count):
    random = np.random.default_rng(count)
    at = np.stack([random.uniform(0.7, 8.1, count), random.uniform(0.3, 5.4, count)], axis=1)
    lengths = random.uniform(0.3, 1.5, count).tolist()
    corners = place_labels(at, lengths, (8.8, 5.7))
    boxes = [(x, y, x + length, y + LINE) for (x, y), length in zip(corners, lengths, strict=True)]
    for a, b in combinations(boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
    assert all(x0 >= 0 and y0 >= 0 and x1 <= 8.8 and y1 <= 5.7 for x0, y0, x1, y1 in boxes)


def test_the_map_is_of_all_features_of_the_pool(evolved):
    final = evolved_routes(evolved[0], "ctr")
    assert features(list(final.routes.values()), final.modules, final.levels).shape == (8, 29)
    assert "29 numbers" in topologies_figure(evolved[0], "ctr").texts[0].get_text()


# ------------------------------------------------------------------ beside other figures


def test_figures_of_fixed_routes_leave_out_what_evolved(evolved):
    names = [picture.name for picture in sharing_pictures(*evolved)]
    assert "soft-order-2" in names
    assert not [name for name in names if name.endswith("-3")]


def test_merges_of_evolved_routes_are_not_taken_for_a_soft_order(summary, tmp_path):
    route = Route((Apply(0, 0), Apply(1, 0), Merge((0, 1, 2))), 3)
    scales = {key: [[0.2, 0.3, 0.5]] for key in TASKS}
    assert learned_scales(with_routes(summary, dict.fromkeys(TASKS, route), scales), "ctr") == {}
    head = {"method": "ctr", "seed": 0, "split": "scales"}
    lines = [{**head, "step": s, "scales": {key: [[1 / s] * s] for key in TASKS}} for s in (2, 3)]
    assert scales_over_time(summary, read(tmp_path, lines), "ctr") is None


def test_the_report_has_a_section_where_there_was_evolution(make, tmp_path):
    made = make([f"t{i}" for i in range(7)], ["ctr"], [0], steps=3)
    sections = []
    for name, lines in (("evolved", made.records), ("fixed", [])):
        folder = tmp_path / name
        folder.mkdir()
        write_summary(folder / "summary.json", made.summary())
        read(folder, lines)
        page = write_report(folder).read_text(encoding="utf-8")
        figures = ["evolution", "evolved-routes-1", "module-use-1", "topologies-1", "evolved-routes-all-1"]
        sections.append(['href="#evolution"' in page, *(f'id="figure-{f}"' in page for f in figures)])
    assert sections == [[True] * 6, [False] * 6]
