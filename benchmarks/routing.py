"""Time of an iteration over evolved routes: planned, grouped execution against one call for every node.

Twenty alphabets, each with a champion and a challenger: a champion started as the chain of four convolutions
with a pooling after each (Eq. 7.3 of Meyerson 2018) and went through n mutations, a challenger has one more.
The cases are n = 0, 5, 15 and 30 mutations of *every* task's route: what 20, 60 and 120 meta-iterations
leave if one challenger in four wins. Images are Omniglot's at 28x28 (random ones, where `MODULI_DATA` has no
Omniglot), the pool is four `Conv(53)`.

An iteration is forward, one loss on all outputs, backward, and a step of fused Adam. The alternatives work on
the same parameters, and must give equal outputs and gradients before anything is timed:
  moduli    `RoutedStructure`: the plan is replayed
  plain     what one writes by hand: for each task and candidate one node after another, the image filled up
            to 53 channels and every module an `nn.Conv2d` with ReLU
  nodes     the same with moduli's `Conv`, which leaves out channels of zeros
  prefix    the same, and what champion and challenger have in common is computed once

Also: the time of planning, which is due after every mutation; how much of the time of an iteration the
convolutions alone would take, in as few calls as there are modules and resolutions; and the time in which
all tasks get new challengers (copies of decoders, scales and what Adam knows of them), with 64 modules in the
pool over 4, of which every route applies four.

  python benchmarks/routing.py [--quick] [--json FILE] [--device cuda] [--threads N]
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from harness import Work, arguments, ratio, report, seconds
from step_time import flops
from torch import Tensor
from torch.nn import Identity

from moduli import (
    Apply,
    Conv,
    Data,
    JointModel,
    LinearBank,
    Multiclass,
    Phase,
    Route,
    RoutedStructure,
    Scores,
    Task,
    TensorSource,
    chain,
    evolve,
)
from moduli.data import omniglot
from moduli.errors import InputError
from moduli.evolution.mutation import draw
from moduli.evolution.structure import Heir
from moduli.functional import channels_last
from moduli.sharing.values import Values

TASKS, FILTERS, SIZE = 20, 53, 28
MUTATIONS, SAMPLES = (0, 5, 15, 30), (1, 8)
Module = Callable[[int, Tensor], Tensor]


@dataclass
class Case:
    """Champions and challengers of all tasks, and a batch for each."""

    structure: RoutedStructure
    hidden: dict[str, Tensor]  # the candidates of a task have one tensor

    def parameters(self) -> list[Tensor]:
        return [p for p in self.structure.parameters() if p.requires_grad]


def make_case(mutations: int, images: Tensor, samples: int, device: str) -> Case:
    """Routes after so many mutations, the same in every run; `images`: `[tasks, many, 1, size, size]`."""
    torch.manual_seed(mutations)
    routes: dict[str, Route] = {}
    hidden: dict[str, Tensor] = {}
    for task in range(TASKS):
        champion = chain(range(4), pooling=True)
        for _ in range(mutations):
            champion = mutated(champion)
        x = images[task, :samples].to(device)
        for number, route in enumerate((champion, mutated(champion))):
            routes[f"{task}/{number}"] = route
            hidden[f"{task}/{number}"] = x
    structure = RoutedStructure([Conv(FILTERS) for _ in range(4)], routes).to(device)
    torch.nn.init.normal_(structure.scales, std=0.3)  # type: ignore[arg-type]
    return Case(structure, hidden)


def mutated(route: Route) -> Route:
    mutation = draw(route, range(4))
    assert mutation is not None
    return mutation.apply(route)[0]


def omniglot_images() -> tuple[Tensor, str]:
    """Eight images of each of twenty alphabets, and where they are from."""
    try:
        tasks = omniglot.tasks(TASKS, size=SIZE)
    except InputError:
        return torch.rand(TASKS, max(SAMPLES), 1, SIZE, SIZE), "random"
    sources = [task.data.train for task in tasks]
    return torch.stack([s.inputs[: max(SAMPLES)] for s in sources if isinstance(s, TensorSource)]), "omniglot"


# ------------------------------------------------------------------ the alternatives


def moduli_forward(case: Case) -> dict[str, Tensor]:
    return case.structure(case.hidden)


def by_hand(case: Case) -> dict[str, Tensor]:
    convolutions = [module.conv for module in case.structure.modules_pool if isinstance(module, Conv)]
    padded = {key: filled(x) for key, x in case.hidden.items()}
    return interpreted(case, lambda k, x: convolutions[k](x).relu_(), padded)


def by_nodes(case: Case) -> dict[str, Tensor]:
    return interpreted(case, lambda k, x: case.structure.modules_pool[k](x), case.hidden)


def interpreted(case: Case, module: Module, hidden: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every route by itself, one node after another."""
    outputs: dict[str, Tensor] = {}
    scales = scales_of(case.structure)
    for key, x in hidden.items():
        route = case.structure.routes[key]
        values = [x]
        for number, node in enumerate(route.nodes, start=1):
            if isinstance(node, Apply):
                values.append(module(node.module, at(route, values, node.input, node.level)))
            else:
                inputs = [at(route, values, i, node.level) for i in node.inputs]
                values.append(merged(scales[key, number], inputs))
        outputs[key] = at(route, values, route.sink, route.level)
    return outputs


def by_prefix(case: Case) -> dict[str, Tensor]:
    """As `by_nodes`, with what the candidates of a task have in common computed once."""
    outputs: dict[str, Tensor] = {}
    scales = scales_of(case.structure)
    known: dict[tuple, Tensor] = {}  # by what a value is
    for key, x in case.hidden.items():
        route = case.structure.routes[key]
        names: list[tuple] = [("source", id(x))]
        known[names[0]] = x

        def there(i: int, level: int, route: Route = route, names: list = names) -> tuple:
            name = names[i]
            for _ in range(level - route.level_of(i)):
                below, name = name, ("pool", name)
                if name not in known:
                    known[name] = halved(known[below])
            return name

        for number, node in enumerate(route.nodes, start=1):
            if isinstance(node, Apply):
                before = there(node.input, node.level)
                name = ("apply", node.module, before)
                if name not in known:
                    known[name] = case.structure.modules_pool[node.module](known[before])
            else:
                name = ("merge", key, number)
                known[name] = merged(scales[key, number], [known[there(i, node.level)] for i in node.inputs])
            names.append(name)
        outputs[key] = known[there(route.sink, route.level)]
    return outputs


def scales_of(structure: RoutedStructure) -> dict[tuple[str, int], Tensor]:
    """The scales of every merge, by key and node."""
    places = [(key, node) for key, route in structure.routes.items() for node in route.merges]
    widths = [len(structure.routes[key].nodes[node - 1].inputs) for key, node in places]  # type: ignore[union-attr]
    if structure.scales is None:
        return {}
    return dict(zip(places, structure.scales.split(widths), strict=True))


def merged(scales: Tensor, inputs: list[Tensor]) -> Tensor:
    inputs = [filled(x) if x.shape[1] < FILTERS else x for x in inputs]
    first, *rest = zip(scales.softmax(0).unbind(), inputs, strict=True)
    total = first[0] * first[1]
    for share, x in rest:
        total = total + share * x
    return total


def filled(x: Tensor) -> Tensor:
    """With channels of zeros."""
    return F.pad(x, (0, 0, 0, 0, 0, FILTERS - x.shape[1]))


def at(route: Route, values: list[Tensor], node: int, level: int) -> Tensor:
    """The value of a node at a level: one 2x2 pooling for each level between."""
    x = values[node]
    for _ in range(level - route.level_of(node)):
        x = halved(x)
    return x


def halved(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 2) if min(x.shape[-2:]) >= 2 else x


WAYS = {"moduli": moduli_forward, "plain": by_hand, "nodes": by_nodes, "prefix": by_prefix}


def iteration(case: Case, forward: Callable[[Case], dict[str, Tensor]]) -> Work:
    """Forward, loss, backward and a step; the same for all but for the forward pass."""
    optimizer = torch.optim.Adam(case.parameters(), lr=1e-6, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        loss_of(forward(case)).backward()
        optimizer.step()

    return step


def loss_of(outputs: dict[str, Tensor]) -> Tensor:
    return torch.cat([y.flatten(1) for y in outputs.values()]).square().sum()


def assert_equal(case: Case) -> None:
    """All ways give the same outputs and gradients, in double precision."""
    twin = Case(case.structure.double(), {})
    doubled = {id(x): x.double() for x in case.hidden.values()}
    twin.hidden = {key: doubled[id(x)] for key, x in case.hidden.items()}
    results = {name: forward(twin) for name, forward in WAYS.items()}
    grads = {name: torch.autograd.grad(loss_of(y), twin.parameters()) for name, y in results.items()}
    for name in list(WAYS)[1:]:
        torch.testing.assert_close(results["moduli"], results[name])
        torch.testing.assert_close(grads["moduli"], grads[name])
    case.structure.float()


# ------------------------------------------------------------------ sizes, limit, planning


def sizes(case: Case) -> dict[str, int]:
    """Applications of modules in all routes, and the steps that they became."""
    nodes = [node for route in case.structure.routes.values() for node in route.nodes]
    (plan,) = case.structure._plans.values()
    return {"applications": sum(isinstance(n, Apply) for n in nodes), "steps": len(plan.steps)}


def limit(case: Case, device: str) -> float:
    """Seconds of the convolutions alone, forward and backward: each resolution and module in one call.

    As many rows as the plan's, so of what routes have in common only one; no iteration can be faster.
    """
    rows: Counter[tuple[int, tuple[int, ...]]] = Counter()
    shapes = [tuple(x.shape) for x in planned(case)[1]]
    structure = case.structure
    values = Values(shapes, structure._pool_info(together=True, apart=False), True)
    for key, number in planned(case)[0].items():
        values.of_route(key, structure.routes[key], number, structure._merge_row)
    for value in values.all:
        if value.operation[0] == "apply":
            rows[value.operation[1], values.all[value.inputs[0]].shape] += value.rows
    total = 0.0
    for (module, shape), count in rows.items():
        several = min(count, 32)  # more only leave the cache
        x = torch.rand(several, *shape, device=device)
        x = channels_last(x).requires_grad_(shape[0] == FILTERS)
        apply = structure.modules_pool[module]
        work = lambda x=x, apply=apply: apply(x).sum().backward()  # noqa: E731
        work()
        total += min(seconds(work, 1, device) for _ in range(3)) * count / several
    return total


def planning(case: Case, times: int = 9) -> float:
    """Milliseconds from a change of the routes to a new plan."""
    measured = []
    for _ in range(times):
        case.structure._plans.clear()
        began = time.perf_counter()
        case.structure._plan(*planned(case))
        measured.append(time.perf_counter() - began)
    return 1000 * statistics.median(measured)


def planned(case: Case) -> tuple[dict[str, int], list[Tensor], bool]:
    sources = list({id(x): x for x in case.hidden.values()}.values())
    number = {id(x): n for n, x in enumerate(sources)}
    return {key: number[id(x)] for key, x in case.hidden.items()}, sources, False


def generation(modules: int, device: str) -> Work:
    """What gives all tasks new challengers, in a trained model with so many modules in the pool."""
    tasks = [Task(f"t{t}", Multiclass(20), _no_data(f"t{t}")) for t in range(TASKS)]
    pool = RoutedStructure([Conv(FILTERS) for _ in range(modules)], {t.name: chain(range(4)) for t in tasks})
    decoders = LinearBank({task.name: (FILTERS, 20) for task in tasks})
    model = evolve(JointModel(tasks, pool, dict.fromkeys([t.name for t in tasks], Identity()), decoders))
    optimizer = torch.optim.Adam(model.to(device).parameters())
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    scores = Scores("val", {}, {}, {}, {})
    phase = Phase(model, scores, optimizer, 1, 1)

    def work() -> None:
        torch.manual_seed(0)
        model.routes.succeed({name: Heir(chain(range(4)), torch.zeros(0), ()) for name in model.input_of})
        model.evolution.after_phase(phase)

    return work


def _no_data(name: str) -> Data:
    nothing = TensorSource(torch.zeros(1, FILTERS, 1, 1), {name: torch.zeros(1, dtype=torch.long)})
    return Data(name, (FILTERS, 1, 1), nothing, nothing, nothing)


def rounds(ways: dict[str, Work], number: int, device: str) -> dict[str, list[float]]:
    """Seconds per call of every way in every round, interleaved. An iteration is long: one call is a turn."""
    for work in ways.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(number):
        for name, work in ways.items():
            times[name].append(seconds(work, 1, device))
    return times


def main() -> None:
    options = arguments(__doc__ or "")
    device = options.device
    images, source = omniglot_images()
    ratios: dict[str, dict] = {}
    facts: dict[str, dict] = {}
    for mutations, samples in product(MUTATIONS, SAMPLES[:1] if options.quick else SAMPLES):
        case, name = make_case(mutations, images, samples, device), f"mutations{mutations}x{samples}"
        assert_equal(case)
        ways = {way: iteration(case, forward) for way, forward in WAYS.items()}
        times = rounds(ways, 3 if options.quick else 5, device)
        for other in list(ways)[1:]:
            ratios[f"{name}/moduli-over-{other}"] = ratio(times["moduli"], times[other])
        facts[name] = {
            **sizes(case),
            "planning_ms": round(planning(case), 1),
            "gigaflop": round(flops(ways["moduli"]) / 1e9, 2),
            "share_of_limit": round(limit(case, device) / statistics.median(times["moduli"]), 3),
        }
        print(f"{name:48s} {facts[name]}", flush=True)
    few, many = (generation(modules, device) for modules in (4, 64))
    times = rounds({"few": few, "many": many}, 5 if options.quick else 25, device)
    ratios["copying/64-modules-over-4"] = ratio(times["many"], times["few"])
    facts["copying"] = {"ms": round(1000 * statistics.median(times["few"]), 1), "tasks": TASKS}
    report("routing", options, ratios, cases=facts, images=source)


if __name__ == "__main__":
    main()
