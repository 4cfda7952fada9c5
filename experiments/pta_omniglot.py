"""Pseudo-task augmentation on Omniglot: Meyerson & Miikkulainen (2018), 4.1, Figures 2 and 3, Table 1.

Each alphabet is a task: which of its characters is it? Below the decoders stand four convolutions of 53
filters, each followed by 2x2 max-pooling and dropout 0.5. They are trained for each alphabet alone
(single-task learning, Figure 2) or shared by all (multitask learning, Figure 3), with one linear decoder
for each task (the baseline) or with D of them, under eight controls. Table 1 has three of the controls with
D = 4 and 10, on all alphabets.

50/20/30 % of the drawings of each character are for training, validation and testing, the same for all
seeds. After every meta-iteration the model is scored on the validation split by the best decoder of each
task; the weights of the best meta-iteration are kept, and the test split is read once. A single-task model
keeps its own best weights.

What the paper leaves open, and what is taken here: the batch size (8 drawings of each alphabet); whether
the dropout that "precedes each decoder" is the one after the fourth convolution or one more (the former;
under D it is drawn for each decoder by itself); the noise of P and H (eps is a standard deviation).

The miniature (cpu) differs: the first 5 alphabets of the random order instead of 20 and 50; drawings of
16x16 instead of 105x105 pixels, so that the decoders read 53 numbers instead of 1908; 16 meta-iterations of
40 steps instead of 100 of 250. That is a fortieth of the training, and would end before the loss begins to
fall; so dropout after the first three convolutions is 0.2, and ink counts 7 instead of 1, which makes up for
the 52 empty channels of the input. One table serves for both figures and Table 1. Since methods that learn
fast lead early, three controls with D = 4 are also trained for 3200 steps (40 meta-iterations of 80).

  scale   alphabets     pixels   steps    meta-iteration   seeds   time
  smoke   2             16       8        4                1       20 s on 1 CPU core
  cpu     5             16       640      40               3       1.5 h on 1 CPU core
  paper   20 (and 50)   105      25 000   250              3       days on a GPU

  python experiments/pta_omniglot.py --scale cpu
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from common import arguments, trained
from sweep import Panel, seed_means, write_sweep
from torch import Tensor, nn

from moduli import Conv, JointModel, LinearBank, Task, augment, hard, single
from moduli.data import omniglot
from moduli.errors import InputError

FILTERS, LAYERS, DROPOUT = 53, 4, 0.5  # dropout before the decoders
CONTROLS = ("I", "F", "P", "D", "FP", "GP", "GD", "HGD")
FEW = ("I", "HGD", "F")  # those of Table 1


class Scale(NamedTuple):
    """How much is computed."""

    alphabets: int
    size: int
    steps: int
    phase: int
    seeds: int
    dropout: float = DROPOUT  # between the convolutions
    ink: float = 1.0
    decoders: Sequence[int] = (2, 3, 4)
    controls: Sequence[str] = CONTROLS
    longer: int = 0  # steps of a second comparison, of the controls of Table 1


SCALES = {
    "smoke": Scale(2, 16, 8, 4, 1, decoders=(2,), controls=("F", "HGD")),
    "cpu": Scale(5, 16, 640, 40, 3, dropout=0.2, ink=7.0, longer=3200),
    "paper": Scale(20, 105, 25_000, 250, 3),
}
ONE = "one decoder"
# Table 1: test error on 50 alphabets.
PAPER = {
    "single-task": {
        ONE: {1: 35.49},
        "I": {4: 31.72, 10: 32.56},
        "HGD": {4: 31.63, 10: 30.39},
        "F": {4: 29.37, 10: 28.48},
    },
    "multitask": {
        ONE: {1: 29.02},
        "I": {4: 27.26, 10: 24.50},
        "HGD": {4: 25.77, 10: 26.55},
        "F": {4: 23.45, 10: 23.36},
    },
}


class Ink(nn.Module):
    """The encoder: images whose ink is `value` instead of 1."""

    def __init__(self, value: float):
        super().__init__()
        self.value = value

    def forward(self, images: Tensor) -> Tensor:
        return images if self.value == 1.0 else self.value * images


def build(
    tasks: Sequence[Task], scale: Scale, apart: bool, control: str, decoders: int, seed: int
) -> JointModel:
    """Four convolutions, for each task or for all, and D linear decoders for each task."""
    names, left = [task.name for task in tasks], scale.size >> LAYERS
    order = single if apart else hard
    core = order(names, lambda k: Conv(FILTERS), LAYERS, dropout=scale.dropout, pooling=True)
    linear = LinearBank({task.name: (FILTERS * left * left, task.kind.outputs) for task in tasks})
    encoders = {name: Ink(scale.ink) for name in names}
    model = JointModel(tasks, core, encoders, linear, encode_apart=apart)
    return augment(model, control, decoders, dropout=DROPOUT)


Points = Mapping[str, Sequence[int]]
"""For each control, with how many decoders it is tried."""


def methods(
    tasks: Sequence[Task], scale: Scale, apart: bool, points: Points
) -> dict[str, Callable[[int], JointModel]]:
    """The baseline, and every control with every number of decoders."""
    chosen = {"baseline": ("I", 1)}
    chosen |= {f"{control}-{d}": (control, d) for control, numbers in points.items() for d in numbers}
    return {name: partial(build, tasks, scale, apart, *what) for name, what in chosen.items()}


def panel(
    title: str, summary: dict[str, Any], points: Points, paper: Mapping[str, Mapping[int, float]]
) -> Panel:
    """Test error by number of decoders, a row for each control."""
    numbers = sorted({1, *(d for chosen in points.values() for d in chosen)})
    series = {ONE: [seed_means(summary, "baseline") if d == 1 else [] for d in numbers]}
    for control, chosen in points.items():
        series[control] = [seed_means(summary, f"{control}-{d}") if d in chosen else [] for d in numbers]
    published = {name: [values.get(d) for d in numbers] for name, values in paper.items()}
    shown = numbers if len(numbers) > 2 else [str(d) for d in numbers]  # words stand side by side
    return Panel(title, "decoders", shown, series, published)


def gains(errors: Panel) -> Panel:
    """What each control takes off the error of one decoder, seed by seed: what Figures 2 and 3 show."""
    one = errors.series[ONE][0]
    series = {
        control: [
            [a - b for a, b in zip(one, values, strict=True)] if values else [] for values in by_number[1:]
        ]
        for control, by_number in errors.series.items()
        if control != ONE
    }
    return Panel(errors.title, errors.axis, errors.points[1:], series)


def run(options: Any, scale: Scale, alphabets: int, points: Points, folder: Path) -> list[Panel]:
    """Single-task and multitask learning of so many alphabets."""
    try:
        tasks = omniglot.tasks(alphabets, seed=0, size=scale.size)
    except InputError as error:
        raise SystemExit(str(error)) from error
    panels = []
    for setting, apart in {"single-task": True, "multitask": False}.items():
        comparison = trained(
            methods(tasks, scale, apart, points),
            tasks,
            folder / setting,
            name=f"Omniglot, {alphabets} alphabets, {setting}",
            baseline="baseline",
            seeds=options.seeds or scale.seeds,
            device=options.device,
            steps=scale.steps,
            phase=scale.phase,
            batch_size=8,
            patience=None,
        )
        title = f"{setting} learning, {alphabets} alphabets, {scale.steps:,} steps"
        panels.append(panel(title, comparison.summary, points, PAPER[setting]))
    return panels


def main() -> None:
    options = arguments("pta_omniglot", __doc__ or "")
    scale = SCALES[options.scale]
    figures = dict.fromkeys(scale.controls, scale.decoders)
    if options.scale == "paper":
        panels = run(options, scale, scale.alphabets, figures, options.folder / "figures")
        panels += run(options, scale, 50, dict.fromkeys(FEW, (4, 10)), options.folder / "table")
    else:
        if options.scale == "cpu":
            figures |= dict.fromkeys(FEW, (*scale.decoders, 10))
        panels = run(options, scale, scale.alphabets, figures, options.folder)
        if scale.longer:
            longer = scale._replace(steps=scale.longer, phase=2 * scale.phase)
            folder = options.folder / "longer"
            panels += run(options, longer, scale.alphabets, dict.fromkeys(FEW, (4,)), folder)
    for folder, value, direction, shown in (
        ("", "test error, %", "lower", panels),
        (
            "gains",
            "decrease of the test error from one decoder, points",
            "higher",
            [gains(p) for p in panels],
        ),
    ):
        write_sweep(
            options.results / "pta_omniglot" / options.scale / folder,
            "pseudo-task augmentation on Omniglot",
            value,
            direction,
            shown,
            device=options.device,
            seeds=options.seeds or scale.seeds,
            baseline=ONE,
            steps=scale.steps,
        )


if __name__ == "__main__":
    main()
