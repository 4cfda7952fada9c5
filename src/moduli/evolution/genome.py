"""Genomes of module topologies, and of the settings that all modules of a set have in common: plain data.

A module genome is a small directed graph without cycles. Node 0 is the module's input, node 1 its last
layer, all others are layers between them. Edges carry no weight: a layer with several inputs merges them.
Layers and edges have numbers that say where in evolution they first came up (the innovation numbers of
Stanley & Miikkulainen 2002), so that genomes can be aligned whatever their graphs are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any

from moduli.errors import InputError, did_you_mean

INPUT, LAST = 0, 1
ACTIVATIONS = ("relu", "linear")
MERGES = ("concat", "sum")
INITIALISERS = ("glorot_normal", "glorot_uniform", "he_normal", "he_uniform")


@dataclass(frozen=True)
class LayerGene:
    """One layer: a convolution (a dense layer where there is no space), its activation, then dropout.

    Args:
        number: 1 is the last layer of the module, higher numbers are the others.
        filters: channels out; not looked at in the last layer, which has the width of the settings.
        kernel: odd kernel size; not looked at in a dense layer.
        dropout: share of numbers dropped after the layer, from 0 to below 1.
        activation: "relu" or "linear".
        merge: how several inputs become one, "concat" or "sum".

    Raises:
        InputError: if a value is none of these.
    """

    number: int
    filters: int
    kernel: int
    dropout: float
    activation: str
    merge: str

    def __post_init__(self):
        where = f"layer {self.number} of a module"
        if self.number < LAST or self.filters < 1:
            raise InputError(f"{where} has {self.filters} filters: give numbers and filters from 1")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise InputError(f"{where} has kernel size {self.kernel}: give an odd number")
        if not 0 <= self.dropout < 1:
            raise InputError(f"{where} has dropout {self.dropout}: give a rate from 0 to below 1")
        check_word(f"activation of {where}", self.activation, ACTIVATIONS)
        check_word(f"merge of {where}", self.merge, MERGES)


@dataclass(frozen=True)
class EdgeGene:
    """From node `start` to layer `end`; `number` is its innovation number."""

    number: int
    start: int
    end: int


@dataclass(frozen=True)
class ModuleGenome:
    """The topology of a module: layers, and the edges between them.

    Layers and edges are kept in the order of their numbers. Two genomes with the same `genes` make the same
    architecture, whatever their `id`.

    Args:
        id: of this genome in its population.
        layers: the last layer, 1, among them.
        edges: every layer lies on a way from the input, 0, to the last layer.

    Raises:
        InputError: if numbers occur twice, an edge leads from or to a layer that is not there, the graph
            has a cycle, or a layer has no input or leads nowhere.
    """

    id: int
    layers: tuple[LayerGene, ...]
    edges: tuple[EdgeGene, ...]

    def __post_init__(self):
        object.__setattr__(self, "layers", tuple(sorted(self.layers, key=lambda layer: layer.number)))
        object.__setattr__(self, "edges", tuple(sorted(self.edges, key=lambda edge: edge.number)))
        self._check()

    @property
    def genes(self) -> tuple[tuple[LayerGene, ...], tuple[EdgeGene, ...]]:
        """All that makes the module: the genome without its id."""
        return self.layers, self.edges

    @cached_property
    def inputs(self) -> dict[int, tuple[int, ...]]:
        """The nodes that feed each layer, in the order of their numbers."""
        return {
            layer.number: tuple(sorted(edge.start for edge in self.edges if edge.end == layer.number))
            for layer in self.layers
        }

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The layers in an order in which they can be computed."""
        return tuple(node for node in TopologicalSorter(self.inputs).static_order() if node != INPUT)

    def layer(self, number: int) -> LayerGene:
        """The gene of a layer."""
        return next(layer for layer in self.layers if layer.number == number)

    def _check(self) -> None:
        what = f"module genome {self.id}"
        layers, pairs = [layer.number for layer in self.layers], [(e.start, e.end) for e in self.edges]
        for name, values in (("layer", layers), ("edge", [e.number for e in self.edges]), ("edge", pairs)):
            if len(set(values)) < len(values):
                raise InputError(f"{what} has {name}s with equal numbers or ends: give each once")
        unknown = {start for start, _ in pairs} - {INPUT, *layers} | {end for _, end in pairs} - {*layers}
        if unknown or LAST not in layers:
            missing = min(unknown, default=LAST)
            raise InputError(
                f"{what} has no layer {missing}, which its graph needs: add it, or leave out its edges"
            )
        # Without cycles, ways back and forth from a layer end at the input and at the last layer if
        # nothing else is without an input, and without an output.
        starts = {LAST, *(start for start, _ in pairs)}
        loose = [n for n in layers if not self.inputs[n] or n not in starts]
        if loose:
            raise InputError(f"layer {loose[0]} of {what} is on no way from the input to the last layer")
        try:
            _ = self.order
        except CycleError as error:
            raise InputError(f"{what} has a cycle through layers {error.args[1]}: remove an edge") from error

    def to_json(self) -> dict[str, Any]:
        """The genome as JSON data; `from_json` gives it back."""
        return {
            "id": self.id,
            "layers": [asdict(layer) for layer in self.layers],
            "edges": [asdict(edge) for edge in self.edges],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ModuleGenome:
        """Raises `InputError` if `data` is not a module genome."""
        try:
            layers = tuple(LayerGene(**layer) for layer in data["layers"])
            return cls(data["id"], layers, tuple(EdgeGene(**edge) for edge in data["edges"]))
        except (KeyError, TypeError) as error:
            raise InputError(f"not a module genome: {error!r} in {str(data)[:80]}") from error


@dataclass(frozen=True)
class GlobalGenome:
    """The settings that all modules of a set, and their training, have in common.

    Args:
        id: of this genome in its population.
        width: channels out of every module.
        lr: learning rate.
        weight_decay: of the optimizer.
        initialiser: of the weights: "glorot_normal", "glorot_uniform", "he_normal" or "he_uniform".

    Raises:
        InputError: if a value is impossible.
    """

    id: int
    width: int
    lr: float
    weight_decay: float
    initialiser: str

    def __post_init__(self):
        if self.width < 1 or not self.lr > 0 or not self.weight_decay >= 0:
            raise InputError(
                f"settings {self.id} have width {self.width}, learning rate {self.lr}, weight decay "
                f"{self.weight_decay}: give a width from 1, a rate above 0, a decay from 0"
            )
        check_word(f"initialiser of settings {self.id}", self.initialiser, INITIALISERS)

    @property
    def genes(self) -> tuple[int, float, float, str]:
        """The genome without its id."""
        return self.width, self.lr, self.weight_decay, self.initialiser

    def to_json(self) -> dict[str, Any]:
        """The genome as JSON data; `from_json` gives it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> GlobalGenome:
        """Raises `InputError` if `data` is not a genome of settings."""
        try:
            return cls(**data)
        except TypeError as error:
            raise InputError(f"not a genome of settings: {error!r} in {str(data)[:80]}") from error


class Innovations:
    """The numbers that were given to structural changes, so that the same change gets the same number.

    Stanley & Miikkulainen (2002) compare the changes of one generation; here the table lasts as long as
    the population does, so that a change that comes up again later is recognised too.
    """

    def __init__(self):
        self._edges: dict[tuple[int, int], int] = {}
        self._layers: dict[tuple[int, int], list[int]] = {}

    def edge(self, start: int, end: int) -> EdgeGene:
        """The gene of an edge."""
        return EdgeGene(self._edges.setdefault((start, end), len(self._edges) + 1), start, end)

    def layer(self, start: int, end: int, taken: Iterable[int] = ()) -> int:
        """The number of the layer that splits an edge.

        ``taken``: the layers of the genome. An edge that was split can be added and split again; the
        second layer then is another one.
        """
        known, taken = self._layers.setdefault((start, end), []), set(taken)
        for number in known:
            if number not in taken:
                return number
        known.append(2 + sum(map(len, self._layers.values())))
        return known[-1]

    def copy(self) -> Innovations:
        """A table that grows apart from this one."""
        return Innovations.from_json(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """The table as JSON data: edges as [start, end], layers as [start, end, number], as they came up."""
        layers = [[*pair, n] for pair, numbers in self._layers.items() for n in numbers]
        return {"edges": [list(pair) for pair in self._edges], "layers": layers}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Innovations:
        """Raises `InputError` if `data` is not such a table."""
        table = cls()
        try:
            for start, end in data["edges"]:
                table.edge(start, end)
            for start, end, number in data["layers"]:
                table._layers.setdefault((start, end), []).append(number)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"not a table of innovations: {error!r} in {str(data)[:80]}") from error
        return table

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Innovations) and self.to_json() == other.to_json()


def check_word(what: str, word: str, known: tuple[str, ...]) -> None:
    """Raises `InputError` if `word` is none of the `known`."""
    if word not in known:
        raise InputError(f"{what} is {word!r}: {did_you_mean(str(word), known)}")
