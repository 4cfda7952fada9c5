"""Saved models that predict: `model.json` says how the model is built and how tables are read, and
`model.safetensors` holds the weights. Loading them runs no code from the files.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from moduli._version import __version__
from moduli.errors import InputError, did_you_mean
from moduli.evaluation.summary import read_summary
from moduli.files import read_json, write_atomically, write_json
from moduli.model import JointModel
from moduli.rng import seeded
from moduli.runs.config import MethodChoice
from moduli.runs.methods import METHODS
from moduli.runs.sections import checked
from moduli.sharing import Route, RoutedStructure
from moduli.tasks import Binary, Data, Multiclass, Multilabel, Regression, Task, check_tasks, inputs_of
from moduli.tasks.kinds import Kind
from moduli.tasks.sources import Stream
from moduli.tasks.tables.read import read_table
from moduli.tasks.tables.schema import TableSchema
from moduli.tasks.tables.targets import ClassTarget, NumberTarget
from moduli.tasks.text import check_tokens
from moduli.training.weights import load_weights, save_weights
from moduli.types import Batch

if TYPE_CHECKING:
    from pandas import DataFrame

VERSION = 1
KINDS = {kind.__name__: kind for kind in (Binary, Multiclass, Multilabel, Regression)}
ROWS = 4096


class Predictor:
    """A trained model and the tasks that it was trained on.

    Args:
        model: with trained weights.
        tasks: by name; their data are not needed.
    """

    def __init__(self, model: JointModel, tasks: Mapping[str, Task]):
        self.model = model.cpu().eval()
        self._tasks = dict(tasks)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that can be predicted."""
        return tuple(self._tasks)

    def predict(self, task: str, table: DataFrame | str | Path | Tensor | np.ndarray) -> DataFrame:
        """What the model says about each row of a table, in the order of its rows.

        For classes: a column with the predicted label, called like the target, and the probability of each
        label, `p(target=label)`. For regression: a column with the value, in the units of the target.
        Warns of categories that training did not have; they count as missing.

        Args:
            task: its name.
            table: a DataFrame, or a CSV or Parquet file, with the columns that the task learned from, in any
                order. Or inputs `[N, ...]` as the model takes them; images and texts can be given only so.

        Raises:
            InputError: if there is no such task, columns are missing, or they do not hold what they should.
        """
        if task not in self._tasks:
            raise InputError(f"no task {task!r}, {did_you_mean(task, self._tasks)}")
        chosen = self._tasks[task]
        inputs = self._inputs(chosen, table)
        name = chosen.data.name
        with torch.no_grad():
            parts = [self.model({name: part}, [task])[task] for part in inputs.split(ROWS)]
        return _as_frame(chosen, torch.cat(parts))

    def _inputs(self, task: Task, table: Any) -> Tensor:
        if not isinstance(table, Tensor | np.ndarray):
            if task.schema is None:
                raise InputError(f"task {task.name!r} was not learned from a table: give a tensor of inputs")
            frame = read_table(table)
            inputs = task.schema.inputs(frame)
            _warn_of_unseen(task.schema, frame)
            return inputs
        tokens = task.data.tokens
        inputs = torch.as_tensor(table, dtype=torch.float32) if tokens is None else torch.as_tensor(table)
        if tuple(inputs.shape[1:]) != tuple(task.data.shape) or len(inputs) == 0:
            raise InputError(
                f"inputs of shape {list(inputs.shape)} for task {task.name!r}: "
                f"give [N, {', '.join(str(n) for n in task.data.shape)}]"
            )
        if tokens is not None:
            check_tokens(task.data.name, inputs, tokens)
        return inputs


def _warn_of_unseen(schema: TableSchema, frame: DataFrame) -> None:
    for column, values in schema.unseen(frame).items():
        rows, some = sum(values.values()), ", ".join(repr(value) for value in list(values)[:3])
        warnings.warn(
            f"column {column!r}: {rows} row{'s' * (rows > 1)} with a category that training did not have "
            f"({some}{', …' if len(values) > 3 else ''}), taken as missing",
            stacklevel=4,
        )


def _as_frame(task: Task, outputs: Tensor) -> DataFrame:
    if task.schema is not None:
        return task.schema.predictions(task.name, outputs)
    kind = task.kind
    if isinstance(kind, Binary | Multiclass):
        labels = tuple(range(2 if isinstance(kind, Binary) else kind.classes))
        return ClassTarget(task.name, task.name, isinstance(kind, Binary), labels).predictions(outputs)
    if isinstance(kind, Regression) and kind.dims == 1:
        return NumberTarget(task.name, task.name, kind.mean, kind.scale).predictions(outputs)
    import pandas as pd

    values = kind.predict(outputs.double()).numpy()
    return pd.DataFrame({f"{task.name}[{k}]": column for k, column in enumerate(values.T)})


def write_frame(path: Path, frame: DataFrame) -> None:
    """Writes a table as CSV or Parquet, by the ending of its name; whole or not at all.

    Raises:
        InputError: for another ending.
        SaveError: if the file cannot be written.
    """
    name = path.name.lower()
    if name.endswith((".parquet", ".pq")):
        write_atomically(path, lambda file: frame.to_parquet(file, index=False))
    elif name.endswith(".csv"):
        write_atomically(path, lambda file: frame.to_csv(file, index=False))
    else:
        raise InputError(f"{path}: unknown kind of table, give a name that ends in .csv or .parquet")


# ------------------------------------------------------------------ files


def save_predictor(
    folder: Path, model: JointModel, tasks: Sequence[Task], method: str, choice: MethodChoice, seed: int
) -> None:
    """Writes `model.safetensors` and `model.json` into a folder."""
    by_name = check_tasks(tasks)
    schemas = {task.data.name: task.schema for task in tasks}
    record = {
        "schema": VERSION,
        "moduli": __version__,
        "method": method,
        "seed": seed,
        "separate": choice.separate,
        **choice.to_json(),
        "inputs": {
            name: {
                "shape": list(data.shape),
                "tokens": data.tokens,
                "table": schemas[name] and schemas[name].to_json(),
            }
            for name, data in inputs_of(by_name).items()
        },
        "tasks": {
            name: {"input": task.data.name, "kind": type(task.kind).__name__, **asdict(task.kind)}  # type: ignore[call-overload]
            for name, task in by_name.items()
        },
    }
    if isinstance(model.structure, RoutedStructure):
        record["routes"] = {task: route.to_json() for task, route in model.structure.routes.items()}
    save_weights(folder / "model.safetensors", model)
    write_json(folder / "model.json", record)


def load_predictor(folder: str | Path, method: str | None = None) -> Predictor:
    """A trained model of a run, ready to predict.

    Args:
        folder: of a run, or of one of its models.
        method: which one's model; that of ``sharing`` if None.

    Raises:
        InputError: if the folder holds no model, or none of that method.
        RunError: if the files are damaged.
    """
    place = _place(Path(folder), method)
    record = read_json(place / "model.json")
    if not isinstance(record, dict) or record.get("schema") != VERSION:
        raise InputError(f"{place / 'model.json'} is no model that this version of moduli can read")
    tasks = list(_tasks(record))
    method_of = METHODS[record["kind"]]
    known = {key: record[key] for key in method_of.options.model_fields if key in record}
    options = checked(method_of.options, known, str(place / "model.json"))
    with seeded(record["seed"]):
        model = method_of.build(tasks, options, record["seed"])
        model = (model.separate_ends() if record.get("separate") else model).exported()
    if isinstance(model.structure, RoutedStructure) and "routes" in record:
        routes = {task: Route.from_json(route) for task, route in record["routes"].items()}
        model.structure = model.structure.rerouted(routes)
    load_weights(place / "model.safetensors", model)
    return Predictor(model, check_tasks(tasks))


def _place(folder: Path, method: str | None) -> Path:
    if (folder / "model.json").exists():
        return folder
    known = sorted(path.parent.name for path in folder.glob("models/*/model.json"))
    if not known:
        raise InputError(
            f"{folder} holds no trained model: give the folder of a finished run "
            f"(one that was stopped goes on with: moduli resume {folder})"
        )
    method = method or next(iter(read_summary(folder / "summary.json")["methods"]))
    if method not in known:
        raise InputError(f"{folder} holds no model of {method!r}, {did_you_mean(method, known)}")
    return folder / "models" / method


def _tasks(record: dict[str, Any]) -> Iterator[Task]:
    """Tasks without data, enough to build the model and to read tables."""
    schemas = {
        n: entry["table"] and TableSchema.from_json(entry["table"]) for n, entry in record["inputs"].items()
    }
    absent = _NoSamples()
    data = {
        name: Data(name, tuple(entry["shape"]), absent, absent, absent, tokens=entry.get("tokens"))
        for name, entry in record["inputs"].items()
    }
    for name, entry in record["tasks"].items():
        fields = {key: value for key, value in entry.items() if key not in ("input", "kind")}
        kind: Kind = KINDS[entry["kind"]](**fields)
        yield Task(name, kind, data[entry["input"]], schema=schemas[entry["input"]])


class _NoSamples:
    """The samples of a saved model: there are none."""

    def __len__(self) -> int:
        return 0

    def stream(self, batch_size: int, seed: int, device: torch.device) -> Stream:
        raise InputError("a saved model predicts, and has no data to be trained on")

    def batches(self, batch_size: int, device: torch.device) -> Iterator[Batch]:
        return iter(())
