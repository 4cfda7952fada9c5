"""What balancing and scheduling cost: step times over those of equal weights, and beside torchjd.

Every method is trained on the same model as equal weights, in turns within one process. `gradients` is
what the gradients of all tasks cost without an aggregator (their sum is followed). For three aggregators the
step is compared with torchjd's own way to use them on the same model: `mtl_backward`, which cuts the graph
at the decoders' inputs, and `backward`, which takes all shared parameters. torchjd gets the graph that
suits it best, with no calls batched over tasks.

Cases:
  images20   20 image tasks of 28x28 with inputs of their own, four 3x3 convolutions of 53 filters, 16 samples
  soft30     30 small tables, 4 dense layers of 32 units in soft order, dropout 0.5, batches of 32
  hard30     the same with hard sharing
  labels40   40 labels on one input of 64 features, 4 layers of 256 units, batches of 128; also with gradients
             taken at the representation
  schedules  one task in each step, chosen by the Q-learning scheduler over chosen at random, the looks at all
             validation samples included (100 for each task)

  python benchmarks/balancing.py [--quick] [--json FILE] [--device cuda]
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping

import torch
from harness import Work, arguments, ratio, report, turns
from step_time import Case, flops, images, labels, model_of, tables, tasks_of
from torch import Tensor
from torchjd.aggregation import MGDA, Aggregator, PCGrad, Sum, UPGrad
from torchjd.autojac import backward, jac_to_grad, mtl_backward

from moduli import Aggregated, Combine, Data, Equal, RandomTasks, Schedule, Task, TensorSource
from moduli.runs import BALANCES
from moduli.scheduling import Policy, QLearningScheduler
from moduli.scheduling.dqn import QNetwork
from moduli.tasks import task_losses
from moduli.training import Train, Trainer

WEIGHTINGS = (
    "uncertainty",
    "gradnorm",
    "dtp",
    "self-paced",
    "focal",
    "exponent",
    "dwa",
    "random",
    "stch",
    "famo",
)
AGGREGATORS = (
    "pcgrad", "cagrad", "mgda", "nash-mtl", "imtl-g", "upgrad", "dualproj", "aligned-mtl", "gradvac",
    "fairgrad", "graddrop", "config",
)  # fmt: skip
OF_TORCHJD: Mapping[str, Callable[[], Aggregator]] = {"pcgrad": PCGrad, "mgda": MGDA, "upgrad": UPGrad}


def trainer_of(
    case: Case, device: str, combine: Callable[[list[Task]], Combine], schedule: Schedule | None = None
) -> Trainer:
    tasks = tasks_of(case)
    torch.manual_seed(0)
    model = model_of(case, tasks)
    if schedule is not None:
        model.separate_ends()
        tasks = [_with_validation(task, 100) for task in tasks]
    trainer = Trainer(model, tasks, Train(batch_size=case.batch), combine(tasks), schedule, device=device)
    model.train()
    return trainer


def named(kind: str, **options: object) -> Callable[[list[Task]], Combine]:
    """A balancing with the defaults of run files."""
    entry = BALANCES[kind]
    return lambda tasks: entry.build(tasks, entry.options(**options), 0)


# ------------------------------------------------------------------ torchjd's own way


def by_torchjd(case: Case, device: str, make: Callable[[], Aggregator], general: bool) -> Work:
    """One step on the same model and batches: `backward` if `general`, else `mtl_backward`."""
    trainer = trainer_of(case, device, lambda tasks: Equal())
    model, parts, aggregator = trainer.model, trainer.parts, make()
    # Separate graphs: batched calls would be walked once for each task.
    model.structure.limit = 0  # type: ignore[assignment]
    shared = model.shared_parameters()
    own = [p for p in model.parameters() if id(p) not in {id(q) for q in shared}]

    def step() -> None:
        parts.optimizer.zero_grad(set_to_none=True)
        batches = {name: stream.draw() for name, stream in parts.streams.items()}
        names = list(parts.tasks)
        targets = {name: batches[model.input_of[name]].targets[name] for name in names}
        hidden = model.hidden({name: batch.inputs for name, batch in batches.items()}, names)
        losses = list(task_losses(parts.tasks, model.decoders(hidden), targets).mean.values())
        if general:
            torch.stack(losses).sum().backward(inputs=own, retain_graph=True)
            backward(losses, inputs=shared)
        else:
            features = list({id(h): h for h in hidden.values()}.values())
            mtl_backward(losses, features=features, retain_graph=True)
        jac_to_grad(shared, aggregator)
        parts.optimizer.step()

    return step


# ------------------------------------------------------------------ schedules


def _with_validation(task: Task, rows: int) -> Task:
    source = task.data.train
    assert isinstance(source, TensorSource)
    few = TensorSource(source.inputs[:rows], {task.name: source.targets[task.name][:rows]})
    data = Data(task.data.name, task.data.shape, source, few, few)
    return Task(task.name, task.kind, data)


def scheduled(case: Case, device: str) -> tuple[Work, Work, int]:
    """As many steps as lie between two looks: with the Q-learning scheduler, and at random."""
    tasks = [_with_validation(task, 100) for task in tasks_of(case)]
    torch.manual_seed(0)
    weights: dict[str, Tensor] = dict(QNetwork(20 * len(tasks), len(tasks)).state_dict())
    policy = Policy(tuple(task.name for task in tasks), weights, state_every=1)
    learned = QLearningScheduler(policy, tasks, batch_size=case.batch)
    trainers = [trainer_of(case, device, lambda tasks: Equal(), s) for s in (learned, RandomTasks())]
    works: list[Work] = [
        lambda trainer=trainer: [trainer.one_step() for _ in range(learned.state_every)]
        for trainer in trainers
    ]
    return works[0], works[1], learned.state_every


# ------------------------------------------------------------------ all


def ways_of(name: str, case: Case, device: str, quick: bool) -> dict[str, Work]:
    """The alternatives of a case; the first is equal weights."""
    kinds = [*WEIGHTINGS, *AGGREGATORS]
    if quick:
        kinds = ["uncertainty", "gradnorm", "upgrad"]
    combines: dict[str, Callable[[list[Task]], Combine]] = {"equal": lambda tasks: Equal()}
    combines |= {"gradients": lambda tasks: Aggregated(Sum())} | {kind: named(kind) for kind in kinds}
    if name == "labels40":
        at = {kind: named(kind, at="representation") for kind in OF_TORCHJD if kind in kinds}
        combines |= {f"{kind}@representation": make for kind, make in at.items()}
    ways: dict[str, Work] = {k: trainer_of(case, device, make).one_step for k, make in combines.items()}
    for kind, make in OF_TORCHJD.items():
        if kind in kinds and name != "soft30":  # soft order has no point at which all tasks part
            ways[f"{kind} by mtl_backward"] = by_torchjd(case, device, make, general=False)
        if kind == "upgrad" and not (quick and name == "images20"):
            ways[f"{kind} by backward"] = by_torchjd(case, device, make, general=True)
    return ways


def arithmetic_of(ways: Mapping[str, Work]) -> dict[str, float]:
    """Multiplications of a step over those of one with equal weights: the least possible ratio of times.

    The aggregator's own are not in it; the Gramian, which most of them and the logged conflicts need, is.
    """
    counted = {"gradients": "gradients", "upgrad@representation": "at the representation"}
    equal = flops(ways["equal"])
    return {name: round(flops(ways[way]) / equal, 3) for way, name in counted.items() if way in ways}


def main() -> None:
    options = arguments(__doc__ or "")
    device = options.device
    cases = {
        "images20": lambda: images(20, 16, device),
        "soft30": lambda: tables(30, device, soft=True),
        "hard30": lambda: tables(30, device),
        "labels40": lambda: labels(40, device),
    }
    ratios: dict[str, dict] = {}
    shares: dict[str, dict[str, float]] = {}
    arithmetic: dict[str, dict[str, float]] = {}
    rounds = 3 if options.quick else 9
    for name, make in cases.items():
        ways = ways_of(name, make(), device, options.quick)
        times = turns(ways, (0.3 if options.quick else 3.0) * len(ways), device, rounds)
        for way in list(ways)[1:]:
            ratios[f"{name}/{way} over equal"] = ratio(times[way], times["equal"])
        for kind in OF_TORCHJD:
            for other in ("mtl_backward", "backward"):
                if f"{kind} by {other}" in times:
                    key = f"{name}/{kind} over torchjd's {other}"
                    ratios[key] = ratio(times[kind], times[f"{kind} by {other}"])
        median = {way: statistics.median(times[way]) for way in ways}
        # Of a step with UPGrad: what is the ordinary step, what the gradients add, and what the aggregator.
        shares[name] = {
            "step": round(median["equal"] / median["upgrad"], 3),
            "gradients": round((median["gradients"] - median["equal"]) / median["upgrad"], 3),
            "aggregator": round((median["upgrad"] - median["gradients"]) / median["upgrad"], 3),
        }
        arithmetic[name] = arithmetic_of(ways)
    state_every = {}
    for name in ("images20", "hard30"):
        learned, at_random, state_every[name] = scheduled(cases[name](), device)
        times = turns({"qls": learned, "random": at_random}, 5.0 if options.quick else 60.0, device, rounds)
        ratios[f"schedules/{name}, qls over random"] = ratio(times["qls"], times["random"])
    report(
        "balancing", options, ratios, shares_of_upgrad=shares, arithmetic=arithmetic, state_every=state_every
    )


if __name__ == "__main__":
    main()
