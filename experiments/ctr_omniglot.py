"""CTR on Omniglot: Meyerson (2018), "Discovering Multi-Purpose Modules", chapter 7, Table 7.1 and Figure 7.6.

Each alphabet is a task: which of its characters is it? Four 3x3 convolutions with 53 filters and ReLUs are
shared, as in soft order (`soft_omniglot.py`); images enter as they are, decoders are linear. Single-task
learning, hard and soft order, and CTR, which begins with the chain of all four layers (Eq. 7.3). Ten drawings
of each character are for training, four for validation, which decides between routes and selects the best
phase, six for the test.

`table`: the methods beside each other, errors on validation and test split (Table 7.1), fitness by phase
(Figure 7.3) and routes (Figure 7.5).
`topologies`: one run of CTR on more alphabets; features of the routes that it ends with, in the plane
(Figure 7.6), and in how many cases the alphabet with the nearest routes is also the one that looks most alike
(a permutation test). The dissertation compares looks by a MobileNet with ImageNet weights; here it is the
mean amplitude spectrum of the drawings, which does not depend on where a drawing stands.

What the dissertation leaves open, and what is taken here: dropout of the default modules (0.5, as in soft
order), alpha (0.1), the level of a new node (uniform between those of its ends). Both candidates of a task
see the same image; a task's loss is the mean of theirs. Images are 105x105, as published.

The miniature (cpu) differs: images of 28x28 (after four poolings 1x1 is left, not 6x6), 24 filters, the
first five alphabets of the order that begins with small ones (seed 3; the paper scale has seed 0), eight
drawings of each alphabet in a step instead of one, 40 phases of 100 steps instead of 120 of 3,000. After so
few steps all methods are still learning. The topologies are of all fifty alphabets even so, with four
drawings of each in a step.

  scale   image   filters   alphabets   phases x steps   batch   seeds   topologies of   time
  smoke      16         8           2          3 x   6       4       1               6   30 s
  cpu        28        24           5         40 x 100       8       3              50   1 h on 2 CPU cores
  paper     105        53          20        120 x 3000      1      10              50   for an accelerator

  python experiments/ctr_omniglot.py --scale cpu
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from common import arguments, compare, keep_pictures, trained
from torch import nn

from moduli import Conv, JointModel, LinearBank, Route, Task, evolve, hard, single, soft
from moduli.data import omniglot
from moduli.errors import InputError
from moduli.evolution.features import features, match_test, matches, nearest, standardised
from moduli.files import write_file, write_json
from moduli.report.evolved_routes import FEW, evolved_routes_figure
from moduli.report.style import png
from moduli.report.topologies import topologies_figure

LAYERS, DROPOUT = 4, 0.5
REGIONS = {
    "invented": "Alphabet_of_the_Magi Angelic Arcadian Atemayar_Qelisayer Atlantean Aurek-Besh Futurama "
    "Keble Tengwar ULOG",
    "Europe": "Anglo-Saxon_Futhorc Braille Cyrillic Glagolitic Greek Latin Old_Church_Slavonic_(Cyrillic)",
    "Caucasus and Middle East": "Armenian Asomtavruli_(Georgian) Avesta Early_Aramaic Hebrew "
    "Mkhedruli_(Georgian) Syriac_(Estrangelo) Syriac_(Serto)",
    "South Asia": "Bengali Grantha Gujarati Gurmukhi Kannada Malayalam Manipuri Oriya Sanskrit Sylheti "
    "Tibetan",
    "East and Southeast Asia": "Balinese Burmese_(Myanmar) Japanese_(hiragana) Japanese_(katakana) Korean "
    "Malay_(Jawi_-_Arabic) Mongolian Tagalog",
    "Africa": "Ge_ez N_Ko Tifinagh",
    "North America": "Blackfoot_(Canadian_Aboriginal_Syllabics) Inuktitut_(Canadian_Aboriginal_Syllabics) "
    "Ojibwe_(Canadian_Aboriginal_Syllabics)",
}


class Scale(NamedTuple):
    size: int
    filters: int
    alphabets: int
    phases: int
    phase: int
    batch: int
    seeds: int
    order: int
    many: int  # alphabets of the topologies
    many_phases: int
    many_phase: int
    many_batch: int


SCALES = {
    "smoke": Scale(16, 8, 2, 3, 6, 4, 1, 3, 6, 2, 4, 2),
    "cpu": Scale(28, 24, 5, 40, 100, 8, 3, 3, 50, 40, 100, 4),
    "paper": Scale(105, 53, 20, 120, 3000, 1, 10, 0, 50, 120, 3000, 1),
}


def load(count: int, scale: Scale) -> list[Task]:
    try:
        return omniglot.tasks(count, seed=scale.order, size=scale.size)
    except InputError as error:
        raise SystemExit(str(error)) from error


def model(tasks: Sequence[Task], scale: Scale, structure: Callable[..., Any]) -> JointModel:
    """Four convolutions in one of the fixed orders, between the images and linear decoders."""
    names = [task.name for task in tasks]
    left = max(1, scale.size >> LAYERS)
    decoders = LinearBank({task.name: (scale.filters * left**2, task.kind.outputs) for task in tasks})
    core = structure(names, lambda k: Conv(scale.filters), LAYERS, dropout=DROPOUT, pooling=True)
    return JointModel(tasks, core, {task.data.name: nn.Identity() for task in tasks}, decoders)


def table(options: Namespace, scale: Scale) -> None:
    """Errors of the four methods."""
    tasks = load(scale.alphabets, scale)
    into = options.results / "ctr_omniglot" / options.scale
    summary = compare(
        {
            "single": lambda seed: model(tasks, scale, single),
            "hard": lambda seed: model(tasks, scale, hard),
            "soft": lambda seed: model(tasks, scale, soft),
            "ctr": lambda seed: evolve(model(tasks, scale, hard)),
        },
        tasks,
        options.folder / "table",
        into / "table",
        name=f"{scale.alphabets} alphabets",
        baseline="soft",
        seeds=options.seeds or scale.seeds,
        device=options.device,
        steps=scale.phases * scale.phase,
        phase=scale.phase,
        batch_size=scale.batch,
        patience=None,
    )
    keep_pictures(options.folder / "table", into / "table", {"evolution": "evolution"})
    if (figure := evolved_routes_figure(summary, "ctr", FEW)) is not None:
        write_file(into / "table" / "routes.png", png(figure, dpi=80))


def topologies(options: Namespace, scale: Scale) -> None:
    """The routes that many alphabets end with, as features."""
    tasks = load(scale.many, scale)
    folder, into = options.folder / "topologies", options.results / "ctr_omniglot" / options.scale
    comparison = trained(
        {"ctr": lambda seed: evolve(model(tasks, scale, hard))},
        tasks,
        folder,
        name=f"{scale.many} alphabets",
        seeds=1,
        device=options.device,
        steps=scale.many_phases * scale.many_phase,
        phase=scale.many_phase,
        batch_size=scale.many_batch,
        patience=None,
    )
    (outcome,) = comparison.outcomes
    routes = [Route.from_json(outcome.extra["routes"][task.name]) for task in tasks]
    vectors = standardised(features(routes, LAYERS, LAYERS))
    by_route, by_looks = nearest(vectors), nearest(looks(tasks))
    names = [task.name for task in tasks]
    write_json(
        into / "topologies.json",
        {
            "schema": 1,
            "alphabets": names,
            "features": vectors.round(3).tolist(),
            "nearest_by_route": [names[i] for i in by_route],
            "nearest_by_looks": [names[i] for i in by_looks],
            "matches": matches(by_route, by_looks),
            "p": match_test(by_route, by_looks),
            "validation_error": 100 * (1 - float(np.mean([outcome.val.value(name) for name in names]))),
        },
    )
    region = {name: region for region, some in REGIONS.items() for name in some.split()}
    figure = topologies_figure(comparison.summary, "ctr", {name: region[name] for name in names})
    if figure is not None:
        write_file(into / "topologies.png", png(figure, dpi=110))


def looks(tasks: Sequence[Task]) -> np.ndarray:
    """How alphabets look: mean amplitude spectra of their training drawings, low frequencies, `[T, F]`."""
    vectors = []
    for task in tasks:
        images = task.data.train.inputs[:, 0].numpy()  # type: ignore[attr-defined]
        spectra = np.abs(np.fft.rfft2(images))
        low = images.shape[-1] // 4
        rows = [*range(low), *range(-low + 1, 0)]
        vectors.append(spectra[:, rows, :low].mean(0).ravel())
    return standardised(np.stack(vectors))


def main() -> None:
    options = arguments("ctr_omniglot", __doc__ or "")
    scale = SCALES[options.scale]
    table(options, scale)
    topologies(options, scale)


if __name__ == "__main__":
    main()
