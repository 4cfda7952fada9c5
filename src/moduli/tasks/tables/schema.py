"""The fitted preprocessing of one table, as plain JSON: new tables in, labels and numbers out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandas.util
import torch
from torch import Tensor

from moduli.errors import InputError, did_you_mean
from moduli.tasks.kinds import Kind
from moduli.tasks.tables.columns import CategoryColumn, Column, column_from_json
from moduli.tasks.tables.read import column_of, read_table
from moduli.tasks.tables.targets import Target, target_from_json

VERSION = 1


@dataclass(frozen=True)
class TableSchema:
    """How a table becomes tensors, and outputs become what the table would hold.

    All tasks of one table have the same schema. With the weights of a model, `to_json` is all that is
    needed to predict in another process.

    Args:
        name: of the input.
        columns: the fitted feature columns, in the order of the features.
        targets: the fitted target columns, one for each task.
        fingerprint: of the values that the schema was fitted on; another one means another table.
        notes: what a user should know about how the table was read.
    """

    name: str
    columns: tuple[Column, ...]
    targets: tuple[Target, ...]
    fingerprint: str
    notes: list[str] = field(default_factory=list, hash=False)

    @property
    def width(self) -> int:
        """Features per row."""
        return sum(column.width for column in self.columns)

    def kind(self, task: str) -> Kind:
        """The kind of one of the table's tasks."""
        return self._target(task).kind

    def describe(self, task: str | None = None) -> str:
        """A line on a task, or one line for each: kind, labelled rows (train/val/test), columns."""
        targets = self.targets if task is None else (self._target(task),)
        lines = []
        for target in targets:
            rows = f"{sum(target.rows)} rows ({'/'.join(str(n) for n in target.rows)})"
            count = f"{len(self.columns)} column{'s' if len(self.columns) != 1 else ''}"
            lines.append(f"{target.task}: {target.describe()}, {rows}, {count}")
        return "\n".join(lines)

    def inputs(self, table: pd.DataFrame | str | Path, allow_missing: bool = False) -> Tensor:
        """The features `[N, width]` of a table, float32.

        Columns may come in any order, and others are ignored.

        Args:
            table: a DataFrame, or the path of a file.
            allow_missing: fill columns that the table lacks as if all their cells were missing.

        Raises:
            InputError: if columns are missing, or a number column holds text or infinities.
        """
        frame = read_table(table)
        self._check_columns(frame, allow_missing)
        return self.encode(frame)

    def encode(self, frame: pd.DataFrame) -> Tensor:
        """The features `[N, width]` of a frame that was read and checked; what it lacks is missing."""
        features = np.empty((len(frame), self.width), dtype=np.float32)
        start = 0
        for column in self.columns:
            part = features[:, start : start + column.width]
            part[:] = column.encode(column_of(frame, column.name))
            start += column.width
        return torch.from_numpy(features)

    def unseen(self, table: pd.DataFrame | str | Path) -> dict[str, dict[Any, int]]:
        """Categories that training did not have: `{column: {value: rows}}`, only columns that have any."""
        frame = read_table(table)
        found = {
            column.name: column.unseen(column_of(frame, column.name))
            for column in self.columns
            if isinstance(column, CategoryColumn) and column.name in frame
        }
        return {name: values for name, values in found.items() if values}

    def predictions(self, task: str, outputs: Tensor) -> pd.DataFrame:
        """What the model says about each row, from decoder outputs `[N, outputs]`.

        For classes: the column `target` with the predicted label, and `p(target=label)` for each label.
        For regression: the column `target`, in the table's units.
        """
        target = self._target(task)
        if outputs.ndim != 2 or outputs.shape[1] != target.kind.outputs:
            raise InputError(
                f"task {task!r}: outputs of shape {list(outputs.shape)}; give [rows, {target.kind.outputs}]"
            )
        return target.predictions(outputs.detach().cpu())

    def to_json(self) -> dict[str, Any]:
        """The schema as nested dicts, lists, numbers and strings. Numbers survive `json` exactly."""
        return {
            "schema": VERSION,
            "name": self.name,
            "columns": [column.to_json() for column in self.columns],
            "targets": [target.to_json() for target in self.targets],
            "fingerprint": self.fingerprint,
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> TableSchema:
        """The inverse of `to_json`.

        Raises:
            InputError: if the record is not a table schema of this version.
        """
        if not isinstance(record, dict) or record.get("schema") != VERSION:
            found = record.get("schema") if isinstance(record, dict) else type(record).__name__
            raise InputError(f"not a table schema of version {VERSION} (found {found!r}): train again")
        try:
            return cls(
                name=record["name"],
                columns=tuple(column_from_json(column) for column in record["columns"]),
                targets=tuple(target_from_json(target) for target in record["targets"]),
                fingerprint=record["fingerprint"],
                notes=list(record["notes"]),
            )
        except (KeyError, TypeError) as error:
            raise InputError(f"damaged table schema ({error}): train again, or restore the file") from None

    def _target(self, task: str) -> Target:
        known = {target.task: target for target in self.targets}
        if task not in known:
            raise InputError(f"table {self.name!r} has no task {task!r}, {did_you_mean(task, known)}")
        return known[task]

    def _check_columns(self, frame: pd.DataFrame, allow_missing: bool) -> None:
        absent = [column.name for column in self.columns if column.name not in frame]
        if len(absent) == len(self.columns):
            raise InputError(f"the table has none of the columns of {self.name!r} ({_listed(absent)})")
        if absent and not allow_missing:
            own = {column.name for column in self.columns} | {target.column for target in self.targets}
            others = [str(name) for name in frame.columns if name not in own]
            hint = f", {did_you_mean(absent[0], others)}" if len(absent) == 1 and others else ": add them"
            raise InputError(f"the table lacks {len(absent)} of the columns ({_listed(absent)}){hint}")


def fingerprint(frame: pd.DataFrame, columns: Iterable[str]) -> str:
    """SHA-256 of names and values of some columns, row by row; the same in every process."""
    digest = hashlib.sha256()
    for name in columns:
        digest.update(name.encode() + b"\0" + _hashes(column_of(frame, name)).tobytes())
    return digest.hexdigest()


def _hashes(series: pd.Series) -> np.ndarray:
    hash_rows: Any = pandas.util.hash_pandas_object
    try:
        return hash_rows(series, index=False).to_numpy()
    except TypeError:  # cells that cannot be hashed, such as lists
        return hash_rows(series.astype(str), index=False).to_numpy()


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names[:10]) + (", …" if len(names) > 10 else "")
