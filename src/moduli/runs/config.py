"""The run file: from YAML to a `Run` in which everything is explicit, and back."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from moduli.errors import InputError, did_you_mean
from moduli.evaluation import Build
from moduli.evaluation.folder import check_file_name
from moduli.model import JointModel
from moduli.pseudotasks import PTA, augment
from moduli.runs.balances import BALANCES
from moduli.runs.methods import METHODS
from moduli.runs.schedules import SCHEDULES
from moduli.runs.sections import NoOptions, Section, check_keys, check_mapping, checked, known_keys
from moduli.runs.yaml_file import override, read_yaml
from moduli.tasks import Task, check_tasks
from moduli.tasks.tables import TableSpec, load_tables
from moduli.tasks.tables.spec import Fraction
from moduli.training import Train, choose_device


class Splits(Section):
    """How tables are split that do not say it themselves."""

    val: Fraction = 0.15
    test: Fraction | Literal["val"] = 0.2
    seed: int = Field(default=0, ge=0)


class PseudoTasks(Section):
    """Several decoders for each task, and their control: see `moduli.augment` and `moduli.PTA`."""

    decoders: int = Field(default=10, ge=1, le=1024)
    control: str = "HGD"
    dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    ensemble: bool = False
    eps_p: float = Field(default=0.01, gt=0.0)
    eps_h: float = Field(default=0.1, gt=0.0)
    rates: tuple[float, float] = (0.2, 0.8)
    eps_is_variance: bool = False
    literal: bool = False
    trajectories: int = Field(default=1, ge=0)

    def to(self, model: JointModel) -> JointModel:
        """The model with these decoders."""
        control = PTA(self.control, self.eps_p, self.eps_h, self.rates, self.eps_is_variance, self.literal)
        return augment(
            model, control, self.decoders, self.dropout, self.ensemble, trajectories=self.trajectories
        )


class RunFile(Section):
    """The top level of a run file; its sections are checked one by one."""

    name: str
    tasks: list[Any]
    sharing: Any = "soft"
    pseudotasks: Any = None
    compare: list[Any] | None = None
    balance: Any = "equal"
    schedule: Any = "all"
    train: Any = None
    seeds: int | list[int] = 3
    seed: int = Field(default=0, ge=0)
    device: str = "auto"
    splits: Any = None


PARTS: Mapping[str, Mapping[str, Any]] = {"balance": BALANCES, "schedule": SCHEDULES}
"""What may be common to all methods, or an entry's own."""


@dataclass(frozen=True)
class DataSet:
    """An entry under ``tasks`` that names a public data set, with the options of `moduli.data.load`."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """A word of a table, with its options."""

    kind: str
    options: Any = field(default_factory=NoOptions)

    def to_json(self) -> dict[str, Any]:
        """As it stands in a run file."""
        return {"kind": self.kind, **self.options.model_dump(mode="json", exclude_none=True)}


@dataclass(frozen=True)
class MethodChoice(Choice):
    """A method: how tasks share, with one or several decoders each, balanced and scheduled."""

    pseudotasks: PseudoTasks | None = None
    balance: Choice = field(default_factory=lambda: Choice("equal"))
    schedule: Choice = field(default_factory=lambda: Choice("all"))

    @property
    def fitted(self) -> bool:
        """Whether the method is fitted without training steps."""
        return METHODS[self.kind].fit is not None

    @property
    def separate(self) -> bool:
        """Whether encoders and decoders are modules of their own, as steps leave tasks out."""
        return self.schedule.kind != "all"

    def build(self, tasks: Sequence[Task]) -> Build:
        """What `compare` wants: a function from a seed to a model."""

        def model(seed: int) -> JointModel:
            made = METHODS[self.kind].build(tasks, self.options, seed)
            if self.pseudotasks is not None:
                made = self.pseudotasks.to(made)
            return made.separate_ends() if self.separate else made

        return model

    def to_json(self) -> dict[str, Any]:
        record = super().to_json()
        if self.pseudotasks is not None:
            record["pseudotasks"] = self.pseudotasks.model_dump(mode="json")
        if self.fitted:
            return record
        return {**record, "balance": self.balance.to_json(), "schedule": self.schedule.to_json()}


@dataclass(frozen=True)
class Run:
    """A run file with everything explicit. The first of `methods` is that of ``sharing``."""

    name: str
    tasks: tuple[TableSpec | DataSet, ...]
    methods: Mapping[str, MethodChoice]
    train: Train
    seeds: tuple[int, ...]
    device: str

    def load_tasks(self) -> list[Task]:
        """The tasks, in the order of the file.

        Raises:
            InputError: in one line, for whatever is wrong with a table or a data set.
        """
        from moduli.data import load

        specs = [spec for spec in self.tasks if isinstance(spec, TableSpec)]
        tables = iter(load_tables(specs) if specs else ())
        tasks: list[Task] = []
        for spec in self.tasks:
            if isinstance(spec, TableSpec):
                tasks += [next(tables) for _ in spec.all_targets]
            else:
                tasks += load(spec.name, **spec.options)
        check_tasks(tasks)
        return tasks

    def to_yaml(self) -> str:
        """A run file that says the same."""
        (name, sharing), *others = self.methods.items()
        content = {
            "name": self.name,
            "tasks": [_task_entry(spec) for spec in self.tasks],
            "sharing": {"name": name, **sharing.to_json()},
            "compare": [{"name": name, **choice.to_json()} for name, choice in others],
            "train": self.train.to_json(),
            "seeds": list(self.seeds),
            "device": self.device,
        }
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def read_run_file(
    path: str | Path, overrides: Sequence[str] = (), seeds: int | None = None, device: str | None = None
) -> Run:
    """Reads and checks a run file.

    Args:
        path: of the YAML file; tables are found relative to it.
        overrides: such as `train.steps=100` or `tasks.0.target=age`; values are read as YAML.
        seeds: how many, instead of what the file says.
        device: instead of what the file says.

    Raises:
        InputError: in one line, with the place in the file.
    """
    path = Path(path)
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no keys with values: see docs/run-file.md for an example")
    for text in overrides:
        override(content, text)
    if seeds is not None:
        content["seeds"] = seeds
    if device is not None:
        content["device"] = device
    return _resolve(checked(RunFile, {"name": path.stem, **content}, ""), path.parent)


# ------------------------------------------------------------------ making everything explicit


def _resolve(file: RunFile, base: Path) -> Run:
    check_file_name("name", file.name)
    splits = checked(Splits, file.splits, "splits").model_dump()
    if not file.tasks:
        raise InputError("tasks is empty: name at least one table or data set")
    return Run(
        name=file.name,
        tasks=tuple(_task(entry, f"tasks.{i}", base, splits) for i, entry in enumerate(file.tasks)),
        methods=_methods(file),
        train=checked(Train, file.train, "train"),
        seeds=_seeds(file.seeds, file.seed),
        device=str(choose_device(file.device)),
    )


def _task(entry: Any, place: str, base: Path, splits: Mapping[str, Any]) -> TableSpec | DataSet:
    entry = dict(check_mapping(entry, place))
    if "data" in entry:
        name = entry.pop("data")
        if not isinstance(name, str):
            raise InputError(f"{place}.data is {name!r}: give the name of a data set (moduli data list)")
        return DataSet(name, entry)
    check_keys(entry, [*TableSpec.model_fields, "data"], place)
    if not isinstance(entry.get("table"), str):
        raise InputError(f"{place}: give 'table' (a CSV or Parquet file) or 'data' (moduli data list)")
    table = os.path.abspath(base / Path(entry["table"]).expanduser())
    return TableSpec(**{**splits, **entry, "table": table})


def _task_entry(spec: TableSpec | DataSet) -> dict[str, Any]:
    if isinstance(spec, DataSet):
        return {"data": spec.name, **spec.options}
    dumped = spec.model_dump(mode="json", exclude_none=True)
    return {key: value for key, value in dumped.items() if value not in ([], ())}


def _methods(file: RunFile) -> dict[str, MethodChoice]:
    common = {key: _choice(getattr(file, key), table, key) for key, table in PARTS.items()}
    name, sharing = _method(_augmented(file), "sharing", None, common)
    methods = {name: sharing}
    others = file.compare
    if others is None:
        others = [sharing.kind] if sharing.pseudotasks is not None else []
        others += ["single"] * (sharing.kind != "single")
    for i, entry in enumerate(others):
        name, choice = _method(entry, f"compare.{i}", sharing, common)
        if name in methods:
            raise InputError(f"compare.{i}: two methods are called {name!r}: give one of them a 'name'")
        methods[name] = choice
    return methods


def _augmented(file: RunFile) -> Any:
    """The entry of ``sharing``, with what stands under ``pseudotasks`` at the top of the file."""
    if file.pseudotasks is None:
        return file.sharing
    entry = file.sharing if isinstance(file.sharing, str) else dict(check_mapping(file.sharing, "sharing"))
    entry = {"kind": entry} if isinstance(entry, str) else entry
    if "pseudotasks" in entry:
        raise InputError("pseudotasks stands at the top of the file and under sharing: give one of the two")
    return {**entry, "pseudotasks": file.pseudotasks}


def _method(
    entry: Any, place: str, sharing: MethodChoice | None, common: Mapping[str, Choice]
) -> tuple[str, MethodChoice]:
    """A method and its name; options that it does not give are those of `sharing`, or `common` to all.

    A method that is fitted without training steps has nothing in common with the others.
    """
    kind, values = _kind_of(entry, METHODS, place)
    fitted = METHODS[kind].fit is not None
    for key in ("pseudotasks", *PARTS):
        if fitted and key in values:
            raise InputError(f"{place}.{key}: {kind} is fitted without training steps, leave {key} out")
    pseudotasks = _pseudotasks(values.pop("pseudotasks", None), f"{place}.pseudotasks")
    given = {key: table for key, table in PARTS.items() if key in values}
    own = {key: _choice(values.pop(key), table, f"{place}.{key}") for key, table in given.items()}
    letters = [] if pseudotasks is None else [pseudotasks.control]
    name = values.pop(
        "name", "+".join([kind.replace("/", "-"), *letters, *(choice.kind for choice in own.values())])
    )
    if not isinstance(name, str):
        raise InputError(f"{place}.name is {name!r}: give a word")
    check_file_name(f"{place}.name", name)
    options = METHODS[kind].options
    if fitted:
        return name, MethodChoice(kind, checked(options, values, place))
    if sharing is not None and not sharing.fitted:
        inherited = set(known_keys(options)) & sharing.options.model_fields_set
        values = {**{key: getattr(sharing.options, key) for key in inherited}, **values}
    return name, MethodChoice(kind, checked(options, values, place), pseudotasks, **{**common, **own})


def _pseudotasks(entry: Any, place: str) -> PseudoTasks | None:
    """The section; letters alone, such as HGD, are an entry without options."""
    if entry is None:
        return None
    section = checked(PseudoTasks, {"control": entry} if isinstance(entry, str) else entry, place)
    try:
        letters = PTA(section.control, section.eps_p, section.eps_h, section.rates).letters
    except InputError as error:
        raise InputError(f"{place}: {error}") from None
    if "D" in letters and not section.dropout:
        raise InputError(f"{place}.dropout is 0: control {letters} drops numbers (D), give a rate above 0")
    return section.model_copy(update={"control": letters})


def _choice(entry: Any, table: Mapping[str, Any], place: str) -> Choice:
    kind, values = _kind_of(entry, table, place)
    return Choice(kind, checked(table[kind].options, values, place))


def _kind_of(entry: Any, table: Mapping[str, Any], place: str) -> tuple[str, dict[str, Any]]:
    """The word of an entry and its options; a word alone is an entry without options."""
    values = {"kind": entry} if isinstance(entry, str) else dict(check_mapping(entry, place))
    if "kind" not in values:
        raise InputError(f"{place}.kind is missing: {did_you_mean('', table)}")
    kind = values.pop("kind")
    if kind not in table:
        raise InputError(f"{place}.kind is {kind!r}: {did_you_mean(str(kind), table)}")
    return kind, values


def _seeds(seeds: int | list[int], first: int) -> tuple[int, ...]:
    if isinstance(seeds, list) and first:
        raise InputError("seed and a list of seeds: give one of the two")
    numbers = tuple(seeds) if isinstance(seeds, list) else tuple(range(first, first + seeds))
    if not numbers or len(set(numbers)) < len(numbers) or min(numbers) < 0:
        raise InputError(f"seeds is {seeds}: give at least 1, or a list of different numbers")
    return numbers
