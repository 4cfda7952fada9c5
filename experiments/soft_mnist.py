"""Pairs of digits seen through random encoders: Meyerson & Miikkulainen (2018), section 4.1, Figure 4.

Each of T tasks tells two digits of MNIST apart. A pair is drawn without replacement, and the pairs of a set
of tasks with replacement. So that tasks begin apart, each has a random ReLU encoder to 64 units that is
never trained. Between it and a sigmoid decoder of its own stand four ReLU layers of 64 units with dropout
0.5 after each: single-task learning, hard (parallel), permuted and soft order.

Panels: mean test error by T; the same relative to hard order, as the paper plots its results (Figure 4a);
the mean test cross-entropy relative to hard order (the paper does not say which of the two it plots). Two
more figures of one longer run of soft order on two tasks: how far apart their scales are and how large the
largest is, by step (4b, c), and the scales at the end (4d).

Protocol: a sixth of MNIST's training part is held out and selects the phase (the best mean accuracy); the
test part is read once. The paper trains on the whole training part, and does not say when it stops.

What else the paper leaves open, and what is taken here: batch size (32 for each task), steps (below),
trials (seeds below; each draws its own pairs, encoders, orders, weights and batches, the same pairs and
encoders for all methods), Glorot-uniform weights also in the frozen encoders.

  scale   steps   seeds   tasks             longer run   time on 1 CPU core
  smoke      30       1   2                         60   20 s
  cpu      3000       3   2, 4, 6, 8, 10        12 000   30 min
  paper  20 000      10   2, 4, 6, 8, 10        20 000   12 h

  python experiments/soft_mnist.py --scale cpu
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, trained
from sweep import Panel, seed_means, write_sweep

from moduli import Dense, JointModel, LinearBank, Task, hard, permuted, single, soft
from moduli.data import mnist
from moduli.errors import InputError
from moduli.evaluation import read_summary
from moduli.files import write_file
from moduli.report.records import read_records
from moduli.report.scales import scales_over_time, soft_order_figure
from moduli.report.style import png

STEPS = {"smoke": 30, "cpu": 3000, "paper": 20_000}
LONGER = {"smoke": 60, "cpu": 12_000, "paper": 20_000}
PHASE = {"smoke": 10, "cpu": 250, "paper": 500}
SEEDS = {"smoke": 1, "cpu": 3, "paper": 10}
TASKS = {"smoke": (2,), "cpu": (2, 4, 6, 8, 10), "paper": (2, 4, 6, 8, 10)}
PIXELS, WIDTH, LAYERS, DROPOUT = 28 * 28, 64, 4, 0.5


def methods(tasks: Sequence[Task]) -> dict[str, Callable[[int], JointModel]]:
    """The four ways to use the same four layers."""
    names = [task.name for task in tasks]

    def build(structure: Callable, seed: int) -> JointModel:
        # Drawn first, so that all methods of a seed have the same encoders.
        encoders = LinearBank({task.data.name: (PIXELS, WIDTH) for task in tasks}, relu=True)
        options = {"seed": seed} if structure is permuted else {}  # orders are drawn anew in each trial
        core = structure(names, lambda k: Dense(WIDTH), LAYERS, dropout=DROPOUT, **options)
        decoders = LinearBank(dict.fromkeys(names, (WIDTH, 1)))
        return JointModel(tasks, core, encoders.requires_grad_(False), decoders)

    return {f.__name__: partial(build, f) for f in (single, hard, permuted, soft)}


def mean_loss(summary: Mapping[str, Any], method: str) -> float:
    """The test loss of a comparison of one seed, mean over its tasks."""
    return float(np.mean([task["loss"][0] for task in summary["methods"][method]["tasks"].values()]))


def relative(series: Mapping[str, Sequence[Sequence[float]]], to: str) -> dict[str, list[list[float]]]:
    """Every value as a percentage of what the method `to` has for the same seed and point."""
    return {
        method: [
            [100 * value / base for value, base in zip(*pair, strict=True)]
            for pair in zip(points, series[to], strict=True)
        ]
        for method, points in series.items()
    }


def pictures(run: Path, into: Path) -> None:
    """What soft order learned in one run: its scales by step, and at the end."""
    summary, records = read_summary(run / "summary.json"), read_records(run / "metrics.jsonl")
    figures = {
        "scales_by_step": scales_over_time(summary, records, "soft"),
        "soft_order": soft_order_figure(summary, "soft"),
    }
    for name, figure in figures.items():
        if figure is not None:
            write_file(into / f"{name}.png", png(figure, dpi=110))


def pairs(count: int, seed: int) -> list[Task]:
    """Tasks on pairs drawn by `seed`; without the data the program ends with one line."""
    try:
        return mnist.pair_tasks(count, seed=seed)
    except InputError as error:
        raise SystemExit(str(error)) from error


def main() -> None:
    options = arguments("soft_mnist", __doc__ or "")
    scale, seeds = options.scale, options.seeds or SEEDS[options.scale]
    settings: dict[str, Any] = {
        "device": options.device,
        "phase": PHASE[scale],
        "batch_size": 32,
        "select": "metric",
        "patience": None,
    }
    errors: dict[str, list[list[float]]] = {}
    losses: dict[str, list[list[float]]] = {}
    for count in TASKS[scale]:
        found = []
        for seed in range(seeds):
            tasks, folder = pairs(count, seed), options.folder / f"{count}-tasks" / f"pairs-{seed}"
            comparison = trained(methods(tasks), tasks, folder, seeds=[seed], steps=STEPS[scale], **settings)
            found.append(comparison.summary)
        for method in found[0]["methods"]:
            errors.setdefault(method, []).append([seed_means(summary, method)[0] for summary in found])
            losses.setdefault(method, []).append([mean_loss(summary, method) for summary in found])
    into = options.results / "soft_mnist" / scale
    write_sweep(
        into,
        "pairs of MNIST digits",
        "mean over tasks, test split",
        "lower",
        [
            Panel("error, %", "tasks", TASKS[scale], errors),
            Panel("error, % of that of hard order", "tasks", TASKS[scale], relative(errors, "hard")),
            Panel("cross-entropy, % of that of hard order", "tasks", TASKS[scale], relative(losses, "hard")),
        ],
        device=options.device,
        seeds=seeds,
        baseline="hard",
        steps=STEPS[scale],
    )
    tasks, longer = pairs(2, seed=0), options.folder / "longer"
    soft_only = {"soft": methods(tasks)["soft"]}
    trained(soft_only, tasks, longer, seeds=[0], steps=LONGER[scale], **settings)
    pictures(longer, into)


if __name__ == "__main__":
    main()
