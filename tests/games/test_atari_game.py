"""Atari games as games: episodes are pure functions of their seeds and outputs."""

import pickle
import sys
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("ale_py", reason="ale-py is not installed")

from moduli.errors import InputError, MissingExtra
from moduli.games.atari.actions import decode
from moduli.games.atari.emulators import borrow, give_back
from moduli.games.atari.game import AtariGame
from moduli.games.atari.names import GAMES


def random_outputs(steps, seed=0):
    """Outputs for some steps, each held for four of them."""
    return np.random.default_rng(seed).normal(size=(-(-steps // 4), 10)).repeat(4, axis=0)[:steps]


def episode(arena, slot, seed, outputs, others=()):
    """Observations, rewards and ends of one slot, while other slots play something else."""
    arena.reset(slot, seed)
    slots = np.array([*others, slot])
    elsewhere = np.random.default_rng(99)
    seen, rewards, ends = [arena.observe(np.array([slot]))[0]], [], []
    for chosen in outputs:
        reward, ended = arena.step(slots, np.vstack([elsewhere.normal(size=(len(others), 10)), chosen]))
        seen.append(arena.observe(slots)[-1])
        rewards.append(reward[-1])
        ends.append(ended[-1])
    return np.stack(seen), np.array(rewards), np.array(ends)


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", GAMES)
def test_all_games_run(name):
    game = AtariGame(name)
    arena = game.open(2)
    slots, reached = np.arange(2), np.zeros(game.inputs)
    for slot in slots:
        arena.reset(slot, int(slot))
    for outputs in random_outputs(300):
        seen = arena.observe(slots)
        assert seen.shape == (2, game.inputs)
        assert seen.dtype == np.float32
        reached += seen.sum(axis=0)
        rewards, ended = arena.step(slots, np.stack([outputs, -outputs]))
        assert (rewards.shape, rewards.dtype, ended.shape, ended.dtype) == ((2,), np.float64, (2,), bool)
        for slot in np.flatnonzero(ended):
            arena.reset(slot, 5)
    assert arena.screen(0).shape == (210, 160, 3)
    assert reached[:80].sum() >= 590  # it sees itself all the time
    assert len(np.flatnonzero(reached)) > 5
    arena.close()
    arena.close()


def test_an_episode_is_a_pure_function_of_its_seed_and_outputs():
    game, outputs = AtariGame("seaquest"), random_outputs(250)
    arena = game.open(3)
    expected = episode(arena, 0, 7, outputs)
    assert same(episode(arena, 2, 7, outputs), expected)
    episode(arena, 1, 8, outputs)
    assert same(episode(arena, 1, 7, outputs, others=(0, 2)), expected)
    picture = arena.screen(1)
    arena.close()
    again = game.open(1)
    assert same(episode(again, 0, 7, outputs), expected)
    np.testing.assert_array_equal(again.screen(0), picture)
    assert not same(episode(again, 0, 8, outputs), expected)
    again.close()


@pytest.mark.parametrize("name", ["pong", "breakout", "space_invaders"])
def test_without_sticky_actions_it_is_the_bare_emulator(name):
    arena, outputs = AtariGame(name, sticky=0.0).open(1), random_outputs(400)
    bare = borrow(name).ale
    bare.reset_game()  # not the restored state
    arena.reset(0, 3)
    np.testing.assert_array_equal(arena.screen(0), bare.getScreenRGB())
    for chosen in outputs:
        reward, ended = arena.step(np.array([0]), chosen[None])
        assert reward[0] == bare.act(int(decode(chosen[None])[0]))
        assert ended[0] == bare.game_over()
        np.testing.assert_array_equal(arena._memory[0], bare.getRAM())
    np.testing.assert_array_equal(arena.screen(0), bare.getScreenRGB())
    arena.close()


def test_sticky_actions_all_the_time_never_act():
    outputs = random_outputs(200)
    nothing = np.full((200, 10), -1.0)
    nothing[:, 4] = 1
    stuck, still = AtariGame("boxing", sticky=1.0).open(1), AtariGame("boxing", sticky=0.0).open(1)
    expected = episode(still, 0, 1, nothing)
    assert same(episode(stuck, 0, 1, outputs), expected)
    assert not same(episode(still, 0, 1, outputs), expected)
    stuck.close()
    still.close()


def test_a_quarter_of_the_frames_repeat_the_action_that_was_executed_before():
    arena = AtariGame("pong").open(1)
    arena.reset(0, 11)
    executed = []
    slot = arena._slots[0]
    act, slot._act = slot._act, lambda action: executed.append(action) or act(action)
    directions = np.full((2, 10), -1.0)
    directions[0, 3] = directions[1, 5] = 1  # left and right by turns
    chosen = decode(directions)
    for step in range(4000):
        arena.step(np.array([0]), directions[step % 2][None])
    repeated = sum(action != chosen[step % 2] for step, action in enumerate(executed))
    # By turns, the action before is the chosen one if that before it was a repeat too: s = q (1 - s).
    assert abs(repeated / 4000 - 0.25 / 1.25) < 0.02
    changes = sum(a != b for a, b in pairwise(executed))
    assert changes > 2000
    arena.close()


def test_repeats_come_with_their_probability():
    from moduli.games.atari.game import _repeats

    flips = _repeats(0.25, 4)
    assert abs(np.mean([next(flips) for _ in range(20_000)]) - 0.25) < 0.01
    assert not any(next(_repeats(0.0, seed)) for seed in range(20))


def test_four_skipped_frames_are_four_steps():
    outputs = random_outputs(400)
    one, four = (
        AtariGame("breakout", sticky=0.0).open(1),
        AtariGame("breakout", sticky=0.0, frame_skip=4).open(1),
    )
    seen, rewards, ends = episode(one, 0, 0, outputs)
    by_four = episode(four, 0, 0, outputs[::4])
    np.testing.assert_array_equal(by_four[0], seen[::4])
    np.testing.assert_array_equal(by_four[1], rewards.reshape(-1, 4).sum(axis=1))
    np.testing.assert_array_equal(by_four[2], ends.reshape(-1, 4).any(axis=1))
    one.close()
    four.close()


@pytest.mark.parametrize(("frame_skip", "steps"), [(1, 10), (4, 3)])
def test_an_episode_ends_after_so_many_frames(frame_skip, steps):
    arena = AtariGame("pong", max_frames=10, frame_skip=frame_skip).open(1)
    for _ in range(2):
        ends = episode(arena, 0, 0, random_outputs(steps))[2]
        assert ends.tolist() == [False] * (steps - 1) + [True]
        assert arena._slots[0].emulator.ale.getEpisodeFrameNumber() == 10
    arena.close()


def test_an_episode_ends_with_the_game():
    arena = AtariGame("breakout").open(1)
    arena.reset(0, 0)
    fire = np.r_[np.eye(9)[4], 1][None]
    for frames in range(1, 5000):  # noqa: B007
        if arena.step(np.array([0]), fire)[1][0]:
            break
    assert frames < 4000
    assert arena._slots[0].emulator.ale.lives() == 0
    arena.close()


def test_open_arenas_share_no_emulator_and_closed_ones_are_used_again():
    game = AtariGame("pong")
    first, second = game.open(2), game.open(2)
    emulators = {id(slot.emulator.ale) for arena in (first, second) for slot in arena._slots}
    assert len(emulators) == 4
    second.close()
    second.close()
    third = game.open(2)
    assert {id(slot.emulator.ale) for slot in third._slots} <= emulators - {
        id(slot.emulator.ale) for slot in first._slots
    }
    first.close()
    third.close()


def test_the_first_picture_is_that_of_the_new_episode():
    arena = AtariGame("freeway").open(1)
    first = arena.screen(0)
    episode(arena, 0, 0, random_outputs(100))
    assert not np.array_equal(arena.screen(0), first)
    arena.reset(0, 1)
    np.testing.assert_array_equal(arena.screen(0), first)
    arena.close()


def test_a_game_is_plain_data():
    game = AtariGame("pong", sticky=0.1, frame_skip=4, max_frames=100)
    assert pickle.loads(pickle.dumps(game)) == game
    assert game.to_json() == {"name": "pong", "sticky": 0.1, "frame_skip": 4, "max_frames": 100}
    assert AtariGame(**game.to_json()) == game
    assert (game.inputs, game.outputs) == (240, 10)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"name": "Pongg"}, "did you mean 'pong'"),
        ({"name": "chess"}, "known: asterix"),
        ({"name": "pong", "sticky": 1.5}, "sticky is 1.5"),
        ({"name": "pong", "sticky": float("nan")}, "sticky is nan"),
        ({"name": "pong", "frame_skip": 0}, "frame_skip is 0"),
        ({"name": "pong", "frame_skip": 2.5}, "frame_skip is 2.5"),
        ({"name": "pong", "max_frames": -1}, "max_frames is -1"),
    ],
)
def test_bad_arguments_give_one_line(arguments, says):
    with pytest.raises(InputError, match=says) as caught:
        AtariGame(**arguments)
    assert "\n" not in str(caught.value)


def test_without_the_package_it_says_which_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(MissingExtra, match=r"ale-py.*moduli\[atari\]"):
        AtariGame("pong")


def test_emulators_are_lent_to_one_at_a_time():
    one, other = borrow("pong"), borrow("pong")
    assert one is not other
    give_back("pong", one)
    assert borrow("pong") is one
    give_back("pong", one)
    give_back("pong", other)
