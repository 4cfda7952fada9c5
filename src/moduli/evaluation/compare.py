"""Comparing methods: every method trained with every seed, and a summary of what came out.

In a folder a comparison can be stopped at any moment and called again: what is finished is not trained
again, what is half done goes on from its last checkpoint.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from moduli._version import __version__
from moduli.errors import InputError, RunError, SaveError, did_you_mean
from moduli.evaluation.folder import check_file_name, check_same, describe_task, write_results
from moduli.evaluation.job import Build, Job, Recipe
from moduli.evaluation.summary import Outcome, Summary, summarize
from moduli.evaluation.tables import comparison_markdown, comparison_table
from moduli.model import JointModel
from moduli.rng import seeded
from moduli.tasks import Task, check_tasks
from moduli.training import Progress, Train, Trainer, choose_device
from moduli.training.selection import validation_score
from moduli.training.settings import describe_device
from moduli.types import Combine, Control, Schedule

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Failure:
    """A (method, seed) that could not be trained, and why."""

    method: str
    seed: int
    error: str


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    ``summary`` is a plain dict (see ``docs/summary.md``), ``best_models`` has for each method the model of
    the seed with the best validation score, and ``best_seeds`` that seed. A method that failed throughout
    is in neither.
    """

    summary: Summary
    outcomes: list[Outcome]
    failures: list[Failure]
    best_models: dict[str, JointModel] = field(repr=False)
    best_seeds: dict[str, int]
    folder: Path | None

    def table(self) -> Table:
        """The table for a terminal, to be printed with rich."""
        return comparison_table(self.summary)

    def markdown(self) -> str:
        """The table in Markdown."""
        return comparison_markdown(self.summary)

    def show(self) -> None:
        """Prints the table."""
        from rich.console import Console

        Console().print(self.table())


def compare(
    methods: Mapping[str, Build | Recipe],
    tasks: Sequence[Task],
    seeds: int | Sequence[int] = 3,
    *,
    baseline: str | None = None,
    folder: str | Path | None = None,
    name: str = "comparison",
    combine: Callable[[int], Combine] | None = None,
    schedule: Callable[[int], Schedule] | None = None,
    controls: Callable[[int], Sequence[Control]] | None = None,
    device: str | torch.device = "auto",
    progress: Progress | Callable[[], Progress] | None = None,
    **train: Any,
) -> Comparison:
    """Trains every method with every seed and compares them on the test split.

    The seed decides the model's first weights, the batches and the dropout; the splits of the data are
    those of `tasks`. A method whose training fails is reported, and the others go on.

    Args:
        methods: by name, a function from a seed to a fresh model, or a `Recipe`. The function is called
            with torch's random numbers seeded, so its result does not depend on what was made before.
        tasks: what is to be learned.
        seeds: how many (0, 1, 2, ...), or which.
        baseline: the method that gains are relative to; "single" if it is there, else the first, if None.
        folder: keeps everything there: `summary.json`, `comparison.md`, `comparison.csv`, `metrics.jsonl`,
            and below `training/` a folder for each method and seed. Called again, goes on from there.
        name: of the comparison.
        combine, schedule, controls: functions from a seed to what `Trainer` takes, for the methods that do
            not bring their own.
        device: "auto", "cpu", "cuda", ...
        progress: where to report.
        **train: settings, see `Train`.

    Raises:
        InputError: if the names or numbers given make no sense, or the folder holds another comparison.
        SaveError: if the folder cannot be written to.
        Interrupted: after Ctrl-C.
    """
    settings, by_name, device = Train(**train), check_tasks(tasks), choose_device(device)
    numbers = _seeds(seeds)
    _check_methods(methods, baseline)
    progress = progress() if callable(progress) else progress
    folder = Path(folder) if folder is not None else None
    if folder is not None:
        check_same(folder, by_name, settings)
    jobs = [
        Job(method, seed, recipe, folder / "training" / method / f"seed-{seed}" if folder else None)
        for method, recipe in _recipes(methods, combine, schedule, controls).items()
        for seed in numbers
    ]

    def trainer(job: Job, model: JointModel) -> Trainer:
        return Trainer(
            model,
            tasks,
            replace(settings, **(job.recipe.train or {})),
            job.recipe.combine(job.seed) if job.recipe.combine else None,
            job.recipe.schedule(job.seed) if job.recipe.schedule else None,
            job.recipe.controls(job.seed) if job.recipe.controls else (),
            job.seed,
            device,
            job.folder,
            progress,
            f"{job.method}, seed {job.seed} ({jobs.index(job) + 1} of {len(jobs)})",
        )

    # The first step of a process loads libraries, which must not count as time of the first method.
    with seeded(jobs[0].seed):
        Trainer(jobs[0].model(), tasks, settings, device=device).one_step()
    outcomes, failures, best = _run(
        jobs, trainer, lambda outcome: validation_score(outcome.val, list(by_name), settings.select)
    )
    summary = summarize(
        name,
        [describe_task(task) for task in tasks],
        outcomes,
        baseline,
        methods=list(methods),
        seeds=numbers,
        versions={"moduli": __version__, "torch": torch.__version__, "python": platform.python_version()},
        device=describe_device(device),
    )
    summary["failures"] = [asdict(failure) for failure in failures]
    if folder is not None:
        runs = [(job.method, job.seed, job.folder) for job in jobs if job.folder is not None]
        write_results(folder, runs, summary)
    models = {method: model.to(device) for method, (_, model) in best.items()}
    seeds_of = {method: outcome.seed for method, (outcome, _) in best.items()}
    return Comparison(summary, outcomes, failures, models, seeds_of, folder)


def _run(
    jobs: Sequence[Job], trainer: Callable[[Job, JointModel], Trainer], score: Callable[[Outcome], float]
) -> tuple[list[Outcome], list[Failure], dict[str, tuple[Outcome, JointModel]]]:
    """Outcomes, failures, and for each method the outcome and model with the best score."""
    outcomes: list[Outcome] = []
    failures: list[Failure] = []
    best: dict[str, tuple[Outcome, JointModel]] = {}
    for job in jobs:
        try:
            outcome, model = job.restored() or job.trained(trainer)
        except SaveError:
            raise
        except RunError as error:
            failures.append(Failure(job.method, job.seed, str(error)))
            continue
        outcomes.append(outcome)
        if job.method not in best or score(outcome) > score(best[job.method][0]):
            best[job.method] = outcome, model
    return outcomes, failures, best


def _recipes(methods: Mapping[str, Build | Recipe], combine: Any, schedule: Any, controls: Any):
    """A recipe for every method; what it leaves open is what all have in common."""
    recipes = {name: m if isinstance(m, Recipe) else Recipe(m) for name, m in methods.items()}
    return {
        name: replace(
            r,
            combine=r.combine or combine,
            schedule=r.schedule or schedule,
            controls=r.controls or controls,
        )
        for name, r in recipes.items()
    }


def _seeds(seeds: int | Sequence[int]) -> list[int]:
    numbers = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not numbers or len(set(numbers)) < len(numbers) or min(numbers) < 0:
        raise InputError(f"seeds is {seeds}: give a number of at least 1, or a list of different numbers")
    return numbers


def _check_methods(methods: Mapping[str, Any], baseline: str | None) -> None:
    if not methods:
        raise InputError("no methods: give at least one")
    for method in methods:
        check_file_name("method", method)
    if baseline is not None and baseline not in methods:
        raise InputError(f"unknown baseline {baseline!r}, {did_you_mean(baseline, methods)}")
