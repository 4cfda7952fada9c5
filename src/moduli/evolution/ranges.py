"""The ranges of all genes and the rates of all mutations, in one place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from random import Random
from typing import Any

from moduli.errors import InputError, did_you_mean
from moduli.evolution.genome import ACTIVATIONS, INITIALISERS, MERGES, check_word


@dataclass(frozen=True)
class Interval:
    """The values of a numeric gene, `low` to `high`: on a logarithmic scale if `log`, whole if `whole`."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def draw(self, rng: Random) -> Any:
        """A value, uniform on the scale of the gene."""
        return self._value(rng.uniform(self._at(self.low), self._at(self.high)))

    def near(self, value: float, spread: float, rng: Random) -> Any:
        """Uniform around a value, at most `spread` times the range away, cut off at the ends."""
        reach = spread * (self._at(self.high) - self._at(self.low))
        return self._value(self._at(value) + rng.uniform(-reach, reach))

    def difference(self, a: float, b: float) -> float:
        """How far apart two values are, 0 to 1: 1 is the whole range."""
        width = self._at(self.high) - self._at(self.low)
        return abs(self._at(a) - self._at(b)) / width if width else 0.0

    def _at(self, value: float) -> float:
        value = min(max(value, self.low), self.high)  # it may come from other ranges
        return math.log(value) if self.log else float(value)

    def _value(self, at: float) -> Any:
        value = min(max(math.exp(at) if self.log else at, self.low), self.high)
        return round(value) if self.whole else value


@dataclass(frozen=True)
class Choice:
    """The values of a gene that is one of a few."""

    values: tuple[Any, ...]

    def draw(self, rng: Random) -> Any:
        """Any value."""
        return rng.choice(self.values)

    def near(self, value: Any, spread: float, rng: Random) -> Any:
        """Any other value."""
        return rng.choice([v for v in self.values if v != value] or [value])

    def difference(self, a: Any, b: Any) -> float:
        """0 for equal values, else 1."""
        return float(a != b)


@dataclass(frozen=True)
class Ranges:
    """What genomes may become, and how fast.

    The dissertation that describes the coevolution of modules and routes prints no ranges, but one evolved
    set of modules (Meyerson 2018, Fig. 7.4): "printed" below. "CoDeepNEAT" is Miikkulainen et al. (2017),
    "tfne" a public re-implementation of it, "NEAT" Stanley & Miikkulainen (2002), "own" our choice.

    Defaults are of the paper's size, for images of 105x105 and a large machine. For tables or small images,
    make `filters` and `width` small: `Ranges(filters=(8, 32), width=(8, 32))`.

    Args:
        filters: least and most channels of a layer. CoDeepNEAT: 32 to 256; printed are 26 to 95, so we
            begin at 16.
        kernels: odd kernel sizes. CoDeepNEAT, and printed: 1 and 3.
        dropout: least and greatest rate after a layer. CoDeepNEAT: 0 to 0.7.
        activations: printed: relu and linear.
        merges: CoDeepNEAT: concat and sum.
        width: least and most channels out of a module. Own; 57 is printed, and modules that are not evolved
            have 53.
        lr: least and greatest learning rate, log-uniform. CoDeepNEAT, for gradient descent with momentum:
            1e-4 to 0.1; printed, for Adam: 1.8e-4. Own upper end, fit for Adam.
        weight_decay: least and greatest weight decay, log-uniform. Own; 3.5e-9 is printed.
        initialisers: own; glorot_normal is printed.
        most_layers: of a module, the last among them. Own; printed are modules of 1 and 4 layers.
        most_growth: of a random genome: so many layers and edges are added at most to the smallest one.
            Own; NEAT begins with the smallest genomes only, which here would all be alike in their graph.
        add_layer, add_edge: rates at which a mutation splits an edge by a layer, or adds an edge. tfne: 0.2.
        remove_layer, remove_edge: rates at which it removes one. tfne: 0.05. Otherwise it perturbs genes.
        perturb: rate at which each gene changes then, at least one. Own.
        spread: how far a numeric gene is perturbed at most, as a share of its range. Own.
        crossover: share of children that have two parents. tfne: 0.2 (NEAT: 0.75).
        parents: share of a species, the fittest, that may have children. Own; a fitness is the result of few
            and short runs, so it is no small share.
        least: members that a species always gets in the next generation. Own.
        c1, c2, c3: coefficients of excess genes, disjoint genes and gene differences in the distance. NEAT.

    Raises:
        InputError: for an impossible value.
    """

    filters: tuple[int, int] = (16, 256)
    kernels: tuple[int, ...] = (1, 3)
    dropout: tuple[float, float] = (0.0, 0.7)
    activations: tuple[str, ...] = ACTIVATIONS
    merges: tuple[str, ...] = MERGES
    width: tuple[int, int] = (32, 96)
    lr: tuple[float, float] = (1e-4, 1e-2)
    weight_decay: tuple[float, float] = (1e-9, 1e-3)
    initialisers: tuple[str, ...] = INITIALISERS
    most_layers: int = 8
    most_growth: int = 2
    add_layer: float = 0.2
    add_edge: float = 0.2
    remove_layer: float = 0.05
    remove_edge: float = 0.05
    perturb: float = 0.3
    spread: float = 0.2
    crossover: float = 0.2
    parents: float = 0.5
    least: int = 2
    c1: float = 1.0
    c2: float = 1.0
    c3: float = 0.4

    def __post_init__(self):
        for field in fields(self):  # lists, as run files and JSON have them, become tuples
            value = getattr(self, field.name)
            if isinstance(value, list):
                object.__setattr__(self, field.name, tuple(value))
        self._check_intervals()
        self._check_choices()
        self._check_numbers()

    @property
    def layer_genes(self) -> dict[str, Interval | Choice]:
        """The genes of a layer by name."""
        return {
            "filters": Interval(*self.filters, whole=True),
            "kernel": Choice(self.kernels),
            "dropout": Interval(*self.dropout),
            "activation": Choice(self.activations),
            "merge": Choice(self.merges),
        }

    @property
    def global_genes(self) -> dict[str, Interval | Choice]:
        """The genes of the settings by name."""
        return {
            "width": Interval(*self.width, whole=True),
            "lr": Interval(*self.lr, log=True),
            "weight_decay": Interval(*self.weight_decay, log=True),
            "initialiser": Choice(self.initialisers),
        }

    def to_json(self) -> dict[str, Any]:
        """All values as JSON data; `from_json` gives them back."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Ranges:
        """From values by name; those left out have their defaults. `InputError` for an unknown name."""
        known = [field.name for field in fields(cls)]
        unknown = [name for name in data if name not in known]
        if unknown:
            raise InputError(f"unknown range {unknown[0]!r}: {did_you_mean(unknown[0], known)}")
        return cls(**data)

    def _check_intervals(self) -> None:
        limits = {"filters": (1, math.inf), "width": (1, math.inf), "dropout": (0, 1)}
        for name in ("filters", "width", "dropout", "lr", "weight_decay"):
            value, (low, high) = getattr(self, name), limits.get(name, (0, math.inf))
            whole = name in ("filters", "width")
            if not (_numbers(value, whole) and len(value) == 2 and low <= value[0] <= value[1] < high):
                what = f"{'whole ' * whole}numbers from {low}" + f" to below {high}" * (high == 1)
                raise InputError(f"{name} is {value}: give the least and the greatest, {what}")
        for name in ("lr", "weight_decay"):
            if getattr(self, name)[0] == 0:
                raise InputError(f"{name} begins at 0, but it is drawn on a logarithmic scale: begin above 0")

    def _check_choices(self) -> None:
        kernels = self.kernels
        if not (_numbers(kernels, True) and kernels and all(k > 0 and k % 2 for k in kernels)):
            raise InputError(f"kernels are {kernels}: give one or more odd sizes, such as (1, 3)")
        for name, known in (("activations", ACTIVATIONS), ("merges", MERGES), ("initialisers", INITIALISERS)):
            words = getattr(self, name)
            if not isinstance(words, tuple) or not words:
                raise InputError(f"{name} are {words!r}: give one or more out of {', '.join(known)}")
            for word in words:
                check_word(f"one of the {name}", word, known)

    def _check_numbers(self) -> None:
        for name, low in (("most_layers", 1), ("most_growth", 0), ("least", 1)):
            value = getattr(self, name)
            if not _numbers((value,), True) or value < low:
                raise InputError(f"{name} is {value}: give a whole number from {low}")
        for name in ("c1", "c2", "c3"):
            value = getattr(self, name)
            if not _numbers((value,)) or not 0 <= value < math.inf:
                raise InputError(f"{name} is {value}: give a number from 0")
        rates = ("add_layer", "add_edge", "remove_layer", "remove_edge")
        for name in (*rates, "perturb", "spread", "crossover", "parents"):
            value = getattr(self, name)
            if not _numbers((value,)) or not 0 <= value <= 1:
                raise InputError(f"{name} is {value}: give a share from 0 to 1")
        if sum(getattr(self, name) for name in rates) > 1 + 1e-9:
            raise InputError(f"the rates {', '.join(rates)} add up to more than 1: make one smaller")


def _numbers(values: Any, whole: bool = False) -> bool:
    kinds = int if whole else (int, float)
    return isinstance(values, Sequence) and all(
        isinstance(value, kinds) and not isinstance(value, bool) for value in values
    )
