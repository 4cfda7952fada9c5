"""Figures of learned soft orders: which layer each task uses at which depth, and what tasks have in common.

Arrays of scales are `S_TDK`: tasks, depths, layers; softmax scales, so that each `S[t, d]` sums to one.
Seeds are never averaged layer by layer: layer k of one run has nothing to do with layer k of another.
Distances between tasks of one run do not depend on the numbering, and are averaged over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from moduli.errors import InputError
from moduli.evaluation.summary import Summary
from moduli.report.records import Records
from moduli.report.style import INK, MUTED, PALETTE, SHADE, WIDTH, Sheet, shorten, step_axis, styled
from moduli.sharing.route import Route, soft_order

Array = NDArray[np.float64]
MOST_TASKS = 20
MOST_NAMED = 60


def scales_array(scales: Mapping[str, Sequence[Sequence[float]]], names: Sequence[str]) -> Array | None:
    """Scales of the named tasks as `S_TDK`; None if one is missing, not finite, or of another shape.

    Raises:
        InputError: if they do not sum to one at every depth (logits instead of softmax scales).
    """
    try:
        array = np.array([scales[name] for name in names], dtype=np.float64)
    except (KeyError, ValueError, TypeError):
        return None
    if array.ndim != 3 or not array.size or not np.isfinite(array).all():
        return None
    if (array < -1e-6).any() or not np.allclose(array.sum(-1), 1.0, atol=1e-3):
        raise InputError(
            "scales must be softmax scales, which sum to 1 at every depth: apply softmax to them"
        )
    return array


def learned_scales(summary: Summary, method: str) -> dict[int, Array]:
    """The final scales of one method by seed, as logged in ``extra["scales"]`` of its runs.

    Only those of soft orders: in an evolved route, the inputs of a merge are not the layers of the pool.
    """
    names = [task["name"] for task in summary["tasks"]]
    found = {}
    for run in summary["methods"][method].get("runs", []):
        extra = run.get("extra", {})
        array = scales_array(extra.get("scales") or {}, names)
        if array is not None and all(map(_is_soft_order, (extra.get("routes") or {}).values())):
            found[run["seed"]] = array
    return found


def _is_soft_order(saved: dict[str, Any]) -> bool:
    route = Route.from_json(saved)
    layers, depth = sorted(route.modules), len(route.merges)
    return route in (soft_order(layers, depth), soft_order(layers, depth, pooling=True))


def distances(S_TDK: Array) -> Array:
    """Layer-wise distance between tasks, `[D, T, T]`: half the summed absolute difference of their scales.

    This is the total variation distance: 0 for equal scales, 1 for tasks that use no common layer.
    """
    by_depth = S_TDK.swapaxes(0, 1)
    return 0.5 * np.abs(by_depth[:, :, None] - by_depth[:, None]).sum(-1)


def relatedness(S_TDK: Array) -> Array:
    """1 - mean distance over depths, `[T, T]`: the share of layers that two tasks use in common."""
    return 1.0 - distances(S_TDK).mean(0)


def hardness(S_TDK: Array) -> Array:
    """Mean over tasks of the largest scale at each depth, `[D]`: 1/K for an even mix, 1 for a hard order."""
    return S_TDK.max(-1).mean(0)


def cluster_order(similarity: Array) -> list[int]:
    """Indices that put related tasks side by side: average-linkage clustering, leaves ordered optimally."""
    if len(similarity) < 3:
        return list(range(len(similarity)))
    distance = np.clip(1.0 - (similarity + similarity.T) / 2, 0.0, None)
    np.fill_diagonal(distance, 0.0)
    return leaves_list(linkage(squareform(distance), "average", optimal_ordering=True)).tolist()


# ------------------------------------------------------------------ figures


@styled
def soft_order_figure(summary: Summary, method: str) -> Figure | None:
    """Per task a grid of depth x layer shaded by softmax scale, the strongest path drawn; first seed.

    After Figure 4(d) of Meyerson & Miikkulainen 2018. At most 20 tasks are drawn, with a note if there are
    more. None if the method logged no scales.
    """
    found = learned_scales(summary, method)
    if not found:
        return None
    seed, S_TDK = next(iter(found.items()))
    names = [task["name"] for task in summary["tasks"]]
    shown, (depth, layers) = min(len(names), MOST_TASKS), S_TDK.shape[1:]
    columns = min(5, shown)
    rows, cell = -(-shown // columns), (WIDTH - 0.2) / 5
    grid_width = cell - 0.5
    grid_height = float(np.clip(grid_width * 0.9 * layers / (depth + 1), 0.5, 2.2))
    step = grid_height + 0.62
    sheet = Sheet(WIDTH, 0.78 + rows * step)
    rest = f" First {shown} of {len(names)} tasks." if shown < len(names) else ""
    sheet.text(0.1, 0.06, f"{shorten(method)}, seed {seed}: softmax scale of each layer at each depth.{rest}")
    _shade_key(sheet)
    for index in range(shown):
        row, column = divmod(index, columns)
        axes = sheet.axes(0.42 + column * cell, 0.85 + row * step, grid_width, grid_height)
        _order(axes, S_TDK[index])
        axes.set_title(shorten(names[index], 18), fontsize=8.5, pad=4)
        if column == 0:
            axes.set_ylabel("layer", fontsize=8, color=MUTED, labelpad=2)
        if index + columns >= shown:
            axes.set_xlabel("depth", fontsize=8, color=MUTED, labelpad=1)
    return sheet.figure


def _order(axes: Axes, S_DK: Array) -> None:
    """One task: a column per depth, from encoder (left dot) to decoder (right dot); a row per layer."""
    depth, layers = S_DK.shape
    for d in range(depth):
        for k in range(layers):
            box = Rectangle((d + 0.54, k + 0.54), 0.92, 0.92, color=SHADE, alpha=float(S_DK[d, k]), lw=0)
            axes.add_patch(box)
            frame = Rectangle((d + 0.54, k + 0.54), 0.92, 0.92, fill=False, ec=MUTED, lw=0.4, alpha=0.5)
            axes.add_patch(frame)
    middle = (layers + 1) / 2
    path = [middle, *(S_DK.argmax(1) + 1), middle]
    axes.plot(range(depth + 2), path, color=PALETTE[1], lw=1.6, solid_joinstyle="round")
    axes.plot(range(1, depth + 1), path[1:-1], ls="", marker="o", ms=2.8, color=PALETTE[1])
    axes.plot([0, depth + 1], [middle, middle], ls="", marker="o", ms=4.5, color=INK, clip_on=False)
    axes.set_xlim(-0.1, depth + 1.1)
    axes.set_ylim(layers + 0.55, 0.45)
    axes.set_xticks(_few(depth))
    axes.set_yticks(_few(layers))
    axes.tick_params(length=0, labelsize=7, pad=1)
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)


def _few(n: int) -> list[int]:
    """1..n, or some of them where there are many."""
    return list(range(1, n + 1, -(-n // 8)))


def _shade_key(sheet: Sheet) -> None:
    axes = sheet.axes(0.1, 0.3, 6.5, 0.22)
    for index, share in enumerate((0.0, 0.25, 0.5, 0.75, 1.0)):
        x = index * 0.62
        axes.add_patch(Rectangle((x, 0.1), 0.2, 0.8, color=SHADE, alpha=share, lw=0))
        axes.add_patch(Rectangle((x, 0.1), 0.2, 0.8, fill=False, ec=MUTED, lw=0.4, alpha=0.5))
        axes.text(x + 0.25, 0.5, f"{share:g}", va="center", fontsize=8)
    axes.plot([3.3, 3.6], [0.5, 0.5], color=PALETTE[1], lw=1.6)
    axes.text(3.68, 0.5, "strongest layer", va="center", fontsize=8)
    axes.plot([5.0], [0.5], marker="o", ms=4.5, color=INK)
    axes.text(5.1, 0.5, "encoder, decoder", va="center", fontsize=8)
    axes.set_xlim(0, 6.5)
    axes.set_ylim(0, 1)
    axes.set_axis_off()


@styled
def scales_over_time(summary: Summary, records: Records, method: str) -> Figure | None:
    """How tasks grow apart and orders grow hard, by step, one line per depth, mean over seeds.

    Left: layer-wise distance between tasks, mean over pairs. Right: the largest scale, mean over tasks. None
    if no scales, or some of different shapes, were logged on the way. After Figure 4(b, c) of Meyerson &
    Miikkulainen 2018.
    """
    names = [task["name"] for task in summary["tasks"]]
    logged: dict[int, list[Array]] = {}
    for record in records.scales:
        array = scales_array(record["scales"], names) if record["method"] == method else None
        if array is not None:
            logged.setdefault(record["step"], []).append(array)
    if len(logged) < 2 or len({S.shape for arrays in logged.values() for S in arrays}) > 1:
        return None
    steps = sorted(logged)
    layers = logged[steps[-1]][0].shape[2]
    sheet = Sheet(WIDTH, 3.1)
    sheet.text(0.1, 0.06, f"{shorten(method)}, by step of training, mean over seeds; one line per depth")
    apart = sheet.axes(0.6, 0.5, 3.7, 2.05)
    hard = sheet.axes(5.0, 0.5, 3.0, 2.05)
    apart.set_title("distance between tasks")
    hard.set_title("largest scale")
    hard.axhline(1 / layers, color=MUTED, lw=1.0, ls=(0, (4, 2)))
    hard.annotate(
        f"even mix, 1/{layers}",
        (1, 1 / layers),
        xytext=(0, -3),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=7.5,
        color=MUTED,
    )
    pairs = max(len(names) * (len(names) - 1), 1)
    measures = [(apart, lambda S: distances(S).sum((1, 2)) / pairs), (hard, hardness)]
    for axes, measure in measures:
        curves = np.array([np.mean([measure(S) for S in logged[step]], axis=0) for step in steps])
        shades = np.linspace(0.35, 1.0, curves.shape[1])
        for d, shade in enumerate(shades):
            label = f"depth {d + 1}" if d + 1 in _few(len(shades)) else None
            axes.plot(steps, curves[:, d], color=SHADE, alpha=shade, label=label, lw=1.5)
        step_axis(axes)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("step", fontsize=8, color=MUTED, labelpad=1)
    hard.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, borderaxespad=0.2)
    return sheet.figure


@styled
def relatedness_figure(summary: Summary, method: str) -> Figure | None:
    """Heat map of `relatedness` between tasks, mean over seeds, related tasks side by side.

    None for fewer than two tasks or if the method logged no scales.
    """
    found = learned_scales(summary, method)
    names = [task["name"] for task in summary["tasks"]]
    if not found or len(names) < 2:
        return None
    similarity = np.mean([relatedness(S) for S in found.values()], axis=0)
    order = cluster_order(similarity)
    shown = similarity[np.ix_(order, order)]
    labels = [shorten(names[index]) for index in order]
    named = len(names) <= MOST_NAMED
    label = 0.3 + 0.075 * max(len(text) for text in labels) * named
    side = float(np.clip(0.42 * len(names), 1.6, WIDTH - label - 1.0))
    sheet = Sheet(max(6.4, label + side + 1.0), 0.45 + side + label)
    over = f"mean over {len(found)} seeds" if len(found) > 1 else "one seed"
    rest = "" if named else f"; names left out beyond {MOST_NAMED} tasks"
    sheet.text(0.1, 0.06, f"{shorten(method)}: share of layers that two tasks use in common, {over}{rest}")
    axes = sheet.axes(label, 0.45, side, side)
    apart = shown[~np.eye(len(names), dtype=bool)]
    low = max(0.0, min(apart.min(), apart.max() - 0.2))  # so that noise does not fill the range of colours
    heat_map(axes, shown, labels if named else [], low, max(apart.max(), low + 0.2))
    bar = sheet.axes(label + side + 0.2, 0.45, 0.16, min(2.0, side))
    sheet.figure.colorbar(axes.collections[0], cax=bar)
    bar.grid(visible=False)
    return sheet.figure


def heat_map(
    axes: Axes, values: Array, labels: list[str], low: float, high: float, colors: str = "cividis"
) -> None:
    """Draws `[T, T]` without its diagonal, in colours from `low` to `high`, with numbers where there is room.

    `labels` name the rows and columns, or are empty.
    """
    n = len(values)
    hidden = np.eye(n, dtype=bool) | np.isnan(values)
    mesh = axes.pcolormesh(
        np.ma.masked_array(values, hidden), cmap=colors, vmin=low, vmax=high, edgecolors="none"
    )
    size = 8 if n <= 30 else 5.5
    places = np.arange(n) + 0.5
    axes.set_xticks(places if labels else [], labels, rotation=90, fontsize=size)
    axes.set_yticks(places if labels else [], labels, fontsize=size)
    axes.set_ylim(n, 0)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    if n <= 14:
        for y, x in np.argwhere(~hidden):
            color = "white" if _is_dark(mesh.to_rgba(values[y, x])) else "black"
            axes.text(
                x + 0.5, y + 0.5, f"{values[y, x]:.2f}", ha="center", va="center", fontsize=7, color=color
            )


def _is_dark(color: Any) -> bool:
    """Whether white can be read better on a colour than black; by its relative luminance."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.179
