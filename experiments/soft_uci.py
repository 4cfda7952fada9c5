"""Ten UCI tasks, one set of layers: Meyerson & Miikkulainen (2018), section 4.2, Figure 5.

Ten "superficially unrelated" classification tasks are trained together. Each has a learned ReLU encoder to
32 units and a linear softmax decoder; between them stand four ReLU layers of 32 units with dropout 0.8
after each. Single-task learning, hard (parallel), permuted and soft order train the same four layers, Adam
with its defaults, every step a batch of every task.

Three protocols:
  paper  a random 80-20 split, the same in all trials (A.2). The 20 % are looked at after every 250 steps and
         nothing is selected on them: the figures are those of the last step.
  clean  64-16-20: the model is selected on the 16 % (the lowest summed loss), the 20 % are read once.
  metric as clean, but selected by the mean accuracy instead of the summed loss.

The paper has no table, only a plot of the combined loss by iteration (Figure 5b): soft order far below the
others, hard and permuted order marginally below single-task learning. The dissertation (Figure 6.4) plots
the mean error and says that hard and permuted order do not improve after 1000 iterations.

What the paper leaves open, and what is taken here: batch size (32), iterations (10 000), dropout 0.8 as the
share that is dropped, Glorot-uniform weights and zero biases as in Keras, missing numbers filled with the
training mean, scaling to [0, 1] fitted on the training rows.

  scale   steps   seeds   time on 2 CPU cores
  smoke      50       1   20 s
  cpu    10 000       5   1 h
  paper  50 000      10   10 h

  python experiments/soft_uci.py --scale cpu
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from common import arguments, compare

from moduli import Dense, JointModel, Task, dense_ends, hard, permuted, single, soft
from moduli.data import uci
from moduli.errors import InputError

STEPS = {"smoke": 50, "cpu": 10_000, "paper": 50_000}
SEEDS = {"smoke": 1, "cpu": 5, "paper": 10}
WIDTH, LAYERS, DROPOUT = 32, 4, 0.8
PROTOCOLS = {
    "paper": {"data": {"val": 0.2, "test": "val"}, "train": {"select": "last"}},
    "clean": {"data": {"val": 0.16, "test": 0.2}, "train": {"select": "loss", "patience": None}},
    "metric": {"data": {"val": 0.16, "test": 0.2}, "train": {"select": "metric", "patience": None}},
}


def methods(tasks: Sequence[Task]) -> dict[str, Callable[[int], JointModel]]:
    """The four ways to use the same four layers."""
    names = [task.name for task in tasks]

    def build(structure: Callable, seed: int) -> JointModel:
        options = {"seed": seed} if structure is permuted else {}  # orders are drawn anew in each trial
        core = structure(names, lambda k: Dense(WIDTH), LAYERS, dropout=DROPOUT, **options)
        return JointModel(tasks, core, *dense_ends(tasks, WIDTH))

    return {f.__name__: partial(build, f) for f in (single, hard, permuted, soft)}


def main() -> None:
    options = arguments("soft_uci", __doc__ or "")
    for protocol, settings in PROTOCOLS.items():
        try:
            tasks = uci.tasks(seed=0, **settings["data"])  # type: ignore[arg-type]
        except InputError as error:
            raise SystemExit(str(error)) from error
        compare(
            methods(tasks),
            tasks,
            options.folder / protocol,
            options.results / "soft_uci" / options.scale / protocol,
            name=f"ten UCI tasks, {protocol} protocol",
            seeds=options.seeds or SEEDS[options.scale],
            device=options.device,
            steps=STEPS[options.scale],
            phase=250,
            batch_size=32,
            **settings["train"],
        )


if __name__ == "__main__":
    main()
