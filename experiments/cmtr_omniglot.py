"""CMTR on Omniglot: Meyerson (2018), "Discovering Multi-Purpose Modules", chapter 7, last row of Table 7.1.

Modules evolve in an outer loop (CoDeepNEAT), and are evaluated by CTR, which evolves the routes of the tasks
through them. The tasks, images and splits are those of `ctr_omniglot.py`, whose results stand beside; after
the search the best set of modules is trained with several seeds as CTR is there, for as many steps.

The test split is not read before those trainings, and once by each.

What the dissertation leaves open, and what is taken here: ranges and rates (`moduli.Ranges` has them all),
the number of generations, how a set of four is drawn from two species (one architecture of each, used twice).
The modules have no pool in them, as routes pool; learning rate, weight decay, initialiser and width are
evolved with the set.

The miniature (cpu) has 8 modules instead of 25, 8 sets in each generation instead of 100, 3 generations, 6
phases of 100 steps for each set instead of 12 of 3,000, 2 finalists instead of 50, and narrow modules (8 to
24 filters, width 12 to 24, at most 4 layers; the fixed ones of CTR have 24 filters). So few steps tell sets
apart only if all learn fast: learning rates from 5e-4 and dropout of at most 0.3.

  scale   modules   sets   generations   phases   finalists   seeds   time
  smoke         4      2             2        2           1       1   40 s
  cpu           8      8             3        6           2       3   50 min on 2 CPU cores
  paper        25    100            72       12          50      10   for a cluster; see --ray

  python experiments/cmtr_omniglot.py --scale cpu
  python experiments/cmtr_omniglot.py --scale paper --ray auto --device cuda
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from common import arguments, compare, keep_pictures
from ctr_omniglot import LAYERS, SCALES as PROTOCOLS, load

from moduli import Board, ModuleSet, Processes, Ranges, Ray, Recipe, Task
from moduli.errors import InputError, Interrupted, RunError
from moduli.evolution.evaluators import Evaluator
from moduli.files import read_json, write_file, write_json
from moduli.report.module_drawing import draw_modules
from moduli.report.style import png
from moduli.search import Budget, InnerLoop, ModuleSearch

OWN_OPTIONS = {
    "--ray": {"help": "address of a Ray cluster, or auto; a GPU for each training"},
    "--workers": {"type": int, "default": 2, "help": "without Ray: processes on this machine"},
}


class Scale(NamedTuple):
    budget: Budget
    ranges: Ranges
    seeds: int


SCALES = {
    "smoke": Scale(Budget(4, 2, 2, 2, None, 2, 1, 2), Ranges(filters=(2, 6), width=(4, 6)), 1),
    "cpu": Scale(
        Budget(8, 2, 8, 3, None, 6, 2, 15),
        Ranges(filters=(8, 24), width=(12, 24), most_layers=4, lr=(5e-4, 1e-2), dropout=(0.0, 0.3)),
        3,
    ),
    "paper": Scale(Budget(25, 2, 100, 72, 10, 12, 50, 120), Ranges(), 10),
}


def searched(
    tasks: Sequence[Task], options: Namespace, scale: Scale, evaluator: Evaluator, inner: InnerLoop
) -> ModuleSet:
    """The best set of modules; what was tried goes to the results."""
    folder, into = options.folder / "search", options.results / "cmtr_omniglot" / options.scale
    try:
        found = ModuleSearch(inner, scale.budget, scale.ranges, evaluator, folder, 0, Board()).run(test=False)
    except (Interrupted, InputError, RunError) as error:
        raise SystemExit(f"{error}; the same command goes on") from error
    kept = read_json(folder / "search.json")
    for evaluation in (*kept["evaluations"], *kept["finalists"], kept["best"]):
        evaluation.pop("metrics", None)
    write_json(into / "search.json", {"schema": 1, **kept})
    axes = len(tasks[0].data.shape)
    figure = draw_modules(found.best.modules, found.best.settings, axes)
    write_file(into / "modules.png", png(figure, dpi=110))
    return found.best


def main() -> None:
    options = arguments("cmtr_omniglot", __doc__ or "", OWN_OPTIONS)
    scale, protocol = SCALES[options.scale], PROTOCOLS[options.scale]
    evaluator: Evaluator = Ray(options.ray, gpus=1) if options.ray else Processes(options.workers)
    tasks = load(protocol.alphabets, protocol)
    inner = InnerLoop(
        tasks,
        LAYERS,
        train={"phase": protocol.phase, "batch_size": protocol.batch},
        device=options.device,
    )
    best = searched(tasks, options, scale, evaluator, inner)
    train = {"lr": best.settings.lr, "weight_decay": best.settings.weight_decay}
    into: Path = options.results / "cmtr_omniglot" / options.scale / "table"
    compare(
        {"cmtr": Recipe(lambda seed: inner.model(best, seed), train=train)},
        tasks,
        options.folder / "table",
        into,
        name=f"{protocol.alphabets} alphabets",
        seeds=options.seeds or scale.seeds,
        device=options.device,
        steps=protocol.phases * protocol.phase,
        phase=protocol.phase,
        batch_size=protocol.batch,
        patience=None,
    )
    keep_pictures(options.folder / "table", into, {"evolution": "evolution"})


if __name__ == "__main__":
    main()
