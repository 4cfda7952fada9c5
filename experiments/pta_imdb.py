"""Pseudo-task augmentation on IMDB: Meyerson & Miikkulainen (2018), section 4.2, Table 2, Figure 4.

One task: is a movie review positive? The model below the decoder is the LSTM of Keras' example: the last 80
words of a review, of the 20,000 most frequent ones; embedding 128; one LSTM of 128 units with dropout 0.2 on
its inputs and on its recurrence; one sigmoid unit. It is trained with one decoder, and with D = 4 and 10
decoders under three controls. Adam, batches of 32, a meta-iteration is an epoch. 2,500 training reviews
select the meta-iteration by accuracy; the official test part is read once.

Pseudo-task augmentation has dropout 0.5 before its decoders, and the paper's baseline has not. So there is
the baseline of the dissertation (5.3.2) as well, one decoder with that dropout. Panels: test accuracy beside
the numbers of the paper (Table 2); what is gained over the plain LSTM, seed by seed, beside those of the
dissertation (Table 5.2, a second run of the same experiment).

What the paper leaves open, and what is taken here: the number of epochs (15, as in Keras' example), and how
the 2,500 reviews are drawn (at random, half of them positive, the same for all seeds). What differs: Keras
counted its vocabulary on training and test reviews, here it is counted on the training part only; Keras of
that time drew dropout masks for each gate by itself and had a piecewise linear sigmoid in its gates.

The miniature (cpu) differs: 64 units and an embedding of 64; 4 epochs instead of 15 (the LSTM overfits after
two to four), and a meta-iteration is a quarter of an epoch, so that there are about as many.

  scale   units   steps   meta-iteration   seeds   time
  smoke      16      16          4             1   20 s on 1 CPU core
  cpu        64   2 816        176             6   45 min on 1 CPU core
  paper     128  10 545        703            10   8 h on 1 CPU core

  python experiments/pta_imdb.py --scale cpu
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from common import arguments, trained
from sweep import Panel, seed_means, write_sweep

from moduli import LSTM, JointModel, LinearBank, Task, augment, single
from moduli.data import imdb
from moduli.errors import InputError
from moduli.report import write_report


class Scale(NamedTuple):
    """How much is computed."""

    units: int
    steps: int
    phase: int
    seeds: int
    length: int = 80
    decoders: Sequence[int] = (4, 10)


SCALES = {
    "smoke": Scale(16, 16, 4, 1, length=10, decoders=(4,)),
    "cpu": Scale(64, 4 * 704, 176, 6),
    "paper": Scale(128, 15 * 703, 703, 10),
}
WORDS, DROPOUT = 20_000, 0.5
PLAIN, DROPPED, CONTROLS = "LSTM", "LSTM, dropout 0.5", ("I", "HGD", "F")
PAPER = {  # Table 2: test accuracy
    PLAIN: {1: 82.75},
    "PTA-I": {4: 83.05, 10: 83.24},
    "PTA-HGD": {4: 83.18, 10: 83.66},
    "PTA-F": {4: 83.44, 10: 83.28},
}
DISSERTATION = {  # Table 5.2, and in the text the best rate of dropout
    PLAIN: {1: 82.75},
    DROPPED: {1: 83.14},
    "PTA-I": {4: 83.20, 10: 83.02},
    "PTA-HGD": {4: 83.22, 10: 83.51},
    "PTA-F": {4: 83.30, 10: 83.30},
}


def lstm(task: Task, units: int, seed: int) -> JointModel:
    """Keras' example: an LSTM and a linear decoder, nothing between."""
    encoder = LSTM(WORDS, units, dropout=0.2, recurrent_dropout=0.2)
    nothing = single([task.name], lambda _: encoder, layers=0)
    return JointModel([task], nothing, {task.name: encoder}, LinearBank({task.name: (units, 1)}))


def methods(task: Task, scale: Scale) -> dict[str, Callable[[int], JointModel]]:
    """The LSTM with one decoder, without and with dropout before it, and every control with D of them."""

    def augmented(control: str, decoders: int, seed: int) -> JointModel:
        return augment(lstm(task, scale.units, seed), control, decoders, dropout=DROPOUT)

    several = {f"PTA-{c}-{d}": partial(augmented, c, d) for c in CONTROLS for d in scale.decoders}
    return {PLAIN: partial(lstm, task, scale.units), DROPPED: partial(augmented, "I", 1), **several}


def by_decoders(found: dict[str, list[float]], points: Sequence[int]) -> dict[str, list[list[float]]]:
    """For each method what was found at each number of decoders: nothing where it was not run."""
    series = {name: [found[name], *([] for _ in points[1:])] for name in (PLAIN, DROPPED)}
    return series | {f"PTA-{c}": [[], *(found[f"PTA-{c}-{d}"] for d in points[1:])] for c in CONTROLS}


def main() -> None:
    options = arguments("pta_imdb", __doc__ or "")
    scale = SCALES[options.scale]
    seeds, points = options.seeds or scale.seeds, (1, *scale.decoders)
    try:
        (task,) = imdb.tasks(WORDS, scale.length)
    except InputError as error:
        raise SystemExit(str(error)) from error
    summary = trained(
        methods(task, scale),
        [task],
        options.folder,
        name="pseudo-task augmentation on IMDB",
        baseline=PLAIN,
        seeds=seeds,
        device=options.device,
        steps=scale.steps,
        phase=scale.phase,
        batch_size=32,
        patience=None,
        eval_batch_size=256,
    ).summary
    into = options.results / "pta_imdb" / options.scale
    write_report(options.folder)
    into.mkdir(parents=True, exist_ok=True)
    shutil.copy(options.folder / "plots" / "trajectories.png", into)  # Figure 4
    accuracy: dict[str, Any] = {
        name: [100 * x for x in seed_means(summary, name, percent_error=False)] for name in summary["methods"]
    }
    gain = {
        name: [x - base for x, base in zip(values, accuracy[PLAIN], strict=True)]
        for name, values in accuracy.items()
    }
    words = [str(d) for d in points]  # the figure sets words side by side
    published = {name: [values.get(d) for d in points] for name, values in PAPER.items()}
    later = {
        name: [round(values[d] - DISSERTATION[PLAIN][1], 2) if d in values else None for d in points]
        for name, values in DISSERTATION.items()
    }
    write_sweep(
        into,
        "pseudo-task augmentation on IMDB",
        "test split",
        "higher",
        [
            Panel("accuracy, %", "decoders", words, by_decoders(accuracy, points), published),
            Panel("gain over the LSTM, points", "decoders", words, by_decoders(gain, points), later),
        ],
        device=options.device,
        seeds=seeds,
        baseline=PLAIN,
        steps=scale.steps,
    )


if __name__ == "__main__":
    main()
