"""Games by their names, and as others were played."""

import pytest

from moduli.errors import InputError
from moduli.games.gymnasium_game import GymnasiumGame
from moduli.games.named import game_from_json, game_named

CART = GymnasiumGame("CartPole-v1", max_steps=20)


@pytest.fixture
def atari():
    pytest.importorskip("ale_py")
    from moduli.games.atari.game import AtariGame

    return AtariGame


def test_names_of_atari_games_and_ids_of_gymnasium(atari):
    assert game_named("pong") == atari("pong")
    assert game_named("pong", sticky=0.0, frame_skip=4, max_frames=9) == atari("pong", 0.0, 4, 9)
    assert game_named("CartPole-v1") == GymnasiumGame("CartPole-v1")
    assert game_named("CartPole-v1", max_frames=20) == CART


def test_settings_of_an_atari_game_hold_for_all_of_them(atari):
    like = atari("freeway", sticky=0.1, frame_skip=4, max_frames=900).to_json()
    assert game_named("pong", like) == atari("pong", 0.1, 4, 900)
    assert game_named("pong", like, frame_skip=2) == atari("pong", 0.1, 2, 900)
    assert game_named("pong", CART.to_json()) == atari("pong")


def test_settings_of_an_environment_hold_for_no_other():
    like = GymnasiumGame("FrozenLake-v1", max_steps=9, options={"is_slippery": False}).to_json()
    assert game_named("FrozenLake-v1", like).to_json() == like
    assert game_named("FrozenLake-v1", like, max_frames=5).to_json() == {**like, "max_steps": 5}
    assert game_named("CartPole-v1", like) == GymnasiumGame("CartPole-v1")


def test_json_gives_the_game_back(atari):
    for game in (CART, atari("boxing", frame_skip=3)):
        assert game_from_json(game.to_json()) == game


@pytest.mark.parametrize(
    ("name", "further", "said"),
    [
        ("Pong", {}, "unknown game 'Pong', did you mean 'pong'"),
        ("CartPole", {}, "unknown game 'CartPole', .*with their version, such as CartPole-v1"),
        ("CartPole-v1", {"sticky": 0.25}, "CartPole-v1 has no sticky: it is of Atari games only"),
        ("CartPole-v1", {"max_frames": 0}, "max_steps of CartPole-v1 is 0"),
    ],
)
def test_bad_input_is_one_line(name, further, said):
    with pytest.raises(InputError, match=said) as caught:
        game_named(name, **further)
    assert "\n" not in str(caught.value)
