"""How much faster sets of modules are evaluated by two local workers than by one.

Evaluations of a search for modules (CMTR): sets of the first generation, trained by CTR on four bundled
tables, by workers that are up. The figure is the time of two workers over that of one, in turns: 0.5 would
be two cores used in full, and 0.588 is 1.7 times as many evaluations per hour. That both give equal results
is asserted.

  python benchmarks/search.py [--quick] [--json FILE]
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from random import Random

from harness import arguments, ratio, report, seconds

from moduli.data import bundled
from moduli.evolution.evaluators import Job, Processes, Workers
from moduli.evolution.population import GlobalPopulation, ModulePopulation, draw_sets
from moduli.evolution.ranges import Ranges
from moduli.search import InnerLoop, Training, evaluate_set

TABLES = ("wine", "breast_cancer", "digits", "diabetes")
RANGES = Ranges(filters=(8, 32), width=(16, 48), dropout=(0.0, 0.3))


def jobs(number: int, phases: int, folder: Path) -> list[Job]:
    """Evaluations of the first generation of a search."""
    rng = Random(0)
    modules = ModulePopulation.random(rng, 10, 2, RANGES)
    settings = GlobalPopulation.random(rng, 10, ranges=RANGES)
    sets = draw_sets(modules, settings, number, rng)
    return [Job(str(n), Training(chosen, n, phases, folder / str(n))) for n, chosen in enumerate(sets)]


def fitness(workers: Workers, todo: list[Job]) -> dict[str, float]:
    """The fitness of every set, in the order in which they arrive."""
    results = list(workers.run(todo))
    failed = [result.error for result in results if result.error is not None]
    assert not failed, failed[0]
    return {result.id: result.value["fitness"] for result in results}


def main() -> None:
    options = arguments(__doc__ or "")
    number, phases, rounds = (8, 2, 3) if options.quick else (16, 5, 7)
    inner = InnerLoop(bundled.tasks(TABLES), train={"phase": 50, "threads": 1}, device=options.device)
    one, two = (Processes(workers).open(evaluate_set, inner) for workers in (1, 2))
    times: dict[str, list[float]] = {"one": [], "two": []}
    with tempfile.TemporaryDirectory() as folder, one, two:
        todo = jobs(number, phases, Path(folder))
        assert fitness(one, todo) == fitness(two, todo)  # and all workers are up now
        for _ in range(rounds):
            times["one"].append(seconds(lambda: fitness(one, todo), 1, options.device))
            times["two"].append(seconds(lambda: fitness(two, todo), 1, options.device))
    per_hour = {name: round(3600 * number / statistics.median(taken)) for name, taken in times.items()}
    ratios = {"two workers / one": ratio(times["two"], times["one"])}
    speedup = round(1 / ratios["two workers / one"]["median"], 3)
    print(f"evaluations per hour: {per_hour['one']} by one worker, {per_hour['two']} by two: {speedup} times")
    report("search", options, ratios, evaluations_per_hour=per_hour, speedup=speedup, target=1.7)


if __name__ == "__main__":
    main()
