"""Evolution in run files: options of evolving routes, and the search for modules that comes before a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from moduli.errors import InputError
from moduli.evolution import minimal, random_chains
from moduli.evolution.evaluators import Board, Evaluator, InProcess, Processes, Ray
from moduli.evolution.evolved import ModuleSet
from moduli.evolution.ranges import Ranges
from moduli.files import read_json
from moduli.model import JointModel
from moduli.runs.sections import Section
from moduli.search import Budget, InnerLoop, ModuleSearch
from moduli.sharing import RoutedStructure, hard
from moduli.tasks import Task
from moduli.training import Bar, Progress, Train


@dataclass(frozen=True)
class Given:
    """What a search is given by the run that it is for. It keeps its state in ``folder``."""

    tasks: Sequence[Task]
    train: Train
    folder: Path
    seed: int
    device: str
    progress: Progress | None


class Evolution(Section):
    """``challengers``: candidates beside the champion of each task. ``alpha``: share of a new edge at the
    start. ``start``: the routes of the first champions. ``max_nodes``: most modules applied in a route, no
    bound if not given. ``removal``: probability that a mutation removes a node, where one can be."""

    challengers: int = Field(default=1, ge=0, le=64)
    alpha: float = Field(default=0.1, gt=0.0, lt=1.0)
    start: Literal["chain", "minimal", "random"] = "chain"
    max_nodes: int | None = Field(default=None, ge=1)
    removal: float = Field(default=0.0, ge=0.0, le=1.0)

    @property
    def of_routes(self) -> dict[str, Any]:
        """What `moduli.evolve` is told."""
        keys = ("challengers", "alpha", "max_nodes", "removal")
        return {key: getattr(self, key) for key in keys}

    def first_routes(self, seed: int) -> Callable[..., RoutedStructure]:
        """Makes the structure of the first champions."""
        return {"chain": hard, "minimal": minimal, "random": partial(random_chains, seed=seed)}[self.start]


class EvolvingModules(Evolution):
    """Modules that are searched for, see `moduli.search_modules`.

    ``layers``: modules in the pool. ``dropout``: rate after every application of one, beside their own.
    ``population`` to ``finalists``: how much is searched. ``ranges``: of genes and mutations, see
    `moduli.Ranges`. ``workers``: processes of this machine that train sets; 1 trains them in this one.
    ``ray``: address of a Ray cluster, or ``local``. ``modules``: what was found before, a ``search.json``;
    then nothing is searched.
    """

    layers: int = Field(default=4, ge=1, le=1024)
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    population: int = Field(default=8, ge=2)
    species: int = Field(default=2, ge=1)
    sets: int = Field(default=8, ge=1)
    generations: int = Field(default=4, ge=1)
    patience: int | None = Field(default=None, ge=1)
    meta_iterations: int = Field(default=5, ge=1)
    finalists: int = Field(default=2, ge=1)
    ranges: dict[str, Any] = Field(default_factory=lambda: {"filters": [8, 32], "width": [16, 48]})
    workers: int = Field(default=1, ge=1)
    ray: str | None = None
    modules: str | dict[str, Any] | None = None

    @property
    def evaluator(self) -> Evaluator:
        """Where sets of modules are trained."""
        if self.ray is not None:
            return Ray(None if self.ray == "local" else self.ray, self.workers if self.workers > 1 else None)
        return Processes(self.workers) if self.workers > 1 else InProcess()

    def inner(self, tasks: Sequence[Task], train: Mapping[str, Any], device: str, seed: int) -> InnerLoop:
        """How a set of modules becomes a model, and is trained."""
        return InnerLoop(
            tasks,
            self.layers,
            self.dropout,
            order=self.first_routes(seed),
            evolution=self.of_routes,
            train=train,
            device=device,
        )


def search(options: EvolvingModules, given: Given) -> EvolvingModules:
    """Searches for modules, and gives options that name what was found. The test split is not read.

    With the first seed of a run, for all seeds. Sets are trained with equal balancing and all tasks.
    """
    if options.modules is not None:
        return options
    train = {
        k: v for k, v in vars(given.train).items() if k not in ("lr", "weight_decay", "steps", "patience")
    }
    budget = Budget(
        **{key: getattr(options, key) for key in vars(Budget()) if key != "final_iterations"},
        final_iterations=max(1, given.train.steps // given.train.phase),
    )
    found = ModuleSearch(
        options.inner(given.tasks, train, given.device, given.seed),
        budget,
        _ranges(options),
        options.evaluator,
        given.folder,
        given.seed,
        Board() if isinstance(given.progress, Bar) else None,
    ).run(test=False)
    return options.model_copy(update={"modules": found.best.to_json()})


def searched_model(tasks: Sequence[Task], options: EvolvingModules, seed: int) -> JointModel:
    """A model of the modules that were found; before the search, of some from its first generation."""
    inner = options.inner(tasks, {}, "cpu", seed)
    if options.modules is None:
        budget = Budget(population=options.population, species=options.species)
        return ModuleSearch(inner, budget, _ranges(options)).example()
    return inner.model(_modules(options.modules), seed)


def own_settings(options: EvolvingModules) -> Mapping[str, Any]:
    """The learning rate and the weight decay that evolved with the modules."""
    if options.modules is None:
        return {}
    settings = _modules(options.modules).settings
    return {"lr": settings.lr, "weight_decay": settings.weight_decay}


def _ranges(options: EvolvingModules) -> Ranges:
    try:
        return Ranges.from_json(options.ranges)
    except InputError as error:
        raise InputError(f"sharing.ranges: {error}") from None


def _modules(given: str | Mapping[str, Any]) -> ModuleSet:
    """A set of modules, or the best one in the file of a search."""
    if not isinstance(given, str):
        return ModuleSet.from_json(dict(given))
    if not Path(given).is_file():
        raise InputError(f"sharing.modules: there is no file {given}: give the search.json of a search")
    content = read_json(Path(given))
    if not isinstance(content, dict) or "best" not in content:
        raise InputError(f"sharing.modules: {given} is no search.json of a search that ended")
    return ModuleSet.from_json(content["best"]["set"])
