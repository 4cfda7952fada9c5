"""The vocabulary of moduli on one page: what flows through a training step, and the four plug points.

Letters used throughout: T tasks, B samples in a batch, D depths or decoders, K modules in the pool.

Data flow of one step (``training/step.py``)::

    Schedule -> task names -> Batch per input -> encoders -> Structure -> decoders -> Losses -> Combine

and of one meta-iteration (``training/loop.py``)::

    M steps -> Scores on the validation split -> every Control -> Schedule.observe -> checkpoint
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import Parameter

State = dict[str, Any]
"""What ``state_dict`` returns: nested dicts and lists of tensors, numbers, strings and None."""


# ------------------------------------------------------------------ records


@dataclass(frozen=True)
class Batch:
    """Samples of one input, with the targets of every task that learns from that input.

    ``inputs`` is a tensor `[B, ...]`, or any nest of tensors that the encoder of this input takes.
    ``targets[t]`` has one row per sample. A missing label is NaN in a floating tensor and -1 in an
    integer one. ``complete`` names tasks known to have a label in every row, which saves looking.
    """

    inputs: Any
    targets: Mapping[str, Tensor]
    complete: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Losses:
    """The losses of one step, kept apart by task until a `Combine` makes one gradient of them.

    ``mean[t]`` is a scalar: the mean over the labelled samples of task t, 0 where the batch has none.
    ``samples[t]`` is `[..., B]`, per sample, 0 where unlabelled (leading axes: decoders).
    ``outputs`` and ``targets`` are what the losses were made from. ``labelled[t]`` says which samples have
    a label, `[..., B]`; a task that is not there has all.

    In fp16 all losses are multiplied by ``scale`` (see `moduli.training.precision`), so that whatever is
    linear in them needs no care. What depends on how large a loss *is* asks for `values`.
    """

    mean: Mapping[str, Tensor]
    samples: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    targets: Mapping[str, Tensor]
    labelled: Mapping[str, Tensor] = field(default_factory=dict)
    scale: Tensor | None = None

    def values(self) -> Tensor:
        """The mean losses as they are, without scale and gradient: one number for each task, in order."""
        stacked = torch.stack([loss.detach() for loss in self.mean.values()])
        return stacked if self.scale is None else stacked / self.scale

    def average(self, task: str, samples: Tensor) -> Tensor:
        """The mean of some `[..., B]` over the labelled samples of a task, and over its decoders."""
        labelled = self.labelled.get(task)
        if labelled is None:
            return samples.mean()
        return ((samples * labelled).sum(-1) / labelled.sum(-1).clamp(min=1)).mean()


Cost = tuple[float, float]
"""How badly a decoder does: its error, then its loss, which decides between equal errors."""


@dataclass(frozen=True)
class Scores:
    """An evaluation on one split: ``loss[t]``, and ``metrics[t][name]`` in the user's units.

    ``costs[t]`` is there for tasks with several decoders: for each its error, which is the primary metric
    signed so that less is better, and its loss. NaN counts as infinite. Where several candidates compete for
    a task, each has its costs under its own name (see `JointModel.task_of`).
    """

    split: str
    loss: Mapping[str, float]
    metrics: Mapping[str, Mapping[str, float]]
    primary: Mapping[str, str]
    higher_is_better: Mapping[str, bool]
    costs: Mapping[str, Sequence[Cost]] = field(default_factory=dict)

    def value(self, task: str) -> float:
        """The primary metric of a task."""
        return self.metrics[task][self.primary[task]]

    def fitness(self, task: str) -> float:
        """The primary metric, signed so that more is better."""
        return self.value(task) if self.higher_is_better[task] else -self.value(task)


@dataclass(frozen=True)
class Part:
    """A parameter or buffer, or a block of one, that belongs to one task alone.

    Stacked parameters hold many tasks in one tensor; `index` selects the block of one of them. `name` is
    the tensor's name in the `state_dict` of the stage or model that was asked.
    """

    name: str
    tensor: Tensor
    index: Any = field(default=...)

    @property
    def value(self) -> Tensor:
        """The task's block, as a view that may be written to."""
        return self.tensor.detach()[self.index]

    @property
    def grad(self) -> Tensor | None:
        """The gradient of the task's block, or None before the first backward pass."""
        return None if self.tensor.grad is None else self.tensor.grad[self.index]


@dataclass(frozen=True)
class Copy:
    """What stood for a shared parameter in the last forward pass, in the computations of some tasks.

    One task: a tensor like the parameter, in the same memory. Several: a view of it with a leading axis for
    the tasks. It is a leaf of the graph, so its gradient is that of these tasks' losses alone.
    """

    parameter: Parameter
    tensor: Tensor
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class Common:
    """The last hidden tensor that all tasks of a forward pass had in common.

    ``tensor``: that tensor. ``copies``: what the tasks' decoders read in its place, if it was the input of
    all: a leaf of the graph with a leading axis for the tasks, in the order of ``tasks``. ``dense``: whether
    everything before it is made of dense layers.
    """

    tasks: tuple[str, ...]
    tensor: Tensor
    copies: Tensor | None
    dense: bool


@dataclass
class Phase:
    """What a `Control` sees, and may change, between two phases of gradient descent.

    ``number`` counts phases from 1, ``step`` the steps so far, of at most ``steps``. ``restore`` puts the
    weights of the best phase so far into the model; whoever calls it answers for the optimizer's state.
    """

    model: Model
    scores: Scores
    optimizer: Any
    number: int
    step: int
    steps: int = 0
    restore: Callable[[], None] = lambda: None


# ------------------------------------------------------------------ the four plug points


@runtime_checkable
class Stateful(Protocol):
    """Whatever keeps state between steps. A run resumes bit for bit only if all of it is here."""

    def state_dict(self) -> State: ...

    def load_state_dict(self, state: State, /) -> Any: ...


class Stage(Protocol):
    """A part of a joint model: a `torch.nn.Module` that maps named tensors to named tensors.

    Encoders, sharing structures and decoders are all stages. Every entry of every parameter is either
    shared or belongs to exactly one task.

    A stage may offer more: `controls()`, what is to act on it between phases; `record()`, a list of dicts
    that are logged after every phase; and `exported()`, itself without what only training needs. One with
    shared parameters may offer `keep_apart(wanted)` and `copies()`: while training, every task's samples then
    meet copies of the shared parameters, see `Copy` and `moduli.sharing.apart`. Encoders and decoders that
    offer `renamed(names)`, themselves under other names with copied weights, can have candidates that compete
    (see `moduli.evolution`).
    """

    def __call__(self, hidden: Mapping[str, Any], /) -> dict[str, Tensor]: ...

    def shared_parameters(self) -> list[Parameter]: ...

    def own(self, task: str, /) -> list[Part]:
        """Parameters and buffers that only this task depends on."""
        ...


@runtime_checkable
class Decoders(Protocol):
    """Decoders of which a task may have several (see `moduli.DecoderBank`).

    While training, such a stage puts out `[D, B, outputs]` for each task, and else `[B, outputs]`.
    """

    def every(self, hidden: Mapping[str, Tensor], /) -> dict[str, Tensor]:
        """The outputs of all D decoders, without dropout before them: `{task: [D, B, outputs]}`."""
        ...

    def choose(self, costs: Mapping[str, Sequence[Cost]], /) -> None:
        """Notes which decoder of each task is the best; in the state, so that it is kept and restored."""
        ...

    def decide(self, every: Mapping[str, Tensor], /) -> dict[str, Tensor]:
        """From what `every` gives to what a prediction is made of: `{task: [B, outputs]}`."""
        ...


class Model(Protocol):
    """What balancing and controls may ask of a joint model (`moduli.JointModel`)."""

    input_of: dict[str, str]

    def parameters(self) -> Iterator[Parameter]: ...

    def shared_parameters(self) -> list[Parameter]: ...

    def own(self, task: str, /) -> list[Part]: ...

    def keep_apart(self) -> bool: ...

    def copies(self) -> list[Copy]: ...

    def keep_common(self) -> None: ...

    def common(self) -> Common | None: ...


class Structure(Stage, Protocol):
    """Who shares which module where: `{task: [B, ...]} -> {task: [B, ...]}`.

    Any subset of the tasks may be passed. Two tasks that are given the same tensor object share their
    input, and a structure is free to compute on it once.
    """


class Followed(Stateful, Protocol):
    """What combines and schedules have in common: they may follow the run, tell of it, and keep state."""

    def observe(self, scores: Scores) -> None:
        """Called with the validation scores after every phase."""

    def record(self) -> list[dict[str, Any]]:
        """What is to be logged of a phase; called once, at its end."""
        return []

    def state_dict(self) -> State:
        return {}

    def load_state_dict(self, state: State, /) -> None:
        """Goes back to the moment at which the state was taken."""


@runtime_checkable
class Combine(Followed, Protocol):
    """Makes one gradient out of many losses.

    Subclass it and write `backward`; the rest is there for those that need it. A combine that keeps
    anything between steps has it in its state.
    """

    @abstractmethod
    def backward(self, losses: Losses, model: Model) -> None:
        """Adds to `.grad` of the parameters what this step should follow."""
        ...

    def attach(self, model: Model) -> None:
        """Called once, before the first step, with the model that is trained."""

    def parameters(self) -> Sequence[Parameter]:
        """Parameters of the balancing itself that the optimizer is to train, without weight decay."""
        return ()

    def after_step(self, recompute: Callable[[], Losses]) -> None:
        """Called after every step; `recompute` makes its losses again, of its batches, by the new weights."""


@runtime_checkable
class Schedule(Followed, Protocol):
    """Which tasks take part in the next step.

    Subclass it and write `choose`; the rest is there for those that need it. A schedule that keeps anything
    between steps has it in its state.
    """

    @abstractmethod
    def choose(self, tasks: Sequence[str], step: int) -> Sequence[str]:
        """A non-empty subset of `tasks`, in their order."""
        ...

    def rate(self, tasks: Sequence[str]) -> float:
        """Factor on the learning rate of the step that trains `tasks`, which were just chosen."""
        return 1.0

    def attach(self, model: Any) -> None:
        """Called once, before the first step, with the `moduli.JointModel` that is trained."""

    def after_step(self, losses: Losses) -> None:
        """Called with the losses of every step, after it."""


@runtime_checkable
class Control(Stateful, Protocol):
    """Acts between phases of gradient descent, on validation scores.

    It may change, add and drop parameters; the optimizer's state of those that stay must stay as it was.
    """

    def after_phase(self, phase: Phase) -> None: ...
