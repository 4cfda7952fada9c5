"""What every `Game` promises, whatever is played."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from toy import Cue

from moduli.games.gymnasium_game import GymnasiumGame

STEPS = 25


def _pong():
    pytest.importorskip("ale_py")
    from moduli.games.atari.game import AtariGame

    return AtariGame("pong", max_frames=100)


GAMES = {
    "CartPole": lambda: GymnasiumGame("CartPole-v1"),
    "made up": lambda: GymnasiumGame("tiny_environment:Tiny-v0", max_steps=20),
    "no library's": Cue,
    "Atari": _pong,
}


@pytest.fixture(params=GAMES)
def game(request):
    return GAMES[request.param]()


def outputs(game, seed: int) -> np.ndarray:
    """What some network puts out in every step of an episode."""
    return np.random.default_rng(seed).uniform(-1, 1, (STEPS, game.outputs))


def trace(game, seed: int, acts: np.ndarray) -> list[tuple]:
    """An episode that is played alone: what is seen before every step, and what comes of it."""
    arena, slot, seen = game.open(1), np.array([0]), []
    arena.reset(0, seed)
    for act in acts:
        before = arena.observe(slot)[0].tolist()
        rewards, ended = arena.step(slot, act[None])
        seen.append((before, rewards[0], ended[0]))
        if ended[0]:
            break
    arena.close()
    return seen


def test_a_game_is_plain_data(game):
    copy = pickle.loads(pickle.dumps(game))
    assert copy == game
    assert (copy.name, copy.inputs, copy.outputs) == (game.name, game.inputs, game.outputs)
    assert trace(copy, 3, outputs(game, 0)) == trace(game, 3, outputs(game, 0))


def test_its_json_says_what_is_played(game):
    written = game.to_json()
    assert json.loads(json.dumps(written)) == written
    assert written["name"] == game.name
    assert type(game)(**written) == game


def test_shapes_and_types(game):
    arena, slots = game.open(3), np.array([2, 0])
    for slot in range(3):
        arena.reset(slot, slot)
    seen = arena.observe(slots)
    assert (seen.shape, seen.dtype) == ((2, game.inputs), np.float32)
    rewards, ended = arena.step(slots, outputs(game, 0)[:2])
    assert (rewards.shape, rewards.dtype) == ((2,), np.float64)
    assert (ended.shape, ended.dtype) == ((2,), np.bool_)
    arena.close()


def test_the_same_seed_and_outputs_are_the_same_episode(game):
    assert trace(game, 5, outputs(game, 0)) == trace(game, 5, outputs(game, 0))


def test_another_seed_or_other_outputs_are_another_episode(game):
    episodes = [str(trace(game, seed, outputs(game, acts))) for seed in range(8) for acts in range(8)]
    assert len(set(episodes[::8])) > 1  # of the seeds, with equal outputs
    assert len(set(episodes[:8])) > 1  # of the outputs, with equal seeds


@pytest.mark.parametrize("slot", [0, 2])
def test_an_episode_depends_on_nothing_beside_it_or_before_it(game, slot):
    expected, acts, rng = trace(game, 5, outputs(game, 0)), outputs(game, 0), np.random.default_rng(1)
    arena = game.open(3)
    others = [number for number in range(3) if number != slot]
    for number in range(3):
        arena.reset(number, 40 + number)
    for _ in range(3):  # something was played before
        arena.step(np.arange(3), rng.uniform(-1, 1, (3, game.outputs)))
    arena.reset(slot, 5)
    for step, (before, reward, ended) in enumerate(expected):
        for number in others:  # in the other slots, episodes are cut short all the time
            arena.reset(number, int(rng.integers(1000)))
        among = np.array([others[0], slot, others[1]]) if step % 2 else np.array([slot, others[1]])
        row = among.tolist().index(slot)
        np.testing.assert_array_equal(arena.observe(among)[row], np.float32(before))
        beside = rng.uniform(-1, 1, (len(among), game.outputs))
        beside[row] = acts[step]
        rewards, ends = arena.step(among, beside)
        assert (rewards[row], ends[row]) == (reward, ended)
    arena.close()


def test_a_screen_is_a_picture(game):
    if game.name == "CartPole-v1":
        pytest.importorskip("pygame")
    arena = game.open(1)
    arena.reset(0, 0)
    picture = arena.screen(0)
    height, width, colours = picture.shape
    assert (colours, picture.dtype) == (3, np.uint8)
    assert height >= 8
    assert width >= 8
    assert picture.any()
    arena.close()


def test_closing_twice_does_no_harm(game):
    arena = game.open(2)
    arena.reset(1, 0)
    arena.close()
    arena.close()
