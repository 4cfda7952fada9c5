"""A joint model: encoders, a sharing structure, decoders."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from moduli.errors import InputError
from moduli.modules import Dense, Each, LinearBank
from moduli.sharing import RoutedStructure
from moduli.tasks import Task, check_tasks, inputs_of
from moduli.types import Common, Control, Copy, Cost, Decoders, Part


class JointModel(nn.Module):
    """One model for many tasks: y_t = decoder_t(structure_t(encoder(x))).

    Tasks that share their input share the encoder, and the input is encoded once for all of them.

    Args:
        tasks: what is to be learned.
        structure: maps `{task: [B, ...]}` to `{task: [B, ...]}` (see `moduli.types.Structure`).
        encoders: a stage keyed by *input* name, or a mapping from input names to the user's modules.
        decoders: a stage keyed by *task* name, or a mapping from task names to the user's modules; its
            outputs for task t are `[B, task.kind.outputs]`.
        encode_apart: gives every *task* an encoder of its own, also where tasks share their input: then
            `encoders` is keyed by task name. Single-task learning wants that.

    Raises:
        InputError: if an input has no encoder or a task no decoder.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        structure: nn.Module,
        encoders: nn.Module | Mapping[str, nn.Module],
        decoders: nn.Module | Mapping[str, nn.Module],
        encode_apart: bool = False,
    ):
        by_name = check_tasks(tasks)
        input_of = {name: task.data.name for name, task in by_name.items()}
        encoder_of = {name: name for name in by_name} if encode_apart else dict(input_of)
        read, what = dict.fromkeys(encoder_of.values()), "task" if encode_apart else "input"
        self._assemble(
            input_of,
            encoder_of,
            _stage(encoders, read, what, "encoder"),
            structure,
            _stage(decoders, by_name, "task", "decoder"),
        )

    def _assemble(
        self,
        input_of: Mapping[str, str],
        encoder_of: Mapping[str, str],
        encoders: nn.Module,
        structure: nn.Module,
        decoders: nn.Module,
    ) -> None:
        super().__init__()
        self.input_of, self.encoder_of = dict(input_of), dict(encoder_of)
        self.encoders, self.structure, self.decoders = encoders, structure, decoders
        self._keeps_common = False
        self._common: Common | None = None
        self._dense = False  # whether all layers before the decoders are

    def forward(self, inputs: Mapping[str, Any], tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Outputs of `tasks` (by default all whose input is given): `{task: [B, outputs]}`.

        Where tasks have D decoders each, all take part in training: `{task: [D, B, outputs]}`.

        Args:
            inputs: a batch for each input name, as its encoder takes it.
            tasks: names of tasks.
        """
        return self.decoders(self.hidden(inputs, tasks))

    def hidden(self, inputs: Mapping[str, Any], tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """What the decoders of `tasks` read: `{task: [B, ...]}`."""
        tasks = self._asked(inputs, tasks)
        encoded = self.encoders({self.encoder_of[task]: inputs[self.input_of[task]] for task in tasks})
        before = {task: encoded[self.encoder_of[task]] for task in tasks}
        after = self.structure(before)
        return self._noted(before, after) if self._keeps_common and self.training else after

    def _asked(self, inputs: Mapping[str, Any], tasks: Sequence[str] | None) -> list[str]:
        """The tasks given, or all whose input is."""
        if tasks is not None:
            return list(tasks)
        return [task for task, name in self.input_of.items() if name in inputs]

    # -------------------------------------------------------------- several decoders for each task

    def every(self, inputs: Mapping[str, Any], tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Outputs of all decoders, `{task: [D, B, outputs]}`; D is 1 where a task has one decoder.

        Where several candidates compete for a task, each stands there under its own name, see `task_of`.
        """
        return self._every(self.hidden(inputs, tasks))

    def _every(self, hidden: dict[str, Tensor]) -> dict[str, Tensor]:
        decoders = self.decoders
        if isinstance(decoders, Decoders):
            return decoders.every(hidden)
        return {name: y.unsqueeze(0) for name, y in decoders(hidden).items()}

    def task_of(self, name: str) -> str:
        """The task that a name in what `every` gives is a candidate for; here that task itself."""
        return name

    @property
    def separate(self) -> bool:
        """Whether nothing is shared, so that every task is a model of its own."""
        return len(self.input_of) > 1 and not self.shared_parameters()

    def choose(self, costs: Mapping[str, Sequence[Cost]]) -> None:
        """Lets each task be predicted by its best decoder from now on (Eq. 5 of Meyerson & Miikkulainen).

        Args:
            costs: for each name in what `every` gives, those of its decoders.
        """
        if isinstance(self.decoders, Decoders):
            self.decoders.choose(costs)

    def decide(self, every: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """From the outputs of all decoders to those of the model, `{task: [B, outputs]}`."""
        if isinstance(self.decoders, Decoders):
            return self.decoders.decide(every)
        return {task: outputs[0] for task, outputs in every.items()}

    # -------------------------------------------------------------- what the stages bring along

    @property
    def stages(self) -> list[Any]:
        """Encoders, structure and decoders."""
        return [self.encoders, self.structure, self.decoders]

    def controls(self) -> list[Control]:
        """What the stages want to be done between phases."""
        return [c for stage in self.stages if hasattr(stage, "controls") for c in stage.controls()]

    def learning_rates(self) -> dict[nn.Parameter, float]:
        """Parameters with a learning rate of their own; the optimizer does not let them decay."""
        return {}

    def record(self) -> list[dict[str, Any]]:
        """What the stages want to be logged after a phase."""
        return [record for stage in self.stages if hasattr(stage, "record") for record in stage.record()]

    def described(self) -> dict[str, Any]:
        """What it learned beside weights, as plain data: who uses which module where, and soft merges."""
        structure = self.exported().structure
        if not isinstance(structure, RoutedStructure):
            return {}
        told: dict[str, Any] = {"routes": {task: route.to_json() for task, route in structure.routes.items()}}
        if structure.scales is not None:
            told["scales"] = {task: structure.merge_weights_of(task) for task in structure.routes}
        return told

    def exported(self) -> JointModel:
        """A copy without what only training needs, such as the decoders that were not chosen."""
        model = copy.deepcopy(self)
        for name in ("encoders", "structure", "decoders"):
            stage: Any = getattr(model, name)
            if hasattr(stage, "exported"):
                setattr(model, name, stage.exported())
        return model

    def separate_ends(self) -> JointModel:
        """Makes modules of encoders and decoders that are stacked in one tensor, and returns itself.

        For schedules that train a few tasks in each step: see `LinearBank.separate`.
        """
        for name in ("encoders", "decoders"):
            if isinstance(stage := getattr(self, name), LinearBank):
                setattr(self, name, stage.separate())
        return self

    # -------------------------------------------------------------- tasks apart

    def keep_apart(self, wanted: bool = True) -> bool:
        """Whether every task's samples meet copies of the shared parameters from now on, while training.

        Then one backward pass gives the gradients of all tasks apart (see `copies`). Only tasks that have
        inputs of their own can be kept apart, in a model whose stages have no parameters in common.

        The original parameters get no gradient then: whoever wants this fills it in.

        Returns:
            Whether it is so from now on.
        """
        stages = [p for stage in self.stages for p in {id(p) for p in stage.parameters()}]
        own_inputs = len(set(self.input_of.values())) == len(self.input_of)
        possible = wanted and own_inputs and len(set(stages)) == len(stages)
        for stage in self.stages:
            if hasattr(stage, "keep_apart"):
                stage.keep_apart(possible)
        return possible

    def copies(self) -> list[Copy]:
        """What stood for shared parameters in the last forward pass; none if tasks were not kept apart."""
        task_of = {name: task for task, name in self.encoder_of.items()}
        copies: list[Copy] = []
        for stage in self.stages:
            if hasattr(stage, "copies"):
                by_encoder = stage is self.encoders
                copies += [
                    replace(c, tasks=tuple(task_of[name] for name in c.tasks)) if by_encoder else c
                    for c in stage.copies()
                ]
        return copies

    def keep_common(self, wanted: bool = True) -> None:
        """Whether to remember from now on, while training, the last hidden tensor that all tasks share.

        Where it is what all decoders read, they are given copies of it, and the graph is cut there: whoever
        asks for this takes the gradients across (see `moduli.balancing.task_gradients`).
        """
        self._keeps_common, self._common = wanted, None
        before = [m for stage in (self.encoders, self.structure) for m in stage.modules()]
        layers = [m for m in before if next(m.parameters(recurse=False), None) is not None]
        self._dense = all(isinstance(m, nn.Linear | Dense | LinearBank | nn.ParameterList) for m in layers)

    def keep_together(self) -> None:
        """Undoes `keep_apart` and `keep_common`: gradients are those of the parameters again."""
        self.keep_apart(False)
        self.keep_common(False)

    def common(self) -> Common | None:
        """That tensor, in the last forward pass; None if there is none."""
        return self._common

    def _noted(self, before: dict[str, Tensor], after: dict[str, Tensor]) -> dict[str, Tensor]:
        self._common = None
        first, *others = after.values()
        if all(x is first for x in others) and not self.decoders.shared_parameters():  # type: ignore[operator]
            copies = first.detach().expand(len(after), *first.shape).contiguous().requires_grad_()
            self._common = Common(tuple(after), first, copies, self._dense)
            return dict(zip(after, copies.unbind(0), strict=True))
        first, *others = before.values()
        if others and all(x is first for x in others):
            self._common = Common(tuple(before), first, None, False)
        return after

    def __getstate__(self) -> dict[str, Any]:
        """Without what belongs to one step: graphs cannot be copied."""
        return {**super().__getstate__(), "_common": None}

    # -------------------------------------------------------------- who owns what

    def shared_parameters(self) -> list[nn.Parameter]:
        """Parameters that more than one task depends on; a stacked one if that holds for a block of it."""
        shared = [p for stage in self.stages for p in stage.shared_parameters()]
        for name, tasks in self._tasks_of_encoder().items():
            if len(tasks) > 1:
                shared += [
                    p.tensor for p in self._own("encoders", name) if isinstance(p.tensor, nn.Parameter)
                ]
        return list(dict.fromkeys(shared))

    def own(self, task: str) -> list[Part]:
        """Parameters and buffers, or blocks of stacked ones, that only this task depends on."""
        name = self.encoder_of[task]
        alone = len(self._tasks_of_encoder()[name]) == 1
        encoder = self._own("encoders", name) if alone else []
        return [*encoder, *self._own("structure", task), *self._own("decoders", task)]

    def count_parameters(self) -> int:
        """Trainable numbers, each counted once; padding of stacked parameters does not count."""
        shared = dict.fromkeys(p for stage in self.stages for p in stage.shared_parameters())
        own = [part for name in self._tasks_of_encoder() for part in self._own("encoders", name)]
        own += [
            part for task in self.input_of for s in ("structure", "decoders") for part in self._own(s, task)
        ]
        return sum(p.numel() for p in shared if p.requires_grad) + sum(
            part.value.numel() for part in own if part.tensor.requires_grad
        )

    def _own(self, stage: str, name: str) -> list[Part]:
        parts = getattr(self, stage).own(name)
        return [Part(f"{stage}.{part.name}", part.tensor, part.index) for part in parts]

    def _tasks_of_encoder(self) -> dict[str, list[str]]:
        tasks: dict[str, list[str]] = {}
        for task, name in self.encoder_of.items():
            tasks.setdefault(name, []).append(task)
        return tasks


def dense_ends(
    tasks: Sequence[Task], width: int, encode_apart: bool = False
) -> tuple[LinearBank, LinearBank]:
    """Encoders and decoders for tables: one ReLU layer from the features to `width`, one linear layer back.

    Args:
        tasks: what is to be learned.
        width: of the layers between.
        encode_apart: an encoder for each task instead of each input, see `JointModel`.

    Raises:
        InputError: if the samples of a task are not vectors.
    """
    by_name = check_tasks(tasks)
    for name, data in inputs_of(by_name).items():
        if len(data.shape) != 1 or data.tokens is not None:
            what = "that are token numbers" if len(data.shape) == 1 else f"of shape {data.shape}"
            raise InputError(f"input {name!r} has samples {what}: dense encoders take vectors")
    read = {n: task.data for n, task in by_name.items()} if encode_apart else inputs_of(by_name)
    encoders = LinearBank({name: (data.shape[0], width) for name, data in read.items()}, relu=True)
    decoders = LinearBank({n: (width, task.kind.outputs) for n, task in by_name.items()})
    return encoders, decoders


def image_decoders(tasks: Sequence[Task], width: int, poolings: Mapping[str, int]) -> LinearBank:
    """Linear decoders for images: each reads what is left of `[C, H, W]` after 2x2 poolings, `[width, ...]`.

    Args:
        tasks: what is to be learned.
        width: channels out of the layers before.
        poolings: before the decoder of each task.

    Raises:
        InputError: if the images of a task are too small for its poolings.
    """
    sizes: dict[str, tuple[int, int]] = {}
    for name, task in check_tasks(tasks).items():
        _, *size = task.data.shape
        left = [n >> poolings[name] for n in size]
        if min(left) == 0:
            raise InputError(
                f"images of {task.data.name!r} are {size[0]}×{size[1]}: too small for {poolings[name]} "
                f"poolings, use at most {min(size).bit_length() - 1} layers"
            )
        sizes[name] = (width * left[0] * left[1], task.kind.outputs)
    return LinearBank(sizes)


def _stage(
    given: nn.Module | Mapping[str, nn.Module], names: Mapping[str, Any], what: str, role: str
) -> nn.Module:
    if isinstance(given, nn.Module) and not isinstance(given, nn.ModuleDict):
        return given
    members = dict(given.items())  # type: ignore[union-attr,operator]
    missing = [name for name in names if name not in members]
    if missing:
        raise InputError(f"{what} {missing[0]!r} has no {role}: give a module for each {what}")
    return Each({name: members[name] for name in names})
