"""GRUSM-ESP as a whole: bursts and recruits, transfer, the same numbers after a stop, bad input."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
from toy import Cue

from moduli.errors import InputError, Interrupted, RunError
from moduli.evolution.evaluators import Processes
from moduli.games.episodes import play
from moduli.games.networks import EVERYWHERE, Architecture, Networks, Neuron, random_network
from moduli.games.saved import load_network
from moduli.games.search import evolve_network

SMALL = {"generations": 4, "evaluations": 12, "trials": 4, "units": 2, "subpopulation": 6, "test": 20}


def source(units: int = 3, inputs: int = 5, outputs: int = 2, trained_on: str | None = "other"):
    network = random_network(Architecture(inputs, outputs, (Neuron(),) * units), 1)
    return replace(network, trained_on=trained_on)


def records(folder) -> dict:
    return json.loads((folder / "search.json").read_text())


def test_a_cue_is_learned_by_memory_alone():
    """A self loop must hold the cue over the blank steps; without one the best score is -0.5 on average."""
    found = evolve_network(Cue(), seed=0, target=0.0, **{**SMALL, "generations": 40, "trials": 12})
    assert found.fitness == 0
    assert np.mean(found.test) > -0.1
    without = found.network
    for genome in without.genomes:
        genome[1] = 0  # the self loop
    forgetful = play(Cue(), Networks.of(without), np.arange(100)[None]).scores
    assert forgetful.mean() < -0.2


def test_scores_do_not_depend_on_slots():
    networks = Networks.of(*(random_network(Architecture(2, 2, (Neuron(),) * 2), s) for s in range(1)))
    architecture = networks.architecture
    networks = Networks.of(*(random_network(architecture, seed) for seed in range(6)))
    seeds = np.arange(18).reshape(6, 3)
    expected = play(Cue(3), networks, seeds, slots=1)
    for slots in (2, 5, 18, 50):
        found = play(Cue(3), networks, seeds, slots)
        np.testing.assert_array_equal(found.scores, expected.scores)
        np.testing.assert_array_equal(found.lengths, np.full((6, 3), 4))


def test_records_of_a_search(tmp_path):
    found = evolve_network(Cue(), folder=tmp_path, **SMALL)
    content = records(tmp_path)
    assert [record["generation"] for record in content["generations"]] == [1, 2, 3, 4]
    so_far = [record["best_so_far"] for record in content["generations"]]
    assert so_far == np.maximum.accumulate([r["best"] for r in content["generations"]]).tolist()
    assert all(record["steps"] == 12 * 4 * 3 for record in content["generations"])
    assert content["finished"] is True
    assert content["settings"]["condition"] == "scratch"
    assert content["best"]["fitness"] == found.fitness == so_far[-1]
    assert content["test"]["scores"] == found.test
    assert len(found.test) == 20


def test_the_saved_network_scores_what_its_record_says(tmp_path):
    found = evolve_network(Cue(), [source()], folder=tmp_path, **SMALL)
    saved = load_network(tmp_path)
    seeds = np.arange(40)[None]
    expected = play(Cue(), Networks.of(found.network), seeds).scores
    np.testing.assert_array_equal(play(Cue(), Networks.of(saved), seeds).scores, expected)
    assert saved.trained_on == "cue"


def test_bursts_come_after_patience_and_every_second_one_brings_a_recruit():
    settings = {**SMALL, "generations": 12, "patience": 2, "target": None}
    # Nothing is better than the best there is: the cue is never told to networks that cannot remember it.
    found = evolve_network(Cue(blank=50), seed=3, **{**settings, "trials": 30})
    events = [record["event"] for record in found.generations]
    best = [record["best_so_far"] for record in found.generations]
    stale = bursts = 0
    for number, event in enumerate(events):
        better = number == 0 or best[number] > best[number - 1]
        stale, bursts = (0, 0) if better else (stale + 1, bursts)
        expected = None
        if stale == 2:
            stale, bursts = 0, bursts + 1
            expected = "burst" if bursts == 1 else "recruit"
            bursts %= 2
        assert event == expected
    assert "recruit" in events
    recruits = [record["recruits"] for record in found.generations]
    grown = [event == "recruit" for event in events[:-1]]
    np.testing.assert_array_equal(np.diff(recruits), grown)


def test_a_source_that_waits_is_the_first_recruit(tmp_path):
    settings = {**SMALL, "generations": 12, "patience": 1, "trials": 30, "wait": True}
    found = evolve_network(Cue(blank=50), [source()], folder=tmp_path, seed=3, **settings)
    events = [record["event"] for record in found.generations]
    assert "recruit" in events
    assert found.generations[0]["recruits"] == 2
    assert records(tmp_path)["settings"]["condition"] == "transfer"


def test_from_the_start_the_source_is_there_beside_the_units():
    found = evolve_network(Cue(), [source()], **SMALL)
    assert list(found.network.architecture.sources) == [0]
    assert found.network.architecture.units == [1, 2]
    assert found.generations[0]["recruits"] == 3


def test_lesions_remove_units_that_do_not_help():
    """All scores are 0 in a game that cannot be lost, so no unit is of any use: one is left."""
    settings = {**SMALL, "generations": 6, "patience": 1, "units": 4}
    found = evolve_network(Harmless(), lesion=True, **settings)
    assert [r["recruits"] for r in found.generations] == [4, 4, 4, 1, 1, 2]
    assert [r["event"] for r in found.generations] == [None, "burst", "lesion", "burst", "recruit", "burst"]


class Harmless(Cue):
    def open(self, slots):
        arena = super().open(slots)
        lose = arena.step
        arena.step = lambda slots, outputs: (np.zeros(len(slots)), lose(slots, outputs)[1])
        return arena


@pytest.mark.parametrize("links", ["dissertation", "everywhere"])
def test_where_episodes_are_played_changes_nothing(tmp_path, links):
    settings = {**SMALL, "generations": 3, "evaluations": 25}
    settings |= {"links": EVERYWHERE} if links == "everywhere" else {}
    here = evolve_network(Cue(), [source()], folder=tmp_path / "a", **settings)
    there = evolve_network(
        Cue(), [source()], folder=tmp_path / "b", evaluator=Processes(workers=2), **settings
    )
    assert here.generations == there.generations
    assert (tmp_path / "a" / "search.json").read_bytes() == (tmp_path / "b" / "search.json").read_bytes()
    weights = "network.safetensors"
    assert (tmp_path / "a" / weights).read_bytes() == (tmp_path / "b" / weights).read_bytes()


class Stops:
    """Ctrl-C after some jobs."""

    def __init__(self, after: int):
        self.left = after

    def begin(self, title, jobs, done): ...

    def started(self, job, worker): ...

    def finished(self, result):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt

    def end(self): ...


@pytest.mark.parametrize("after", [1, 4, 7, 10, 15])
def test_a_stopped_search_goes_on_to_the_same_bytes(tmp_path, after):
    settings = {**SMALL, "generations": 5, "evaluations": 25, "patience": 1, "trials": 2}
    whole = evolve_network(Cue(), [source()], folder=tmp_path / "whole", **settings)
    with pytest.raises(Interrupted, match="stopped after"):
        evolve_network(Cue(), [source()], folder=tmp_path / "stopped", progress=Stops(after), **settings)
    played = len((tmp_path / "stopped" / "journal.jsonl").read_text().splitlines())
    again = evolve_network(Cue(), [source()], folder=tmp_path / "stopped", **settings)
    assert played == after
    assert again.generations == whole.generations
    for name in ("search.json", "network.json", "network.safetensors"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    lines = [(tmp_path / which / "journal.jsonl").read_text().splitlines() for which in ("stopped", "whole")]
    assert [json.loads(a)["id"] for a in lines[0]] == [json.loads(b)["id"] for b in lines[1]]


def test_going_on_plays_nothing_again_and_may_go_further(tmp_path):
    first = evolve_network(Cue(), folder=tmp_path, **SMALL)
    before = (tmp_path / "search.json").read_bytes()
    evolve_network(Cue(fails_at=0), folder=tmp_path, **SMALL)  # would fail if it played
    assert (tmp_path / "search.json").read_bytes() == before
    further = evolve_network(Cue(), folder=tmp_path, **{**SMALL, "generations": 6})
    assert further.generations[:4] == first.generations
    assert len(further.generations) == 6


class DiesOnce(Cue):
    """The worker that first opens it is killed, as by a lack of memory."""

    def open(self, slots):
        path = os.environ["MODULI_TEST_DIES"]
        if not os.path.exists(path):
            open(path, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().open(slots)


def test_a_worker_that_dies_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("MODULI_TEST_DIES", str(tmp_path / "died"))
    settings = {**SMALL, "generations": 2, "evaluations": 30}
    lives = evolve_network(Cue(), **settings)
    dies = evolve_network(DiesOnce(), evaluator=Processes(workers=2), **settings)
    assert (tmp_path / "died").exists()
    assert dies.generations == lives.generations


def test_a_failed_episode_is_one_line_and_is_played_again(tmp_path):
    with pytest.raises(RunError, match="cue, generation 1: RuntimeError: the plug was pulled"):
        evolve_network(Cue(fails_at=1), folder=tmp_path, **SMALL)
    found = evolve_network(Cue(), folder=tmp_path, **SMALL)
    assert found.generations == evolve_network(Cue(), **SMALL).generations


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "of a search with seed 0, now it is 1: give another folder"),
        ({"trials": 2}, "with trials 4, now it is 2"),
        ({"sources": [source()]}, "with condition scratch, now it is transfer"),
        ({"game": Cue(blank=3)}, "with game.blank 2, now it is 3"),
    ],
)
def test_a_folder_of_another_search_gives_one_line(tmp_path, changes, message):
    evolve_network(Cue(), folder=tmp_path, **SMALL)
    with pytest.raises(InputError, match=message):
        evolve_network(**{"game": Cue(), "folder": tmp_path, **SMALL, **changes})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"generations": 0}, "generations is 0: give at least 1"),
        ({"subpopulation": 1}, "subpopulation is 1: give at least 2"),
        ({"mutation": 1.5}, "mutation is 1.5: give a number from 0 to 1"),
        ({"units": 0}, "units is 0 and there is no source at the start"),
        ({"lesion": True, "links": EVERYWHERE}, "leave one of them out"),
    ],
)
def test_impossible_settings_give_one_line(settings, message):
    with pytest.raises(InputError, match=message):
        evolve_network(Cue(), **settings)


def test_a_network_of_another_shape_gives_one_line():
    with pytest.raises(InputError, match="the network has 5 inputs, cue needs 2") as caught:
        play(Cue(), Networks.of(source()), np.zeros((1, 1), int))
    assert "\n" not in str(caught.value)


def test_conditions_are_told_by_the_sources(tmp_path):
    settings = {**SMALL, "generations": 1}
    evolve_network(Cue(), [source(trained_on=None)], folder=tmp_path / "r", **settings)
    evolve_network(Cue(), [source()], folder=tmp_path / "t", **settings)
    assert records(tmp_path / "r")["settings"]["condition"] == "random"
    assert records(tmp_path / "t")["settings"]["source"] == "other"
