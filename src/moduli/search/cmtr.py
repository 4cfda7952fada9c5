"""CMTR: modules evolve in an outer loop, the routes of tasks in an inner one.

Algorithm 7.2 of Meyerson (2018).
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

from moduli.errors import Interrupted, RunError
from moduli.evolution.evaluators import Evaluator, InProcess, Job, Journal, Watcher, Workers
from moduli.evolution.evaluators.folder import check_settings, folder_of, keep_settings
from moduli.evolution.evolved import ModuleSet
from moduli.evolution.model import EvolvingModel
from moduli.evolution.population import (
    GlobalPopulation,
    ModulePopulation,
    attribute,
    attribute_settings,
    draw_sets,
)
from moduli.evolution.ranges import Ranges
from moduli.evolution.species import FAILED
from moduli.files import write_json
from moduli.search.budget import Budget
from moduli.search.ends import default_ends
from moduli.search.found import Evaluation, Found, best_first
from moduli.search.inner import Ends, InnerLoop, Training, evaluate_set
from moduli.sharing import RoutedStructure, hard
from moduli.tasks import Task
from moduli.training import Fit


class ModuleSearch:
    """Searches for modules; `search_modules` is the short way.

    A search is a pure function of its settings and seed: the random numbers of a generation depend on the
    seed and its number, those of a training on the seed and its id, and a generation is evaluated as a whole
    before the next begins. So it does not matter where sets are trained, and in which order they finish.
    (To the last bit with equal numbers of threads, and on equal machines.)

    With a folder, everything that was finished is kept in `journal.jsonl`, and trainings keep their state.
    A search that finds these goes on from there: it repeats nothing that was finished. Generations, patience
    and the number of finalists may then be others; all other settings must be as they were.

    Args:
        inner: how a set is trained.
        budget: how much is searched.
        ranges: of genes and mutations.
        evaluator: where sets are trained.
        folder: see above; on a cluster, on a file system that all machines share. None: a temporary one.
        seed: of everything.
        progress: where to report.
    """

    def __init__(
        self,
        inner: InnerLoop,
        budget: Budget | None = None,
        ranges: Ranges | None = None,
        evaluator: Evaluator | None = None,
        folder: Path | None = None,
        seed: int = 0,
        progress: Watcher | None = None,
    ):
        self.inner, self.budget, self.ranges = inner, budget or Budget(), ranges or Ranges()
        self.evaluator, self.seed, self.progress = evaluator or InProcess(), seed, progress
        self.folder = folder
        self._generations: list[dict[str, Any]] = []
        self._evaluations: list[Evaluation] = []
        self._finalists: list[Evaluation] = []

    # -------------------------------------------------------------- the loop

    def run(self, test: bool = True) -> Found:
        """Searches to the end, trains the finalists in full, and tests the winner.

        Args:
            test: whether to read the test split, once, at the end; the scores on it are NaN if not.

        Raises:
            InputError: for a folder of a search with other settings.
            RunError: if all sets of a generation, or all finalists, fail.
            Interrupted: after Ctrl-C; what was finished is kept if there is a folder.
        """
        self.example()
        with folder_of(self.folder, "search") as folder:
            check_settings(folder, self._settings())
            keep_settings(folder, self._settings())
            self._generations, self._evaluations, self._finalists = [], [], []
            try:
                with self.evaluator.open(evaluate_set, self.inner) as workers:
                    self._evolve(workers, folder)
                    best = self._train_in_full(workers, folder)
                fit = self._finished(best, folder, test) if self._finalists else None
            except KeyboardInterrupt:
                kept = "what was finished is kept" if self.folder else "without a folder nothing is kept"
                done = len(self._generations)
                raise Interrupted(f"search of modules: stopped after {done} generations; {kept}") from None
            self._save(folder, best, fit, test)
        return Found(best.modules, fit, self._generations, self._evaluations, self._finalists)

    def _evolve(self, workers: Workers, folder: Path) -> None:
        """One generation after another."""
        modules, settings = self._first_populations()
        stale = 0
        for number in range(self.budget.generations):
            rng = self._rng(f"generation {number}")
            sets = draw_sets(modules, settings, self.budget.sets, rng)
            named = {f"{number}-{index}": chosen for index, chosen in enumerate(sets)}
            done = self._trained(workers, folder, named, self.budget.meta_iterations, f"generation {number}")
            evaluations = [done[id_] for id_ in named]
            _check_some(evaluations, f"all sets of generation {number}")
            better = self._record(number, evaluations, modules, settings)
            self._save(folder)
            stale = 0 if better else stale + 1
            if self.budget.patience is not None and stale >= self.budget.patience:
                return
            results = [(evaluation.modules, evaluation.fitness) for evaluation in evaluations]
            modules = modules.next(attribute(results), rng)
            settings = settings.next(attribute_settings(results), rng)

    def _train_in_full(self, workers: Workers, folder: Path) -> Evaluation:
        """Trains the best sets of the whole search in full, and returns the best of them."""
        ranked = best_first(self._evaluations)
        if not self.budget.finalists:
            return ranked[0]
        sets = {f"final-{e.id}": e.modules for e in ranked[: self.budget.finalists]}
        done = self._trained(workers, folder, sets, self.budget.final_iterations, "finalists", keep=True)
        self._finalists = [done[id_] for id_ in sets]
        _check_some(self._finalists, "all finalists")
        return max(self._finalists, key=lambda evaluation: evaluation.fitness)  # of equal ones the first

    def _trained(
        self,
        workers: Workers,
        folder: Path,
        sets: Mapping[str, ModuleSet],
        phases: int,
        title: str,
        keep: bool = False,
    ) -> dict[str, Evaluation]:
        """Trains sets of modules; what came of it, by their ids.

        With `keep` the state of the best training is kept, to be tested. That of the others would fill
        the disk.
        """
        jobs = [Job(id_, self._training(id_, chosen, phases, folder, keep)) for id_, chosen in sets.items()]
        done: dict[str, Evaluation] = {}
        for result in workers.run(jobs, self.progress, Journal(folder / "journal.jsonl"), title):
            done[result.id] = Evaluation.of(sets[result.id], result)
            if keep:
                best = max((id_ for id_ in sets if id_ in done), key=lambda id_: done[id_].fitness)
                for id_ in done:
                    if id_ != best:
                        shutil.rmtree(folder / "trainings" / id_ / "checkpoints", ignore_errors=True)
        return done

    def _finished(self, best: Evaluation, folder: Path, test: bool) -> Fit:
        """The training of the winner, gone on with at its end: the only time that the test split is read."""
        phases = self.budget.final_iterations
        return self.inner.trainer(self._training(best.id, best.modules, phases, folder, True)).run(test)

    # -------------------------------------------------------------- what follows from the seed

    def _rng(self, what: str) -> Random:
        return Random(f"{self.seed}: {what}")

    def _training(self, id_: str, modules: ModuleSet, phases: int, folder: Path, keep: bool) -> Training:
        seed = self._rng(f"training {id_}").getrandbits(31)
        return Training(modules, seed, phases, folder / "trainings" / id_, keep)

    def _first_populations(self) -> tuple[ModulePopulation, GlobalPopulation]:
        rng, size = self._rng("first populations"), self.budget.population
        modules = ModulePopulation.random(rng, size, self.budget.species, self.ranges)
        return modules, GlobalPopulation.random(rng, size, ranges=self.ranges)

    # -------------------------------------------------------------- checks and records

    def example(self) -> EvolvingModel:
        """The untrained model of a set of the first generation.

        Raises:
            InputError: for what is wrong with the tasks or options, before it fails in every worker.
        """
        (chosen,) = draw_sets(*self._first_populations(), 1, Random(0))
        return self.inner.model(chosen, 0)

    def _settings(self) -> dict[str, Any]:
        """What must not change when a search goes on."""
        budget = {k: v for k, v in asdict(self.budget).items() if k not in _FREE}
        return {"seed": self.seed, **budget, **self.inner.to_json(), "ranges": self.ranges.to_json()}

    def _record(
        self,
        number: int,
        evaluations: Sequence[Evaluation],
        modules: ModulePopulation,
        settings: GlobalPopulation,
    ) -> bool:
        """Notes a generation; whether it had a better set than all before."""
        before = max((record["best"] for record in self._generations), default=FAILED)
        known = [e.fitness for e in evaluations if e.error is None]
        self._evaluations += evaluations
        self._generations.append(
            {
                "generation": number,
                "best": max(known),
                "mean": statistics.fmean(known),
                "best_so_far": max(before, *known),
                "failed": len(evaluations) - len(known),
                "modules": [len(ids) for ids in modules.species],
                "settings": [len(ids) for ids in settings.species],
            }
        )
        return max(known) > before

    def _save(
        self, folder: Path, best: Evaluation | None = None, fit: Fit | None = None, test: bool = False
    ) -> None:
        content: dict[str, Any] = {
            "settings": self._settings(),
            "generations": self._generations,
            "evaluations": [evaluation.to_json() for evaluation in self._evaluations],
            "finalists": [evaluation.to_json() for evaluation in self._finalists],
        }
        if best is not None:
            content["best"] = best.to_json()
        if fit is not None:
            structure: Any = fit.model.exported().structure
            content["val"] = fit.val.metrics
            content |= {"test": fit.test.metrics} if test else {}
            content["routes"] = {task: route.to_json() for task, route in structure.routes.items()}
        write_json(folder / "search.json", content)


_FREE = ("generations", "patience", "finalists")  # may change when a search goes on


def search_modules(
    tasks: Sequence[Task],
    *,
    population: int = 25,
    species: int = 2,
    sets: int = 100,
    generations: int = 72,
    patience: int | None = 10,
    meta_iterations: int = 12,
    finalists: int = 50,
    final_iterations: int = 120,
    ranges: Ranges | None = None,
    layers: int = 4,
    dropout: float = 0.0,
    pooling: bool | None = None,
    order: Callable[..., RoutedStructure] = hard,
    ends: Ends = default_ends,
    evolution: Mapping[str, Any] | None = None,
    evaluator: Evaluator | None = None,
    folder: str | Path | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Watcher | Callable[[], Watcher] | None = None,
    **train: Any,
) -> Found:
    """Evolves the modules of a pool: CMTR, Algorithm 7.2 of Meyerson (2018), for tables and images.

    Architectures of modules, and settings such as width and learning rate, evolve as in CoDeepNEAT. Sets of
    them are trained for a short time, while the routes of tasks evolve within (CTR, see `evolve`). The
    validation score of a training is the fitness of its set, and the mean over the sets that have
    a module is the fitness of the module. At the end the best sets are trained in full.

    Only training and validation data are read, until the winner is known: then the test split, once.

    Time: `generations * sets * meta_iterations + finalists * final_iterations` phases at most, shared by the
    workers of the evaluator. The defaults are for a cluster; on a laptop, try
    `population=8, sets=10, generations=5, meta_iterations=4, finalists=3, final_iterations=20`, and narrow
    `ranges`.

    How this differs from the dissertation, where it is unclear: step 5 of the outer loop, "repeats from step
    1", would begin anew, so it repeats from step 2; and the modules of a set have no pool in them.

    Args:
        tasks: what is learned: all tables, or all images.
        population, species, sets, generations, patience, meta_iterations, finalists, final_iterations: how
            much is searched, see `Budget`.
        ranges: of genes and mutations, see `Ranges`.
        layers, dropout, pooling, order, ends, evolution, device: how a set becomes a model, see `InnerLoop`.
        evaluator: where sets are trained: in this process if None, `Processes(workers=2)`, or `Ray(...)`.
        folder: keeps what was finished; called again, goes on from there. See `ModuleSearch`.
        seed: of everything.
        progress: where to report, such as `Board()`.
        **train: settings of every training, see `Train`: `phase=3000, batch_size=1` are the dissertation's.
            Not the learning rate, weight decay and steps, which are evolved, or follow from the above.

    Returns:
        The best set, its training, and how it was found. The folder has the same in `search.json`.

    Raises:
        InputError: for impossible options, or a folder of a search with other settings.
        RunError: if all sets of a generation fail; the message has the first error.
        Interrupted: after Ctrl-C; what was finished is kept if there is a folder.
    """
    inner = InnerLoop(tasks, layers, dropout, pooling, order, ends, evolution or {}, train, device)
    budget = Budget(
        population, species, sets, generations, patience, meta_iterations, finalists, final_iterations
    )
    where = Path(folder) if folder is not None else None
    watcher = progress() if callable(progress) else progress
    return ModuleSearch(inner, budget, ranges, evaluator, where, seed, watcher).run()


def _check_some(evaluations: Sequence[Evaluation], who: str) -> None:
    if all(evaluation.error is not None for evaluation in evaluations):
        raise RunError(f"{who} failed, the first with: {evaluations[0].error}")
