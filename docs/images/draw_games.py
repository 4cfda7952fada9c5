"""Pictures of the guide to games: how a network reuses another, what it sees, and how it plays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Arc, Circle, FancyBboxPatch

from moduli.games.analysis import partial_order
from moduli.games.atari import FEATURES, KINDS, AtariGame
from moduli.games.atari.objects import COLUMNS, HEIGHT, ROWS, WIDTH as PIXELS
from moduli.games.recording import record_files
from moduli.games.sweep import load_player
from moduli.report.games_order import complexity_figure
from moduli.report.style import GRID, INK, MUTED, PALETTE, PAPER, REFERENCE, WIDTH, Sheet, styled

Place = tuple[float, float]
RADIUS = 0.13


# ------------------------------------------------------------------ a network that reuses another


@styled
def architecture() -> Figure:
    """A GRUSM network with three recruits: two new units and a source. Colours are those of genomes."""
    sheet = Sheet(WIDTH, 4.3)
    axes = sheet.axes(0, 0, WIDTH, 4.3, xlim=(0, WIDTH), ylim=(4.3, 0))
    axes.set_axis_off()
    inputs, outputs = _row(1.2, 3.0, 4, 3.7), _row(1.4, 2.8, 3, 0.55)
    units = [(1.6, 2.1), (2.6, 2.1)]
    below, hidden, above = (_row(6.5, 7.5, 2, y) for y in (3.2, 2.25, 1.3))
    box = FancyBboxPatch((5.75, 0.95), 2.5, 2.6, boxstyle="round,pad=0.05", fc=GRID, ec=MUTED, lw=0.8)
    axes.add_patch(box)
    for start, end in ((below, hidden), (hidden, above)):
        _connect(axes, start, end, REFERENCE, 0.7)
    for unit, color in zip(units, PALETTE, strict=False):
        _connect(axes, inputs, [unit], color, 1.2)
        _connect(axes, [unit], outputs, color, 1.2)
        _loop(axes, unit, color)
    _connect(axes, inputs, hidden, PALETTE[2], 0.8)
    _connect(axes, above, outputs, PALETTE[2], 0.8)
    for place in hidden:
        _loop(axes, place, REFERENCE)
    _nodes(axes, [*inputs, *outputs], PAPER, INK)
    _nodes(axes, [*hidden, *above], PAPER, MUTED)
    _nodes(axes, below, PAPER, MUTED, "0")
    for unit, color in zip(units, PALETTE, strict=False):
        _nodes(axes, [unit], color, color)
    for x, y, text, color in (
        (0.1, 0.2, "outputs of the target", INK),
        (0.1, 4.1, "inputs of the target", INK),
        (0.1, 2.1, "new units", INK),
        (5.75, 0.72, "source: a trained network, frozen", MUTED),
        (8.4, 3.2, "inputs 0", MUTED),
        (8.4, 2.25, "hidden", MUTED),
        (8.4, 1.3, "outputs", MUTED),
    ):
        axes.text(x, y, text, color=color, va="center")
    _key(axes)
    return sheet.figure


def _key(axes: Axes) -> None:
    lines = (
        (PALETTE[0], "genome of the first unit"),
        (PALETTE[1], "genome of the second unit"),
        (PALETTE[2], "transfer genome of the source"),
        (REFERENCE, "of the source, never changed"),
    )
    for column, (color, text) in enumerate(lines):
        x, y = 3.75 + 2.55 * (column % 2), 3.85 + 0.25 * (column // 2)
        axes.plot([x, x + 0.3], [y, y], color=color, lw=2)
        axes.text(x + 0.4, y, text, va="center", fontsize=8.5)


def _row(left: float, right: float, number: int, y: float) -> list[Place]:
    return [(float(x), y) for x in np.linspace(left, right, number)]


def _connect(axes: Axes, start: Sequence[Place], end: Sequence[Place], color: str, width: float) -> None:
    for x, y in start:
        for u, v in end:
            axes.plot([x, u], [y, v], color=color, lw=width, zorder=2)


def _loop(axes: Axes, place: Place, color: str) -> None:
    """Of a unit to itself, at its right."""
    x, y = place
    axes.add_patch(Arc((x + RADIUS + 0.05, y), 0.24, 0.2, theta1=-140, theta2=140, color=color, lw=1.2))


def _nodes(axes: Axes, places: Sequence[Place], face: str, edge: str, text: str = "") -> None:
    for x, y in places:
        axes.add_patch(Circle((x, y), RADIUS, fc=face, ec=edge, lw=1.1, zorder=3))
        axes.text(x, y, text, ha="center", va="center", fontsize=8, color=MUTED, zorder=4)


# ------------------------------------------------------------------ what a network sees


@styled
def seen(name: str = "space_invaders", steps: int = 421, seed: int = 2) -> Figure:
    """A screen with the cells of the grids, and beside it what a network gets instead of it."""
    picture, grids = _look(AtariGame(name), steps, seed)
    height, kinds = 2.1, KINDS[name]
    width = height * PIXELS / HEIGHT
    sheet = Sheet(WIDTH, height + 0.45)
    left = 0.1
    for text, color, grid in [("the screen", MUTED, None), *zip(kinds, PALETTE, grids, strict=False)]:
        sheet.text(left, 0.08, text, color=color, fontweight="bold" if grid is not None else "normal")
        limits = {"xlim": (0, COLUMNS), "ylim": (ROWS, 0)}
        axes = sheet.axes(left, 0.35, width, height, **limits)
        axes.set(xticks=range(COLUMNS + 1), yticks=range(ROWS + 1), xticklabels=[], yticklabels=[])
        axes.tick_params(length=0)
        axes.set_frame_on(False)
        axes.grid(color=GRID, lw=0.6)
        if grid is None:
            axes.imshow(picture, extent=(0, COLUMNS, ROWS, 0), aspect="auto", interpolation="antialiased")
            axes.set_axisbelow(False)
            axes.grid(color=MUTED, lw=0.5)
        else:
            for row, column in np.argwhere(grid):
                axes.fill_between([column, column + 1], row, row + 1, color=color, lw=0)
        left += width + (WIDTH - 0.2 - width * (len(kinds) + 1)) / len(kinds)
    return sheet.figure


def _look(game: AtariGame, steps: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The screen `[210, 160, 3]` and the grids `[kinds, 10, 8]` after some actions at random."""
    arena, random, slot = game.open(1), np.random.default_rng(seed), np.array([0])
    arena.reset(0, seed)
    outputs = random.normal(size=(1, game.outputs))
    for step in range(steps):
        if step % 20 == 0:
            outputs = random.normal(size=(1, game.outputs))
        arena.step(slot, outputs)
    picture, grids = arena.screen(0), arena.observe(slot).reshape(-1, ROWS, COLUMNS)
    arena.close()
    return picture, grids


# ------------------------------------------------------------------ the games


def complexity() -> Figure | None:
    """The features of the eight games, and their order: those that are played in no run as well."""
    return complexity_figure(SimpleNamespace(features=FEATURES, order=partial_order(FEATURES)))  # type: ignore[arg-type]


# ------------------------------------------------------------------ a network at play


def strip(search: Path, path: Path, seed: int = 0) -> None:
    """Pictures of an episode of the best network of a search, if that is there."""
    if (search / "network.json").exists():
        game, network = load_player(search)
        record_files(game, network, seed, strip=path)
