"""Which weights of a joint model are generated, which are not and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from itertools import groupby
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from moduli.errors import InputError
from moduli.hypermodules.layouts import KINDS, Block, Layout, Layouts, layouts_of

if TYPE_CHECKING:
    from rich.table import Table

Uneven = Literal["skip", "truncate"]


@dataclass(frozen=True)
class Weight:
    """A weight that is generated: some consecutive locations, from `first` on.

    ``holders`` are the layers that hold it, each with the name it has there. ``tasks`` are those that depend
    on it.
    """

    name: str
    layout: Layout
    shape: tuple[int, ...]
    tasks: tuple[str, ...]
    first: int
    blocks: int
    holders: tuple[tuple[nn.Module, str], ...] = field(repr=False)

    @property
    def locations(self) -> slice:
        """Where its blocks are."""
        return slice(self.first, self.first + self.blocks)


@dataclass(frozen=True)
class LeftOut:
    """A parameter that stays as it is, and why."""

    name: str
    shape: tuple[int, ...]
    reason: str

    @property
    def numel(self) -> int:
        """Numbers in it."""
        return torch.Size(self.shape).numel()


@dataclass(frozen=True)
class Coverage:
    """What a reparameterisation covers.

    ``weights`` are generated; ``left_out`` are all other parameters, each with a reason.
    """

    block: Block
    weights: tuple[Weight, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def blocks(self) -> int:
        """Locations in all."""
        return sum(weight.blocks for weight in self.weights)

    @property
    def generated(self) -> int:
        """Numbers of the models that are generated."""
        return sum(torch.Size(weight.shape).numel() for weight in self.weights)

    @property
    def fraction(self) -> float:
        """Share of the models' parameters that is generated."""
        return self.generated / (self.generated + sum(left.numel for left in self.left_out))

    def table(self) -> Table:
        """What is generated and what is left out, for a terminal, to be printed with rich."""
        from rich.table import Table

        m, n = self.block
        title = f"{self.blocks} blocks of {m}×{n}, {self.fraction:.1%} of the parameters"
        table = Table("weight", "shape", "blocks", title=title)
        for weight in self.weights:
            table.add_row(weight.name, _shape(weight.shape), str(weight.blocks))
        for left in self.left_out:
            table.add_row(left.name, _shape(left.shape), left.reason, style="dim")
        return table

    def __str__(self) -> str:
        """In one line for each reason."""
        m, n = self.block
        lines = [
            f"{self.blocks} blocks of {m}×{n} in {len(self.weights)} weights: {self.generated} numbers, "
            f"{self.fraction:.1%} of all parameters"
        ]
        by_reason = sorted(self.left_out, key=lambda left: left.reason)
        for reason, some in groupby(by_reason, key=lambda left: left.reason):
            members = list(some)
            names = ", ".join(left.name for left in members[:3]) + (", ..." if len(members) > 3 else "")
            lines.append(f"left out, {reason}: {sum(left.numel for left in members)} ({names})")
        return "\n".join(lines)


@dataclass(frozen=True)
class Model:
    """A user's model within a joint model: its name, and whether its first and last layer are adapters."""

    name: str
    module: nn.Module
    first: bool
    last: bool


def cover(
    models: Sequence[Model],
    owners: Mapping[int, str],
    tasks: Sequence[str],
    block: Block,
    adapters: Literal["ends"] | Sequence[str],
    uneven: Uneven,
    kinds: Mapping[type[nn.Module], Layouts] = KINDS,
) -> Coverage:
    """Finds the weights that are generated.

    Args:
        models: whose layers are looked through, in this order.
        owners: of a parameter, by its `id`, the one task that depends on it; all depend on the others.
        tasks: all tasks.
        block: m inputs and n outputs.
        adapters: "ends" leaves out the first and the last layer of each model, embeddings counting as layers;
            or patterns of names that are left out, such as `["*.head.*"]`.
        uneven: what becomes of weights that a whole number of blocks does not make.
        kinds: layers whose weights can be generated.

    Raises:
        InputError: if a pattern fits nothing, or layers have no shapes yet.
    """
    ends = _ends(models, kinds) if adapters == "ends" else set()
    used: set[str] = set()
    weights: dict[int, Weight] = {}
    left: dict[int, LeftOut] = {}
    first = 0
    for parameter, places in _parameters(models):
        name = places[0].name
        shape = tuple(parameter.shape)
        found = [place.layout(kinds) for place in places]
        layout = found[0]
        patterns = [] if adapters == "ends" else [p for p in adapters if fnmatch(name, p)]
        used.update(patterns)
        reason = ""
        if layout is None:
            reason = "no linear map of a known kind"
        elif any(other != layout for other in found):
            reason = "another layer uses it in another way"
        elif not parameter.requires_grad:
            reason = "not trained"
        elif any(id(place.layer) in ends for place in places):
            reason = "adapter at an end"
        elif patterns:
            reason = "left out by choice"
        elif uneven == "skip" and not layout.divides(block):
            reason = f"does not divide into {block[0]}×{block[1]}"
        if reason or layout is None:
            left[id(parameter)] = LeftOut(name, shape, reason)
            continue
        owner = owners.get(id(parameter))
        holders = tuple((place.layer, place.attribute) for place in places)
        of_tasks = tuple(tasks) if owner is None else (owner,)
        weights[id(parameter)] = Weight(name, layout, shape, of_tasks, first, layout.blocks(block), holders)
        first += layout.blocks(block)
    unused = [] if adapters == "ends" else [pattern for pattern in adapters if pattern not in used]
    if unused:
        raise InputError(f"adapters: no parameter is called {unused[0]!r}: print the coverage to see names")
    return Coverage(block, tuple(weights.values()), tuple(left.values()))


# ------------------------------------------------------------------ inside


@dataclass(frozen=True)
class _Place:
    """Where a parameter is held."""

    name: str
    layer: nn.Module
    attribute: str

    def layout(self, kinds: Mapping[type[nn.Module], Layouts]) -> Layout | None:
        return layouts_of(self.layer, kinds).get(self.attribute)


def _parameters(models: Sequence[Model]) -> Iterator[tuple[Tensor, list[_Place]]]:
    """Every parameter once, with all places where it is held."""
    found: dict[int, tuple[Tensor, list[_Place]]] = {}
    seen: set[int] = set()
    for model in models:
        for path, layer in model.module.named_modules(prefix=model.name):
            if id(layer) in seen:
                continue
            seen.add(id(layer))
            for attribute, parameter in layer.named_parameters(recurse=False):
                if isinstance(parameter, UninitializedParameter):
                    raise InputError(f"{path}.{attribute} has no shape yet: call the model once before")
                place = _Place(f"{path}.{attribute}".lstrip("."), layer, attribute)
                found.setdefault(id(parameter), (parameter, []))[1].append(place)
    yield from found.values()


def _ends(models: Sequence[Model], kinds: Mapping[type[nn.Module], Layouts]) -> set[int]:
    """The first and the last layer of each model that has others between."""
    ends: set[int] = set()
    for model in models:
        layers = [
            layer
            for layer in model.module.modules()
            if isinstance(layer, nn.Embedding)
            or (any(p.requires_grad for p in layer.parameters(recurse=False)) and _known(layer, kinds))
        ]
        if len(layers) > model.first + model.last:
            ends.update([id(layers[0])] if model.first else [])
            ends.update([id(layers[-1])] if model.last else [])
    return ends


def _known(layer: nn.Module, kinds: Mapping[type[nn.Module], Layouts]) -> bool:
    uninitialised = any(isinstance(p, UninitializedParameter) for p in layer.parameters(recurse=False))
    return not uninitialised and bool(layouts_of(layer, kinds))


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))
