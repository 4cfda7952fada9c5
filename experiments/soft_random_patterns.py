"""Fitting two random tasks in parallel or in permuted order: Meyerson & Miikkulainen (2018), 3.2, Figure 2.

Two tasks of n samples share nothing: inputs uniform in [0, 1]^m, labels 0 or 1 by the toss of a coin. Two
affine layers m -> m are shared by both tasks, and so is the final classification layer. In parallel (hard)
order both tasks apply layer 1, then layer 2; in permuted order (Eq. 4) the second task applies layer 2
first. Panel (a) is linear with m = 128, panel (b) has ReLUs and m = 16. What counts is the accuracy on the
very samples that were fitted.

Since two tasks of n samples in parallel order are one task of 2n samples, the paper's dotted lines compare
permuted order with n samples to parallel order with n/2. Here that is the series "hard, n/2". "single" has
layers of its own for each task.

What the paper leaves open, and what is taken here: the optimizer is Adam with its defaults (as in all its
experiments), all samples are in every step (half of the fit would be noise of the batches otherwise), 2500
steps, Glorot-uniform weights. Each seed draws new tasks; those of fewer samples are the first of those of
more.

  scale   steps   seeds   sizes          time on 1 CPU core
  smoke      50       1   two a panel    20 s
  cpu      2000       3   six and five   15 min
  paper    5000      20   six and five   4 h

  python experiments/soft_random_patterns.py --scale cpu
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from common import arguments, trained
from sweep import Panel, seed_means, write_sweep
from torch import nn

from moduli import Binary, Data, Dense, JointModel, RoutedStructure, Task, TensorSource, chain

STEPS = {"smoke": 50, "cpu": 2000, "paper": 5000}
SEEDS = {"smoke": 1, "cpu": 3, "paper": 20}


class Setting(NamedTuple):
    """One panel of the figure."""

    width: int
    relu: bool
    sizes: tuple[int, ...]


SETTINGS = {
    "linear": Setting(128, relu=False, sizes=(64, 128, 192, 256, 384, 512)),
    "ReLU": Setting(16, relu=True, sizes=(64, 128, 256, 512, 1024)),
}
METHODS = ("single", "hard", "permuted")


def random_tasks(samples: int, width: int, seed: int, most: int = 1024) -> list[Task]:
    """Two tasks of random inputs and labels: the first `samples` of `most`, for training and testing."""
    generator, tasks = torch.Generator().manual_seed(seed), []
    for name in ("first", "second"):
        inputs = torch.rand(most, width, generator=generator)
        labels = torch.randint(2, (most,), generator=generator).float()
        source = TensorSource(inputs[:samples], {name: labels[:samples]})
        tasks.append(Task(name, Binary(), Data(name, (width,), source, source, source)))
    return tasks


def model(method: str, tasks: Sequence[Task], setting: Setting, seed: int) -> JointModel:
    """Two layers, shared in one order or two, or two for each task; nothing before them, one unit after."""
    first, second = (task.name for task in tasks)
    orders = {"single": [(0, 1), (2, 3)], "hard": [(0, 1), (0, 1)], "permuted": [(0, 1), (1, 0)]}[method]
    apart = method == "single"
    layers = [Dense(setting.width, activation=setting.relu) for _ in range(4 if apart else 2)]
    owners = [first, first, second, second] if apart else None
    core = RoutedStructure(layers, {first: chain(orders[0]), second: chain(orders[1])}, owners)
    unit = nn.Linear(setting.width, 1)
    units = {first: unit, second: nn.Linear(setting.width, 1) if apart else unit}
    return JointModel(tasks, core, {first: nn.Identity(), second: nn.Identity()}, units)


def half_as_many(sizes: Sequence[int], by_size: Sequence[list[float]]) -> list[list[float]]:
    """For each n, what was measured at n/2; an empty list where that was not."""
    known = dict(zip(sizes, by_size, strict=True))
    return [known.get(n // 2, []) if n % 2 == 0 else [] for n in sizes]


def main() -> None:
    options = arguments("soft_random_patterns", __doc__ or "")
    seeds, steps = options.seeds or SEEDS[options.scale], STEPS[options.scale]
    panels = []
    for name, setting in SETTINGS.items():
        sizes = setting.sizes[:2] if options.scale == "smoke" else setting.sizes
        found: dict[str, list[list[float]]] = {method: [] for method in METHODS}
        for n in sizes:
            accuracies: dict[str, list[float]] = {method: [] for method in METHODS}
            for seed in range(seeds):
                tasks = random_tasks(n, setting.width, seed)
                comparison = trained(
                    {method: partial(model, method, tasks, setting) for method in METHODS},
                    tasks,
                    options.folder / name / f"{n}-samples" / f"tasks-{seed}",
                    seeds=[seed],
                    device=options.device,
                    steps=steps,
                    phase=steps,
                    batch_size=n,
                    select="last",
                )
                for method in METHODS:
                    accuracies[method] += seed_means(comparison.summary, method, percent_error=False)
            for method in METHODS:
                found[method].append([100 * accuracy for accuracy in accuracies[method]])
        found["hard, n/2"] = half_as_many(sizes, found["hard"])
        title = f"{name}, m = {setting.width}"
        panels.append(Panel(title, "samples of each task", sizes, found))
    write_sweep(
        options.results / "soft_random_patterns" / options.scale,
        "fitting two random tasks",
        "accuracy on the fitted samples, %",
        "higher",
        panels,
        device=options.device,
        seeds=seeds,
        baseline="hard",
        steps=steps,
    )


if __name__ == "__main__":
    main()
