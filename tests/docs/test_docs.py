"""The documentation says what is true: its examples run, its commands exist, its numbers are fresh."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shlex
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
import yaml
from made_up_games import write_experiment

import moduli
from moduli.cli.main import app
from moduli.games.analysis import analyse
from moduli.runs import read_run_file

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
ROOMS = ("balancing", "data", "evaluation", "evolution", "evolution.evaluators", "functional", "games",
         "games.analysis", "games.atari", "hypermodules", "linear",
         "modules", "modules.networks", "pseudotasks", "qls", "report", "runs", "scheduling", "search",
         "sharing", "tasks", "tasks.tables", "training")  # fmt: skip
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of one language."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def pages_with(language: str) -> pytest.MarkDecorator:
    pages = [page for page in PAGES if blocks(page, language)]
    return pytest.mark.parametrize("page", pages, ids=lambda page: str(page.relative_to(ROOT)))


# ------------------------------------------------------------------ examples


@pages_with("python")
def test_python_examples_run(page, tmp_path, monkeypatch, capsys):
    """All blocks of a page, one after another, in an empty folder."""
    code = blocks(page, "python")
    if any("mnist" in block or "omniglot" in block or "uci" in block for block in code):
        _need_data(monkeypatch)
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("example")
    monkeypatch.setitem(sys.modules, "example", module)  # dataclasses look their module up
    for number, block in enumerate(code, start=1):
        exec(compile(block, f"{page.name}, block {number}", "exec"), module.__dict__)


def test_the_coverage_that_is_shown_is_what_is_printed(capsys):
    page = ROOT / "docs" / "reparameterize.md"
    exec(blocks(page, "python")[0], {"__name__": "example"})
    assert capsys.readouterr().out == blocks(page, "text")[0]


def _need_data(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(os.environ.get("MODULI_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "mnist").exists():
        pytest.skip("needs data sets that are not bundled: set MODULI_DATA")
    monkeypatch.setenv("MODULI_DATA", str(folder))


@pytest.fixture
def clinic(tmp_path) -> Path:
    """The tables that the examples of run files speak of, made up."""
    rng, n = np.random.default_rng(0), 80
    age, pressure = rng.normal(50, 10, n), rng.normal(120, 15, n)
    sick = np.where(age + pressure + rng.normal(0, 10, n) > 170, "yes", "no")
    glucose = np.where(np.arange(n) % 5 == 0, np.nan, pressure + rng.normal(0, 5, n))
    frames = {
        "heart": {"age": age, "pressure": pressure, "disease": sick},
        "stay": {"age": age, "ward": rng.choice(["a", "b"], n), "days": 0.1 * age + rng.normal(0, 1, n)},
        "panel": {"age": age, "pressure": pressure, "glucose": glucose, "diabetic": sick},
        "new": {"pressure": pressure[:5], "age": age[:5]},
    }
    for name, columns in frames.items():
        pd.DataFrame(columns).to_csv(tmp_path / f"{name}.csv", index=False)
    return tmp_path


@pages_with("yaml")
def test_run_files_are_understood(page, clinic):
    for block in blocks(page, "yaml"):
        if {"tasks", "sharing"} <= set(yaml.safe_load(block)):
            path = clinic / "example.yaml"
            path.write_text(block, encoding="utf-8")
            read_run_file(path)


def test_the_first_example_runs_and_predicts(clinic):
    """The run file of README.md and of the quick start, for a few steps."""
    (block,) = blocks(ROOT / "README.md", "yaml")
    quick_start = yaml.safe_load(blocks(ROOT / "docs" / "index.md", "yaml")[0])
    assert quick_start == yaml.safe_load(block)
    (clinic / "clinic.yaml").write_text(block, encoding="utf-8")
    few = ["train.steps=20", "train.phase=10", "sharing.layers=2", "sharing.width=4"]
    comparison = moduli.run_file(clinic / "clinic.yaml", clinic / "run", few, seeds=1)
    assert list(comparison.summary["methods"]) == ["soft", "single", "hard"]
    assert [task["name"] for task in comparison.summary["tasks"]] == ["heart", "stay", "glucose", "diabetic"]
    assert (clinic / "run" / "report.html").exists()
    predicted = moduli.load_predictor(clinic / "run").predict("heart", clinic / "new.csv")
    assert len(predicted) == 5
    assert set(predicted["disease"]) <= {"yes", "no"}


# ------------------------------------------------------------------ commands


def commands(page: Path) -> list[list[str]]:
    """The words of every command line shown."""
    lines = [line for block in blocks(page, "console") for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`((?:moduli|make|python) [a-z][^`\n]*)`", page.read_text(encoding="utf-8"))
    return [words for line in lines if (words := shlex.split(line.removeprefix("$ "), comments=True))]


@every_page
def test_commands_exist(page):
    for words in commands(page):
        while "=" in words[0]:  # environment variables
            words = words[1:]
        known = {"moduli": _check_moduli, "make": _check_make, "python": _check_python}
        if words[0] in known:
            known[words[0]](words[1:])
        else:
            assert words[0] in ("pip", "cp", "kill", "mkdocs"), words


def _check_moduli(words: list[str]) -> None:
    command: typer.core.TyperGroup | typer.core.TyperCommand = typer.main.get_command(app)  # type: ignore[assignment]
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"no command {words[0]!r}"
        command, words = command.commands[words[0]], words[1:]
    options = {"-h", "--help"}.union(*(parameter.opts for parameter in command.params))
    for word in words:
        if word.startswith("-"):
            assert word.partition("=")[0] in options, f"no option {word!r}"


def _check_make(words: list[str]) -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(words) <= set(targets), words


def _check_python(words: list[str]) -> None:
    if words[0] == "-m":
        assert importlib.util.find_spec(words[1]), words
    else:
        assert (ROOT / words[0]).is_file(), words


# ------------------------------------------------------------------ links and names


@every_page
def test_relative_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        assert other.is_file(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", other.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in [_anchor(heading) for heading in headings], f"{page.name} links to {target}"


def _anchor(heading: str) -> str:
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


def test_pictures_are_small():
    sizes = {path.name: path.stat().st_size for path in (ROOT / "docs" / "images").glob("*.png")}
    assert sizes
    assert max(sizes.values()) < 150_000, sizes


def documented() -> set[str]:
    """The names that have an entry on an API page."""
    text = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "api").glob("*.md"))
    return set(re.findall(r"^::: (moduli\S*)$", text, flags=re.MULTILINE))


def test_every_public_name_is_on_an_api_page():
    assert not set(moduli.__all__) - {"__version__"} - {entry.rpartition(".")[2] for entry in documented()}


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_of_a_room_is_on_an_api_page(room):
    package = importlib.import_module(f"moduli.{room}")
    names = {name for name in package.__all__ if not isinstance(getattr(package, name), types.ModuleType)}
    assert not names - {entry.rpartition(".")[2] for entry in documented()}


@pytest.mark.parametrize("entry", sorted(documented()))
def test_api_entries_exist(entry):
    place, _, name = entry.rpartition(".")
    assert hasattr(importlib.import_module(place), name)


def test_nothing_is_loaded_from_elsewhere():
    """The site must work without a network."""
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    style = (ROOT / "docs" / "style.css").read_text(encoding="utf-8")
    assert re.search(r"^  font: false\b", config, flags=re.MULTILINE)
    assert not re.search(r"https?://", config + style)
    elsewhere = re.compile(r"!\[[^\]]*\]\(https?:|<script|<img")
    for page in PAGES:
        assert not elsewhere.search(page.read_text(encoding="utf-8")), page.name


# ------------------------------------------------------------------ generated parts


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@every_page
def test_generated_parts_are_fresh(page, generate):
    text = page.read_text(encoding="utf-8")
    assert generate.generated(text, ROOT / "results") == text, "stale: run python docs/generate.py"


def test_every_result_is_shown():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    shown = set(re.findall(r"<!-- \w+: (\S+) -->", text))
    assert {str(p.relative_to(ROOT / "results")) for p in (ROOT / "results").rglob("*.json")} <= shown


SPEED = {
    "device": "test",
    "threads": 2,
    "versions": {"torch": "2"},
    "ratios": {
        "small/moduli-over-plain": {"median": 0.5, "min": 0.4, "max": 0.625, "runs": 9},
        "tables50/moduli-over-tables5": {"median": 4.0, "min": 3.0, "max": 5.0, "runs": 9},
    },
    "memory": {"small": {"ratio": 1.1, "megabytes": {"moduli": 2.2, "plain": 2.0}}},
    "limit": {"small": {"megaflop": 1234.5, "share_of_matmul_speed": 0.125}},
}


def test_a_part_is_written_from_its_file(generate, tmp_path):
    (tmp_path / "speed.json").write_text(generate.json.dumps(SPEED))
    page = "before\n<!-- speed: speed.json -->\nold\n<!-- end -->\n<!-- growth: none.json -->\n<!-- end -->\n"
    written = generate.generated(page, tmp_path)
    assert "| small | plain | 0.50 | 0.40 to 0.62 | 9 | 2.00× |" in written
    assert "| small | 2.20 MB | 2.00 MB | 1.10 |" in written
    assert "| small | 1,234.5 | 12 % |" in generate.limit(SPEED)
    assert "old" not in written
    assert written.startswith("before\n")
    assert "There is no `results/none.json` yet." in written
    assert generate.generated(written, tmp_path) == written
    assert "| 50 | 10 | 4.00 | 3.00 to 5.00 | 9 |" in generate.growth(SPEED)


def test_decoders_are_written_beside_the_least_possible(generate):
    ratio = {"median": 1.5, "min": 1.0, "max": 2.0, "runs": 9}
    keys = [f"{way}-over-{other}" for way in ("shared", "independent") for other in ("one", "loop")]
    keys += ["loop-shared-over-one", "loop-independent-over-one"]
    text = generate.decoders(
        {
            "device": "test",
            "threads": 1,
            "versions": {"torch": "2"},
            "ratios": {f"lstm {part}/{key}": ratio for part in ("step", "decoders") for key in keys},
            "limit": {"lstm": {"least_over_one": {"shared": 1.25, "independent": 2.0}}},
            "memory": {
                "lstm": {"megabytes": {"one": 1, "loop-shared": 2}, "weights": 3, "masked_inputs": 4},
            },
        }
    )
    three = "1.50 (1.00 to 2.00)"
    assert f"| lstm step | shared | {three} | – | {three} | {three} |" in text
    assert f"| lstm decoders | independent | {three} | 2.00 | {three} | {three} |" in text
    assert "| case | one | loop, shared | D × M × C | D × B × M |" in text
    assert "| lstm | 1.00 | 2.00 | 3.00 | 4.00 |" in text


def test_a_comparison_is_written_with_its_summed_loss(generate):
    tasks = moduli.from_arrays("t", np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 2)
    methods = {
        name: lambda seed, order=order: moduli.JointModel(
            tasks, order(["t"], lambda k: moduli.Dense(4), 1), *moduli.dense_ends(tasks, 4)
        )
        for name, order in {"single": moduli.single, "hard": moduli.hard}.items()
    }
    summary = moduli.compare(methods, tasks, seeds=2, steps=4, phase=2, device="cpu").summary
    text = generate.comparison(summary)
    loss = np.mean(summary["methods"]["hard"]["tasks"]["t"]["loss"])
    assert f"| hard | {loss:.3f} ± " in text
    assert "2 seeds" in text
    assert "| hard | +0.00 % |" in text  # one task: hard and single are the same model


def test_searches_of_games_are_written_beside_published_scores(generate, tmp_path):
    games = ("pong", "freeway", "boxing", "seaquest")
    write_experiment(tmp_path, games, generations=10, seeds=2)
    analysis = analyse(tmp_path, generations=[1, 10])
    about = {"settings": {"max_frames": 1500}, "versions": {"moduli": "1"}}
    result = generate.json.loads(generate.json.dumps({**about, **analysis.to_json()}))

    text = generate.scores(result)
    assert "40 searches (8 scratch, 24 transfer, 8 random), 2 seeds. max frames 1500. moduli 1." in text
    runs = [run for run in analysis.runs if run.game == "pong" and run.condition == "transfer"]
    finals, tests = [run.final for run in runs], [run.test for run in runs]
    for values in (finals, tests):  # over all sources
        assert f"| {np.mean(values):.2f} ({np.std(values, ddof=1):.2f}), n = 6 |" in text
    assert "| pong | 0 | 21 | 10 (asterix) | 9.3 | 18.9 |" in text

    text, pair = generate.transfer(result), analysis.pairs[0]
    gains = len(analysis.graphs["random"])
    assert "at generations 1, 10;" in text
    assert f"Against random, {gains} of 12 pairs gain:" in text
    assert f"{abs(pair.effectiveness['scratch']):.2f}" in text

    text, found = generate.prediction(result), analysis.predictions["scratch"]
    assert f"| freeway | delayed rewards, vertical | {analysis.complexity['freeway']:.1f} |" in text
    assert f"| scratch | 12 | {found.r:.2f} |".replace("-", "−") in text.replace("-", "−")


def test_playing_is_written_as_a_share_of_the_limit(generate):
    ratio = {"median": 1.25, "min": 1.0, "max": 2.0, "runs": 3}
    others = ("emulator alone", "plain loop")
    ratios = {f"pong: {a} / {b}": ratio for a in ("ours", "ours with a source", *others[:1]) for b in others}
    text = generate.playing(
        {
            "device": "test",
            "threads": 1,
            "versions": {"torch": "2"},
            "ratios": {**ratios, "two workers / one": {**ratio, "median": 0.5, "min": 0.5}},
            "frames_per_second": {"pong": {"bare": 10_000, "ours": 8_000}},
            "microseconds_per_frame": {
                "pong": {"bare": 100, "emulator and actions": 110, "observation": 10, "network": 5}
            },
            "start_up_microseconds": {"emulator": 90_000, "episode": 30},
        }
    )
    share, times = "80 % (50 to 100)", "0.80× (0.50 to 1.00)"
    assert f"| pong | {share} | {share} | {times} | {times} | 10,000 | 8,000 |" in text
    assert "| pong | 100.0 | 110.0 | 10.0 | 5.0 |" in text
    assert "2.00× (0.50 to 2.00) as fast as one" in text


def test_linear_solvers_are_written_beside_others(generate):
    ratio = {"median": 0.5, "min": 0.4, "max": 0.6, "runs": 9}
    text = generate.solvers(
        {
            "device": "test",
            "threads": 1,
            "versions": {"moduli": "1"},
            "gap": 1e-6,
            "ratios": {"lasso / theirs": ratio, "500 samples of each task / 250": ratio},
            "tolerances": {"lasso": {"moduli": 1e-4, "theirs": 1e-7, "slow loop": None}},
        }
    )
    assert "| lasso | theirs | 0.50 | 0.40 to 0.60 | 9 | 0.0001 / 1e-07 |" in text
    assert "| lasso | slow loop | not reached | – | – | 0.0001 / – |" in text
    assert "| 500 | 2 | 0.50 | 0.40 to 0.60 | 9 |" in text


def test_what_atari_games_show_is_written_from_the_package(generate, tmp_path):
    page = generate.generated("<!-- grids: moduli.games.atari -->\n<!-- end -->\n", tmp_path)
    assert "| `freeway` | Freeway | self, cars | 160 | delayed rewards, vertical |" in page
    assert generate.generated(page, tmp_path) == page


def test_an_unknown_part_is_refused(generate, tmp_path):
    with pytest.raises(SystemExit, match="unknown kind of generated part 'tabel'"):
        generate.generated("<!-- tabel: x.json -->\n<!-- end -->", tmp_path)


def test_the_check_fails_for_a_stale_page(generate, tmp_path, monkeypatch, capsys):
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("nothing generated\n")
    (tmp_path / "docs" / "speed.md").write_text("<!-- speed: speed.json -->\nold\n<!-- end -->\n")
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    with pytest.raises(SystemExit) as stopped:
        generate.main()
    assert stopped.value.code == 1
    assert "docs/speed.md: stale" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["generate.py"])
    generate.main()
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    generate.main()
