"""`moduli games`: tiny searches on environments of Gymnasium, from the command to the files."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from moduli.cli.main import app
from moduli.games import search
from moduli.games.saved import load_network

SIZES = ("--evaluations", 4, "--trials", 1, "--units", 2, "--test", 3, "--max-frames", 30, "--workers", 1)
TINY = ("--generations", 2, *SIZES)
CART, CAR = "CartPole-v1", "Acrobot-v1"


def moduli(*words: str | Path | int):
    return CliRunner().invoke(app, ["games", *map(str, words)], prog_name="moduli")


def record(folder: Path) -> dict:
    return json.loads((folder / "search.json").read_text())


@pytest.fixture(autouse=True)
def _modules_of_tests(monkeypatch):
    """Those that register environments can be imported, as those of users in the folder they work in."""
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "games")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two games that were learned from scratch, with two seeds."""
    folder = tmp_path_factory.mktemp("games")
    result = moduli("train", "--games", f"{CART}, {CAR}", "--out", folder, "--seeds", 2, *TINY)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of it, to be changed."""
    return shutil.copytree(trained, tmp_path / "games")


def test_train_searches_for_every_game_and_seed(trained):
    found = sorted(str(path.parent.relative_to(trained)) for path in trained.glob("**/search.json"))
    assert found == [f"scratch/{name}/seed{seed}" for name in (CAR, CART) for seed in (0, 1)]
    for name, seed in ((CART, 0), (CAR, 1)):
        done = record(trained / "scratch" / name / f"seed{seed}")
        settings = done["settings"]
        assert (done["finished"], len(done["generations"])) == (True, 2)
        assert settings["game"] == {"name": name, "max_steps": 30, "options": {}}
        assert (settings["condition"], settings["seed"]) == ("scratch", seed)
        assert (settings["evaluations"], settings["trials"], settings["units"]) == (4, 1, 2)
    first, second = (record(trained / "scratch" / CART / f"seed{seed}") for seed in (0, 1))
    assert first["generations"] != second["generations"]


def test_the_results_are_shown(trained):
    result = moduli("train", "--games", CART, "--out", trained, "--seeds", 2, *TINY)
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[0] == ["search", "generations", "best", "score", "test", "score"]
    for seed in (0, 1):
        done = record(trained / "scratch" / CART / f"seed{seed}")
        said = [f"{done['best']['fitness']:.6g}", f"{done['test']['mean']:.6g}"]
        assert rows[seed + 1] == [f"{CART},", "seed", str(seed), "2", *said]


def test_what_is_finished_is_not_repeated(folder, monkeypatch):
    monkeypatch.setattr("moduli.games.search.NetworkSearch.run", None)  # nothing may call it
    result = moduli("train", "--games", CART, "--out", folder, "--seeds", 2, *TINY)
    assert result.exit_code == 0
    assert "2 of 2 searches were finished before" in result.stderr


def test_more_generations_go_on(folder):
    before = record(folder / "scratch" / CART / "seed0")["generations"]
    assert moduli("train", "--games", CART, "--out", folder, *SIZES, "--generations", 3).exit_code == 0
    after = record(folder / "scratch" / CART / "seed0")
    assert (after["generations"][:2], len(after["generations"])) == (before, 3)


def test_a_search_that_was_stopped_goes_on_to_the_same_result(trained, tmp_path, monkeypatch):
    words = ("train", "--games", CART, "--out", tmp_path, "--seeds", 2, *TINY)
    played, calls = search.played, []

    def stopped(game, content):
        calls.append(game)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return played(game, content)

    monkeypatch.setattr(search, "played", stopped)
    result = moduli(*words)
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == (
        f"{CART}: stopped after 1 generations; what was finished is kept; 2 of 2 searches are "
        "not finished: the same command goes on from there"
    )
    assert record(tmp_path / "scratch" / CART / "seed0")["finished"] is False
    monkeypatch.undo()
    assert moduli(*words).exit_code == 0
    for seed in (0, 1):
        where = Path("scratch") / CART / f"seed{seed}"
        assert record(tmp_path / where) == record(trained / where)


def test_transfer_reuses_the_best_networks_for_every_pair(folder):
    result = moduli("transfer", folder, "--control", "--workers", 1)
    assert result.exit_code == 0, result.output
    pairs = sorted(path.parent.parent.name for path in folder.glob("transfer/*/seed*/search.json"))
    assert pairs == sorted([f"{CART}-from-{CAR}"] * 2 + [f"{CAR}-from-{CART}"] * 2)
    where = folder / "transfer" / f"{CART}-from-{CAR}" / "seed1"
    settings, scratch = record(where)["settings"], record(folder / "scratch" / CART / "seed1")["settings"]
    assert (settings["condition"], settings["source"], settings["seed"]) == ("transfer", CAR, 1)
    for name in ("game", "generations", "evaluations", "trials", "units", "test"):
        assert settings[name] == scratch[name]  # not given, so as it was learned from scratch
    (source,) = load_network(where).architecture.sources.values()
    champion = load_network(folder / "scratch" / CAR / "seed1")
    assert source.trained_on == CAR
    for ours, theirs in zip(source.genomes, champion.genomes, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_control_has_random_networks_of_the_size_of_trained_ones(folder):
    result = moduli("transfer", folder, "--games", CART, "--control", "--workers", 1)
    assert result.exit_code == 0, result.output
    assert sorted(str(p.relative_to(folder)) for p in folder.glob("random/*/*")) == [
        f"random/{CART}/seed{seed}" for seed in (0, 1)
    ]
    random = [load_network(folder / "random" / CART / f"seed{seed}") for seed in (0, 1)]
    sources = [next(iter(network.architecture.sources.values())) for network in random]
    assert {source.trained_on for source in sources} == {None}
    sizes = {load_network(folder / "scratch" / CAR / f"seed{seed}").parameters for seed in (0, 1)}
    assert {source.parameters for source in sources} <= sizes
    assert not np.array_equal(sources[0].genomes[0], sources[1].genomes[0])
    settings = record(folder / "random" / CART / "seed0")["settings"]
    assert (settings["condition"], settings["source"]) == ("random", None)


def test_a_control_keeps_its_source_when_more_is_trained(folder):
    words = ("transfer", folder, "--games", CART, "--sources", CAR, "--control", "--workers", 1)
    assert moduli(*words).exit_code == 0
    before = record(folder / "random" / CART / "seed0")
    more = ("train", "--games", f"{CART},{CAR},Acrobot-v1", "--out", folder, "--seeds", 3, *TINY)
    assert moduli(*more).exit_code == 0
    assert moduli(*words).exit_code == 0
    assert record(folder / "random" / CART / "seed0") == before
    assert record(folder / "random" / CART / "seed2")["finished"]


def test_what_is_given_to_transfer_is_changed_for_it_alone(folder):
    words = ("--games", CART, "--sources", CAR, "--seeds", 1, "--generations", 1, "--max-frames", 20)
    assert moduli("transfer", folder, *words, "--workers", 1).exit_code == 0
    settings = record(folder / "transfer" / f"{CART}-from-{CAR}" / "seed0")["settings"]
    assert (settings["generations"], settings["evaluations"], settings["game"]["max_steps"]) == (1, 4, 20)
    assert not (folder / "transfer" / f"{CART}-from-{CAR}" / "seed1").exists()


def test_a_game_that_was_not_learned_from_scratch_is_learned_as_its_source_was(folder):
    words = ("--games", "Blackjack-v1", "--sources", CART, "--seeds", 1)
    assert moduli("transfer", folder, *words, "--workers", 1).exit_code == 0
    settings = record(folder / "transfer" / f"Blackjack-v1-from-{CART}" / "seed0")["settings"]
    assert (settings["generations"], settings["evaluations"]) == (2, 4)
    assert settings["game"]["max_steps"] == 10_000  # of environments, each has its own


def test_play_says_the_scores_of_fresh_episodes(trained):
    where = trained / "scratch" / CART / "seed0"
    result = moduli("play", where, "--episodes", 4, "--seed", 7)
    assert result.exit_code == 0
    said = r"CartPole-v1: mean ([\d.]+), standard deviation [\d.]+, (\d+) to (\d+)\n"
    mean, low, high = map(float, re.fullmatch(said, result.stdout).groups())
    assert 1 <= low <= mean <= high <= 30
    assert moduli("play", where, "--episodes", 4, "--seed", 7).stdout == result.stdout
    alone = [moduli("play", where, "--episodes", 1, "--seed", seed).stdout for seed in range(7, 11)]
    scores = [float(re.search(r"mean ([\d.]+)", line).group(1)) for line in alone]
    assert np.mean(scores) == pytest.approx(mean)


def test_play_records(tmp_path):
    name = "tiny_environment:Tiny-v0"
    assert moduli("train", "--games", name, "--out", tmp_path, *TINY).exit_code == 0
    where = tmp_path / "scratch" / "tiny_environment_Tiny-v0" / "seed0"
    gif, strip = tmp_path / "a.gif", tmp_path / "a.png"
    result = moduli("play", where, "--gif", gif, "--every", 2, "--strip", strip)
    assert result.exit_code == 0
    assert result.stderr == f"written: {gif}\nwritten: {strip}\n"
    assert Image.open(gif).n_frames > 1
    assert Image.open(strip).width > 300


def test_analyse_writes_a_page(folder):
    assert moduli("transfer", folder, "--control", "--workers", 1).exit_code == 0
    result = moduli("analyse", folder)
    assert (result.exit_code, result.stdout) == (0, ""), result.output
    page = Path(result.stderr.splitlines()[-1].removeprefix("analysis: "))
    assert page.parent == folder / "analysis"
    assert CART in page.read_text()
    assert moduli("analyse", folder, "--out", folder / "other").exit_code == 0
    assert (folder / "other" / page.name).exists()
    assert moduli("analyse", folder, "--at", "2,1").exit_code == 0
    assert json.loads((folder / "analysis" / "analysis.json").read_text())["generations"] == [1, 2]
    assert "give whole numbers" in one_line(moduli("analyse", folder, "--at", "1,two"))
    assert "generation" in one_line(moduli("analyse", folder, "--at", "0"))


def test_list_shows_the_atari_games():
    result = moduli("list")
    assert [line.split()[0] for line in result.stdout.splitlines()[1:9:7]] == ["pong", "seaquest"]
    assert "CartPole-v1" in result.stderr


# ------------------------------------------------------------------ what goes wrong


def one_line(result) -> str:
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--games", "pnog"), "unknown game 'pnog', did you mean 'pong'?"),
        (("--games", "CartPol-v1"), "no environment 'CartPol-v1'"),
        (("--games", "MountainCarContinuous-v0"), "only a Discrete action space"),
        (("--games", CART, "--frame-skip", 4), "CartPole-v1 has no frame_skip"),
        (("--games", CART, "--generations", 0), "generations is 0: give at least 1"),
        (("--games", CART, "--seeds", 0), "seeds is 0: give at least 1"),
        (("--games", CART, "--workers", 0), "workers is 0: give at least 1"),
        (("--games", " , "), "no game is named"),
    ],
)
def test_bad_input_to_train_is_one_line(words, said, tmp_path):
    assert said in one_line(moduli("train", "--out", tmp_path, *words))
    assert not list(tmp_path.glob("**/search.json"))


def test_another_setting_in_the_same_folder_is_refused_before_anything_is_run(folder):
    other = [5 if word == 4 else word for word in TINY]
    both = f"Blackjack-v1,{CART}"
    said = one_line(moduli("train", "--games", both, "--out", folder, *other))
    assert "is of a search with evaluations 4, now it is 5: give another folder" in said
    assert not (folder / "scratch" / "Blackjack-v1").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--sources", "pong"), "no network trained from scratch on 'pong', known: Acrobot-v1, CartPole-v1"),
        (("--sources", "CartPol-v1"), "did you mean 'CartPole-v1'?"),
        (("--games", CART, "--sources", CART), "no game is left with another one as its source"),
        (("--seeds", 3), "seed2 was not trained"),
        (("--games", "pnog"), "unknown game 'pnog'"),
        (("--trials", 0), "trials is 0"),
    ],
)
def test_bad_input_to_transfer_is_one_line(words, said, folder):
    assert said in one_line(moduli("transfer", folder, *words))
    assert not (folder / "transfer").exists()


def test_a_source_must_be_there_and_finished(folder, tmp_path):
    assert "has no networks trained from scratch" in one_line(moduli("transfer", tmp_path / "empty"))
    path = folder / "scratch" / CAR / "seed1" / "search.json"
    path.write_text(path.read_text().replace('"finished": true', '"finished": false'))
    assert "seed1 is not finished: only finished networks are reused" in one_line(moduli("transfer", folder))


def test_a_network_of_another_shape_is_refused(folder):
    for name in ("network.json", "network.safetensors"):
        shutil.copy(folder / "scratch" / CAR / "seed0" / name, folder / "scratch" / CART / "seed0" / name)
    said = one_line(moduli("play", folder / "scratch" / CART / "seed0"))
    assert "the network has 6 inputs, CartPole-v1 needs 4" in said


def test_a_damaged_network_is_said_to_be(folder):
    where = folder / "scratch" / CART / "seed0"
    (where / "network.safetensors").write_bytes(b"no weights")
    result = moduli("play", where)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (3, "", 1)
    assert re.search("error: .*seed0/network.* (is damaged|does not belong)", result.stderr)
    (where / "network.json").unlink()
    assert "has no trained network (network.json is missing)" in one_line(moduli("play", where))
    assert "is not the folder of a search" in one_line(moduli("play", folder))


def test_damaged_records_are_said_to_be(folder):
    where = folder / "scratch" / CART / "seed0"
    for name, words in (("search.json", ("transfer", folder)), ("settings.json", ("play", where))):
        for content, said in (("{}", "is damaged"), ("{", "is damaged")):
            (where / name).write_text(content)
            result = moduli(*words)
            assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (3, "", 1)
            assert f"{name} {said}" in result.stderr


def test_a_game_that_fails_has_exit_code_3_and_says_what_is_kept(tmp_path):
    name = "tiny_environment:Broken-v0"
    result = moduli("train", "--games", name, "--out", tmp_path, *TINY)
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.endswith("RuntimeError: the plug was pulled; earlier results are kept\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--episodes", 0), "episodes is 0"),
        (("--seed", -1), "seed is -1"),
        (("--gif", "a.png"), "would be a .gif file"),
        (("--strip", "a.gif"), "would be a .png file"),
    ],
)
def test_bad_input_to_play_is_said_before_anything_is_played(words, said, trained):
    assert said in one_line(moduli("play", trained / "scratch" / CART / "seed0", *words))


# ------------------------------------------------------------------ help


@pytest.mark.parametrize("command", ["train", "transfer", "play", "analyse", "list"])
def test_the_help_of_every_command_has_an_example(command):
    result = moduli(command, "--help")
    assert result.exit_code == 0
    assert f"Example: moduli games {command}" in " ".join(result.stdout.split())


def test_help_loads_nothing_heavy():
    heavy = {"torch", "numpy", "gymnasium", "ale_py", "PIL", "matplotlib"}
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom moduli.cli.main import app\n"
        "assert 'transfer' in CliRunner().invoke(app, ['games', '--help']).stdout\n"
        f"print(sorted({heavy!r} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
