"""What the contract suites run over. A new implementation is one more entry in one of these lists.

`STRUCTURES` and `ENDS` hold stages, `COMBINES`, `SCHEDULES` and `CONTROLS` the other plug points. Beside
moduli's own, every list has an implementation as a user might write it: the contracts are written against
the protocols, not against our classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torchjd.aggregation
import torchjd.scalarization
from synthetic import tiny_model, tiny_tasks
from torch import Tensor, nn
from users import ByRecentLoss, Grow, Perturb, SharedThenOwn, WorstTwo

from moduli import (
    DWA,
    PTA,
    Adaptive,
    Aggregated,
    AllTasks,
    Apply,
    ByWeights,
    ConstantShare,
    Conv,
    DecoderBank,
    Dense,
    DynamicTaskPriority,
    Each,
    Equal,
    Exponent,
    ExponentialShare,
    Focal,
    GradNorm,
    Greedy,
    JointModel,
    LinearBank,
    Losses,
    MappingEvolution,
    Merge,
    PadChannels,
    Policy,
    Prioritise,
    Proportional,
    QLearningScheduler,
    RandomTasks,
    RandomWeights,
    RoundRobin,
    Route,
    RoutedStructure,
    Scalarized,
    SelfPaced,
    ShiftingShares,
    SigmoidShare,
    Task,
    Uncertainty,
    Weights,
    hard,
    permuted,
    reparameterize,
    single,
    soft,
)  # fmt: skip
from moduli.evolution import EvolvingStructure, minimal
from moduli.functional import focal
from moduli.scheduling.dqn import QNetwork

TASKS = ("a", "b", "c")


# ------------------------------------------------------------------ stages


@dataclass(frozen=True)
class StageCase:
    """A stage and what it maps: shapes of one sample, in and out, by name."""

    name: str
    make: Callable[[], nn.Module]
    shapes: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]

    def inputs(self, samples: int | Sequence[int] = 4, dtype=torch.float64) -> dict[str, Tensor]:
        """Random inputs; `samples` for each name, or for all."""
        sizes = [samples] * len(self.shapes) if isinstance(samples, int) else samples
        return {
            name: torch.randn(n, *shape, dtype=dtype)
            for (name, shape), n in zip(self.shapes.items(), sizes, strict=False)
        }


def _structure(name: str, make: Callable[[], nn.Module], shape: tuple[int, ...]) -> StageCase:
    return StageCase(name, make, dict.fromkeys(TASKS, shape), dict.fromkeys(TASKS, shape))


def _images(name: str, make: Callable[[], nn.Module], size: int, poolings: int) -> StageCase:
    out = size
    for _ in range(poolings):
        out = out // 2 if out > 1 else out
    return StageCase(name, make, dict.fromkeys(TASKS, (2, size, size)), dict.fromkeys(TASKS, (2, out, out)))


def by_hand() -> dict[str, Route]:
    """Merges of one, two and three inputs, at several levels; an unused node; a route without nodes."""
    a = (
        Apply(0, 0),
        Apply(1, 1),
        Merge((1, 2, 0), level=1),
        Apply(2, 3, level=1),
        Merge((4, 1), level=2),
        Apply(1, 5, level=2),
    )
    b = (Apply(2, 0, level=1), Merge((1,), level=1), Apply(2, 2, level=2), Merge((0, 1, 2, 3), level=2))
    return {"a": Route(a, 6, 2), "b": Route(b, 4, 2), "c": Route((), 0, 2)}


def _conv(k: int) -> nn.Module:
    return Conv(2)


def _dense(k: int) -> nn.Module:
    return Dense(5)


def _users_layer(k: int) -> nn.Module:
    return nn.Sequential(nn.Linear(5, 5), nn.Tanh())


def _unbatched(structure: RoutedStructure) -> RoutedStructure:
    structure.limit = 0
    return structure


def _route_by_hand() -> RoutedStructure:
    return RoutedStructure([Conv(2), Conv(2), Conv(2, kernel=1)], by_hand())


def _evolved(structure: RoutedStructure) -> RoutedStructure:
    """The champions after some generations, always the same, in which each took in some challengers."""
    torch.manual_seed(1)
    evolving = EvolvingStructure(structure, {task: [task, f"{task}#1"] for task in TASKS})
    for generation in range(9):
        heirs = {n: h for t in TASKS for n, h in evolving.heirs(t, 0.3, removal=0.2).items()}
        evolving.succeed(heirs)
        task = TASKS[generation % 3]
        evolving.chosen[task] = f"{task}#1"
    return evolving.champions()


STRUCTURES = [
    _structure("single", lambda: single(TASKS, _dense, 3, dropout=0.3), (5,)),
    _structure("hard", lambda: hard(TASKS, _dense, 3, dropout=0.3), (5,)),
    _structure("permuted", lambda: permuted(TASKS, _dense, 3, seed=1), (5,)),
    _structure("soft", lambda: soft(TASKS, _dense, 3, dropout=0.3), (5,)),
    _structure("soft-identity", lambda: soft(TASKS, _dense, 2, identity=True, depth=3), (5,)),
    _structure("unbatched", lambda: _unbatched(soft(TASKS, _dense, 2)), (5,)),
    _structure("evolved", lambda: _evolved(hard(TASKS, _dense, 3, dropout=0.3)), (5,)),
    _structure("evolved-from-nothing", lambda: _evolved(minimal(TASKS, _dense, 3)), (5,)),
    _images("evolved-conv", lambda: _evolved(hard(TASKS, _conv, 2, dropout=0.2, pooling=True)), 9, 2),
    _structure("users-modules", lambda: hard(TASKS, _users_layer), (5,)),
    _images("single-conv", lambda: single(TASKS, _conv, 2, pooling=True), 9, 2),
    _images("hard-conv", lambda: hard(TASKS, _conv, 2, pooling=True), 9, 2),
    _images("soft-conv", lambda: soft(TASKS, _conv, 2, dropout=0.2, pooling=True, identity=True), 6, 2),
    _images("by-hand", _route_by_hand, 9, 2),
    _images("by-hand-unbatched", lambda: _unbatched(_route_by_hand()), 6, 2),
    _structure("users", lambda: SharedThenOwn(TASKS, 5), (5,)),
]


def _shared_member() -> nn.Module:
    shared = nn.Linear(3, 4)
    return Each({"a": shared, "b": nn.Sequential(nn.Linear(3, 4), nn.ReLU()), "c": shared})


def _tied() -> nn.Module:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    return Each({"a": first, "b": second, "c": nn.Linear(3, 3)})


def _separate() -> nn.Module:
    normed = nn.Sequential(nn.Linear(5, 2), nn.BatchNorm1d(2))
    return Each({"a": nn.Linear(3, 4), "b": normed, "c": nn.Identity()})


def _ends(
    name: str, make: Callable[[], nn.Module], inputs: Sequence[int], outputs: Sequence[int]
) -> StageCase:
    shapes, out = (dict(zip(TASKS, ((n,) for n in sizes), strict=True)) for sizes in (inputs, outputs))
    return StageCase(name, make, shapes, out)


def _bank(inputs: Sequence[int], outputs: Sequence[int], relu: bool = False) -> StageCase:
    sizes = dict(zip(TASKS, zip(inputs, outputs, strict=True), strict=True))
    name = f"bank-{'-'.join(map(str, inputs))}" + "-relu" * relu
    return _ends(name, lambda: LinearBank(sizes, relu), inputs, outputs)


def _decoders(name: str, control: str, modules: bool = False, **options: Any) -> StageCase:
    inputs, outputs = (3, 5, 3), (4, 2, 4)
    sizes = dict(zip(TASKS, zip(inputs, outputs, strict=True), strict=True))

    def make() -> nn.Module:
        made = {t: [nn.Sequential(nn.Linear(i, 3), nn.Tanh(), nn.Linear(3, o)) for _ in range(3)]
                for t, (i, o) in sizes.items()}  # fmt: skip
        return DecoderBank(made if modules else sizes, 3, PTA(control), **options)

    return _ends(f"decoders-{name}", make, inputs, outputs)


ENDS = [
    _bank((3, 5, 1), (4, 2, 4)),
    _bank((3, 5, 1), (4, 2, 4), relu=True),
    _bank((3, 3, 3), (2, 2, 2)),
    _bank((300, 2, 3), (200, 2, 1)),  # two stacks
    _ends("each", _separate, (3, 5, 1), (4, 2, 1)),
    _ends("each-shared", _shared_member, (3, 3, 3), (4, 4, 4)),
    _ends("each-tied", _tied, (3, 3, 3), (3, 3, 3)),
    _decoders("linear", "I"),
    _decoders("frozen", "FP"),
    _decoders("apart", "HGD"),
    _decoders("ensemble", "I", ensemble=True),
    _decoders("modules", "D", modules=True),
    _decoders("modules-frozen", "F", modules=True),
    StageCase(
        "each-pad",
        lambda: Each({task: PadChannels(4) for task in TASKS}),
        dict.fromkeys(TASKS, (1, 4, 4)),
        dict.fromkeys(TASKS, (4, 4, 4)),
    ),
]

STAGES = STRUCTURES + ENDS


# ------------------------------------------------------------------ combine


@dataclass(frozen=True)
class CombineCase:
    """A combine.

    ``objective``: the scalar whose gradient its first step follows, if that is known. ``drops``: whether it
    may leave tasks out that take part. ``tasks``: how many it needs at least.
    """

    name: str
    make: Callable[[], Any]
    objective: Callable[[Losses], Tensor] | None = None
    drops: bool = False
    tasks: int = 1


def _weighted(losses: Losses) -> Tensor:
    weights = {"a": 2.0, "b": 0.5}
    return sum((weights.get(t, 1.0) * x for t, x in losses.mean.items()), torch.zeros(()))


def _sum(losses: Losses) -> Tensor:
    return sum(losses.mean.values(), torch.zeros(()))


def _power(losses: Losses) -> Tensor:
    return sum((x**1.15 for x in losses.mean.values()), torch.zeros(()))


def _focal(losses: Losses) -> Tensor:
    """Of the cross-entropies of tasks b and c; a is a regression."""
    samples = losses.samples.items()
    return sum((x.mean() if t == "a" else focal(x, 2.0).mean() for t, x in samples), torch.zeros(()))


def _uncertain(losses: Losses) -> Tensor:
    halves = {"a": 0.5}
    return sum((halves.get(t, 1.0) * x for t, x in losses.mean.items()), torch.zeros(()))


def _first(losses: Losses) -> Tensor:
    return sum(((0.98 if t == "b" else 0.01) * x for t, x in losses.mean.items()), torch.zeros(()))


def _tiny() -> list[Task]:
    return tiny_tasks(TASKS)


def _aggregator(name: str, **options: Any) -> CombineCase:
    make = getattr(torchjd.aggregation, name)
    objective = _sum if name == "Sum" else None
    fewest = {"Constant": 3, "Krum": 3}.get(name, 1)
    return CombineCase(name, lambda: Aggregated(make(**options)), objective, tasks=fewest)


def _scalarizer(name: str, *arguments: Any) -> CombineCase:
    make = getattr(torchjd.scalarization, name)
    return CombineCase(f"scalarized-{name}", lambda: Scalarized(make(*arguments)))


COMBINES = [
    CombineCase("equal", Equal, _sum),
    CombineCase("weights", lambda: Weights({"a": 2.0, "b": 0.5}), _weighted),
    CombineCase("weights-of-one", lambda: Weights(dict.fromkeys(TASKS, 1.0)), _sum),
    CombineCase("exponent", Exponent, _power),
    CombineCase("random", RandomWeights),
    CombineCase("dwa", DWA, _sum),
    CombineCase("uncertainty", lambda: Uncertainty(_tiny()), _uncertain),
    CombineCase("uncertainty-half", lambda: Uncertainty(_tiny(), form="half"), lambda x: 0.5 * _sum(x)),
    CombineCase("uncertainty-log1p", lambda: Uncertainty(_tiny(), form="log1p"), lambda x: 0.5 * _sum(x)),
    CombineCase("dtp", lambda: DynamicTaskPriority(_tiny()), _focal),
    CombineCase("dtp-tasks", lambda: DynamicTaskPriority(_tiny(), gamma_samples=0), _sum),
    CombineCase("focal", lambda: Focal(_tiny()), _focal),
    CombineCase("focal-0", lambda: Focal(_tiny(), 0), _sum),
    CombineCase("self-paced", SelfPaced, drops=True),
    CombineCase("self-paced-instance", lambda: SelfPaced("instance"), drops=True),
    CombineCase("prioritise", lambda: Prioritise("b"), _first),
    CombineCase("hardest", lambda: Prioritise("hardest")),
    CombineCase("easiest", lambda: Prioritise("easiest")),
    CombineCase("gradnorm", GradNorm, _sum),
    *(_aggregator(name) for name in ("AlignedMTL", "ConFIG", "DualProj", "ExcessMTL", "GradDrop", "GradVac")),
    *(_aggregator(name) for name in ("IMTLG", "MGDA", "Mean", "PCD", "PCGrad", "Random", "Sum", "UPGrad")),
    _aggregator("CAGrad", c=0.5),
    _aggregator("Constant", weights=torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)),
    _aggregator("FairGrad", alpha=1.0),
    _aggregator("Krum", n_byzantine=0),
    _aggregator("NashMTL", n_tasks=3),
    _aggregator("TrimmedMean", trim_number=0),
    *(_scalarizer(name) for name in ("DWA", "GeometricMean", "Mean", "Random", "Sum")),
    *(_scalarizer(name, 3) for name in ("FAMO", "IMTLL", "UW")),
    _scalarizer("Constant", torch.tensor([1.0, 2.0, 0.5])),
    _scalarizer("COSMOS", 0.5, torch.tensor([1.0, 2.0, 0.5])),
    _scalarizer("PBI", 1.0, torch.tensor([1.0, 2.0, 0.5])),
    _scalarizer("STCH", 0.5),
    CombineCase("users", ByRecentLoss),
]


# ------------------------------------------------------------------ schedule


def _policy() -> Policy:
    torch.manual_seed(0)
    return Policy(TASKS, dict(QNetwork(60, 3).state_dict()), state_every=2)


def _sized() -> list[Task]:
    return [*tiny_tasks(TASKS[:2]), *tiny_tasks(("x", "y", "c"), samples=(60, 12, 12))[2:]]


SCHEDULES: dict[str, Callable[[], Any]] = {
    "all": AllTasks,
    "round-robin": RoundRobin,
    "round-robin-two": lambda: RoundRobin(2),
    "random": lambda: RandomTasks(seed=1),
    "random-two": lambda: RandomTasks(2),
    "proportional": lambda: Proportional(_sized(), 1.0, end=5.0, steps=10),
    "greedy": Greedy,
    "adaptive": lambda: Adaptive(dict.fromkeys(TASKS, 0.7)),
    "adaptive-simple": lambda: Adaptive(dict.fromkeys(TASKS, 0.7), "simple"),
    "adaptive-implicit": lambda: Adaptive(dict.fromkeys(TASKS, 0.7), "implicit"),
    "constant": lambda: ConstantShare("b"),
    "exponential": lambda: ExponentialShare("b", 5),
    "sigmoid": lambda: SigmoidShare("b", 5),
    "shift": lambda: ShiftingShares({"a": 1, "b": 1, "c": 0}, {"a": 0, "b": 1, "c": 1}, 5),
    "by-weights": lambda: ByWeights(Weights({"c": 3.0})),
    "qls": lambda: QLearningScheduler(_policy(), _tiny(), state_every=2),
    "qls-noise": lambda: QLearningScheduler(_policy(), _tiny(), state_every=2, temperature=0.5),
    "users": WorstTwo,
}


# ------------------------------------------------------------------ control


def _soft(tasks: Sequence[Task]) -> JointModel:
    return tiny_model(tasks, "soft")


def _generated(tasks: Sequence[Task]) -> JointModel:
    """Without a control of its own, and with more hypermodules than it could do with."""
    return reparameterize(_soft(tasks), block=(2, 3), evolution=None)


def _generations(**options: Any) -> Callable[[], Any]:
    """From the first phase on. No hypermodule is made or deleted, so the optimizer knows all of them."""
    return MappingEvolution(burn_in=0, draw="uniform", **options).control


@dataclass(frozen=True)
class ControlCase:
    """A control, and the kind of model that it acts on."""

    name: str
    make: Callable[[], Any]
    model: Callable[[Sequence[Task]], JointModel] = _soft


CONTROLS = [
    ControlCase("perturb", Perturb),
    ControlCase("grow", Grow),
    ControlCase("generations", _generations(candidates=2, final=0.0), _generated),
    ControlCase("generations-random", _generations(select="random", final=0.5), _generated),
]
