"""The page about transfer between games: what there are no runs for is left out, all else is there."""

import itertools
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from made_up_games import FEATURES, write_experiment, write_run
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from moduli.errors import InputError
from moduli.games.analysis import analyse, partial_order
from moduli.games.atari.names import FEATURES as ATARI
from moduli.report.games import write_analysis
from moduli.report.games_curves import game_curves_figure
from moduli.report.games_order import complexity_figure, hasse_layout
from moduli.report.style import png
from moduli.report.transfer import prediction_figure, transferability_figure

THREE = ["pong", "breakout", "space_invaders"]


class Page(HTMLParser):
    """Text, tags, ids, links and cells of tables."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.ids, self.links, self.attributes, self.text = [], [], [], [], ""
        self.cells, self.open = [], False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        given = dict(attrs)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if tag == "a" else []
        if tag in ("td", "th"):
            self.cells.append("")
            self.open = True

    def handle_endtag(self, tag):
        self.open &= tag not in ("td", "th")

    def handle_data(self, data):
        self.text += data
        if self.open:
            self.cells[-1] += data


def written(folder, out, **options):
    path = write_analysis(folder, out, FEATURES, **options)
    assert path == out / "analysis.html"
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("eight")
    return write_experiment(folder, list(FEATURES), generations=12, seeds=2, transfers=1)


@pytest.fixture(scope="module")
def analysis(eight):
    return analyse(eight, FEATURES)


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    folder = tmp_path_factory.mktemp("three")
    return write_experiment(folder / "runs", THREE, generations=6, seeds=2, transfers=1)


@pytest.fixture(scope="module")
def page(eight, tmp_path_factory):
    return written(eight, tmp_path_factory.mktemp("page"))


# ------------------------------------------------------------------ the page


def test_every_part_is_there_and_every_link_of_the_contents_leads_somewhere(page):
    assert page.links == [
        "#scores",
        "#curves",
        "#complexity",
        "#transfer",
        "#prediction",
        "#reading",
        "#runs",
    ]
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert page.tags.count("svg") == page.tags.count("figcaption") == 4
    assert "The strongest indicator is" in page.text
    assert "8 games · 88 runs · 56 pairs" in page.text


def test_nothing_is_loaded_from_elsewhere(page, eight, tmp_path):
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    links = [value for name, value in page.attributes if name in ("href", "src", "xlink:href", "data")]
    assert all(link.startswith(("#", "data:")) for link in links)


def test_published_scores_stand_beside_our_own(page):
    at = page.cells.index("seaquest")
    assert [cell.split() for cell in page.cells[at + 4 : at + 9]] == [
        ["466"],
        ["460"],
        ["975space", "invaders"],
        ["20,182"],
        ["5,286"],
    ]


def test_effectiveness_of_each_pair_is_in_the_matrix(page, analysis):
    for pair in analysis.pairs:
        text = f"{round(pair.effectiveness['scratch'], 2) + 0.0:+.2f}".replace("-", "−")
        assert any(cell.strip() == text for cell in page.cells)


def test_files_are_written_whole_and_the_same_each_time(three, tmp_path):
    for out in (tmp_path / "a", tmp_path / "b"):
        written(three, out)
    names = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))
    assert [str(name) for name in names] == [
        "analysis.html",
        "analysis.json",
        "plots/game-complexity.png",
        "plots/game-curves.png",
        "plots/transferability.png",
    ]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert json.loads((tmp_path / "a" / "analysis.json").read_text())["games"] == THREE


def test_too_few_games_for_a_prediction_are_said(three, tmp_path):
    page = written(three, tmp_path)
    assert "No prediction against scratch" in page.text
    assert "too few pairs for a prediction" in page.text
    assert "#prediction" in page.links
    assert "figure-prediction" not in page.ids


def test_with_runs_from_scratch_alone_there_are_curves_features_and_a_table(tmp_path):
    folder = write_experiment(tmp_path, THREE, generations=3, skip=("random", "transfer"))
    page = written(folder, tmp_path)
    assert page.links == ["#scores", "#curves", "#complexity", "#reading", "#runs"]
    assert page.tags.count("svg") == 2
    assert "pairs" not in page.text.split("How to read")[0]
    assert "Transfer effectiveness" not in page.text


def test_games_of_which_nothing_is_known_are_shown_without_features(tmp_path):
    write_run(tmp_path, "CartPole-v1", [10, 20], test=9)
    page = written(tmp_path, tmp_path)
    assert page.tags.count("svg") == 1
    assert "published" not in page.text
    assert "CartPole-v1" in page.text


def test_names_are_text(tmp_path):
    write_run(tmp_path, "<b>bold</b> & $x$", [1, 2])
    page = written(tmp_path, tmp_path)
    assert "b" not in page.tags
    assert "<b>bold</b> & $x$" in page.text


def test_without_runs_nothing_is_written(tmp_path):
    with pytest.raises(InputError, match="has no runs"):
        write_analysis(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------ the figures


def test_curves_are_solid_dashed_and_dotted(three):
    figure = game_curves_figure(analyse(three, FEATURES))
    assert [text.get_text() for text in figure.legends[0].texts] == ["transfer", "random", "scratch"]
    styles = {line.get_label(): line.get_linestyle() for line in figure.legends[0].legend_handles}
    assert styles == {"transfer": "-", "random": "--", "scratch": "--"}  # any dashes are "--"
    patterns = {line.get_label(): line._unscaled_dash_pattern for line in figure.legends[0].legend_handles}
    assert patterns["random"] == (0, (4, 1.5))
    assert patterns["scratch"] == (0, (1, 1))
    assert len(figure.axes) == 3
    assert all(len(line.get_xdata()) == 6 for axes in figure.axes for line in axes.lines)


def test_an_arrow_for_every_edge_and_no_other(analysis):
    figure = transferability_figure(analysis)
    for axes, edges in zip(figure.axes, analysis.graphs.values(), strict=True):
        arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
        assert len(arrows) == len(edges) > 0
        assert len(axes.texts) == 8


def test_every_pair_is_a_point_at_its_predicted_and_actual_effectiveness(analysis):
    figure = prediction_figure(analysis)
    for axes, prediction in zip(figure.axes, analysis.predictions.values(), strict=True):
        points = {
            (line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if line.get_marker() != "None"
        }
        assert points == set(zip(prediction.predicted, prediction.actual, strict=True))


def test_a_game_that_reuses_itself_does_no_harm(tmp_path):
    write_run(tmp_path, "pong", [1, 2])
    write_run(tmp_path, "pong", [2, 3], "transfer", "pong")
    analysis = analyse(tmp_path, FEATURES, [1])
    assert analysis.graphs["scratch"] == (("pong", "pong"),)
    assert png(transferability_figure(analysis))


@pytest.mark.parametrize("features", [FEATURES, ATARI])
def test_no_edge_of_the_order_crosses_another_or_runs_through_a_game(features):
    order = partial_order(features)
    places, bends = hasse_layout(order)
    assert len(set(places.values())) == len(places)
    assert all(y == len(node) for node, (_, y) in places.items())
    taken = [*places.values(), *(bend for edge in bends.values() for bend in edge)]
    assert len(set(taken)) == len(taken)
    lines = []
    for edge in order.edges:
        points = [places[edge[0]], *bends[edge], places[edge[1]]]
        assert np.diff([y for _, y in points]).tolist() == [1] * (len(points) - 1)
        lines += itertools.pairwise(points)
    crossing = [
        (a, b)
        for a in lines
        for b in lines
        if a[0][1] == b[0][1] and (a[0][0] - b[0][0]) * (a[1][0] - b[1][0]) < 0
    ]
    assert crossing == []


def test_the_label_of_an_edge_is_what_it_adds(analysis):
    figure = complexity_figure(analysis)
    assert isinstance(figure, Figure)
    labels = [text.get_text() for text in figure.axes[1].texts]
    assert {"seaquest", "none", "space invaders", "V", "S, P", "H, S, P"} <= set(labels)
    assert len(labels) == len(analysis.order.edges) + len(analysis.order.games)


def test_without_features_there_is_no_order(tmp_path):
    write_run(tmp_path, "CartPole-v1", [1])
    assert complexity_figure(analyse(tmp_path, FEATURES, [1])) is None


def test_figures_fit_many_games(tmp_path):
    features = {f"game {i:02}": {f"f{j}" for j in range(5) if (i >> j) & 1} for i in range(14)}
    for game in features:
        write_run(tmp_path, game, [1, 2, 3])
        write_run(tmp_path, game, [2, 3, 4], "transfer", "game 00")
    analysis = analyse(tmp_path, features, [1])
    for draw in (game_curves_figure, complexity_figure, transferability_figure, prediction_figure):
        figure = draw(analysis)
        assert figure is None or png(figure, dpi=40)
    assert not re.search("nan", (write_analysis(tmp_path, tmp_path, features, [1])).read_text().lower())
