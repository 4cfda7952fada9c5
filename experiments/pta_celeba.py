"""Pseudo-task augmentation on forty facial attributes: Meyerson & Miikkulainen (2018), section 4.3, Table 3.

Each attribute of CelebA is a yes/no task. One network with ImageNet weights encodes an image for all of them,
and linear decoders follow: one for each task (the multitask baseline), or ten under PTA-HGD, with dropout
rates from 0.2 to 0.8. RMSprop with rate 1e-4, lowered to 1e-5 and 1e-6 when the model has converged;
meta-iterations of 250 steps with batches of 32 images; the published split. Both are trained three times. The
figures are test errors, mean over the forty attributes: the mean of the three runs, and that of their
ensemble.

What the paper leaves open, and what is taken here: "converged" (no better mean validation accuracy for 10
meta-iterations; training ends after 30); the images' size (224x224); whether the baseline drops out before
its decoders (yes, 0.5, where PTA's rates begin); how runs are joined (mean of the predicted probabilities).

Not as in the paper: its network is an Inception-ResNet-v2, of which there is none in `transformers`. Here it
is a ResNet-50, which is smaller (24 million parameters, not 54) and gives 2048 numbers, not 1536; so the
figures cannot be expected to be those of the paper, only their differences. torch's RMSprop averages squares
over more steps (0.99) than Keras's (0.9).

The miniature (cpu) differs: 10 000 images of 64x64 pixels, and a ResNet from scratch, of four stages with one
block each and 16 to 128 channels; the rate begins at 1e-3, and patience is 3 and 9 meta-iterations. It needs
CelebA as well (see docs/data.md). The smoke scale makes up a folder of the same layout and takes eight
attributes.

  scale   images    pixels   steps     seeds   time
  smoke       160       64         4      2    20 s on 1 CPU core
  cpu      10 000       64     6 000      3    40 min on 2 CPU cores (estimated, not run)
  paper   202 599      224   100 000      3    days on a GPU (not run)

  MODULI_DATA=FOLDER python experiments/pta_celeba.py --scale cpu --threads 2
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import celeba
import torch
from common import arguments, compare
from sweep import Panel, seed_means, write_sweep
from torch import nn

from moduli import JointModel, LinearBank, Phase, Task, augment, hard
from moduli.tasks import check_tasks
from moduli.training import choose_device
from moduli.training.evaluate import predict_split
from moduli.training.selection import validation_score
from moduli.training.weights import load_weights

METHODS = {"MTL": ("I", 1), "PTA-HGD": ("HGD", 10)}  # control and decoders
PAPER = {"MTL": (8.14, None), "PTA-HGD": (8.10, 7.94)}
LOWEST_RATE, EVAL_BATCH = 1e-6, 256


class Scale(NamedTuple):
    """How much is computed; ``patience`` is meta-iterations before the rate is lowered."""

    steps: int
    phase: int
    patience: int
    rate: float
    seeds: int


SCALES = {
    "smoke": Scale(4, 2, 1, 1e-4, 2),
    "cpu": Scale(6000, 250, 3, 1e-3, 3),
    "paper": Scale(100_000, 250, 10, 1e-4, 3),
}


class LowerOnPlateau:
    """Divides the learning rate by ten when validation has not become better for `patience` phases.

    The rate itself is the optimizer's, and is saved with it.
    """

    def __init__(self, patience: int):
        self.patience, self.best, self.stale = patience, float("-inf"), 0

    def after_phase(self, phase: Phase) -> None:
        score = validation_score(phase.scores, list(phase.scores.loss), "metric")
        self.best, self.stale = (score, 0) if score > self.best else (self.best, self.stale + 1)
        if self.stale == self.patience:
            self.stale = 0
            for group in phase.optimizer.param_groups:
                group["lr"] = max(LOWEST_RATE, 0.1 * group["lr"])

    def state_dict(self) -> dict:
        return {"best": self.best, "stale": self.stale}

    def load_state_dict(self, state: Mapping) -> None:
        self.best, self.stale = state["best"], state["stale"]


def build(tasks: Sequence[Task], scale: str, control: str, decoders: int, seed: int) -> JointModel:
    """One encoder for all tasks, and D decoders for each."""
    encoder = celeba.encoder(scale)
    straight = hard([task.name for task in tasks], lambda k: nn.Identity(), layers=0)
    linear = LinearBank({task.name: (encoder.outputs, task.kind.outputs) for task in tasks})
    return augment(JointModel(tasks, straight, {"celeba": encoder}, linear), control, decoders, dropout=0.5)


def ensemble_error(
    make: Callable[[int], JointModel], runs: Path, seeds: int, tasks: Sequence[Task], device: torch.device
) -> float:
    """Mean test error in percent of the mean probabilities of all runs."""
    by_name = check_tasks(tasks)
    sums: dict[str, torch.Tensor] = {}
    targets: dict[str, torch.Tensor] = {}
    for seed in range(seeds):
        model = make(seed)
        load_weights(runs / f"seed-{seed}" / "model.safetensors", model)
        found = predict_split(model.to(device), by_name, "test", EVAL_BATCH, device)
        for name, (outputs, target) in found.items():
            sums[name] = sums.get(name, 0) + by_name[name].kind.predict(outputs)
            targets[name] = target
    wrong = [((sums[name] > seeds / 2) != (targets[name] > 0.5)).double().mean().item() for name in by_name]
    return 100 * mean(wrong)


def main() -> None:
    options = arguments("pta_celeba", __doc__ or "")
    scale, into = SCALES[options.scale], options.results / "pta_celeba" / options.scale
    seeds = options.seeds or scale.seeds
    tasks = celeba.load(options.scale, options.folder)
    makes = {name: partial(build, tasks, options.scale, *what) for name, what in METHODS.items()}
    summary = compare(
        makes,
        tasks,
        options.folder / "runs",
        into / "runs",
        name="CelebA, pseudo-task augmentation",
        baseline="MTL",
        seeds=seeds,
        controls=lambda seed: [LowerOnPlateau(scale.patience)],
        device=options.device,
        steps=scale.steps,
        phase=scale.phase,
        patience=3 * scale.patience,  # the last of the three rates has its turn
        batch_size=32,
        eval_batch_size=EVAL_BATCH,
        optimizer="rmsprop",
        lr=scale.rate,
    )
    device = choose_device(options.device)
    series = {}
    for name, make in makes.items():
        runs = options.folder / "runs" / "training" / name
        series[name] = [seed_means(summary, name), [ensemble_error(make, runs, seeds, tasks, device)]]
    write_sweep(
        into,
        "pseudo-task augmentation on facial attributes",
        "test error, %",
        "lower",
        [Panel("mean over forty attributes", "models", ["each run", f"ensemble of {seeds}"], series, PAPER)],
        device=options.device,
        seeds=seeds,
        baseline="MTL",
        steps=scale.steps,
    )


if __name__ == "__main__":
    main()
