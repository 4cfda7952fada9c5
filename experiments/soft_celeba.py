"""Forty facial attributes: Meyerson & Miikkulainen (2018), section 4.4, and the dissertation's Figure 6.6.

Each attribute of CelebA is a yes/no task. One ResNet-50 with ImageNet weights, truncated to its average
pooling and projected to 256 numbers, encodes an image for all of them. Then come four ReLU layers of 256
units with dropout 0.5 after each, in parallel order (the same for all tasks) or in soft order, with or
without a fixed identity layer at each depth, and a sigmoid decoder for each task. Both are trained with and
without one task more, a regression to the landmarks. Adam until the validation loss has converged, then
RMSprop with rate 1e-5; batches of 32 images, resized to 224x224; the published split. The figures are test
errors, mean over the forty attributes; the task of landmarks does not count.

What the papers leave open, and what is taken here: "converged" (no lower summed validation loss for three
epochs; RMSprop goes on from the best weights, and of its own the best are kept again); the loss of the
landmarks (squared error, all ten coordinates divided by one deviation) and its weight (1, as every task's);
how many runs there were (here three). Not as in the papers: the weights are those of the Hugging Face hub,
and images are normalised as these want it, both instead of Keras's; torch's RMSprop averages squares over
more steps (0.99) than Keras's (0.9). The table's rows of other authors, such as single-task learning, are not
run.

The miniature (cpu) differs: 10 000 images of 64x64 pixels; a ResNet from scratch, of four stages with one
block each and 16 to 128 channels; 64 units instead of 256. It needs CelebA as well (see docs/data.md). The
smoke scale makes up a folder of the same layout and takes eight attributes.

  scale   images    pixels   steps (Adam + RMSprop)   seeds   time
  smoke       160       64         4 +      2            1    30 s on 1 CPU core
  cpu      10 000       64     2 510 +    753            3    1 h on 2 CPU cores (estimated, not run)
  paper   202 599      224   101 740 + 50 870            3    days on a GPU (not run)

  MODULI_DATA=FOLDER python experiments/soft_celeba.py --scale cpu --threads 2
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import celeba
from common import arguments, compare, trained
from sweep import Panel, seed_means, write_sweep

from moduli import Dense, JointModel, LinearBank, Task, hard, soft
from moduli.training.weights import load_weights

LAYERS, DROPOUT = 4, 0.5
ORDERS = {"parallel": hard, "soft": soft, "soft + identity": partial(soft, identity=True)}
PAPER = {"parallel": (10.21, 10.29), "soft": (8.79, 8.75), "soft + identity": (8.64, 8.68)}
Build = Callable[[int], JointModel]


class Scale(NamedTuple):
    """How much is computed; ``epoch`` is the steps between two looks at the validation split."""

    width: int
    adam: int
    rmsprop: int
    epoch: int
    seeds: int


SCALES = {
    "smoke": Scale(16, 4, 2, 2, 1),
    "cpu": Scale(64, 10 * 251, 3 * 251, 251, 3),
    "paper": Scale(256, 20 * 5087, 10 * 5087, 5087, 3),
}


def methods(tasks: Sequence[Task], scale: str) -> dict[str, Build]:
    """The same encoder and layers in three orders."""
    names, width = [task.name for task in tasks], SCALES[scale].width

    def build(order: Callable, seed: int) -> JointModel:
        core = order(names, lambda k: Dense(width), LAYERS, dropout=DROPOUT)
        decoders = LinearBank({task.name: (width, task.kind.outputs) for task in tasks})
        return JointModel(tasks, core, {"celeba": celeba.encoder(scale, width)}, decoders)

    return {name: partial(build, order) for name, order in ORDERS.items()}


def going_on(build: Build, trained: Path, seed: int) -> JointModel:
    """The model that an earlier comparison trained with this seed."""
    model = build(seed)
    load_weights(trained / f"seed-{seed}" / "model.safetensors", model)
    return model


def run(options: Any, tasks: Sequence[Task], name: str) -> Mapping[str, Any]:
    """Adam, then RMSprop from the best weights; the summary of the latter."""
    scale, folder = SCALES[options.scale], options.folder / name
    first = methods(tasks, options.scale)
    second = {m: partial(going_on, build, folder / "adam" / "training" / m) for m, build in first.items()}
    train = {
        "seeds": options.seeds or scale.seeds,
        "device": options.device,
        "batch_size": 32,
        "eval_batch_size": 256,
        "phase": scale.epoch,
        "patience": 3,
        "select": "loss",
    }
    title, into = f"CelebA, {name}", options.results / "soft_celeba" / options.scale / name
    trained(first, tasks, folder / "adam", name=title, steps=scale.adam, **train)
    rmsprop = {"optimizer": "rmsprop", "lr": 1e-5, "steps": scale.rmsprop}
    return compare(second, tasks, folder / "rmsprop", into, name=title, **rmsprop, **train)


def errors(summary: Mapping[str, Any], method: str) -> list[float]:
    """For each seed, the mean test error of the attributes in percent."""
    values = {t: v for t, v in summary["methods"][method]["tasks"].items() if t != "landmarks"}
    return seed_means({"methods": {method: {"tasks": values}}}, method)


def main() -> None:
    options = arguments("soft_celeba", __doc__ or "")
    settings = {"attributes": False, "attributes and landmarks": True}
    tasks = {name: celeba.load(options.scale, options.folder, with_) for name, with_ in settings.items()}
    found = [run(options, tasks[name], name) for name in settings]
    series = {method: [errors(summary, method) for summary in found] for method in ORDERS}
    write_sweep(
        options.results / "soft_celeba" / options.scale,
        "facial attributes",
        "test error, %",
        "lower",
        [Panel("mean over forty attributes", "tasks", list(settings), series, PAPER)],
        device=options.device,
        seeds=options.seeds or SCALES[options.scale].seeds,
        baseline="parallel",
    )


if __name__ == "__main__":
    main()
