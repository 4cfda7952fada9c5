"""Recordings of games: what they show, and the files they become."""

import builtins

import numpy as np
import pytest
from PIL import Image, ImageSequence

from moduli.errors import InputError, MissingExtra
from moduli.games.episodes import play
from moduli.games.gymnasium_game import GymnasiumGame
from moduli.games.networks import Architecture, Networks, Neuron, random_network
from moduli.games.recording import Frame, Recording, record

GAME = GymnasiumGame("tiny_environment:Tiny-v0", max_steps=40)


def network(game=GAME, seed: int = 0):
    return random_network(Architecture(game.inputs, game.outputs, (Neuron(),) * 2), seed)


def made_up(frames: int, shape: tuple[int, int] = (20, 25), noisy: bool = False) -> Recording:
    rng = np.random.default_rng(0)
    pictures = rng.integers(256, size=(frames, *shape, 3)) if noisy else np.zeros((frames, *shape, 3))
    if not noisy:
        for number, picture in enumerate(pictures):
            picture[:, number % shape[1]] = 255
    made = (Frame(step, 0.5 * step, p) for step, p in enumerate(pictures.astype(np.uint8)))
    return Recording(tuple(made), 0.5 * frames, frames)


@pytest.mark.parametrize("seed", range(4))
def test_a_recording_is_the_episode_that_play_plays(seed):
    recording = record(GAME, network(seed=seed), seed)
    played = play(GAME, Networks.of(network(seed=seed)), np.array([[seed]]))
    assert (recording.score, recording.steps) == (played.scores[0, 0], played.lengths[0, 0])
    assert [frame.step for frame in recording.frames] == list(range(recording.steps + 1))
    assert recording.frames[-1].score == recording.score
    assert np.all(np.diff([frame.score for frame in recording.frames]) >= 0)  # rewards are never negative


def stays():
    """An episode of 40 steps: nothing is ever chosen but to stay."""
    quiet = network()
    return type(quiet)(quiet.architecture, tuple(0 * genome for genome in quiet.genomes))


def test_a_fixed_distance_shows_the_beginning():
    recording = record(GAME, stays(), 0, every=3, most_frames=5)
    assert [frame.step for frame in recording.frames] == [0, 3, 6, 9, 12]
    assert recording.steps == 40  # played to the end all the same


def test_without_a_distance_frames_are_spread_over_the_whole_episode():
    recording = record(GAME, stays(), 0, most_frames=9)
    assert [frame.step for frame in recording.frames] == [0, 8, 16, 24, 32, 40]
    assert [frame.step for frame in record(GAME, stays(), 0, most_frames=2).frames] == [0, 40]


def test_the_picture_belongs_to_its_step():
    for frame in record(GAME, network(), 1).frames:
        place = frame.picture[0, :, 0].argmax() // 5
        if frame.step == 0:
            assert place == 0
        assert frame.picture.shape == (20, 25, 3)


def test_a_gif_shows_all_frames(tmp_path):
    path = made_up(12).write_gif(tmp_path / "a.gif", rate=10)
    image = Image.open(path)
    frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]
    assert len(frames) == 12
    assert image.info["duration"] == 100
    assert image.info["loop"] == 0
    assert frames[0].shape == (140, 175, 3)  # 20 by 25, enlarged seven times
    for number, frame in enumerate(frames):
        assert (frame[0, 7 * number : 7 * number + 7] == 255).all()
        assert frame.mean() == pytest.approx(255 / 25)


def test_a_gif_that_would_be_large_leaves_out_frames_and_shows_the_rest_for_longer(tmp_path):
    recording = made_up(16, noisy=True)
    whole = recording.write_gif(tmp_path / "whole.gif").stat().st_size
    path = recording.write_gif(tmp_path / "small.gif", rate=10, most_bytes=whole // 3)
    image = Image.open(path)
    assert path.stat().st_size <= whole // 3
    assert (getattr(image, "n_frames", 1), image.info["duration"]) == (4, 400)


def test_large_pictures_are_reduced(tmp_path):
    path = made_up(2, (300, 960)).write_gif(tmp_path / "a.gif")
    assert Image.open(path).size == (480, 150)


def test_a_strip_shows_frames_side_by_side_from_the_first_to_the_last(tmp_path):
    path = made_up(11, (20, 200)).write_strip(tmp_path / "a.png", pictures=3)
    strip = np.asarray(Image.open(path))
    assert strip.shape == (20 + 28 + 4, 3 * 204 - 4, 3)
    for column, number in enumerate((0, 5, 10)):
        assert (strip[:20, 204 * column + number] == 255).all()
        below = strip[20:, 204 * column : 204 * column + 200]
        assert (below < 99).any()  # a label
    first, last = strip[20:, :200], strip[20:, 408:608]
    assert not np.array_equal(first, last)


def test_a_strip_of_fewer_frames_than_pictures_shows_each_once(tmp_path):
    path = made_up(2, (20, 200)).write_strip(tmp_path / "a.png", pictures=6)
    assert Image.open(path).width == 404


def test_bad_input_is_one_line(tmp_path):
    recording = made_up(2)
    for wrong, said in (
        (lambda: recording.write_gif(tmp_path / "a.png"), "would be a .gif file"),
        (lambda: recording.write_strip(tmp_path / "a.gif"), "would be a .png file"),
        (lambda: recording.write_gif(tmp_path / "a.gif", rate=0), "rate is 0"),
        (lambda: recording.write_strip(tmp_path / "a.png", pictures=0), "pictures is 0: give at least 1"),
        (lambda: record(GAME, network(), 0, every=0), "every is 0"),
        (lambda: record(GAME, network(GymnasiumGame("CartPole-v1")), 0), "has 4 inputs, .* needs 7"),
        (lambda: record(GymnasiumGame("Blind-v0"), network(), 0), "Blind-v0 has no pictures"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            wrong()
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_without_pillow_one_line_says_what_to_install(tmp_path, monkeypatch):
    bare = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.partition(".")[0] == "PIL":
            raise ImportError(name)
        return bare(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingExtra, match=r"'pillow': pip install 'moduli\[images\]'"):
        made_up(2).write_gif(tmp_path / "a.gif")
