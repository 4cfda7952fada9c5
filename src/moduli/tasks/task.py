"""What is to be learned: a `Task` is a name, a kind, and the data of the input that it reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from moduli.errors import InputError, did_you_mean
from moduli.tasks.kinds import Kind
from moduli.tasks.sources import Source, TensorSource


@dataclass(frozen=True, eq=False)
class Data:
    """The samples of one input, split. Tasks that hold the same `Data` object share their input:

    they are trained on the same batches, and the input is encoded once for all of them.

    ``name`` names the input (a table, an image set) and with it the encoder.
    ``shape`` is that of one sample, without the batch axis: `(features,)`, `(channels, H, W)`, or
    `(length,)` if samples are sequences of token numbers. ``tokens`` is then how many different numbers
    there are, from 0; None for all other samples.
    """

    name: str
    shape: tuple[int, ...]
    train: Source
    val: Source
    test: Source
    tokens: int | None = field(default=None, kw_only=True)

    def split(self, name: str) -> Source:
        """The split called "train", "val" or "test"."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]


@dataclass(frozen=True, eq=False)
class Task:
    """One prediction task.

    Args:
        name: unique among the tasks of a run; the key of its targets in every batch.
        kind: `Binary()`, `Multiclass(classes)`, `Multilabel(labels)`, `Regression()`, or the user's own.
        data: the samples; share the object between tasks that share their input.
        metric: the metric that tables show; the kind's own choice if empty.
        batch_size: samples per step; the run's batch size if None. Tasks that share their data must agree.
        schema: how a user's table becomes these tensors and back (set by `load_tables`), else None.
    """

    name: str
    kind: Kind
    data: Data
    metric: str = ""
    batch_size: int | None = None
    schema: Any = field(default=None, repr=False)

    def __post_init__(self):
        known = self.kind.metrics()
        if not self.metric:
            object.__setattr__(self, "metric", self.kind.primary)
        elif self.metric not in known:
            raise InputError(
                f"task {self.name!r}: unknown metric {self.metric!r} for a {self.kind.name} task, "
                f"{did_you_mean(self.metric, known)}"
            )

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger value of the task's metric is better."""
        return self.kind.metrics()[self.metric].higher_is_better


def check_tasks(tasks: Sequence[Task]) -> dict[str, Task]:
    """Tasks by name.

    Raises:
        InputError: if there is none, two have one name, or tasks of one input differ in batch size.
    """
    if not tasks:
        raise InputError("no tasks: give at least one")
    twice = [name for name, count in Counter(task.name for task in tasks).items() if count > 1]
    if twice:
        raise InputError(f"two tasks are called {twice[0]!r}: give each its own name")
    inputs: dict[str, Data] = {}
    sizes: dict[str, int | None] = {}
    for task in tasks:
        name = task.data.name
        if inputs.setdefault(name, task.data) is not task.data:
            raise InputError(f"two inputs are called {name!r}: give each its own name")
        if sizes.setdefault(name, task.batch_size) != task.batch_size:
            raise InputError(f"tasks of the shared input {name!r} differ in batch_size: give them one")
    return {task.name: task for task in tasks}


def check_made_for(tasks: Mapping[str, Task], input_of: Mapping[str, str]) -> None:
    """Refuses tasks that a model was not made for.

    Args:
        tasks: by name.
        input_of: for each task of the model, the input that it reads.

    Raises:
        InputError: if the model has no such task, or that reads another input.
    """
    for name, task in tasks.items():
        if name not in input_of:
            raise InputError(f"the model has no task {name!r}, {did_you_mean(name, input_of)}")
        if input_of[name] != task.data.name:
            raise InputError(
                f"task {name!r} reads {task.data.name!r}, and in the model {input_of[name]!r}: "
                "give the model the tasks when it is made"
            )


def labelled_samples(task: Task, split: str) -> int:
    """Samples of a split that have a label of this task; all of them where labels are not in one tensor."""
    source = task.data.split(split)
    if isinstance(source, TensorSource):
        return int(task.kind.labelled(source.targets[task.name]).sum())
    return len(source)


def inputs_of(tasks: Mapping[str, Task]) -> dict[str, Data]:
    """The distinct inputs of some tasks, by name, in the tasks' order."""
    return {task.data.name: task.data for task in tasks.values()}
