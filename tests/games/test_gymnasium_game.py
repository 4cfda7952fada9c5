"""Gymnasium's environments as games."""

import builtins
import json
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import tiny_environment

from moduli.errors import InputError, MissingExtra
from moduli.games.gymnasium_game import GymnasiumGame

ONE = np.array([0])


def choose(outputs: int, action: int) -> np.ndarray:
    """Outputs of a network that chooses an action."""
    return np.eye(outputs)[[action]]


def test_it_is_the_environment_that_gymnasium_makes():
    game, bare = GymnasiumGame("CartPole-v1"), gymnasium.make("CartPole-v1")
    assert (game.inputs, game.outputs) == (4, 2)
    arena = game.open(1)
    arena.reset(0, 7)
    seen, _ = bare.reset(seed=7)
    total = 0.0
    for step in range(300):
        np.testing.assert_array_equal(arena.observe(ONE), [seen])
        rewards, ended = arena.step(ONE, choose(2, step % 2))
        seen, reward, terminated, truncated, _ = bare.step(step % 2)
        total += rewards[0]
        assert (rewards[0], ended[0]) == (reward, terminated or truncated)
        if ended[0]:
            break
    assert total == step + 1 > 10


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [("Acrobot-v1", 6, 3), ("Taxi-v4", 500, 6), ("Blackjack-v1", 32 + 11 + 2, 2), ("Tiny-v0", 5 + 2, 3)],
)
def test_observations_are_flattened(name, inputs, outputs):
    game = GymnasiumGame(name)
    assert (game.inputs, game.outputs) == (inputs, outputs)


def test_numbers_out_of_a_few_are_one_hot_and_dictionaries_are_joined():
    arena = GymnasiumGame("Tiny-v0").open(1)
    arena.reset(0, 0)
    for _ in range(30):
        row = arena.observe(ONE)[0]
        assert row[:5].sum() == row[:5].max() == 1.0
        assert np.all(np.abs(row[5:]) <= 1)
        if arena.step(ONE, choose(3, 2))[1][0]:
            break
    assert arena.observe(ONE)[0].argmax() == 4  # where the episode ended


def test_the_strongest_output_acts_and_of_equal_ones_the_first():
    arena = GymnasiumGame("Tiny-v0").open(1)
    for outputs, rises in (([0.1, 0.2, 0.9], True), ([0.1, 0.2, 0.2], False), ([0.0, 0.0, 0.0], False)):
        arena.reset(0, 2)  # no wind in the first step
        rewards, _ = arena.step(ONE, np.array([outputs]))
        assert (rewards[0] > 0) == rises  # action 3, the last of those that begin with 1, goes forward


def test_observations_that_were_handed_out_do_not_change():
    arena = GymnasiumGame("CartPole-v1").open(2)
    for slot in (0, 1):
        arena.reset(slot, slot)
    before = arena.observe(np.array([0, 1]))
    kept = before.copy()
    arena.step(np.array([0, 1]), np.eye(2))
    np.testing.assert_array_equal(before, kept)


@pytest.mark.parametrize(
    ("name", "given", "limit"),
    [("Tiny-v0", None, 10_000), ("Short-v0", None, 7), ("Tiny-v0", 5, 5), ("Short-v0", 9, 9)],
)
def test_every_episode_ends(name, given, limit):
    game = GymnasiumGame(name, max_steps=given)
    assert game.max_steps == limit
    if limit > 100:
        return
    arena = game.open(1)
    arena.reset(0, 0)
    ends = [arena.step(ONE, choose(3, 0))[1][0] for _ in range(limit)]  # against the wall for ever
    assert ends == [False] * (limit - 1) + [True]


def test_what_is_written_down_makes_the_same_game():
    game = GymnasiumGame("tiny_environment:Tiny-v0", max_steps=8, options={"colour": 9})
    written = json.loads(json.dumps(game.to_json()))
    assert written == {"name": "tiny_environment:Tiny-v0", "max_steps": 8, "options": {"colour": 9}}
    assert GymnasiumGame(**written) == game
    assert hash(replace(game, max_steps=9)) != hash(game)


@pytest.mark.filterwarnings("ignore:.*latest versioned")
def test_the_version_is_written_down():
    assert GymnasiumGame("CartPole").name == "CartPole-v1"


def test_options_reach_the_environment():
    arena = GymnasiumGame("Tiny-v0", options={"colour": 90}).open(1)
    arena.reset(0, 0)
    assert arena.screen(0).max() == 90


@pytest.mark.parametrize(
    ("name", "further", "said"),
    [
        ("CartPol-v1", {}, "no environment 'CartPol-v1'.* did you mean 'CartPole-v1'"),
        ("CartPole-v9", {}, "did you mean 'CartPole-v1'"),
        ("no_such_module:Tiny-v0", {}, "cannot be made: No module named 'no_such_module'"),
        ("two words", {}, "cannot be made: Malformed environment ID"),
        (
            "MountainCarContinuous-v0",
            {},
            r"actions .* are Box\(.*\): only a Discrete",
        ),
        ("Buttons-v0", {}, r"actions of Buttons-v0 are MultiDiscrete\(\[2 3\]\): only a Discrete"),
        ("Words-v0", {}, "observations of Words-v0 are Sequence.*no fixed size"),
        ("CartPole-v1", {"options": {"wind": 3}}, "cannot be made: .*unexpected keyword argument 'wind'"),
        ("CartPole-v1", {"options": {"max_episode_steps": 3}}, "give max_steps instead"),
        ("CartPole-v1", {"options": {"colour": {1, 2}}}, "options of CartPole-v1 are not JSON"),
        ("CartPole-v1", {"max_steps": 0}, "max_steps of CartPole-v1 is 0: give at least 1"),
    ],
)
def test_bad_input_is_one_line(name, further, said):
    with pytest.raises(InputError, match=said) as caught:
        GymnasiumGame(name, **further)
    assert "\n" not in str(caught.value)


def test_without_gymnasium_one_line_says_what_to_install(monkeypatch):
    bare = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.partition(".")[0] == "gymnasium":
            raise ImportError(name)
        return bare(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingExtra, match=r"CartPole-v1 needs .*'gymnasium': pip install 'moduli\[rl\]'"):
        GymnasiumGame("CartPole-v1")


def test_an_environment_without_pictures_says_so():
    arena = GymnasiumGame("Blind-v0").open(1)
    arena.reset(0, 0)
    with pytest.raises(InputError, match=r"Blind-v0 has no pictures: its render modes are \[\]"):
        arena.screen(0)


def test_what_is_missing_for_a_picture_is_said(monkeypatch):
    arena = GymnasiumGame("Tiny-v0").open(1)
    arena.reset(0, 0)

    def undrawn(self):
        raise gymnasium.error.DependencyNotInstalled("pygame is not installed\nat all")

    monkeypatch.setattr(tiny_environment.Tiny, "render", undrawn)
    with pytest.raises(InputError, match=r"Tiny-v0 cannot draw its screen: pygame is not installed$"):
        arena.screen(0)
