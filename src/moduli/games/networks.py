"""GRUSM networks: a new network M, frozen sources S that it reuses, and transfer connections T between them.

Section 4.3 of Meyerson (2018). A network is an `Architecture`, which is structure alone, and one genome for
each recruit. What is computed is in `team.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from moduli.errors import InputError, did_you_mean

Link: TypeAlias = tuple[str, str]
Key: TypeAlias = tuple[str, str]
Part: TypeAlias = tuple[str, int]

DISSERTATION: tuple[Link, ...] = (("input", "source hidden"), ("source output", "output"))
"""Transfer connections of the dissertation: inputs to hidden units of the source, its outputs to outputs."""

_TO_SOURCE = [(a, b) for a in ("input", "hidden", "output") for b in ("input", "hidden", "output")]
EVERYWHERE: tuple[Link, ...] = tuple((a, f"source {b}") for a, b in _TO_SOURCE) + tuple(
    (f"source {a}", b) for a in ("input", "hidden", "output") for b in ("hidden", "output")
)
"""All that section 4.5 leaves to the future: any layer to any layer."""


@dataclass(frozen=True)
class Neuron:
    """A recruit: a new hidden unit. Its genome: bias, self loop, weights from inputs and to outputs."""


@dataclass(frozen=True)
class Source:
    """A recruit: a trained network that is reused as it is. Its genome has the transfer connections.

    Args:
        network: of any inputs, outputs and depth; it may reuse others itself. Its own inputs stay 0.
    """

    network: Network


Recruit: TypeAlias = Neuron | Source


@dataclass(frozen=True)
class Architecture:
    """The structure of a GRUSM network G = (M, S, T), without the weights that evolve.

    M has one layer of hidden units. The units and the sources are its recruits, in the order in which they
    were recruited. All weights of connections from and to a recruit are its genome, as in ESP; those between
    two recruits (only with other `links`) belong to the later one, so that no genome ever grows.

    Layers are `input`, `hidden`, `output`; those of recruit number 3, if it is a source, `3.hidden`
    and `3.output`, and of a source of that `3.0.hidden` and so on. They are computed in this order: input,
    hidden units, one source after another, output. A connection that goes backwards in it carries what its
    beginning was one step before, and so do self loops.

    Args:
        inputs: of M.
        outputs: of M.
        recruits: hidden units and sources.
        links: from and to which layers transfer connections go, fully connected each: pairs of `input`,
            `hidden`, `output` and the same with `source` before it. `DISSERTATION` or `EVERYWHERE`, or some
            of the latter. The hidden units of a source are those at all its depths.

    Raises:
        InputError: for impossible numbers, an unknown link, or a source that no link can reach.
    """

    inputs: int
    outputs: int
    recruits: tuple[Recruit, ...] = ()
    links: tuple[Link, ...] = DISSERTATION

    def __post_init__(self):
        for name in ("inputs", "outputs"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} of a network is {getattr(self, name)}: give at least 1")
        for link in self.links:
            if link not in EVERYWHERE:
                found, known = " -> ".join(link), [" -> ".join(some) for some in EVERYWHERE]
                raise InputError(f"unknown transfer connections {found!r}: {did_you_mean(found, known)}")
        for index in self.sources:
            if not self._reached(index):
                raise InputError(
                    f"recruit {index} has no hidden units for the transfer connections to reach: give a "
                    "source with hidden units, or other links"
                )

    @property
    def units(self) -> list[int]:
        """Which recruits are hidden units."""
        return [i for i, recruit in enumerate(self.recruits) if isinstance(recruit, Neuron)]

    @property
    def sources(self) -> dict[int, Network]:
        """The networks that are reused, by the numbers of their recruits."""
        return {i: r.network for i, r in enumerate(self.recruits) if isinstance(r, Source)}

    @property
    def sizes(self) -> list[int]:
        """The length of every recruit's genome."""
        return [sum(field.size for field in fields) for fields in self.fields()]

    def with_recruit(self, recruit: Recruit) -> Architecture:
        """The same with one more."""
        return replace(self, recruits=(*self.recruits, recruit))

    def without_unit(self, index: int) -> Architecture:
        """The same without a hidden unit.

        Raises:
            InputError: if genomes of other recruits have weights of connections with it.
        """
        if any("hidden" in link for link in self.links):
            raise InputError("units cannot be removed where transfer connections reach hidden units")
        return replace(self, recruits=self.recruits[:index] + self.recruits[index + 1 :])

    # -------------------------------------------------------------- structure

    def layers(self, prefix: str = "") -> list[Part]:
        """Names and sizes of all layers, in the order in which they are computed."""
        layers = [(f"{prefix}input", self.inputs), (f"{prefix}hidden", len(self.units))]
        for index, network in self.sources.items():
            layers += network.architecture.layers(f"{prefix}{index}.")
        return [*layers, (f"{prefix}output", self.outputs)]

    def hidden_layers(self, prefix: str = "") -> list[Part]:
        """Names and sizes of layers of hidden units, at all depths."""
        layers = [(f"{prefix}hidden", len(self.units))]
        for index, network in self.sources.items():
            layers += network.architecture.hidden_layers(f"{prefix}{index}.")
        return layers

    def fields(self) -> list[list[Field]]:
        """For every recruit the fields of its genome, in order."""
        return [
            list(self._unit_fields(index) if isinstance(recruit, Neuron) else self._source_fields(index))
            for index, recruit in enumerate(self.recruits)
        ]

    def _unit_fields(self, index: int) -> Iterator[Field]:
        own = _at(self.units.index(index))
        yield Field(("bias", "hidden"), own, _at(0))
        yield Field(("loop", "hidden"), own, _at(0))
        yield Field(("input", "hidden"), own, slice(0, self.inputs))
        yield Field(("hidden", "output"), slice(0, self.outputs), own)
        for earlier in [source for source in self.sources if source < index]:
            for link in self.links:
                if "hidden" in link:
                    yield from self._transfer(link, earlier, own)

    def _source_fields(self, index: int) -> Iterator[Field]:
        units = slice(0, sum(unit < index for unit in self.units))
        for link in self.links:
            yield from self._transfer(link, index, units)

    def _transfer(self, link: Link, index: int, units: slice) -> Iterator[Field]:
        """Fields of the connections between a source and some layer, of hidden units only with some."""
        sides = [self._parts(word, index) for word in link]
        for start, columns in sides[0]:
            for end, rows in sides[1]:
                of_unit = [
                    units if name == "hidden" else slice(0, n) for name, n in ((end, rows), (start, columns))
                ]
                yield Field((start, end), *of_unit)

    def _parts(self, word: str, index: int) -> list[Part]:
        """Layers that a word of a link stands for."""
        if not word.startswith("source "):
            return [(name, size) for name, size in self.layers() if name == word]
        inner, prefix = self.sources[index].architecture, f"{index}."
        if word == "source hidden":
            return inner.hidden_layers(prefix)
        return [
            (f"{prefix}input", inner.inputs) if word == "source input" else (f"{prefix}output", inner.outputs)
        ]

    def _reached(self, index: int) -> bool:
        into = [word for _, word in self.links if word.startswith("source ")]
        out = any(word.startswith("source ") for word, _ in self.links)
        return out and any(size for word in into for _, size in self._parts(word, index))


@dataclass(frozen=True)
class Field:
    """A stretch of a genome: where in the matrix of which connections its weights stand.

    Attributes:
        key: from which layer, or `bias` or `loop`, to which.
        rows: of the matrix, one for each node at the end of the connections.
        columns: one for each node at their beginning.
    """

    key: Key
    rows: slice
    columns: slice

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    @property
    def size(self) -> int:
        rows, columns = self.shape
        return rows * columns


@dataclass(frozen=True, eq=False)
class Network:
    """A GRUSM network: an architecture and a genome for each recruit, float32.

    Args:
        architecture: its structure, with all sources.
        genomes: `[size]` each.
        trained_on: the name of what it was trained on, None for a random network.

    Raises:
        InputError: if genomes do not fit the architecture, or have weights that are not finite.
    """

    architecture: Architecture
    genomes: tuple[np.ndarray, ...]
    trained_on: str | None = None

    def __post_init__(self):
        found, sizes = [genome.size for genome in self.genomes], self.architecture.sizes
        if found != sizes:
            raise InputError(f"genomes of a network have lengths {found}: its architecture needs {sizes}")
        broken = [i for i, genome in enumerate(self.genomes) if not np.isfinite(genome).all()]
        if broken:
            raise InputError(f"genomes {broken} of a network have weights that are not finite: train it anew")

    @property
    def parameters(self) -> int:
        """How many weights it has of its own; those of its sources do not count."""
        return sum(self.architecture.sizes)


class Networks:
    """Networks of one architecture with genomes of their own: what is evaluated together.

    Args:
        architecture: of all.
        genomes: for each recruit `[G, size]`.
    """

    def __init__(self, architecture: Architecture, genomes: Sequence[np.ndarray]):
        self.architecture = architecture
        self.genomes = [np.asarray(some, np.float32) for some in genomes]

    @classmethod
    def of(cls, *networks: Network) -> Networks:
        """Networks that have the same architecture, one object for all."""
        architecture = networks[0].architecture
        genomes = [np.stack(some) for some in zip(*(network.genomes for network in networks), strict=True)]
        return cls(architecture, genomes)

    def __len__(self) -> int:
        return len(self.genomes[0]) if self.genomes else 1

    def __getitem__(self, which: slice) -> Networks:
        return Networks(self.architecture, [some[which] for some in self.genomes])

    def network(self, index: int, trained_on: str | None = None) -> Network:
        """One of them."""
        return Network(self.architecture, tuple(some[index] for some in self.genomes), trained_on)

    def weights(self) -> dict[Key, np.ndarray]:
        """Matrices of all connections, `[G, to, from]`, those of sources `[1, to, from]`.

        `("bias", layer)` and `("loop", layer)` are `[G, size, 1]`.
        """
        sizes = {"bias": 1, "loop": 1, **dict(self.architecture.layers())}
        weights: dict[Key, np.ndarray] = {}
        for some, fields in zip(self.genomes, self.architecture.fields(), strict=True):
            start = 0
            for field in fields:
                a, b = field.key
                if field.key not in weights:
                    weights[field.key] = np.zeros((len(self), sizes[b], sizes[a]), np.float32)
                cut = some[:, start : start + field.size]
                weights[field.key][:, field.rows, field.columns] = cut.reshape(len(some), *field.shape)
                start += field.size
        for index, network in self.architecture.sources.items():
            for (a, b), matrix in Networks.of(network).weights().items():
                inside = a if a in ("bias", "loop") else f"{index}.{a}"
                weights[inside, f"{index}.{b}"] = matrix
        return weights


def random_network(architecture: Architecture, seed: int, bound: float = 6.0) -> Network:
    """A network with weights uniform in [-bound, bound], as subpopulations begin with.

    Reused by another, it is the control of the dissertation: structure without any training.

    Args:
        architecture: of the network, such as that of a trained one.
        seed: of the weights.
        bound: of the weights.
    """
    rng = np.random.default_rng(seed)
    return Network(
        architecture, tuple(rng.uniform(-bound, bound, n).astype(np.float32) for n in architecture.sizes)
    )


def _at(index: int) -> slice:
    return slice(index, index + 1)
