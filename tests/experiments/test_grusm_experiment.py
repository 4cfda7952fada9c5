"""The experiment on reuse across Atari games: what each scale runs, and what it leaves behind."""

# pyright: reportMissingImports=false

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ale_py")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "experiments"))

import common
import grusm_atari

from moduli.files import read_json
from moduli.games import Esp, load_network, run_plans
from moduli.games.atari.names import FEATURES, GAMES

TINY = grusm_atari.SCALES["smoke"]._replace(
    max_frames=40,
    evolution={
        "generations": 2,
        "evaluations": 4,
        "trials": 1,
        "subpopulation": 2,
        "finalists": 1,
        "test": 2,
    },
    generations=(1, 2),
)


def run(folder: Path) -> None:
    """All conditions of two games."""
    for make in grusm_atari.plans(TINY, folder, 1, TINY.games).values():
        run_plans(make(), say=lambda line: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("grusm")
    run(folder)
    return folder


def test_the_paper_scale_is_that_of_the_dissertation(tmp_path):
    scale = grusm_atari.SCALES["paper"]
    plans = grusm_atari.plans(scale, tmp_path, scale.seeds, scale.games)["scratch"]()
    assert Counter(plan.game.name for plan in plans) == dict.fromkeys(GAMES, 5)
    esp = plans[0].settings
    assert (esp.generations, esp.evaluations, esp.trials) == (200, 100, 5)
    assert scale.generations == (1, 10, 50, 100, 200)
    assert {plan.game.to_json()["max_frames"] for plan in plans} == {50_000}


def test_every_scale_is_one_that_can_be_analysed():
    assert grusm_atari.SCALES.keys() == set(common.SCALES)
    for scale in grusm_atari.SCALES.values():
        esp = Esp(**scale.evolution)
        assert max(scale.generations) == esp.generations
        assert len(scale.games) >= 2  # else nothing could be reused


def test_bursts_can_occur_at_the_cpu_scale():
    """Two in a row, so that a unit is recruited; and all workers have jobs of the same size."""
    esp = Esp(**grusm_atari.SCALES["cpu"].evolution)
    assert 1 + 2 * esp.patience < esp.generations
    assert esp.evaluations % 20 == 0


def test_the_games_of_the_cpu_scale_span_the_order_of_complexity():
    features = [FEATURES[name] for name in grusm_atari.SCALES["cpu"].games]
    assert [len(some) for some in features] == [2, 3, 5]
    assert features[2] == features[0] | features[1] | {"horizontal"}


def test_all_pairs_of_games_are_run_under_all_conditions(folder):
    records = [read_json(path)["settings"] for path in folder.glob("**/search.json")]
    found = Counter((some["condition"], some["game"]["name"], some["source"]) for some in records)
    a, b = TINY.games
    expected = [("scratch", a, None), ("scratch", b, None), ("transfer", a, b), ("transfer", b, a)]
    assert found == Counter([*expected, ("random", a, None), ("random", b, None)])


def test_what_is_reused_is_the_best_network_of_the_other_game(folder):
    a, b = TINY.games
    reusing = load_network(folder / "transfer" / f"{a}-from-{b}" / "seed0")
    trained = load_network(folder / "scratch" / b / "seed0")
    (source,) = reusing.architecture.sources.values()
    assert source.trained_on == b
    for genome, other in zip(source.genomes, trained.genomes, strict=True):
        np.testing.assert_array_equal(genome, other)


def test_one_machine_learns_some_games_with_all_as_sources(folder):
    game, other = TINY.games
    plans = grusm_atari.plans(TINY, folder, 1, [game])["transfer"]()
    assert [plan.title for plan in plans] == [f"{game} from {other}, seed 0"]


def test_the_same_command_again_plays_nothing(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.glob("**/journal.jsonl")}
    run(folder)
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("**/journal.jsonl")}
    assert len(before) == 6


def test_the_results_are_numbers_and_figures(folder, tmp_path, capsys):
    grusm_atari.write_results(folder, tmp_path, TINY)
    summary = read_json(tmp_path / "summary.json")
    assert summary["schema"] == 1
    assert summary["settings"] == {"max_frames": 40, **TINY.evolution}
    assert len(summary["runs"]) == 6
    assert {(pair["source"], pair["target"]) for pair in summary["pairs"]} == {TINY.games, TINY.games[::-1]}
    pictures = {path.name: path.read_bytes()[:4] for path in tmp_path.glob("*.png")}
    assert {"game-curves.png", "game-complexity.png"} <= pictures.keys()
    assert set(pictures.values()) == {b"\x89PNG"}
    assert str(tmp_path) in capsys.readouterr().out


def test_a_source_that_was_not_trained_is_one_line(tmp_path, monkeypatch):
    arguments = ["--scale", "paper", "--folder", str(tmp_path), "--games", "pong", "--conditions", "transfer"]
    monkeypatch.setattr(sys, "argv", ["grusm_atari.py", *arguments])
    with pytest.raises(SystemExit, match="train") as error:
        grusm_atari.main()
    assert "\n" not in str(error.value)
