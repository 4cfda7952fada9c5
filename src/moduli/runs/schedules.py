"""What a run file may call a schedule, and how it is built.

A new schedule is a new entry of `SCHEDULES`: its options, and a function from options, needs and seed to a
schedule. What must be known before, such as single-task results, is prepared once for a run (`Needs`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from moduli.errors import InputError, did_you_mean
from moduli.evaluation import Build
from moduli.evaluation.baselines import single_task_scores
from moduli.qls import learn_schedule
from moduli.runs.balances import BALANCES
from moduli.runs.sections import NoOptions, Section
from moduli.scheduling import (
    Adaptive,
    AllTasks,
    ByWeights,
    ConstantShare,
    ExponentialShare,
    Greedy,
    Policy,
    Proportional,
    QLearningScheduler,
    RandomTasks,
    RoundRobin,
    SigmoidShare,
)
from moduli.tasks import Task
from moduli.training import Progress, Train
from moduli.types import Combine, Schedule

# ------------------------------------------------------------------ what schedules need


@dataclass(frozen=True)
class Needs:
    """What a schedule may ask for before training begins; made when it is first asked for.

    ``build`` makes the method's model, ``combine`` its balancing, and ``single`` a model that shares nothing.
    State is kept below ``folder``, so that a run that was stopped goes on.
    """

    tasks: Sequence[Task]
    train: Train
    build: Build
    combine: Callable[[int], Combine]
    single: Build
    folder: Path
    method: str
    seed: int
    device: str
    progress: Progress | None

    @property
    def names(self) -> list[str]:
        return [task.name for task in self.tasks]

    @cached_property
    def baselines(self) -> dict[str, float]:
        """What single-task models reach on the validation split; trained once for all methods of a run."""
        return single_task_scores(
            self.single, self.tasks, [self.seed],
            folder=self.folder / "baselines", device=self.device, progress=self.progress, **vars(self.train),
        )  # fmt: skip

    def epoch(self) -> float:
        """Steps in which one task after another sees all its training samples once."""
        sizes = [len(task.data.train) / (task.batch_size or self.train.batch_size) for task in self.tasks]
        return max(1.0, sum(sizes))


@dataclass(frozen=True)
class ScheduleEntry:
    """An entry of the table: what it is, what can be said about it, and how it is built.

    ``prepare`` gives a function from a seed to the schedule. With ``needs`` nothing is to be trained when
    options are only checked, so `check` gets the tasks' names alone.
    """

    about: str
    options: type[Section]
    prepare: Callable[[Any, Needs], Callable[[int], Schedule]]
    check: Callable[[Any, Sequence[str]], None] = lambda options, tasks: None


# ------------------------------------------------------------------ options


class CountOptions(Section):
    """``count``: tasks in a step."""

    count: int = Field(default=1, ge=1)


class ProportionalOptions(CountOptions):
    """``temperature``: 1 is by size, large is uniform. ``end``: where it ends, after ``steps``."""

    temperature: float = Field(default=1.0, gt=0.0)
    end: float | None = Field(default=None, gt=0.0)
    steps: int | None = Field(default=None, ge=1)


class AdaptiveOptions(Section):
    """``baselines``: single-task scores by task; trained first if not given. ``form``, ``alpha``, ``eps``."""

    baselines: dict[str, float] | None = None
    form: Literal["inverse", "simple", "implicit"] = "inverse"
    alpha: float = Field(default=1.0, gt=0.0)
    eps: float = Field(default=0.05, gt=0.0)


class MainOptions(Section):
    """``main``: the task that the probability is of. ``a``: the probability."""

    main: str
    a: float = Field(default=0.5, gt=0.0, le=1.0)


class MainOverTimeOptions(Section):
    """``main``: the task that the probability is of. ``a``: its rate. ``epoch``: steps of an epoch."""

    main: str
    a: float = Field(default=0.5, gt=0.0)
    epoch: float | None = Field(default=None, gt=0.0)


class ByWeightsOptions(Section):
    """``weighting``: a word for balancing, whose weights the tasks are drawn by."""

    weighting: str


class QlsOptions(Section):
    """The Q-learning scheduler, see `moduli.learn_schedule`; or ``policy``, a file that it saved."""

    policy: str | None = None
    steps: int | None = Field(default=None, ge=1)
    reset_every: int | None = Field(default=None, ge=1)
    state_every: int | None = Field(default=None, ge=1)
    samples: int | None = Field(default=None, ge=1)
    measure: Literal["margin", "least_confidence", "entropy"] = "margin"
    bins: int = Field(default=20, ge=2)
    temperature: float = Field(default=0.0, ge=0.0)
    hard: bool = False
    penalty: Literal["always", "armed", "none"] = "always"


# ------------------------------------------------------------------ the table


def _known_main(options: Any, tasks: Sequence[str]) -> None:
    if options.main not in tasks:
        raise InputError(f"schedule.main: no task {options.main!r}, {did_you_mean(options.main, tasks)}")


def _known_baselines(options: AdaptiveOptions, tasks: Sequence[str]) -> None:
    if options.baselines is not None:
        for task in (*options.baselines, *tasks):
            if task not in tasks:
                raise InputError(f"schedule.baselines.{task}: no such task, {did_you_mean(task, tasks)}")
            if task not in options.baselines:
                raise InputError(f"schedule.baselines: task {task!r} has none, give one for each task")


def _weighting(options: ByWeightsOptions, tasks: Sequence[Task], seed: int) -> ByWeights:
    table = {word: entry for word, entry in BALANCES.items() if not _required(entry.options)}
    if options.weighting not in table:
        raise InputError(
            f"schedule.weighting is {options.weighting!r}: {did_you_mean(options.weighting, table)}"
        )
    entry = table[options.weighting]
    weighting: Any = entry.build(tasks, entry.options(), seed)
    return ByWeights(weighting, seed)


def _known_weighting(options: ByWeightsOptions) -> None:
    _weighting(options, (), 0)


def _required(options: type[Section]) -> bool:
    return any(field.is_required() for field in options.model_fields.values())


def _adaptive(options: AdaptiveOptions, needs: Needs) -> Callable[[int], Schedule]:
    baselines = needs.baselines if options.baselines is None else options.baselines
    return lambda seed: Adaptive(baselines, options.form, options.alpha, options.eps, seed)


def _over_time(make: Callable[..., Schedule]) -> Callable[[Any, Needs], Callable[[int], Schedule]]:
    def prepare(options: MainOverTimeOptions, needs: Needs) -> Callable[[int], Schedule]:
        epoch = options.epoch or needs.epoch()
        return lambda seed: make(options.main, epoch, options.a, seed)

    return prepare


def _readable_policy(options: QlsOptions, tasks: Sequence[str]) -> None:
    if options.policy is not None and set(policy := Policy.load(options.policy).tasks) != set(tasks):
        raise InputError(
            f"schedule.policy: {options.policy} schedules {', '.join(policy)}, the tasks are "
            f"{', '.join(tasks)}: leave policy out, and one is learned"
        )


def _qls(options: QlsOptions, needs: Needs) -> Callable[[int], Schedule]:
    """Learns a policy with the first seed, for all seeds; or reads one."""
    if options.policy is not None:
        policy = Policy.load(options.policy)
    else:
        reset_every = options.reset_every or needs.train.steps
        policy = learn_schedule(
            needs.build,
            needs.tasks,
            steps=options.steps or 20 * reset_every,
            reset_every=reset_every,
            baselines=None if options.penalty == "none" else needs.baselines,
            state_every=options.state_every,
            samples=options.samples,
            measure=options.measure,
            bins=options.bins,
            hard=options.hard,
            penalty_mode="always" if options.penalty == "none" else options.penalty,
            folder=needs.folder / "schedules" / needs.method,
            seed=needs.seed,
            device=needs.device,
            progress=needs.progress,
            combine=lambda: needs.combine(needs.seed),
            **{key: value for key, value in vars(needs.train).items() if key != "steps"},
        )
    batch_size = needs.train.batch_size
    every, noise = options.state_every, options.temperature
    return lambda seed: QLearningScheduler(
        policy, needs.tasks, every, batch_size, temperature=noise, seed=seed
    )


SCHEDULES: Mapping[str, ScheduleEntry] = {
    "all": ScheduleEntry("every step trains every task", NoOptions, lambda o, n: lambda seed: AllTasks()),
    "round-robin": ScheduleEntry(
        "the tasks in turn", CountOptions, lambda o, n: lambda seed: RoundRobin(o.count)
    ),
    "random": ScheduleEntry(
        "a task drawn at random", CountOptions, lambda o, n: lambda seed: RandomTasks(o.count, seed)
    ),
    "proportional": ScheduleEntry(
        "a task drawn by the size of its data",
        ProportionalOptions,
        lambda o, n: lambda seed: Proportional(n.tasks, seed=seed, **dict(o)),
    ),
    "greedy": ScheduleEntry("the task with the highest loss", NoOptions, lambda o, n: lambda seed: Greedy()),
    "adaptive": ScheduleEntry(
        "tasks that are behind their single-task scores more often (Jean et al. 2019)",
        AdaptiveOptions,
        _adaptive,
        _known_baselines,
    ),
    "by-weights": ScheduleEntry(
        "a task drawn by the weights of a balancing",
        ByWeightsOptions,
        lambda o, n: lambda seed: _weighting(o, n.tasks, seed),
        lambda o, tasks: _known_weighting(o),
    ),
    "constant": ScheduleEntry(
        "a main task with a constant probability (Kiperwasser & Ballesteros 2018)",
        MainOptions,
        lambda o, n: lambda seed: ConstantShare(o.main, o.a, seed),
        _known_main,
    ),
    "exponential": ScheduleEntry(
        "a main task whose probability grows from 0 (Kiperwasser & Ballesteros 2018)",
        MainOverTimeOptions,
        _over_time(ExponentialShare),
        _known_main,
    ),
    "sigmoid": ScheduleEntry(
        "a main task whose probability grows from 1/2 (Kiperwasser & Ballesteros 2018)",
        MainOverTimeOptions,
        _over_time(SigmoidShare),
        _known_main,
    ),
    "qls": ScheduleEntry(
        "a learned policy: deep Q-learning on histograms of uncertainty", QlsOptions, _qls, _readable_policy
    ),
}
