"""All balancings and schedules on ten UCI tasks: which to choose when tasks are small tables?

No paper has this table; it is ours. The tasks, the layers and the "metric" protocol are those of
`soft_uci.py`: ten classification tasks of different size and difficulty, four ReLU layers of 32 units, hard
sharing, 64-16-20 splits, the model selected by mean validation accuracy, the test rows read once. Every
balancing that run files know is trained with its defaults, all tasks in every step.

Schedules train one task in each step, ten times as many steps: as many batches of each task as the
balancings see. So their optimizer makes ten times as many updates, and a difference between the two groups
says more about that than about schedules; compare within a group. The adaptive schedule gets the validation
accuracy of single-task models.

Nash-MTL solves its problem at every 25th step only, as every solution takes far longer than a step.

Time per seed is in the table as well; it is of a busy machine, see `benchmarks/balancing.py` for ratios.

  scale   steps   seeds   time on 1 CPU core
  smoke      20       1   30 s
  cpu     2 000       3   25 min
  paper  10 000      10   7 h

  python experiments/balancing_uci.py --scale cpu
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from common import arguments, compare

from moduli import (
    DWA,
    Adaptive,
    ByWeights,
    Dense,
    Greedy,
    JointModel,
    Proportional,
    RandomTasks,
    Recipe,
    RoundRobin,
    Task,
    dense_ends,
    hard,
    single,
    single_task_scores,
)  # fmt: skip
from moduli.data import uci
from moduli.errors import InputError
from moduli.runs import BALANCES
from moduli.types import Combine

STEPS = {"smoke": 20, "cpu": 2000, "paper": 10_000}
SEEDS = {"smoke": 1, "cpu": 3, "paper": 10}
WIDTH, LAYERS = 32, 4
NEED_OPTIONS = ("weights", "prioritise")  # say nothing without them
OPTIONS = {"nash-mtl": {"every": 25}}


def build(structure: Callable[..., Any], tasks: Sequence[Task], separate: bool, seed: int) -> JointModel:
    """Four layers of 32 units; `separate` where steps train one task, see `LinearBank.separate`."""
    core = structure([task.name for task in tasks], lambda k: Dense(WIDTH), LAYERS)
    model = JointModel(tasks, core, *dense_ends(tasks, WIDTH))
    return model.separate_ends() if separate else model


def balancings(tasks: Sequence[Task]) -> dict[str, Recipe]:
    """Hard sharing with every balancing of the run file, with its defaults."""

    def combine(kind: str, seed: int) -> Combine:
        return BALANCES[kind].build(tasks, BALANCES[kind].options(**OPTIONS.get(kind, {})), seed)

    model = partial(build, hard, tasks, False)
    kinds = [kind for kind in BALANCES if kind not in NEED_OPTIONS]
    return {kind: Recipe(model, partial(combine, kind)) for kind in kinds}


def schedules(tasks: Sequence[Task], baselines: dict[str, float]) -> dict[str, Recipe]:
    """Hard sharing with schedules of one task in each step."""
    made: dict[str, Callable[[int], Any]] = {
        "round-robin": lambda seed: RoundRobin(),
        "random": lambda seed: RandomTasks(seed=seed),
        "proportional": lambda seed: Proportional(tasks, seed=seed),
        "proportional, T=5": lambda seed: Proportional(tasks, 5.0, seed=seed),
        "greedy": lambda seed: Greedy(),
        "adaptive": lambda seed: Adaptive(baselines, seed=seed),
        "adaptive, rates": lambda seed: Adaptive(baselines, "implicit", seed=seed),
        "by DWA weights": lambda seed: ByWeights(DWA(), seed),
    }
    model = partial(build, hard, tasks, True)
    return {name: Recipe(model, schedule=schedule) for name, schedule in made.items()}


def main() -> None:
    options = arguments("balancing_uci", __doc__ or "")
    try:
        tasks = uci.tasks(seed=0, val=0.16, test=0.2)
    except InputError as error:
        raise SystemExit(str(error)) from error
    steps, seeds = STEPS[options.scale], options.seeds or SEEDS[options.scale]
    into: Path = options.results / "balancing_uci" / options.scale

    def settings(factor: int) -> dict[str, Any]:
        """Of a training with `factor` times the steps, in 20 phases or, of few steps, fewer."""
        phase = max(1, factor * steps // 20)
        common = {"device": options.device, "batch_size": 32, "patience": None}
        return {"steps": factor * steps, "phase": phase, **common}

    def compared(part: str, about: str, methods: dict[str, Recipe], baseline: str, factor: int) -> None:
        name = f"ten UCI tasks, hard sharing: {about}"
        chosen = {"name": name, "baseline": baseline, "seeds": seeds, **settings(factor)}
        compare(methods, tasks, options.folder / part, into / part, **chosen)

    alone = partial(build, single, tasks, False)
    compared("balancing", "balancing", {"single": Recipe(alone), **balancings(tasks)}, "equal", 1)
    baselines = single_task_scores(alone, tasks, folder=options.folder / "baselines", **settings(1))
    about = "schedules of one task in each step"
    compared("scheduling", about, schedules(tasks, baselines), "round-robin", 10)


if __name__ == "__main__":
    main()
