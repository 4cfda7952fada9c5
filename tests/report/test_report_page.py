"""The page: whole, self-contained, with everything that a user wrote shown as text."""

import json
import re
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

from moduli.errors import InputError
from moduli.evaluation.summary import read_summary, write_summary
from moduli.report import Picture, write_report
from moduli.report.routes import routes_figure
from moduli.sharing.route import chain

VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Text, ids, links and embedded things of a page; checks that every element is closed."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.ids, self.links, self.text = [], [], [], [], ""
        self.attributes = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        given = dict(attrs)
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "a":
            self.links.append(given["href"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data


def report(folder, pictures=()):
    path = write_report(folder, pictures)
    assert path == folder / "report.html"
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture
def bare(make, tmp_path):
    """A run folder with a summary and nothing else: the fastest to report on."""
    write_summary(tmp_path / "summary.json", make(["heart"], ["single", "soft"], range(3), steps=2).summary())
    return tmp_path


@pytest.fixture(scope="module")
def folder(maker, tmp_path_factory):
    folder = maker.write(tmp_path_factory.mktemp("run") / "clinic")
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_every_part_is_there_and_every_link_of_the_contents_leads_somewhere(page):
    assert [link for link in page.links if link.startswith("#")] == [
        "#result",
        "#tasks",
        "#pairs",
        "#curves",
        "#sharing",
        "#details",
        "#reading",
        "#run",
    ]
    assert {link[1:] for link in page.links} <= set(page.ids)
    for words in ("soft", "heart", "Δm", "test split was read once", "moduli run clinic.yaml --seeds 5"):
        assert words in page.text
    assert "sharing: {kind: soft, layers: 4, width: 32}" in page.text
    assert "torch 2.13.0" in page.text


def test_ids_are_unique(page):
    assert len(page.ids) == len(set(page.ids))


def test_nothing_is_loaded_from_elsewhere(folder, page):
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    sources = [value for name, value in page.attributes if name in ("src", "srcset", "data")]
    assert all(value.startswith("data:") for value in sources)
    links = [value for name, value in page.attributes if name in ("href", "xlink:href")]
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)


def test_every_figure_has_words_for_those_who_cannot_see_it(page):
    figures = page.tags.count("figure")
    assert figures == page.tags.count("figcaption") == page.tags.count("svg") == 8
    assert sum(name == "role" and value == "img" for name, value in page.attributes) == figures


def test_figures_are_files_too(folder):
    assert sorted(path.name for path in (folder / "plots").iterdir()) == [
        "comparison.png",
        "curves-loss.png",
        "curves-metric.png",
        "curves.png",
        "gains.png",
        "relatedness-3.png",
        "scales-over-time-3.png",
        "soft-order-3.png",
    ]


def test_the_same_folder_gives_the_same_files(bare):
    def files():
        write_report(bare)
        return {path.name: path.read_bytes() for path in bare.rglob("*.*")}

    assert files() == files()


def test_what_a_user_wrote_is_shown_as_text(make, tmp_path):
    nasty = "<script>alert('x')</script>"
    made = make([nasty, 'a & "b"'], ["single", "<b>soft</b>"], [0, 1], steps=3)
    folder = made.write(tmp_path / "run")
    (folder / "config.yaml").write_text(f"name: {nasty}\n")
    (folder / "run.json").write_text(json.dumps({"command": f"moduli run '{nasty}'", "started": nasty}))
    summary = read_summary(folder / "summary.json")
    summary |= {"name": nasty, "device": nasty, "versions": {nasty: nasty}}
    summary["failures"] = [{"method": "soft", "seed": 0, "error": nasty}]
    write_summary(folder / "summary.json", summary)
    page = report(folder)
    assert not {"script", "b"} & set(page.tags)
    assert page.text.count(nasty) > 8
    assert 'a & "b"' in page.text
    assert "<b>soft</b>" in page.text


def test_a_summary_alone_is_enough(bare):
    page = report(bare)
    assert "#curves" not in page.links
    assert "Configuration" not in page.text
    assert "#sharing" in page.links


def test_a_summary_with_the_least_that_the_schema_asks_for(tmp_path):
    summary = {
        "schema": 1,
        "name": "least",
        "tasks": [{"name": "a", "kind": "binary", "metric": "accuracy", "direction": "higher"}],
        "methods": {"soft": {"tasks": {"a": {"values": [0.5], "mean": 0.5, "ci95": None}}}},
        "seeds": [0],
    }
    write_summary(tmp_path / "summary.json", summary)
    assert "0.5000" in report(tmp_path).text


def test_failures_gaps_and_single_seeds_are_said_aloud(make, tmp_path):
    made = make(["heart", "stay"], ["single", "soft"], [0], steps=3)
    folder = made.write(tmp_path / "run", methods=["single", "soft", "gone"])
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"method": "so')
    text = report(folder).text
    assert "one seed only" in text
    assert "Results that are missing, of 2: gone 2." in text
    assert "with one seed cannot be told from single" in text
    assert "metrics.jsonl that could not be read: 1" in text


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ([1.0, 3.0], "soft does better than single on one task"),
        ([-3.0, -1.0], "soft does worse than single on one task"),
        ([-1.0, 3.0], "soft is not clearly different from single on one task"),
        (None, "soft cannot be told from single"),
    ],
)
def test_the_verdict_follows_the_interval(bare, interval, words):
    summary = read_summary(bare / "summary.json")
    summary["comparisons"][0]["ci95"] = interval
    write_summary(bare / "summary.json", summary)
    assert words in report(bare).text


def test_validation_samples_used_for_the_test_are_noticed(bare):
    summary = read_summary(bare / "summary.json")
    for method in summary["methods"].values():
        method["tasks"]["heart"]["val"]["loss"] = method["tasks"]["heart"]["loss"]
    write_summary(bare / "summary.json", summary)
    text = report(bare).text
    assert "Validation and test scores are equal" in text
    assert "read once" not in text


def test_sessions_of_a_run_are_read_and_programs_lose_their_folder(bare):
    sessions = [
        {"started": "2030-01-02", "command": "'/a b/bin/moduli' run x.yaml", "torch": "2"},
        {"started": "2030-01-03", "command": "/venv/moduli/__main__.py resume 'my run'"},
    ]
    data = {"heart": {"notes": ["column <x> is empty"]}}
    (bare / "run.json").write_text(json.dumps({"schema": 1, "sessions": sessions, "data": data}))
    text = report(bare).text
    for words in (
        "moduli run x.yaml",
        "python -m moduli resume 'my run'",
        "2030-01-02",
        "column <x> is empty",
    ):
        assert words in text
    assert "bin/moduli" not in text


def test_ready_made_figures_are_embedded(bare):
    drawing = bare / "drawing.svg"
    drawing.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    pictures = [
        Picture("mine", "A caption <1>", 'alt "1"', Figure()),
        Picture("other", "A caption 2", 'alt "2"', drawing),
    ]
    page = report(bare, pictures)
    assert "#figures" in page.links
    assert "A caption <1>" in page.text
    assert ("aria-label", 'alt "1"') in page.attributes
    assert ("alt", 'alt "2"') in page.attributes
    assert (bare / "plots" / "mine.png").exists()


@pytest.mark.parametrize("content", [None, "{", '{"schema": 7}'])
def test_without_a_summary_there_is_one_clear_line(tmp_path, content):
    if content is not None:
        (tmp_path / "summary.json").write_text(content)
    with pytest.raises(InputError, match=r"^[^\n]*summary\.json[^\n]*$"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_routes_are_drawn_where_orders_of_shared_modules_differ(make):
    orders = {"permuted": [[0, 1, 2], [2, 0, 1]], "hard": [[0, 1, 2]] * 2, "single": [[0, 1, 2], [3, 4, 5]]}
    made = make(["a", "b"], list(orders), [0], steps=2)
    for outcome in made.outcomes:
        routes = zip(["a", "b"], orders[outcome.method], strict=True)
        outcome.extra["routes"] = {task: chain(order).to_json() for task, order in routes}
    summary = made.summary()
    assert len(routes_figure(summary, "permuted").axes) == 2
    assert routes_figure(summary, "hard") is None
    assert routes_figure(summary, "single") is None
