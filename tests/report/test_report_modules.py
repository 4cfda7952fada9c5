"""Drawings of evolved modules: everything is said, nothing lies on anything else."""

import itertools
import random
from dataclasses import replace

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from moduli.evolution.genome import EdgeGene, GlobalGenome, Innovations, LayerGene, ModuleGenome
from moduli.evolution.operators import mutate, random_genome
from moduli.evolution.ranges import Ranges
from moduli.report.module_drawing import draw_modules
from moduli.report.style import png, svg

SETTINGS = GlobalGenome(3, 57, 1.8e-4, 3.5e-9, "glorot_normal")


def module(id, layers, pairs):
    edges = tuple(EdgeGene(n, *pair) for n, pair in enumerate(pairs, start=1))
    return ModuleGenome(id, tuple(LayerGene(*layer) for layer in layers), edges)


SIMPLE = module(1, [(1, 8, 3, 0.14, "relu", "sum")], [(0, 1)])
COMPLEX = module(
    2,
    [
        (1, 8, 3, 0.0, "relu", "concat"),
        (2, 95, 3, 0.11, "relu", "sum"),
        (3, 26, 1, 0.39, "linear", "sum"),
        (4, 35, 5, 0.0, "relu", "sum"),
    ],
    [(0, 2), (0, 3), (2, 4), (3, 1), (2, 1), (4, 1)],
)
"""Nearly the example of Fig. 7.4."""


def bred(seed, steps=60):
    rng, innovations, ranges = random.Random(seed), Innovations(), Ranges(add_edge=0.5)
    made = random_genome(seed, ranges, innovations, rng)
    for _ in range(steps):
        made = mutate(made, seed, ranges, innovations, rng)
    return made


def texts(axes):
    return [text.get_text() for text in axes.texts]


def boxes(axes):
    """Left, top, right, bottom of each box; the vertical axis points down."""
    found = [p for p in axes.patches if isinstance(p, FancyBboxPatch)]
    return [(p.get_x(), p.get_y(), p.get_x() + p.get_width(), p.get_y() + p.get_height()) for p in found]


def arrows(axes):
    return [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]


def test_every_layer_says_what_it_is():
    simple, complex_ = draw_modules([SIMPLE, COMPLEX], SETTINGS).axes
    assert texts(simple) == ["input, 57", "conv 3×3, 57\nrelu", "dropout 0.14", "output, 57"]
    layers = ["conv 3×3, 57\nrelu", "conv 3×3, 95\nrelu", "conv 1×1, 26\nlinear", "conv 5×5, 35\nrelu"]
    rest = ["input, 57", "output, 57", "concat", "dropout 0.11", "dropout 0.39"]
    assert sorted(texts(complex_)) == sorted(layers + rest)
    assert len(arrows(complex_)) == len(COMPLEX.edges) + 1


def test_the_settings_and_genomes_are_named():
    head, *titles = [text.get_text() for text in draw_modules([SIMPLE, COMPLEX], SETTINGS).texts]
    for fact in ("width 57", "0.00018", "3.5e-09", "glorot_normal"):
        assert fact in head
    assert titles == ["Module 1, genome 1", "Module 2, genome 2"]


def test_layers_on_vectors_are_dense():
    (axes,) = draw_modules([COMPLEX], SETTINGS, axes=1).axes
    assert "dense, 26\nlinear" in texts(axes)
    assert not any("conv" in text for text in texts(axes))


def test_layers_have_fat_borders():
    (axes,) = draw_modules([SIMPLE], SETTINGS).axes
    widths = [p.get_linewidth() for p in axes.patches if isinstance(p, FancyBboxPatch)]
    assert widths[1] > 2 * max(widths[0], *widths[2:])


@pytest.mark.parametrize("seed", range(12))
def test_nothing_lies_on_anything_else(seed):
    figure = draw_modules([bred(seed), SIMPLE, bred(seed + 100)], SETTINGS)
    renderer = FigureCanvasAgg(figure).get_renderer()
    for axes in figure.axes:
        there = boxes(axes)
        for a, b in itertools.combinations(there, 2):
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] + 1e-9 or b[3] <= a[1] + 1e-9
        for arrow in arrows(axes):
            curve = arrow.get_path().interpolated(1).to_polygons(closed_only=False)[0]
            for left, top, right, bottom in there:
                assert not any(left < x < right and top < y < bottom for x, y in curve)
        inside = axes.get_window_extent(renderer).padded(1)
        for text in axes.texts:
            extent = text.get_window_extent(renderer)
            assert inside.contains(extent.x0, extent.y0)
            assert inside.contains(extent.x1, extent.y1)
        (width,) = {round(right - left, 6) for left, _, right, _ in there}
        assert all(text.get_window_extent(renderer).width < width * figure.dpi for text in axes.texts)
    frames = [axes.get_window_extent(renderer) for axes in figure.axes]
    titles = [text.get_window_extent(renderer) for text in figure.texts]
    for a, b in itertools.combinations(frames + titles, 2):
        assert not a.overlaps(b)
    assert all(figure.bbox.contains(f.x0, f.y0) and figure.bbox.contains(f.x1, f.y1) for f in frames)


def test_edges_beside_boxes_are_straight():
    chain = module(
        0,
        [(n, 8, 3, 0.1, "relu", "concat") for n in (1, 2, 3, 4)],
        [(0, 2), (2, 3), (3, 4), (4, 1), (0, 1)],
    )
    (axes,) = draw_modules([chain], SETTINGS).axes
    middles = {round((left + right) / 2, 1) for left, _, right, _ in boxes(axes)[1:-1]}
    assert max(middles) - min(middles) < 0.7


def test_the_same_modules_give_the_same_picture():
    figures = [draw_modules([SIMPLE, COMPLEX], replace(SETTINGS, width=8)) for _ in range(2)]
    assert png(figures[0]) == png(figures[1])
    assert svg(figures[0], "m") == svg(figures[1], "m")
    assert "conv 1×1, 26" in svg(figures[0], "m")
