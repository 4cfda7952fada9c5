"""WideResNet-40-1, a stacked LSTM and a wide DeepBind that share modules: section 8.7 of Meyerson (2018).

  cifar10    WideResNet-40-1 (`WideResNet`), mirrored and cut images; error
  text       an LSTM language model of two layers of 256 units (`LSTMLanguageModel`), whose state is carried
             over; perplexity
  crispr     DeepBind with 256 motifs; mean squared error

In blocks of 16x16 these are 2,268, 4,096 and 6,400 locations. Each model is trained as it is (single),
reparameterised alone (intra), with each of the others, and all three together (joint): Figure 8.5.

What differs: the text of the miniature is that of the Penn Treebank, and of the paper's scale WikiText-2; the
dissertation's data on CRISPR binding are private (see `muir_crossmodal_small.py`). At cpu scale batches are
small, and one pass over the data is not reached: it shows that all ten combinations train. There the
validation parts are cut to what a generation's end can afford, and so are test parts; figures are of those.

  scale    steps   a generation   batches (images, texts, guides)   seeds   time
  smoke        4              2   4, 2 x 5 words, 4                     1   1 min
  cpu        300             20   16, 10 x 20 words, 16                 1   30 min on 1 CPU core
  paper  100 000          1 000   128, 20 x 35 words, 512               3   for a GPU

  python experiments/muir_crossmodal_large.py --scale cpu
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

import torch
from common import arguments
from crossmodal import Set, run
from torch import nn

from moduli import Data, MappingEvolution, Task, TensorSource, TextSource
from moduli.data import cifar10, crispr, ptb, wikitext2
from moduli.errors import InputError
from moduli.modules.networks import DeepBind, LSTMLanguageModel, WideResNet
from moduli.tasks import Source

BLOCKS = {"cifar10": 2_268, "ptb": 4_096, "wikitext2": 4_096, "crispr": 6_400}


class Scale(NamedTuple):
    steps: int
    phase: int
    images: int
    columns: int
    length: int
    guides: int
    seeds: int
    most: int | None
    """Samples, or words / 100, of validation and test parts that are used."""


SCALES = {
    "smoke": Scale(4, 2, 4, 2, 5, 4, 1, 8),
    "cpu": Scale(300, 20, 16, 10, 20, 16, 1, 250),
    "paper": Scale(100_000, 1_000, 128, 20, 35, 512, 3, None),
}


def load(scale: Scale, paper: bool) -> list[Task]:
    """The three tasks, with validation and test parts cut to what the scale affords."""
    texts = wikitext2 if paper else ptb
    batches = {"cifar10": scale.images, "crispr": scale.guides}
    tasks: Sequence[Task] = [
        *cifar10.tasks(),
        *texts.tasks(length=scale.length, columns=scale.columns),
        *crispr.tasks(),
    ]
    return [
        replace(
            task,
            data=_cut(task.data, scale.most),
            batch_size=batches.get(task.name, task.batch_size),
            metric="error" if task.name == "cifar10" else task.metric,
        )
        for task in tasks
    ]


def _cut(data: Data, most: int | None) -> Data:
    """The data with validation parts of so many samples, of a text 100 words each, and twice that to test."""
    return data if most is None else replace(data, val=_some(data.val, most), test=_some(data.test, 2 * most))


def _some(source: Source, most: int) -> Source:
    if isinstance(source, TextSource):
        return TextSource(source.tokens[: 100 * most], source.name, source.length, source.columns)
    assert isinstance(source, TensorSource)
    rows = torch.randperm(len(source), generator=torch.Generator().manual_seed(0))[:most]
    return TensorSource(source.inputs[rows], {task: y[rows] for task, y in source.targets.items()})


def networks(tasks: Sequence[Task]) -> dict[str, Callable[[], nn.Module]]:
    """The models of the tasks."""
    text = tasks[1]
    return {
        tasks[0].name: WideResNet,
        text.name: lambda: LSTMLanguageModel(text.data.tokens or 0),
        tasks[2].name: lambda: DeepBind(width=256, hidden=256),
    }


def main() -> None:
    options = arguments("muir_crossmodal_large", __doc__ or "")
    scale = SCALES[options.scale]
    try:
        tasks = load(scale, options.scale == "paper")
    except InputError as error:
        raise SystemExit(str(error)) from error
    names = tuple(task.name for task in tasks)
    smaller = [
        *(Set((name,), single=True) for name in names),
        *(Set((name,)) for name in names),
        *(Set(pair) for pair in combinations(names, 2)),
    ]
    run(
        "muir_crossmodal_large",
        tasks,
        networks(tasks),
        [Set(names), *(smaller[:1] if options.scale == "smoke" else smaller)],
        BLOCKS,
        MappingEvolution(final=0.2, burn_in=2 if options.scale == "paper" else 0),
        options,
        options.seeds or scale.seeds,
        steps=scale.steps,
        phase=scale.phase,
        clip=5.0,
        eval_batch_size=100,
    )


if __name__ == "__main__":
    main()
