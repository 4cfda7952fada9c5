"""A network at play, as an animated GIF or a strip of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from moduli.errors import InputError, MissingExtra
from moduli.files import write_file
from moduli.games.arena import Game
from moduli.games.episodes import check_shape
from moduli.games.networks import Network, Networks
from moduli.games.team import Team

LEAST_WIDTH, MOST_WIDTH = 160, 480
"""Pictures are enlarged or reduced to something between, in pixels: labels are to be read, files small."""


@dataclass(frozen=True)
class Frame:
    """What was to be seen after `step` actions, `[height, width, 3]` uint8, and the score until then."""

    step: int
    score: float
    picture: np.ndarray


@dataclass(frozen=True)
class Recording:
    """An episode.

    Attributes:
        frames: some of its pictures, the first before any action.
        score: at its end.
        steps: how many actions it had.
    """

    frames: tuple[Frame, ...]
    score: float
    steps: int

    def write_gif(self, path: str | Path, rate: float = 15.0, most_bytes: int = 2_000_000) -> Path:
        """Writes an animated GIF that repeats.

        Args:
            path: a `.gif` file.
            rate: frames shown per second.
            most_bytes: where the file would be larger, every second frame is left out, and again; the rest
                is shown for longer.

        Raises:
            MissingExtra: if Pillow is not installed.
            InputError: if the file is not called `.gif`, or the numbers are not above 0.
            SaveError: if it cannot be written.
        """
        path = _checked(path, ".gif")
        if rate <= 0 or most_bytes <= 0:
            raise InputError(f"rate is {rate}, most_bytes is {most_bytes}: give numbers above 0")
        pictures = [_picture(frame.picture) for frame in self.frames]
        seconds = 1 / rate
        while len(content := _gif(pictures, seconds)) > most_bytes and len(pictures) > 1:
            pictures, seconds = pictures[::2], 2 * seconds
        return write_file(path, content)

    def write_strip(self, path: str | Path, pictures: int = 6) -> Path:
        """Writes pictures side by side as one PNG file, with how many actions were taken and the score.

        Args:
            path: a `.png` file.
            pictures: how many, at equal distances, the first and the last frame among them.

        Raises:
            MissingExtra: if Pillow is not installed.
            InputError: if the file is not called `.png`, or there is to be no picture.
            SaveError: if it cannot be written.
        """
        path = _checked(path, ".png")
        if pictures < 1:
            raise InputError(f"pictures is {pictures}: give at least 1")
        last = len(self.frames) - 1
        chosen = dict.fromkeys(round(i * last / max(1, pictures - 1)) for i in range(pictures))
        return write_file(path, _strip([self.frames[index] for index in chosen]))


def record(
    game: Game, network: Network, seed: int, every: int | None = None, most_frames: int = 300
) -> Recording:
    """Plays one episode and keeps pictures of it. Its score is that of `play` with the same seed.

    Args:
        game: what is played.
        network: who plays.
        seed: of the episode.
        every: so many actions lie between two frames, and what comes after `most_frames` is not to be seen.
            None: frames are spread over the whole episode, however long it is.
        most_frames: how many frames are kept.

    Raises:
        InputError: if the network is of another shape than the game, the game cannot draw itself, or the
            numbers are impossible.
    """
    if (every is not None and every < 1) or most_frames < 2:
        raise InputError(f"every is {every}, most_frames is {most_frames}: give at least 1, and at least 2")
    check_shape(game, network.architecture)
    arena, team, slot = game.open(1), Team(Networks.of(network), 1), np.array([0])
    try:
        arena.reset(0, seed)
        team.load(0, 0)
        frames, distance = [Frame(0, 0.0, arena.screen(0))], every or 1
        step, score, over = 0, 0.0, False
        while not over:
            rewards, ended = arena.step(slot, team.step(arena.observe(slot)))
            step, score, over = step + 1, score + float(rewards[0]), bool(ended[0])
            if every is None and len(frames) == most_frames:
                frames, distance = frames[::2], 2 * distance
            last = over and every is None
            if (step % distance == 0 or last) and len(frames) < most_frames:
                frames.append(Frame(step, score, arena.screen(0)))
    finally:
        arena.close()
    return Recording(tuple(frames), score, step)


def record_files(
    game: Game,
    network: Network,
    seed: int,
    gif: str | Path | None = None,
    strip: str | Path | None = None,
    every: int = 4,
) -> list[Path]:
    """Records one episode: its beginning as a GIF, the whole of it as a strip, or both.

    Args:
        game, network, seed: see `record`.
        gif: a `.gif` file, None for none.
        strip: a `.png` file, None for none.
        every: so many actions lie between two frames of the GIF.

    Returns:
        The files.

    Raises:
        MissingExtra: if Pillow is not installed.
        InputError: for another name of a file, before anything is played; and as `record` does.
        SaveError: if a file cannot be written.
    """
    for path, ending in ((gif, ".gif"), (strip, ".png")):
        if path is not None:
            _pillow()
            _checked(path, ending)
    written = []
    if gif is not None:
        written.append(record(game, network, seed, every).write_gif(gif))
    if strip is not None:
        written.append(record(game, network, seed).write_strip(strip))
    return written


# ------------------------------------------------------------------ pictures


def _pillow() -> Any:
    try:
        import PIL.Image
        import PIL.ImageDraw
        import PIL.ImageFont
    except ImportError:
        raise MissingExtra("recording a game", "pillow", "images") from None
    return PIL


def _checked(path: str | Path, ending: str) -> Path:
    if Path(path).suffix.lower() != ending:
        raise InputError(f"{path} would be a {ending} file: give a name that ends so")
    return Path(path)


def _picture(pixels: np.ndarray) -> Any:
    """Small pictures are enlarged by a whole number, large ones reduced."""
    image = _pillow().Image.fromarray(pixels)
    if image.width < LEAST_WIDTH:
        by = -(-LEAST_WIDTH // image.width)
        return image.resize((by * image.width, by * image.height), resample=0)
    if image.width > MOST_WIDTH:
        image.thumbnail((MOST_WIDTH, image.height))
    return image


def _gif(pictures: Sequence[Any], seconds: float) -> bytes:
    """The format has at most 256 colours in a picture, which is more than a game shows."""
    frames = [image.quantize(256, dither=0) for image in pictures]
    content = BytesIO()
    frames[0].save(
        content, "GIF", save_all=True, append_images=frames[1:], duration=round(1000 * seconds), loop=0
    )
    return content.getvalue()


def _strip(frames: Sequence[Frame], gap: int = 4, line: int = 14) -> bytes:
    """Pictures with two lines below each."""
    pillow = _pillow()
    images = [_picture(frame.picture) for frame in frames]
    width, height = images[0].width + gap, images[0].height + 2 * line + gap
    strip = pillow.Image.new("RGB", (width * len(images) - gap, height), "white")
    draw, font = pillow.ImageDraw.Draw(strip), pillow.ImageFont.load_default()
    for number, (frame, image) in enumerate(zip(frames, images, strict=True)):
        strip.paste(image, (number * width, 0))
        words = f"step {frame.step}", f"score {frame.score:g}"
        for row, word in enumerate(words):
            draw.text((number * width + 2, image.height + 2 + row * line), word, "black", font)
    content = BytesIO()
    strip.save(content, "PNG", optimize=True)
    return content.getvalue()
