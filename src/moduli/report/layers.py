"""Layers whose weights are generated, as rows of a figure, and which of them share modules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from moduli.evaluation.summary import Summary
from moduli.report.hypermodules import Ints, generated_runs, mapping_of
from moduli.report.over_time import shade_key
from moduli.report.style import INK, MUTED, SHADE, WIDTH, Sheet, shorten, styled

Array = NDArray[np.float64]
MOST_ROWS = 40
"""Layers in the map of layers; of more, neighbours are taken together."""
NUMBERED = 15
"""Rows up to which numbers are written into the map of layers."""
LOWEST = 0.11
"""Height of a name beside a row, in inches."""


@dataclass(frozen=True)
class Layer:
    """Blocks at the locations from ``first`` to before ``end``; ``task`` is None if it is of several."""

    task: str | None
    name: str
    first: int
    end: int


def layers_of(run: dict[str, Any]) -> list[Layer]:
    """The layers of a run whose weights are generated, in the order of their locations, with short names."""
    layers = sorted(run["extra"]["hypermodules"]["layers"], key=lambda layer: layer["first"])
    names = short_names([layer["name"].removeprefix(f"{layer['task']}.") for layer in layers])
    return [
        Layer(layer["task"], name, layer["first"], layer["first"] + layer["blocks"])
        for layer, name in zip(layers, names, strict=True)
    ]


def short_names(names: Sequence[str]) -> list[str]:
    """Dotted names without a last "weight", and without the first words that all have in common."""
    parts = [name.removesuffix(".weight").split(".") for name in names]
    while all(len(words) > 1 and words[0] == parts[0][0] and not words[1].isdigit() for words in parts):
        parts = [words[1:] for words in parts]
    return [".".join(words) for words in parts]


def joined(layers: Sequence[Layer], most: int) -> list[Layer]:
    """At most so many layers: neighbours of one task are taken together, first in the tasks with most.

    If there are more tasks than that, one for each.
    """
    tasks = [list(own) for _, own in groupby(layers, key=lambda layer: layer.task)]
    sizes = [1] * len(tasks)
    rows = [len(own) for own in tasks]
    while sum(rows) > most and max(rows) > 1:
        sizes = [size + (n == max(rows)) for size, n in zip(sizes, rows, strict=True)]
        rows = [-(-len(own) // size) for own, size in zip(tasks, sizes, strict=True)]
    return [
        _together([own[i] for i in part])
        for own, n in zip(tasks, rows, strict=True)
        for part in np.array_split(np.arange(len(own)), n)
    ]


def _together(layers: Sequence[Layer]) -> Layer:
    first, *others = layers
    return replace(first, name=f"{first.name} +{len(others)}", end=layers[-1].end) if others else first


def layer_sharing(layers: Sequence[Layer], mapping: Sequence[int] | Ints) -> Array:
    """How much layers share, `[layers, layers]`; rows look at columns.

    The share of the blocks of the row's layer whose module is also used in the column's layer. On the
    diagonal: whose module is also used at another block of the layer.

    Args:
        layers: which have the locations of `mapping`.
        mapping: the module at each location.
    """
    modules = np.unique(np.asarray(mapping), return_inverse=True)[1]
    K = modules.max() + 1
    uses = np.stack([np.bincount(modules[layer.first : layer.end], minlength=K) for layer in layers])
    shared = uses @ (uses > 0).T.astype(np.int64)
    np.fill_diagonal(shared, np.where(uses > 1, uses, 0).sum(1))
    return shared / uses.sum(1, keepdims=True)


# ------------------------------------------------------------------ names of rows

Span = tuple[str, int, int]
"""A name, and the rows from a first one up to, without it, an end."""


class RowNames:
    """Names of layers left of their rows and, where a task has several layers, of tasks left of those.

    Args:
        layers: in the order of the rows.
        edges: the row at which each layer begins, and last the end of all.
        row: height of a row, in inches. What is too low for its name stays without.
    """

    def __init__(self, layers: Sequence[Layer], edges: Sequence[int], row: float):
        rows = [(shorten(layer.name, 26), edges[i], edges[i + 1]) for i, layer in enumerate(layers)]
        tasks: list[Span] = []
        for task, own in groupby(zip(layers, rows, strict=True), key=lambda pair: pair[0].task):
            spans = [span for _, span in own]
            tasks.append((shorten(task or "several tasks", 18), spans[0][1], spans[-1][2]))
        alone = len({layer.task for layer in layers}) == len(layers)  # names of tasks say it all
        inner, outer = (tasks, []) if alone else (rows, tasks)
        self._line = {"color": MUTED, "lw": 0.4} if alone else {"color": INK, "lw": 0.8}
        wide = row * edges[-1] > LOWEST * len(tasks)  # enough for lines between tasks
        self._boundaries = [first for _, first, _ in tasks[1:]] if wide else []
        self._inner, self._outer = (
            [span for span in spans if (span[2] - span[1]) * row >= LOWEST] for spans in (inner, outer)
        )
        self.indent = 0.14 + 0.06 * max((len(name) for name, *_ in self._inner), default=0)
        self.width = self.indent + 0.075 * max((len(name) + 1 for name, *_ in self._outer), default=0)

    def draw(self, axes: Axes) -> None:
        """Beside axes whose vertical axis counts rows from the top, with lines between tasks across them."""
        ticks = [((first + end) / 2, name) for name, first, end in self._inner]
        axes.set_yticks([at for at, _ in ticks], [name for _, name in ticks], fontsize=7)
        axes.tick_params(length=0)
        for name, first, end in self._outer:
            axes.annotate(
                name,
                (0, (first + end) / 2),
                xycoords=("axes fraction", "data"),
                xytext=(-72 * self.indent, 0),
                textcoords="offset points",
                ha="right",
                va="center_baseline",
                fontsize=7.5,
                fontweight="bold",
            )
        for first in self._boundaries:
            axes.axhline(first, **self._line)

    def draw_columns(self, axes: Axes, column: float) -> None:
        """The same for columns of the same layers, each `column` inches wide, with names of tasks above."""
        ticks = [((first + end) / 2, name) for name, first, end in self._inner]
        axes.set_xticks([at for at, _ in ticks], [name for _, name in ticks], rotation=90, fontsize=7)
        for name, first, end in self._outer:
            if 0.075 * len(name) < (end - first) * column:
                place = ((first + end) / 2, 1.02)
                style = {"ha": "center", "fontsize": 7.5, "fontweight": "bold"}
                axes.text(*place, name, transform=axes.get_xaxis_transform(), **style)
        for first in self._boundaries:
            axes.axvline(first, **self._line)


# ------------------------------------------------------------------ which layers share


@styled
def layers_figure(summary: Summary, method: str) -> Figure | None:
    """Which layers share modules, by `layer_sharing`, in the first run of a method at its best step.

    Of more than 40 layers, neighbours of one task are taken together. None if the method has no
    hypermodules, or no module is used twice.
    """
    runs = generated_runs(summary, method)
    if not runs:
        return None
    every = layers_of(runs[0])
    layers = joined(every, MOST_ROWS)
    S, n = layer_sharing(layers, mapping_of(runs[0])), len(layers)
    if not S.any():
        return None
    widest = RowNames(layers, range(n + 1), 1.0).width
    side = float(np.clip(0.42 * n, 2.2, min(6.8, WIDTH - widest - 0.3)))
    names = RowNames(layers, range(n + 1), side / n)
    sheet = Sheet(WIDTH, 1.2 + side + names.indent)
    step = runs[0]["extra"].get("best_step")
    title = f"{shorten(method)}, seed {runs[0]['seed']}" + f" at step {step}" * (step is not None)
    sheet.text(0.1, 0.06, f"{title}: how much the layer of a row shares with that of a column")
    most = S.max()
    shade_key(sheet, 0.25, 0.4, f"{100 * most:.0f}% of its blocks")
    if n < len(every):
        note = f"{len(every)} layers, neighbours of a task together (+1: and one more)"
        sheet.text(3.2, 0.4, note, fontsize=8)
    axes = sheet.axes(names.width, 1.0, side, side)
    _matrix(axes, S, most)
    names.draw(axes)
    names.draw_columns(axes, side / n)
    return sheet.figure


def _matrix(axes: Axes, S: Array, most: float) -> None:
    n = len(S)
    image = np.empty((n, n, 4))
    image[:] = to_rgba(SHADE)
    image[..., 3] = S / most
    axes.imshow(image, aspect="auto", interpolation="none", extent=(0, n, n, 0), zorder=1)
    for i in range(n):
        axes.add_patch(Rectangle((i, i), 1, 1, fill=False, ec=MUTED, lw=0.7))
    for i, j in np.argwhere(S >= 0.005) if n <= NUMBERED else ():
        style = {"ha": "center", "va": "center_baseline", "fontsize": 7}
        color = "white" if S[i, j] > 0.5 * most else INK
        axes.text(j + 0.5, i + 0.53, f"{100 * S[i, j]:.0f}", color=color, **style)
    axes.grid(visible=False)
    axes.spines[:].set_visible(True)
