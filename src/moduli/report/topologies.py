"""A map of evolved routes: tasks with similar routes stand near each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from moduli.evaluation.summary import Summary
from moduli.evolution.features import features, standardised
from moduli.report.decoders import tsne
from moduli.report.evolved_routes import evolved_routes
from moduli.report.style import INK, MARKERS, MUTED, PALETTE, SHADE, WIDTH, Sheet, shorten, styled

Array = NDArray[np.float64]
FEWEST = 5
"""Different routes for t-SNE."""
LETTER, LINE = 0.068, 0.13
"""Width and height of a letter of a label, in inches."""


@styled
def topologies_figure(
    summary: Summary, method: str, groups: Mapping[str, str] | None = None
) -> Figure | None:
    """Where the routes of the tasks lie by what they use at which depth: t-SNE of `features`, first run.

    After Figure 7.6 of Meyerson (2018). With fewer than five different routes the first two principal
    components instead, and the figure says so. None for fewer than three tasks, or if all routes are alike.

    Args:
        summary: of the comparison.
        method: one that evolved routes.
        groups: to which group a task belongs, for colours and markers; one colour if None.
    """
    final = evolved_routes(summary, method)
    if final is None or len(final.routes) < 3:
        return None
    X = standardised(features(list(final.routes.values()), final.modules, final.levels))
    if not X.any():
        return None
    points, how = project(X)
    key = list(dict.fromkeys((groups or {}).get(name, "") for name in final.routes))
    head = 0.65 if groups else 0.38
    sheet = Sheet(WIDTH, head + 0.1 + float(np.clip(2.4 + 0.07 * len(points), 2.8, 6.0)))
    note = f"modules that routes use at which level ({X.shape[1]} numbers), {how}"
    sheet.text(0.1, 0.06, f"{shorten(method)}, seed {final.seed}: {note}")
    width, height = WIDTH - 0.2, sheet.height - head - 0.1
    axes = sheet.axes(0.1, head, width, height, xlim=(0, width), ylim=(0, height))
    styles = {g: (PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]) for i, g in enumerate(key)}
    styles = styles if groups else {"": (SHADE, "o")}
    belongs = [(groups or {}).get(name, "") for name in final.routes]
    _map(axes, points, [shorten(name, 22) for name in final.routes], [styles[g] for g in belongs])
    if groups:
        _key(sheet, {g or "no group": style for g, style in styles.items()})
    return sheet.figure


def project(vectors: Array) -> tuple[Array, str]:
    """Vectors `[N, F]` in the plane `[N, 2]`, equal ones at one place, and the name of the projection."""
    distinct, place = np.unique(vectors, axis=0, return_inverse=True)
    if len(distinct) < FEWEST:
        from sklearn.decomposition import PCA

        found, how = PCA(2).fit_transform(distinct), "principal components: too few routes differ for t-SNE"
    else:
        found, how = tsne(distinct, "euclidean"), "t-SNE"
    return found[place.ravel()], how


def _map(axes: Axes, points: Array, names: Sequence[str], styles: Sequence[tuple[str, str]]) -> None:
    """Points with their names, which give way to each other; a thin line where a name had to go far.

    The axes have inches for units.
    """
    width, height = axes.get_xlim()[1], axes.get_ylim()[1]
    low, span = points.min(0), np.where(np.ptp(points, axis=0) > 0, np.ptp(points, axis=0), 1.0)
    room = np.array([0.75, 0.3])  # for names beyond the outermost points
    at = room + (points - low) / span * (np.array([width, height]) - 2 * room)
    corners = place_labels(at, [LETTER * len(name) for name in names], (width, height))
    for (x, y), corner, name, (color, marker) in zip(at, corners, names, styles, strict=True):
        long = LETTER * len(name)
        near = np.clip([x, y], corner, corner + np.array([long, LINE]))
        if np.hypot(*(near - [x, y])) > 0.12:
            axes.plot([x, near[0]], [y, near[1]], color=MUTED, lw=0.5, zorder=1)
        axes.plot(x, y, ls="", marker=marker, ms=5, color=color, mew=0, zorder=2)
        # Towards its point, as a letter may be narrower than was allowed for.
        side = float(np.clip((x - corner[0]) / long, 0, 1))
        align = "left" if side < 0.2 else "right" if side > 0.8 else "center"
        left = corner[0] + long * {"left": 0.0, "center": 0.5, "right": 1.0}[align]
        axes.text(left, corner[1] + LINE / 2, name, fontsize=7.5, color=INK, ha=align, va="center")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(True)


def place_labels(at: Array, lengths: Sequence[float], sheet: tuple[float, float]) -> Array:
    """Lower left corners `[N, 2]` of labels beside points, so that they overlap as little as can be.

    One after another, crowded points first, takes the place that covers least of the other points and
    labels; of such places the nearest to its point, right of it if that is free.

    Args:
        at: the points, `[N, 2]`, in inches.
        lengths: of the labels; they are `LINE` high.
        sheet: width and height that the labels should not leave.
    """
    angles = np.array([0, 8, 1, 15, 4, 12, 7, 9, 2, 14, 6, 10, 3, 13, 5, 11]) / 16 * 2 * np.pi
    around = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    dots = np.concatenate([at - 0.05, at + 0.05], axis=1)
    distance = np.hypot(*(at[:, None] - at[None]).T)
    order = np.argsort(np.sort(distance, axis=1)[:, : min(len(at), 6)].sum(1), kind="stable")
    taken, corners = dots, np.zeros_like(at)
    for i in order:
        size = np.array([lengths[i], LINE])
        options, costs = [], []
        for radius in (0.08, 0.16, 0.28, 0.42, 0.6, 0.8, 1.1):
            # The box touches the circle with the side that faces the point.
            middle = at[i] + around * (radius + size / 2)
            boxes = np.concatenate([middle - size / 2, middle + size / 2], axis=1)
            options.append(boxes)
            costs.append(_covered(boxes, taken) + _outside(boxes, sheet) + 0.002 * radius)
        boxes, cost = np.concatenate(options), np.concatenate(costs)
        best = boxes[cost.argmin()]
        corners[i] = best[:2]
        taken = np.concatenate([taken, best[None]])
    return corners


def _covered(boxes: Array, taken: Array) -> Array:
    """The area that each box (left, low, right, high) shares with all that are taken."""
    low = np.maximum(boxes[:, None, :2], taken[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], taken[None, :, 2:])
    return np.clip(high - low, 0, None).prod(-1).sum(1)


def _outside(boxes: Array, sheet: tuple[float, float]) -> Array:
    """How far each box leaves the sheet, much dearer than covering another label."""
    beyond = np.clip(0.04 - boxes[:, :2], 0, None) + np.clip(boxes[:, 2:] - np.array(sheet) + 0.04, 0, None)
    return 10 * beyond.sum(1)


def _key(sheet: Sheet, styles: Mapping[str, tuple[str, str]]) -> None:
    handles = [
        Line2D([], [], ls="", marker=marker, color=color, mew=0, ms=6, label=shorten(group, 18))
        for group, (color, marker) in styles.items()
    ]
    sheet.legend(handles)
