"""What a run file may call a balancing, and how it is built.

A new balancing is a new entry of `BALANCES`: its options, and a function from tasks, options and seed to a
combine. Python code does not need names: it passes objects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from moduli.balancing import (
    DWA,
    Aggregated,
    DynamicTaskPriority,
    Equal,
    Exponent,
    Focal,
    GradNorm,
    Prioritise,
    RandomWeights,
    Scalarized,
    SelfPaced,
    Uncertainty,
    Weights,
)
from moduli.errors import InputError, MissingExtra, did_you_mean
from moduli.runs.sections import NoOptions, Section
from moduli.tasks import Task
from moduli.types import Combine


@dataclass(frozen=True)
class Balance:
    """An entry of the table: what it is, what can be said about it, and how it is built."""

    about: str
    options: type[Section]
    build: Callable[[Sequence[Task], Any, int], Combine]


# ------------------------------------------------------------------ weights of losses


class WeightsOptions(Section):
    """``weights``: of the tasks' losses, by task; 1 where none is given."""

    weights: dict[str, float]


class UncertaintyOptions(Section):
    """``init``: where the log variances start. ``bound``: on them. ``form``: of the objective."""

    init: float = 0.0
    bound: float = Field(default=10.0, gt=0.0, le=50.0)
    form: Literal["kendall", "half", "log1p"] = "kendall"


class GradNormOptions(Section):
    """``alpha``: how much slower tasks are pulled. ``lr``: of the weights."""

    alpha: float = Field(default=1.5, ge=0.0)
    lr: float = Field(default=0.025, ge=0.0)


class DtpOptions(Section):
    """``gamma``: of tasks. ``gamma_samples``: of samples, 0 for none. ``new_weight``: of the newest score."""

    gamma: float = Field(default=1.0, ge=0.0)
    gamma_samples: float = Field(default=2.0, ge=0.0)
    new_weight: float = Field(default=0.3, gt=0.0, le=1.0)


class SelfPacedOptions(Section):
    """``level``: what is admitted. ``lam``: the first threshold, the median loss if not given.

    ``mu``: factor on the threshold after each phase. ``eta``, ``gam``: how smooth, at the two levels.
    """

    level: Literal["task", "instance"] = "task"
    lam: float | None = Field(default=None, gt=0.0)
    mu: float = Field(default=1.1, ge=1.0)
    eta: float = Field(default=1.0, gt=0.0)
    gam: float = Field(default=1.0, gt=0.0)


class FocalOptions(Section):
    """``gamma``: how much easy samples are weighed down. ``alpha``: weight of the second of two classes."""

    gamma: float = Field(default=2.0, ge=0.0)
    alpha: float | None = Field(default=None, gt=0.0, lt=1.0)


class ExponentOptions(Section):
    """``p``: the power."""

    p: float = Field(default=1.15, ge=1.0)


class DwaOptions(Section):
    """``temperature``: the higher, the more alike the weights."""

    temperature: float = Field(default=2.0, gt=0.0)


class PrioritiseOptions(Section):
    """``task``: a name, ``easiest`` or ``hardest``. ``weight``: its weight. ``other``: of the others."""

    task: str
    weight: float = Field(default=0.98, ge=0.0)
    other: float = Field(default=0.01, ge=0.0)


def _weights(tasks: Sequence[Task], options: WeightsOptions, seed: int) -> Combine:
    names = [task.name for task in tasks]
    for task in options.weights:
        if task not in names:
            raise InputError(f"balance.weights.{task}: no such task, {did_you_mean(task, names)}")
    return Weights(options.weights)


def _prioritise(tasks: Sequence[Task], options: PrioritiseOptions, seed: int) -> Combine:
    words = [*(task.name for task in tasks), "easiest", "hardest"]
    if options.task not in words:
        raise InputError(f"balance.task: no task {options.task!r}, {did_you_mean(options.task, words)}")
    return Prioritise(**dict(options))


# ------------------------------------------------------------------ torchjd


class AtOptions(Section):
    """``at``: which gradients are taken, those of ``parameters`` or of the ``representation``."""

    at: Literal["parameters", "representation"] = "parameters"


class CagradOptions(AtOptions):
    """``c``: how far from the mean gradient the direction may lie, as a share of its length."""

    c: float = Field(default=0.5, ge=0.0)


class NashOptions(AtOptions):
    """``every``: steps between two solutions. ``max_norm``: bound on the direction's length, 0 for none."""

    every: int = Field(default=1, ge=1)
    max_norm: float = Field(default=1.0, ge=0.0)


class GradVacOptions(AtOptions):
    """``beta``: weight of the newest cosine in the running ones."""

    beta: float = Field(default=0.5, ge=0.0, le=1.0)


class FairOptions(AtOptions):
    """``alpha``: of the fairness that is meant; 0 the sum, 1 proportional, 2 delays, large max-min."""

    alpha: float = Field(default=1.0, gt=0.0)


class AlignedOptions(AtOptions):
    """``scale``: what all gradients are scaled to."""

    scale: Literal["min", "median", "rmse"] = "min"


class StchOptions(Section):
    """``mu``: how smooth the maximum is."""

    mu: float = Field(default=0.1, gt=0.0)


def _aggregated(name: str, *keys: tuple[str, str]) -> Callable[[Sequence[Task], Any, int], Combine]:
    """Builds torchjd's aggregator `name`; `keys` are pairs of an option and the argument it becomes."""

    def build(tasks: Sequence[Task], options: Any, seed: int) -> Combine:
        import torchjd.aggregation

        arguments = {argument: getattr(options, key) for key, argument in keys}
        if name == "NashMTL":
            arguments["n_tasks"] = len(tasks)
        at: Any = getattr(options, "at", "parameters")
        try:
            aggregator = getattr(torchjd.aggregation, name)(**arguments)
        except ImportError as error:
            raise MissingExtra(f"balancing by {name}", "solvers of torchjd[full]", "solvers") from error
        return Aggregated(aggregator, at, seed)

    return build


def _scalarized(name: str, sized: bool = False) -> Callable[[Sequence[Task], Any, int], Combine]:
    """Builds torchjd's scalarizer `name`; some want to know how many tasks there are."""

    def build(tasks: Sequence[Task], options: Any, seed: int) -> Combine:
        import torchjd.scalarization

        make = getattr(torchjd.scalarization, name)
        return Scalarized(make(len(tasks)) if sized else make(**dict(options)), seed)

    return build


# ------------------------------------------------------------------ the table

BALANCES = {
    "equal": Balance("the sum of all losses", NoOptions, lambda t, o, s: Equal()),
    "weights": Balance("a weighted sum, with the weights that you give", WeightsOptions, _weights),
    "prioritise": Balance("nearly all weight on one task", PrioritiseOptions, _prioritise),
    "uncertainty": Balance(
        "homoscedastic uncertainty: learned weights (Kendall et al. 2018)",
        UncertaintyOptions,
        lambda t, o, s: Uncertainty(t, **dict(o)),
    ),
    "gradnorm": Balance(
        "gradients of a common norm, larger for slow tasks (Chen et al. 2018)",
        GradNormOptions,
        lambda t, o, s: GradNorm(**dict(o)),
    ),
    "dtp": Balance(
        "dynamic task prioritization: hard tasks and samples first (Guo et al. 2018)",
        DtpOptions,
        lambda t, o, s: DynamicTaskPriority(t, **dict(o)),
    ),
    "self-paced": Balance(
        "easy tasks or samples first (Li et al. 2017)",
        SelfPacedOptions,
        lambda t, o, s: SelfPaced(**dict(o)),
    ),
    "focal": Balance(
        "focal loss: hard samples count more (Lin et al. 2017)",
        FocalOptions,
        lambda t, o, s: Focal(t, **dict(o)),
    ),
    "exponent": Balance("losses to a power", ExponentOptions, lambda t, o, s: Exponent(o.p)),
    "dwa": Balance(
        "dynamic weight average: slower tasks weigh more (Liu et al. 2019)",
        DwaOptions,
        lambda t, o, s: DWA(o.temperature),
    ),
    "random": Balance(
        "random weights at every step (Lin et al. 2022)", NoOptions, lambda t, o, s: RandomWeights(s)
    ),
    "stch": Balance("a smooth maximum of the losses (Lin et al. 2024)", StchOptions, _scalarized("STCH")),
    "geometric": Balance(
        "the geometric mean of the losses (Chennupati et al. 2019)", NoOptions, _scalarized("GeometricMean")
    ),
    "imtl-l": Balance(
        "learned scales of the losses (Liu et al. 2021)", NoOptions, _scalarized("IMTLL", sized=True)
    ),
    "famo": Balance(
        "losses fall at equal rates (Liu et al. 2023)", NoOptions, _scalarized("FAMO", sized=True)
    ),
    "pcgrad": Balance(
        "gradients projected off those they conflict with (Yu et al. 2020)", AtOptions, _aggregated("PCGrad")
    ),
    "cagrad": Balance(
        "the worst task's improvement, near the mean gradient (Liu et al. 2021)",
        CagradOptions,
        _aggregated("CAGrad", ("c", "c")),
    ),
    "mgda": Balance(
        "the shortest vector among the gradients' mixtures (Desideri 2012)", AtOptions, _aggregated("MGDA")
    ),
    "nash-mtl": Balance(
        "a bargain between tasks (Navon et al. 2022)",
        NashOptions,
        _aggregated("NashMTL", ("every", "update_weights_every"), ("max_norm", "max_norm")),
    ),
    "imtl-g": Balance(
        "equal projections on all gradients (Liu et al. 2021)", AtOptions, _aggregated("IMTLG")
    ),
    "upgrad": Balance(
        "the mean of gradients projected so that none conflicts (Quinton & Rey 2024)",
        AtOptions,
        _aggregated("UPGrad"),
    ),
    "dualproj": Balance(
        "the mean gradient projected so that it conflicts with none (Lopez-Paz & Ranzato 2017)",
        AtOptions,
        _aggregated("DualProj"),
    ),
    "aligned-mtl": Balance(
        "gradients made orthogonal and equally long (Senushkin et al. 2023)",
        AlignedOptions,
        _aggregated("AlignedMTL", ("scale", "scale_mode")),
    ),
    "gradvac": Balance(
        "gradients turned towards their usual angles (Wang et al. 2021)",
        GradVacOptions,
        _aggregated("GradVac", ("beta", "beta")),
    ),
    "fairgrad": Balance(
        "fair shares of improvement (Ban & Ji 2024)", FairOptions, _aggregated("FairGrad", ("alpha", "alpha"))
    ),
    "graddrop": Balance(
        "one sign for each number, drawn at random (Chen et al. 2020)", NoOptions, _aggregated("GradDrop")
    ),
    "config": Balance("equal angles to all gradients (Liu et al. 2025)", NoOptions, _aggregated("ConFIG")),
}
