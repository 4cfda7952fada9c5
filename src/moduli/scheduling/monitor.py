"""What a Q-learning scheduler sees of a model: histograms of task uncertainty on validation samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from moduli.errors import InputError, did_you_mean
from moduli.functional import batch_hard, entropy, histogram, least_confidence, margin
from moduli.model import JointModel
from moduli.rng import seeded
from moduli.tasks import Binary, Kind, Multiclass, Multilabel, Task, check_tasks, inputs_of, task_losses

MEASURES = {
    "margin": margin,
    "least_confidence": least_confidence,
    "entropy": lambda p: entropy(p) / math.log(p.shape[-1]),  # on [0, 1], as the others
}


@dataclass(frozen=True)
class Look:
    """What a `Monitor` saw.

    ``state`` holds the histograms of all tasks, one after another, `[K * bins]`, float32, on the CPU.
    ``losses`` are mean validation losses by task, and ``values`` the tasks' metrics on the same samples;
    both are empty if they were not asked for.
    """

    state: Tensor
    losses: Mapping[str, float] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass
class _Seen:
    """What a look collects of one task, `[N, ...]` each once it is whole; `more` is of unlabelled inputs."""

    outputs: list[Tensor] = field(default_factory=list)
    targets: list[Tensor] = field(default_factory=list)
    hidden: list[Tensor] = field(default_factory=list)
    more: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class _Chunk:
    """Some samples of an input, and who reads them; ``targets`` is empty if they are unlabelled."""

    name: str
    tasks: tuple[str, ...]
    inputs: Any
    targets: Mapping[str, Tensor]
    rows: int


class Monitor:
    """Looks at a joint model: for each task a histogram of its uncertainty on validation samples.

    The state of section 4.2 of the Q-learning scheduler paper. Frequencies, not counts, in equal bins on
    [0, 1]. How unsure a sample is, by kind of task:

    - binary, multiclass: margin (Eq. 4), least confidence, or entropy over log C, of the probabilities;
    - multilabel: the mean over labels of that of (p, 1 - p);
    - all others have no class probabilities. In place of uncertainty stands 1 - exp(-loss), with the loss
      of a *labelled* sample: for regression 0 where the value is hit, 1 where it is far off. This reading
      is ours; the paper has classifiers only.

    All validation samples are looked at, or with `hard` those that are the hardest positive or negative of
    some other (`moduli.functional.batch_hard`, on what the decoder of the task reads). The paper names both;
    the latter needs classes. The model is in evaluation mode meanwhile, and is left as it was found. Random
    numbers are not drawn.

    Samples are read once, at the first look, and stay on the model's device. Tasks that share an input
    share the forward pass.

    Args:
        tasks: whose validation splits are looked at; their order is that of the state.
        bins: of each histogram (n_b).
        measure: margin, least_confidence or entropy.
        samples: of each input, a fixed random draw of so many validation samples; None for all.
        unlabelled: more inputs `[N, ...]` by task, for the histograms only.
        hard: whether histograms are of batch-hard samples only.
        batch_size: bound on the samples in one forward pass, of all inputs together.
        seed: of the draw.

    Raises:
        InputError: for an impossible option, or a combination without sense.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        bins: int = 20,
        measure: str = "margin",
        samples: int | None = None,
        unlabelled: Mapping[str, Tensor] | None = None,
        hard: bool = False,
        batch_size: int = 1024,
        seed: int = 0,
    ):
        self.tasks = check_tasks(tasks)
        self.bins, self.measure, self.samples, self.hard = bins, measure, samples, hard
        self.unlabelled, self.batch_size, self.seed = dict(unlabelled or {}), batch_size, seed
        self._check()
        self._rounds: dict[torch.device, list[list[_Chunk]]] = {}

    @property
    def rows(self) -> int:
        """Samples that one look puts through the model; those of a shared input count once."""
        sizes = [len(data.val) for data in inputs_of(self.tasks).values()]
        some = sizes if self.samples is None else [min(n, self.samples) for n in sizes]
        return sum(some) + sum(map(len, self.unlabelled.values()))

    @property
    def size(self) -> int:
        """Length of the state: bins times tasks."""
        return self.bins * len(self.tasks)

    @torch.no_grad()
    def look(self, model: JointModel, scores: bool = True) -> Look:
        """The state of `model`, and with `scores` its validation losses and metrics."""
        seen = self._predictions(model)
        whole = {task: (torch.cat(one.outputs), torch.cat(one.targets)) for task, one in seen.items()}
        unsure = [self._unsure(task, *pair, seen[task]) for task, pair in whole.items()]
        state = torch.cat([histogram(u, self.bins) for u in unsure]).to("cpu", torch.float32)
        return Look(state, *self._scores(whole)) if scores else Look(state)

    def histograms(self, state: Tensor) -> dict[str, list[float]]:
        """The histogram of each task, from a state."""
        return dict(zip(self.tasks, state.view(len(self.tasks), self.bins).tolist(), strict=True))

    # -------------------------------------------------------------- parts of a look

    def _predictions(self, model: JointModel) -> dict[str, _Seen]:
        device = next(model.parameters()).device
        if device not in self._rounds:
            self._rounds[device] = self._read(device)
        seen = {task: _Seen() for task in self.tasks}
        with _evaluating(model):
            for chunks in self._rounds[device]:
                names = [task for chunk in chunks for task in chunk.tasks]
                hidden = model.hidden({chunk.name: chunk.inputs for chunk in chunks}, names)
                outputs = model.decoders(hidden)
                for chunk in chunks:
                    for task in chunk.tasks:
                        if not chunk.targets:
                            seen[task].more.append(outputs[task].float())
                            continue
                        seen[task].outputs.append(outputs[task].float())
                        seen[task].targets.append(chunk.targets[task])
                        if self.hard:
                            seen[task].hidden.append(hidden[task].flatten(1).float())
        return seen

    def _unsure(self, task: str, outputs: Tensor, targets: Tensor, seen: _Seen) -> Tensor:
        """How unsure the samples are whose histogram counts, `[N]`."""
        kind = self.tasks[task].kind
        p = class_probabilities(kind, torch.cat([outputs, *seen.more]))
        if p is None:
            return 1 - torch.exp(-kind.loss(outputs, targets)[kind.labelled(targets)])
        u = MEASURES[self.measure](p)
        u = u.flatten(1).mean(1) if u.dim() > 1 else u
        return u[self._marked(task, torch.cat(seen.hidden), targets)] if self.hard else u

    def _marked(self, task: str, hidden: Tensor, targets: Tensor) -> Tensor:
        """Rows of the batch-hard samples among the labelled ones; all rows if there is none."""
        rows = self.tasks[task].kind.labelled(targets).nonzero().squeeze(-1)
        marked = batch_hard(hidden[rows], targets[rows]).marked()
        return rows[marked] if len(marked) else torch.arange(len(targets), device=targets.device)

    def _scores(self, whole: Mapping[str, tuple[Tensor, Tensor]]) -> tuple[dict, dict]:
        """Losses and metrics of all tasks, over labelled samples."""
        mean = task_losses(
            self.tasks, {t: o for t, (o, _) in whole.items()}, {t: y for t, (_, y) in whole.items()}
        ).mean
        losses = dict(zip(mean, torch.stack(list(mean.values())).tolist(), strict=True))
        values = {}
        for name, (outputs, targets) in whole.items():
            task = self.tasks[name]
            labelled = task.kind.labelled(targets)
            if not bool(labelled.any()):
                raise InputError(f"task {name!r} has no label in the validation samples that are looked at")
            metric = task.kind.metrics()[task.metric]
            values[name] = metric.compute(outputs[labelled], targets[labelled])
        return losses, values

    # -------------------------------------------------------------- the samples

    def _read(self, device: torch.device) -> list[list[_Chunk]]:
        """The samples in rounds, of which each is one forward pass."""
        with seeded(self.seed):  # reading a user's data set may draw random numbers
            chunks = [chunk for name in inputs_of(self.tasks) for chunk in self._labelled(name, device)]
        for task, inputs in self.unlabelled.items():
            for part in inputs.to(device).split(self.batch_size):
                chunks.append(_Chunk(self.tasks[task].data.name, (task,), part, {}, len(part)))
        return _rounds(chunks, self.batch_size)

    def _labelled(self, name: str, device: torch.device) -> Iterator[_Chunk]:
        readers = tuple(task for task, made in self.tasks.items() if made.data.name == name)
        val = inputs_of(self.tasks)[name].val
        chosen = None
        if self.samples is not None and self.samples < len(val):
            generator = torch.Generator().manual_seed(self.seed)
            chosen = torch.randperm(len(val), generator=generator)[: self.samples].sort().values
        first = 0
        for batch in val.batches(self.batch_size, device):
            targets = {task: batch.targets[task] for task in readers}
            inputs, rows = batch.inputs, len(targets[readers[0]])
            if chosen is not None:
                inside = chosen[(chosen >= first) & (chosen < first + rows)].to(device) - first
                inputs, targets = _take(inputs, inside), _take(targets, inside)
            first += rows
            if len(targets[readers[0]]):
                yield _Chunk(name, readers, inputs, targets, len(targets[readers[0]]))

    def _check(self) -> None:
        if self.measure not in MEASURES:
            raise InputError(f"uncertainty measure {self.measure!r}: {did_you_mean(self.measure, MEASURES)}")
        for name in ("bins", "samples", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} of the uncertainty monitor is {value}: give at least 1")
        classifiers = _classifiers(self.tasks)
        for task in self.unlabelled:
            if task not in self.tasks:
                raise InputError(f"unlabelled inputs for {task!r}, {did_you_mean(task, self.tasks)}")
            if task not in classifiers:
                kind = self.tasks[task].kind.name
                raise InputError(f"unlabelled inputs for the {kind} task {task!r}: only classifiers use them")
        if self.hard and self.unlabelled:
            raise InputError("batch-hard samples need labels: give hard or unlabelled, not both")
        for name, task in self.tasks.items() if self.hard else ():
            if not isinstance(task.kind, Binary | Multiclass):
                raise InputError(f"batch-hard samples need classes, task {name!r} is {task.kind.name}")


def class_probabilities(kind: Kind, outputs: Tensor) -> Tensor | None:
    """`[N, C]`, `[N, labels, 2]` for multilabel tasks, None for kinds that have no classes."""
    if isinstance(kind, Multiclass):
        return outputs.softmax(-1)
    if isinstance(kind, Binary | Multilabel):
        p = outputs.sigmoid()
        pairs = torch.stack([1 - p, p], -1)
        return pairs.squeeze(-2) if isinstance(kind, Binary) else pairs
    return None


def _classifiers(tasks: Mapping[str, Task]) -> list[str]:
    return [name for name, task in tasks.items() if isinstance(task.kind, Binary | Multiclass | Multilabel)]


def _rounds(chunks: Iterable[_Chunk], most: int) -> list[list[_Chunk]]:
    """Chunks packed into forward passes: one chunk of an input in each, and `most` rows if possible."""
    rounds: list[list[_Chunk]] = []
    for chunk in chunks:
        for made in rounds:
            if all(c.name != chunk.name for c in made) and sum(c.rows for c in made) + chunk.rows <= most:
                made.append(chunk)
                break
        else:
            rounds.append([chunk])
    return rounds


@contextmanager
def _evaluating(model: JointModel) -> Iterator[None]:
    """While active, all parts of the model are in evaluation mode; then each is in its own again."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _take(value: Any, rows: Tensor) -> Any:
    """Some rows of a nest of tensors."""
    if isinstance(value, Tensor):
        return value.index_select(0, rows)
    if isinstance(value, Mapping):
        return {key: _take(item, rows) for key, item in value.items()}
    return type(value)(_take(item, rows) for item in value)
