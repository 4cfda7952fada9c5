"""The numbers of the analysis, on runs small enough to work them out by hand."""

import json
import math
import shutil

import pytest
from made_up_games import FEATURES, write_experiment, write_run

from moduli.errors import InputError, RunError
from moduli.games.analysis import analyse, load_runs, success, threshold, training_complexity

GENERATIONS = (1, 3)


@pytest.fixture
def folder(tmp_path):
    """Two games; by hand: success on pong at generations 1 and 3 is 3 + 7 from scratch, 2 + 6 at random."""
    write_run(tmp_path, "pong", [2, 4, 8], seed=0, test=5)
    write_run(tmp_path, "pong", [4, 5, 6], seed=1, test=3)
    write_run(tmp_path, "pong", [2, 2, 6], "random")
    write_run(tmp_path, "pong", [5, 9, 10], "transfer", "breakout", seed=0, test=4)
    write_run(tmp_path, "pong", [3, 6, 6], "transfer", "breakout", seed=1, test=8)
    write_run(tmp_path, "breakout", [0, 1, 2], seed=0)
    write_run(tmp_path, "breakout", [0, 5, 7], seed=1)
    return tmp_path


@pytest.fixture
def analysis(folder):
    return analyse(folder, FEATURES, GENERATIONS)


# ------------------------------------------------------------------ reading


def test_runs_are_read_from_their_settings_wherever_they_lie(folder):
    moved = folder / "any" / "where"
    moved.parent.mkdir()
    shutil.move(folder / "transfer" / "pong-from-breakout" / "seed1", moved)
    runs = load_runs(folder)
    assert len(runs) == 7
    (run,) = [run for run in runs if run.path.parent.as_posix() == "any/where"]
    assert (run.game, run.condition, run.source, run.seed) == ("pong", "transfer", "breakout", 1)
    assert run.scores == (3, 6, 6)
    assert run.final == 6
    assert run.test == 8
    assert run.finished


def test_unfinished_runs_are_read_but_left_out_of_the_numbers(folder, analysis):
    write_run(folder, "pong", [100], "transfer", "breakout", seed=2, finished=False)
    assert sum(not run.finished for run in load_runs(folder)) == 1
    again = analyse(folder, FEATURES, GENERATIONS)
    assert again.pairs == analysis.pairs
    assert again.runs == analysis.runs
    assert "Not finished, and left out: transfer/pong-from-breakout/seed2." in again.notes


def test_where_nothing_is_finished_what_there_is_is_shown(tmp_path):
    write_run(tmp_path, "pong", [1, 2], finished=False)
    write_run(tmp_path, "pong", [], seed=1, finished=False)
    analysis = analyse(tmp_path, FEATURES, [1])
    assert len(analysis.runs) == 1
    assert "No run is finished" in analysis.notes[0]


def test_no_runs_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"has no runs .*: train first") as caught:
        load_runs(tmp_path)
    assert "\n" not in str(caught.value)
    write_run(tmp_path, "pong", [], finished=False)
    with pytest.raises(InputError, match="no run has a generation yet"):
        analyse(tmp_path, FEATURES)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda record: record.pop("settings"), "no 'settings'"),
        (lambda record: record["settings"]["game"].pop("name"), "no 'name'"),
        (lambda record: record["settings"].update(condition="alone"), "condition 'alone'"),
        (lambda record: record["settings"].update(condition="transfer"), "without the name of its source"),
        (lambda record: record["generations"].pop(0), "generations are not 1, 2, 3"),
        (lambda record: record["generations"][1].update(best_so_far=None), "None where a score"),
        (lambda record: record["generations"][1].update(best_so_far="high"), "'high' where a score"),
        (lambda record: record.update(generations=[]), "finished without a generation"),
        (lambda record: record.update(generations=3), "damaged"),
        (lambda record: record.update(test={"mean": None}), "None where a score"),
        (lambda record: record.update(settings=[]), "damaged"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(tmp_path, damage, reason):
    path = write_run(tmp_path, "pong", [1, 2])
    record = json.loads(path.read_text())
    damage(record)
    path.write_text(json.dumps(record))
    with pytest.raises(RunError, match=reason) as caught:
        load_runs(tmp_path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_was_cut_off_is_named(tmp_path):
    path = write_run(tmp_path, "pong", [1, 2])
    path.write_text(path.read_text()[:100])
    with pytest.raises(RunError, match="is damaged"):
        load_runs(tmp_path)


def test_one_run_that_lies_there_twice_is_refused(folder):
    shutil.copytree(folder / "scratch" / "pong" / "seed0", folder / "copy")
    with pytest.raises(InputError, match="the same setup and seed"):
        load_runs(folder)


# ------------------------------------------------------------------ success and effectiveness


def test_success_is_a_sum_over_generations_of_means_over_runs(folder):
    scratch = [run for run in load_runs(folder) if (run.game, run.condition) == ("pong", "scratch")]
    assert success(scratch, [1]) == 3
    assert success(scratch, [1, 3]) == 3 + 7
    assert success(scratch, [1, 2, 3]) == 3 + 4.5 + 7
    assert math.isnan(success([], [1]))


def test_transfer_effectiveness_by_hand(analysis):
    # Success of the transfer 4 + 8; final scores of all runs of pong go from 6 to 10.
    (pair,) = analysis.pairs
    assert (pair.source, pair.target, pair.runs, pair.success) == ("breakout", "pong", 2, 12)
    assert pair.effectiveness == {"scratch": (12 - 10) / 4, "random": (12 - 8) / 4}


def test_the_range_of_a_game_is_over_all_its_runs_of_any_condition(folder):
    write_run(folder, "pong", [0, 0, 16], "random", seed=1)
    (pair,) = analyse(folder, FEATURES, GENERATIONS).pairs
    assert pair.effectiveness["scratch"] == pytest.approx((12 - 10) / 10)
    assert pair.effectiveness["random"] == pytest.approx((12 - (1 + 11)) / 10)


def test_generations_beyond_the_shortest_run_are_dropped_for_all_and_that_is_said(folder):
    write_run(folder, "breakout", [0, 1], seed=2)
    analysis = analyse(folder, FEATURES, [1, 2, 3, 200])
    assert analysis.generations == (1, 2)
    assert analysis.pairs[0].success == 4 + 7.5
    assert any("without 3, 200: scratch/breakout/seed2 has 2 generations" in note for note in analysis.notes)


@pytest.mark.parametrize("generations", [[4, 5], [0], []])
def test_generations_that_no_run_has_are_refused(folder, generations):
    with pytest.raises(InputError, match="has 1 to 3; give some of these"):
        analyse(folder, FEATURES, generations)


def test_equal_scores_leave_effectiveness_unknown(tmp_path):
    write_run(tmp_path, "pong", [1, 2])
    write_run(tmp_path, "pong", [2, 2], "transfer", "breakout")
    analysis = analyse(tmp_path, FEATURES, [1])
    assert math.isnan(analysis.pairs[0].effectiveness["scratch"])
    assert analysis.graphs["scratch"] == ()
    assert any("All runs of pong end with one score" in note for note in analysis.notes)
    assert analysis.to_json()["pairs"][0]["effectiveness"] == {"scratch": None, "random": None}


def test_a_control_that_was_not_played_is_said(tmp_path):
    write_run(tmp_path, "pong", [1, 2])
    write_run(tmp_path, "pong", [1, 3], "transfer", "breakout")
    analysis = analyse(tmp_path, FEATURES, [1, 2])
    assert analysis.pairs[0].effectiveness["scratch"] == 1
    assert math.isnan(analysis.pairs[0].effectiveness["random"])
    assert set(analysis.graphs) == {"scratch"}
    assert any("No run of pong is from random" in note for note in analysis.notes)


# ------------------------------------------------------------------ indicators


def test_threshold_and_time_to_it_by_hand(folder, analysis):
    scratch = [run for run in load_runs(folder) if (run.game, run.condition) == ("breakout", "scratch")]
    assert threshold(scratch) == 2  # of highest scores 2 and 7
    assert training_complexity(scratch) == (3 + 2) / 2
    assert analysis.complexity == {"pong": 3, "breakout": 2.5}  # pong: threshold 6, at generations 3 and 3


def test_every_run_from_scratch_reaches_the_threshold(tmp_path):
    write_experiment(tmp_path, ["pong", "asterix"], generations=30, seeds=5, skip=("random", "transfer"))
    runs = [run for run in load_runs(tmp_path) if run.game == "pong"]
    assert all(1 <= run.time_to(threshold(runs)) <= 30 for run in runs)
    assert math.isnan(runs[0].time_to(1e9))


def test_indicators_by_hand(tmp_path):
    for game in ("seaquest", "boxing"):
        write_run(tmp_path, game, [1, 2, 2])
    write_run(tmp_path, "seaquest", [1, 3, 3], "transfer", "boxing")
    (pair,) = analyse(tmp_path, FEATURES, [1]).pairs
    assert list(pair.indicators.values()) == [3, 3, 5, 2, 2]


def test_a_game_without_features_or_runs_from_scratch_has_no_such_indicators(tmp_path):
    write_run(tmp_path, "CartPole-v1", [1, 2])
    write_run(tmp_path, "CartPole-v1", [1, 3], "transfer", "pong")
    analysis = analyse(tmp_path, FEATURES, [1])
    known = [not math.isnan(number) for number in analysis.pairs[0].indicators.values()]
    assert known == [False, True, False, False, True]
    assert any("No complexity features are known of CartPole-v1" in note for note in analysis.notes)
    assert any("no run from scratch: pong" in note for note in analysis.notes)


# ------------------------------------------------------------------ curves, graphs, table


def test_learning_curves_are_means_over_all_sources(folder):
    write_run(folder, "pong", [1, 3, 11], "transfer", "freeway")
    curve = analyse(folder, FEATURES, [1]).curves["pong"]["transfer"]
    assert curve.runs == 3
    assert curve.mean.tolist() == [3, 6, 9]
    assert curve.spread.tolist() == pytest.approx([2, 3, math.sqrt(7)])


def test_a_shorter_run_keeps_its_last_score_in_the_curve(folder):
    write_run(folder, "pong", [4], "random", seed=1)
    assert analyse(folder, FEATURES, [1]).curves["pong"]["random"].mean.tolist() == [3, 3, 5]


def test_an_edge_of_a_graph_means_positive_effectiveness(tmp_path):
    write_experiment(tmp_path, list(FEATURES)[:5], generations=12, seeds=2, transfers=1)
    analysis = analyse(tmp_path, FEATURES)
    for control, edges in analysis.graphs.items():
        positive = {(p.source, p.target) for p in analysis.pairs if p.effectiveness[control] > 0}
        assert set(edges) == positive
        assert 0 < len(edges) < len(analysis.pairs)


def test_the_table_by_hand(folder, analysis):
    write_run(folder, "pong", [0, 0, 9], "transfer", "freeway", test=20)
    (row, other) = analyse(folder, FEATURES, GENERATIONS).table
    assert (row.game, other.game) == ("pong", "breakout")
    scratch = row.scratch
    assert (scratch.mean, scratch.runs, scratch.test, scratch.tested) == (7, 2, 4, 2)
    assert scratch.spread == scratch.test_spread == pytest.approx(math.sqrt(2))
    assert (row.random.mean, row.random.tested) == (6, 0)
    assert math.isnan(row.random.spread)
    assert math.isnan(row.random.test)
    assert {source: score.mean for source, score in row.transfer.items()} == {"breakout": 8, "freeway": 9}
    assert row.best == "freeway"
    assert other.random is None
    assert other.transfer == {}
    assert other.best is None


def test_the_best_source_is_not_chosen_by_fresh_episodes(folder):
    write_run(folder, "pong", [0, 0, 7], "transfer", "freeway", test=1000)
    row = analyse(folder, FEATURES, GENERATIONS).table[0]
    assert row.best == "breakout"
    assert row.transfer["breakout"].test == 6


# ------------------------------------------------------------------ the whole


def test_the_order_of_the_runs_changes_nothing(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    write_experiment(first, list(FEATURES)[:4], generations=12, seeds=2, transfers=2)
    paths = sorted(first.glob("**/search.json"), reverse=True)
    for number, path in enumerate(paths):
        target = second / f"{number:03}" / "search.json"
        target.parent.mkdir(parents=True)
        shutil.copy(path, target)
    one, other = (analyse(folder, FEATURES).to_json() for folder in (first, second))
    for part in ("games", "pairs", "predictions", "graphs", "table", "complexity"):
        assert _rounded(one[part]) == _rounded(other[part])


def _rounded(value):
    return json.loads(json.dumps(value), parse_float=lambda text: round(float(text), 9))


def test_runs_from_scratch_alone_have_curves_and_a_table(tmp_path):
    write_experiment(tmp_path, ["pong", "breakout"], generations=3, skip=("random", "transfer"))
    analysis = analyse(tmp_path, FEATURES)
    assert analysis.pairs == ()
    assert analysis.predictions == {}
    assert analysis.graphs == {}
    assert analysis.notes == ()
    assert set(analysis.curves) == {"pong", "breakout"}
    assert len(analysis.table) == 2


def test_json_has_everything_but_no_settings_and_no_nan(analysis):
    content = analysis.to_json()
    text = json.dumps(content, allow_nan=False)
    assert json.loads(text) == content
    assert content["runs"][0]["path"] == "random/pong/seed0/search.json"
    assert "settings" not in content["runs"][0]
    assert content["features"]["pong"] == ["vertical"]
    assert content["order"]["edges"][0] == {"from": [], "to": ["horizontal"]}
    assert content["curves"]["pong"]["random"]["spread"] == [None] * 3


def test_runs_under_different_conditions_of_play_are_pointed_out(folder):
    path = write_run(folder, "pong", [1, 2, 3], "random", seed=5, evaluations=20)
    record = json.loads(path.read_text())
    record["settings"]["game"]["frame_skip"] = 4
    path.write_text(json.dumps(record))
    notes = analyse(folder, FEATURES, [1]).notes
    assert "Runs differ in evaluations: 20, 100." in notes
    assert "Runs of pong differ in frame_skip." in notes
