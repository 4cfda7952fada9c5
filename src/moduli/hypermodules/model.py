"""A joint model whose layers get blocks of their weights from shared hypermodules."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from moduli.errors import InputError
from moduli.hypermodules.bank import Hypermodules, Ranges
from moduli.hypermodules.cover import Coverage, Weight
from moduli.hypermodules.packing import Complexity, complexity
from moduli.model import JointModel
from moduli.modules import Each
from moduli.types import Control, Part

if TYPE_CHECKING:
    from moduli.hypermodules.evolution import MappingEvolution


class HyperModel(JointModel):
    """A joint model with generated weights: modular universal reparameterisation (Meyerson 2018, chapter 8).

    The layers are those of the models it was made of, and their code is not touched. Before a forward pass
    the weights of the tasks in question are generated, all blocks in one operation, and stand in the layers
    while it lasts. Everything that is not generated (biases, normalisations, embeddings, adapters) is there
    as before.

    `reparameterize` makes one.

    Args:
        model: whose stages are taken over.
        coverage: which of its weights are generated.
        hypermodules: what generates them.
        evolution: how the mapping evolves; None leaves it as it is.
        whole: whether the decoders are whole models of the user's, one for each task.
    """

    def __init__(
        self,
        model: JointModel,
        coverage: Coverage,
        hypermodules: Hypermodules,
        evolution: MappingEvolution | None,
        whole: bool,
    ):
        self._assemble(model.input_of, model.encoder_of, model.encoders, model.structure, model.decoders)
        self.coverage, self.hypermodules = coverage, hypermodules
        self.evolution, self._whole = evolution, whole
        self._standing: set[int] = set()  # first locations of the weights that stand in their layers
        # The types of the originals, in tensors, so that they follow a `to`.
        self._like = {w.name: given_value(w).new_empty(0) for w in coverage.weights}
        for weight in coverage.weights:
            _put(weight, None)
        if evolution is not None:
            evolution.check(self)
            evolution.begin(self)
        self.train(model.training)

    # -------------------------------------------------------------- with generated weights

    def forward(self, inputs: Mapping[str, Any], tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Outputs of `tasks`, by default of all whose input is given: `{task: [B, ...]}`.

        Args:
            inputs: a batch for each input name.
            tasks: names of tasks; only their weights are generated.
        """
        with self.generated(self._asked(inputs, tasks)):
            return super().forward(inputs, tasks)

    def hidden(self, inputs: Mapping[str, Any], tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """What the decoders read: `{task: [B, ...]}`. Arguments as those of `forward`."""
        with self.generated(self._asked(inputs, tasks)):
            return super().hidden(inputs, tasks)

    def every(self, inputs: Mapping[str, Any], tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Outputs of all decoders: `{task: [D, B, ...]}`. Arguments as those of `forward`."""
        with self.generated(self._asked(inputs, tasks)):
            return super().every(inputs, tasks)

    @contextmanager
    def generated(self, tasks: Sequence[str] | None = None) -> Iterator[None]:
        """While active, the generated weights stand in the layers that tasks use; those that do already stay.

        Args:
            tasks: names of tasks; all if None.
        """
        weights = [weight for weight in self._weights_of(tasks) if weight.first not in self._standing]
        mine = {weight.first for weight in weights}
        try:
            self._standing |= mine
            for weight, value in zip(weights, self._generate(weights), strict=True):
                _put(weight, value)
            yield
        finally:
            for weight in weights:
                _put(weight, None)
            self._standing -= mine

    def _weights_of(self, tasks: Sequence[str] | None) -> list[Weight]:
        if tasks is None:
            return list(self.coverage.weights)
        wanted = set(tasks)
        return [weight for weight in self.coverage.weights if not wanted.isdisjoint(weight.tasks)]

    def _generate(self, weights: Sequence[Weight]) -> list[Tensor]:
        """The weights, each in the shape that its layer wants."""
        if not weights:
            return []
        block = self.coverage.block
        everything = len(weights) == len(self.coverage.weights)
        blocks = self.hypermodules(None if everything else _ranges(weights))
        pieces = blocks.split([weight.blocks for weight in weights])
        made = [w.layout.fold(x, block).reshape(w.shape) for w, x in zip(weights, pieces, strict=True)]
        return [value.to(self._like[w.name].dtype) for w, value in zip(weights, made, strict=True)]

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> Any:
        self._like = {name: fn(like) for name, like in self._like.items()}
        return super()._apply(fn, *args, **kwargs)

    # -------------------------------------------------------------- plain models again

    def materialise(self) -> dict[str, nn.Module]:
        """The user's models again, with plain weights equal to the generated ones: `{task: model}`.

        They are copies, of the classes that were given, and know nothing of moduli: their `state_dict` loads
        into any other instance of the class. Of a joint model that was given as a whole, see `exported`.

        Raises:
            InputError: if a joint model was given.
        """
        if not self._whole:
            raise InputError("this was made of a joint model, not of a model for each task: see exported()")
        decoders = self.exported().decoders
        assert isinstance(decoders, Each)
        return {task: decoders.members[position] for task, position in decoders.names.items()}

    def exported(self) -> JointModel:
        """A joint model with plain weights, a copy: no hypermodules, and nothing that only training needs."""
        twin = copy.deepcopy(self)
        with torch.no_grad():
            weights = twin.coverage.weights
            for weight, value in zip(weights, twin._generate(weights), strict=True):
                _put(weight, nn.Parameter(value.clone()))
        plain = JointModel.__new__(JointModel)
        plain._assemble(twin.input_of, twin.encoder_of, twin.encoders, twin.structure, twin.decoders)
        return plain.train(self.training).exported()

    # -------------------------------------------------------------- what the loop asks for

    def controls(self) -> list[Control]:
        """Those of the stages, then the evolution of the mapping."""
        return [*super().controls(), *([] if self.evolution is None else [self.evolution.control()])]

    def learning_rates(self) -> dict[nn.Parameter, float]:
        """The soft weights of candidates have a learning rate of their own (section 8.4.1)."""
        return {} if self.evolution is None else {self.hypermodules.soft: self.evolution.soft_lr}

    def record(self) -> list[dict[str, Any]]:
        """How many modules there are, who shares them, and which is used most; see `docs/summary.md`."""
        bank, uses = self.hypermodules, self.hypermodules.uses()
        top = int(uses.argmax())
        told: dict[str, Any] = {
            "split": "hypermodules",
            "modules": int((uses > 0).sum()),
            "top": [int(bank.ids[top]), int(uses[top])],
            "sharing": self._sharing(),
            "accepted": int(bank.changed[0]),
            "created": int(bank.changed[1]),
        }
        if self.coverage.blocks <= _MAPPED:
            told["mapping"] = bank.ids[bank.mapping].tolist()
        return [*super().record(), told]

    def _sharing(self) -> list[list[Any]]:
        """For each set of tasks, how many modules they alone, and all of them, use."""
        tasks, K = list(self.input_of), len(self.hypermodules.table)
        used = torch.zeros(K, len(tasks), dtype=torch.bool)
        mapping = self.hypermodules.mapping.cpu()
        for weight in self.coverage.weights:
            for task in weight.tasks:
                used[mapping[weight.locations], tasks.index(task)] = True
        sets, counts = used[used.any(1)].unique(dim=0, return_counts=True)
        return [
            [[task for task, uses in zip(tasks, row, strict=True) if uses], count]
            for row, count in zip(sets.tolist(), counts.tolist(), strict=True)
        ]

    def described(self) -> dict[str, Any]:
        """Also the mapping and the layers, as plain data; see `docs/summary.md`."""
        bank = self.hypermodules
        layers = [
            {
                "task": weight.tasks[0] if len(weight.tasks) == 1 else None,
                "name": weight.name,
                "shape": list(weight.shape),
                "first": weight.first,
                "blocks": weight.blocks,
            }
            for weight in self.coverage.weights
        ]
        told = {
            "block": list(self.coverage.block),
            "context": bank.context,
            "layers": layers,
            "mapping": bank.ids[bank.mapping].tolist(),
            "parameters": vars(self.complexity()),
        }
        return {**super().described(), "hypermodules": told}

    def complexity(self) -> Complexity:
        """Parameters of the original models, while training, and at inference (Eq. 8.7)."""
        return complexity(self.hypermodules, self.coverage.generated, super().count_parameters())

    def count_parameters(self) -> int:
        """Trainable numbers at inference: see `complexity`."""
        return self.complexity().inference

    # -------------------------------------------------------------- who owns what

    def shared_parameters(self) -> list[nn.Parameter]:
        """Those of the stages, and the hypermodules; contexts too where all tasks use a location."""
        bank, many = self.hypermodules, any(len(w.tasks) > 1 for w in self.coverage.weights)
        mine = [bank.table, *([bank.contexts, bank.soft] if many else [])]
        return [*super().shared_parameters(), *mine]

    def own(self, task: str) -> list[Part]:
        """What only this task depends on, contexts and soft weights of its locations included."""
        bank, parts = self.hypermodules, super().own(task)
        for first, end in _ranges([w for w in self.coverage.weights if w.tasks == (task,)]):
            parts.append(Part("hypermodules.contexts", bank.contexts, slice(first, end)))
            low, high = torch.searchsorted(bank.competing, bank.mapping.new_tensor([first, end])).tolist()
            parts.append(Part("hypermodules.soft", bank.soft, slice(low, high)))
        return parts

    def keep_apart(self, wanted: bool = True) -> bool:
        """Not offered: tasks share modules in other places of their models. Always False."""
        return super().keep_apart(False)

    def keep_common(self, wanted: bool = True) -> None:
        """Not offered: what tasks share is not one hidden tensor."""
        super().keep_common(False)


_MAPPED = 512  # locations up to which the whole mapping is logged after every phase


def given_value(weight: Weight) -> Tensor:
    """The weight of the model that was given."""
    layer, name = weight.holders[0]
    value = layer._parameters[name]
    assert value is not None
    return value.detach()


def _put(weight: Weight, value: Tensor | None) -> None:
    """Lets a tensor, or nothing, stand in the layers for a weight."""
    for layer, name in weight.holders:
        layer._parameters[name] = value  # type: ignore[assignment]
        if isinstance(layer, nn.RNNBase):  # it holds its weights in a list as well
            layer._flat_weights[layer._flat_weights_names.index(name)] = value  # type: ignore[assignment]


def _ranges(weights: Sequence[Weight]) -> Ranges:
    """The locations of weights, neighbours joined."""
    ranges: list[tuple[int, int]] = []
    for weight in weights:
        first, end = weight.first, weight.first + weight.blocks
        if ranges and ranges[-1][1] == first:
            first, _ = ranges.pop()
        ranges.append((first, end))
    return tuple(ranges)
