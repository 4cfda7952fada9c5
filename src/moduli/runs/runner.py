"""From a run file to a run folder: train, compare, save, report. And going on after a stop."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from moduli._version import __version__
from moduli.errors import InputError, Interrupted, SaveError
from moduli.evaluation import Build, Comparison, Recipe, compare
from moduli.evaluation.folder import describe_task, fingerprint
from moduli.files import read_json, write_atomically, write_json
from moduli.model import JointModel
from moduli.rng import seeded
from moduli.runs.balances import BALANCES
from moduli.runs.config import MethodChoice, Run, read_run_file
from moduli.runs.evolving import Given
from moduli.runs.methods import METHODS
from moduli.runs.predictor import save_predictor
from moduli.runs.schedules import SCHEDULES, Needs
from moduli.tasks import Task
from moduli.training import Progress

HEADER = "# Everything explicit. `moduli resume` on this folder reads it; it is a run file like any other.\n"

Say = Callable[[str], Any]
"""Takes a line that a user should read."""


def run_file(
    path: str | Path,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    seeds: int | None = None,
    device: str | None = None,
    progress: Progress | None = None,
    say: Say = lambda line: None,
) -> Comparison:
    """Does what a run file says: see docs/run-file.md for its keys, and for what the run folder holds.

    Args:
        path: of the YAML file.
        out: the run folder; `runs/<name>` if None.
        overrides: changes to the file, such as `train.steps=100`.
        seeds: how many, instead of what the file says.
        device: instead of what the file says.
        progress: where to report progress.
        say: is called with lines on tasks, methods and files.

    Raises:
        InputError: if the file, a table or an option is wrong, or the folder is in use.
        SaveError: if the folder cannot be written to.
        Interrupted: after Ctrl-C; says how to go on.
    """
    run = read_run_file(path, overrides, seeds, device)
    folder = Path(out) if out is not None else Path("runs") / run.name
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"{folder} exists already: choose another folder with --out, "
            f"or go on with what is there: moduli resume {shlex.quote(str(folder))}"
        )
    tasks = _load(run, say)
    write_atomically(folder / "config.yaml", lambda file: file.write((HEADER + run.to_yaml()).encode()))
    return _train(run, tasks, folder, progress, say)


def resume(folder: str | Path, progress: Progress | None = None, say: Say = lambda line: None) -> Comparison:
    """Goes on with a run that was stopped, to the same numbers as if it had not been.

    Args:
        folder: the run folder.
        progress, say: as in `run_file`.

    Raises:
        InputError: if it is no run folder, or the data have changed since.
        SaveError: if the folder cannot be written to.
        Interrupted: after Ctrl-C; says how to go on.
    """
    folder = Path(folder)
    if not (folder / "config.yaml").exists():
        raise InputError(f"{folder} is no run folder: it has no config.yaml")
    run = read_run_file(folder / "config.yaml")
    for difference in _differences(folder):
        say(f"note: {difference}: the last digits may differ from those of a run without a stop")
    return _train(run, _load(run, say), folder, progress, say)


def is_finished(folder: str | Path) -> bool:
    """Whether nothing is left to do in a run folder."""
    folder = Path(folder)
    if not (folder / "report.html").exists() or not (folder / "summary.json").exists():
        return False
    return not read_json(folder / "summary.json").get("failures")


# ------------------------------------------------------------------ steps of a run


def _load(run: Run, say: Say) -> list[Task]:
    """Loads the tasks and builds every model once, so that whatever is wrong shows before training."""
    tasks = run.load_tasks()
    for task in tasks:
        say(describe(task))
    schemas = [task.schema for task in tasks if task.schema is not None]
    for note in dict.fromkeys(f"{schema.name}: {note}" for schema in schemas for note in schema.notes):
        say(f"note: table {note}")
    for name, choice in run.methods.items():
        BALANCES[choice.balance.kind].build(tasks, choice.balance.options, run.seeds[0])
        SCHEDULES[choice.schedule.kind].check(choice.schedule.options, [task.name for task in tasks])
        model = _built(run, name, tasks)
        if METHODS[choice.kind].prepare is None:
            say(f"method {name}: {model.count_parameters():,} parameters")
        else:
            say(f"method {name}: what it is made of is found out first")
    return tasks


def _built(run: Run, method: str, tasks: Sequence[Task]) -> JointModel:
    try:
        with seeded(run.seeds[0]):
            return run.methods[method].build(tasks)(run.seeds[0])
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or "alloc" in str(error):
            raise InputError(
                f"{method}: the model does not fit into memory, use fewer or narrower layers"
            ) from None
        raise


def _train(run: Run, tasks: list[Task], folder: Path, progress: Progress | None, say: Say) -> Comparison:
    go_on = f"moduli resume {shlex.quote(str(folder))}"
    try:
        _note_session(folder, tasks)
        run = replace(
            run, methods={name: _prepared(run, name, tasks, folder, progress) for name in run.methods}
        )
        comparison = compare(
            {name: _recipe(run, name, tasks, folder, progress) for name in run.methods},
            tasks,
            run.seeds,
            folder=folder,
            name=run.name,
            device=run.device,
            progress=progress,
            **vars(run.train),
        )
        for method, model in comparison.best_models.items():
            seed, choice = comparison.best_seeds[method], run.methods[method]
            save_predictor(folder / "models" / method, model.exported(), tasks, method, choice, seed)
        _write_report(folder)
    except SaveError as error:
        raise SaveError(f"{error}; then go on with: {go_on}") from error
    except KeyboardInterrupt as error:
        raise Interrupted(f"{str(error) or 'stopped'}; go on with: {go_on}") from None
    return comparison


def _prepared(
    run: Run, name: str, tasks: list[Task], folder: Path, progress: Progress | None
) -> MethodChoice:
    """A method with options that leave nothing open."""
    choice = run.methods[name]
    prepare = METHODS[choice.kind].prepare
    if prepare is None:
        return choice
    given = Given(tasks, run.train, folder / "searches" / name, run.seeds[0], run.device, progress)
    return replace(choice, options=prepare(choice.options, given))


def _recipe(run: Run, name: str, tasks: list[Task], folder: Path, progress: Progress | None) -> Recipe:
    """A method with its balancing and its schedule; what the schedule must know before is found out here."""
    choice = run.methods[name]
    fit = METHODS[choice.kind].fit
    if fit is not None:
        return Recipe(choice.build(tasks), fitted=lambda seed: fit(tasks, choice.options, run.train, seed))
    balance, schedule = choice.balance, choice.schedule
    needs = Needs(
        tasks,
        run.train,
        choice.build(tasks),
        lambda seed: BALANCES[balance.kind].build(tasks, balance.options, seed),
        _single(choice, tasks),
        folder,
        name,
        run.seeds[0],
        run.device,
        progress,
    )
    return Recipe(
        needs.build,
        needs.combine,
        SCHEDULES[schedule.kind].prepare(schedule.options, needs),
        train=own(choice.options) if (own := METHODS[choice.kind].train) is not None else None,
    )


def _single(choice: MethodChoice, tasks: Sequence[Task]) -> Build:
    """Single-task models of the size of a method's."""
    single = METHODS["single"]
    keys = single.options.model_fields.keys() & type(choice.options).model_fields.keys()
    options = single.options(**{key: getattr(choice.options, key) for key in keys})
    return lambda seed: single.build(tasks, options, seed)


def _write_report(folder: Path) -> None:
    from moduli.report.page import write_report

    write_report(folder)


def describe(task: Task) -> str:
    """A line on a task: its kind, labelled samples (train/val/test), and inputs."""
    if task.schema is not None:
        return task.schema.describe(task.name)
    samples = list(describe_task(task)["samples"].values())
    split = "/".join(str(n) for n in samples)
    shape = "×".join(str(n) for n in task.data.shape)
    return f"{task.name}: {task.kind.name}, {sum(samples)} samples ({split}), inputs {shape}"


# ------------------------------------------------------------------ run.json


def _note_session(folder: Path, tasks: Sequence[Task]) -> None:
    """Adds to `run.json` what is computing now: the start of a run is a session, and every resume is one."""
    sessions = _sessions(folder)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    sessions.append({"started": now, "command": shlex.join(sys.argv), **_environment()})
    data = {
        task.name: {
            "description": describe(task),
            "notes": list(task.schema.notes) if task.schema else [],
            "fingerprint": task.schema.fingerprint if task.schema else fingerprint(task.data),
        }
        for task in tasks
    }
    write_json(folder / "run.json", {"schema": 1, "sessions": sessions, "data": data})


def _sessions(folder: Path) -> list[dict[str, Any]]:
    path = folder / "run.json"
    return read_json(path)["sessions"] if path.exists() else []


def _environment() -> dict[str, Any]:
    """What the last digits of the numbers depend on."""
    return {
        "moduli": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
    }


def _differences(folder: Path) -> list[str]:
    before, now = (_sessions(folder) or [{}])[0], _environment()
    return [
        f"{key} was {before[key]}, now {now[key]}" for key in now if before.get(key, now[key]) != now[key]
    ]
