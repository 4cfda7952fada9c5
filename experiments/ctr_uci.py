"""CTR on ten UCI tasks, beside soft order: not in the papers, which evolve routes for images only.

The tasks and layers are those of `soft_uci.py` (Meyerson & Miikkulainen 2018, section 4.2): ten
classification tasks, for each a learned ReLU encoder to 32 units and a linear softmax decoder, between them
four shared ReLU layers of 32 units, Adam with its defaults, every step a batch of 32 of every task. CTR
begins with the chain of all four layers and mutates after every 250 steps.

Two rates of dropout after every application of a layer: 0.8 as in the paper of soft order, with which a
chain of four layers hardly learns, and 0.2. As evolution looks at the validation split, the split is
64-16-20; the model is that of the best mean validation accuracy, for all methods; the 20 % are read once.

  scale    steps   phases   seeds   time on 1 CPU core
  smoke       60        3       1   20 s
  cpu     10 000       40       3   40 min
  paper   60 000      240      10   14 h

  python experiments/ctr_uci.py --scale cpu
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from common import arguments, compare, keep_pictures

from moduli import Dense, JointModel, Task, dense_ends, evolve, hard, single, soft
from moduli.data import uci
from moduli.errors import InputError

WIDTH, LAYERS = 32, 4
RATES = (0.8, 0.2)


class Scale(NamedTuple):
    steps: int
    phase: int
    seeds: int


SCALES = {"smoke": Scale(60, 20, 1), "cpu": Scale(10_000, 250, 3), "paper": Scale(60_000, 250, 10)}


def methods(tasks: Sequence[Task], dropout: float) -> dict[str, Callable[[int], JointModel]]:
    """Four ways to use four layers, one of them evolved."""
    names = [task.name for task in tasks]

    def build(structure: Callable[..., Any]) -> JointModel:
        core = structure(names, lambda k: Dense(WIDTH), LAYERS, dropout=dropout)
        return JointModel(tasks, core, *dense_ends(tasks, WIDTH))

    return {
        "single": lambda seed: build(single),
        "hard": lambda seed: build(hard),
        "soft": lambda seed: build(soft),
        "ctr": lambda seed: evolve(build(hard)),
    }


def main() -> None:
    options = arguments("ctr_uci", __doc__ or "")
    scale = SCALES[options.scale]
    try:
        tasks = uci.tasks(seed=0, val=0.16, test=0.2)
    except InputError as error:
        raise SystemExit(str(error)) from error
    for rate in RATES:
        name = f"dropout-{rate}"
        compare(
            methods(tasks, rate),
            tasks,
            options.folder / name,
            options.results / "ctr_uci" / options.scale / name,
            name=f"ten UCI tasks, dropout {rate}",
            baseline="soft",
            seeds=options.seeds or scale.seeds,
            device=options.device,
            steps=scale.steps,
            phase=scale.phase,
            batch_size=32,
            patience=None,
        )
        into = options.results / "ctr_uci" / options.scale / name
        keep_pictures(options.folder / name, into, {"evolution": "evolution"})


if __name__ == "__main__":
    main()
