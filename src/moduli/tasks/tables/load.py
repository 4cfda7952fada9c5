"""From the tables that a user names to tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from moduli.errors import InputError, did_you_mean
from moduli.tasks.sources import TensorSource
from moduli.tasks.splits import TEST, TRAIN, VAL, Splits, splits_of, stratified_split
from moduli.tasks.tables.columns import column_type, fit_columns
from moduli.tasks.tables.read import column_of, read_table
from moduli.tasks.tables.schema import TableSchema, fingerprint
from moduli.tasks.tables.spec import TableSpec
from moduli.tasks.tables.targets import ClassTarget, Target, make_target
from moduli.tasks.task import Data, Task, check_tasks

PARTS = {
    "train": TRAIN, "training": TRAIN,
    "val": VAL, "valid": VAL, "validation": VAL, "dev": VAL,
    "test": TEST, "testing": TEST,
}  # fmt: skip


def load_tables(
    specs: Sequence[TableSpec | Mapping[str, Any]], base: str | Path = ".", seed: int = 0
) -> list[Task]:
    """Tasks from tables. Each task's `schema` describes it, has notes on it, and reads new tables.

    A task with one target is called by its table's name, a task of several by its column's; where that
    name is taken, by "table-column". A column that is a target anywhere is no feature of the same table,
    unless it is listed under `columns`.

    Args:
        specs: one `TableSpec`, or dict with its keys, for each table.
        base: the folder that relative paths start from.
        seed: of the random splits of tables that give none.

    Raises:
        InputError: in one line, whatever is wrong with a table or with what is said about it.
    """
    tables = [_as_spec(spec) for spec in specs]
    names = _task_names(tables)
    tasks = []
    for spec, own_names in zip(tables, names, strict=True):
        siblings = {t for other in tables if _same_table(spec, other, Path(base)) for t in other.all_targets}
        frame = read_table(spec.table, Path(base))
        try:
            tasks += _load(frame, spec, own_names, siblings, seed if spec.seed is None else spec.seed)
        except InputError as error:
            raise InputError(f"table {spec.stem!r}: {error}") from None
    check_tasks(tasks)
    return tasks


def _as_spec(spec: TableSpec | Mapping[str, Any]) -> TableSpec:
    if isinstance(spec, TableSpec):
        return spec
    if not isinstance(spec, Mapping):
        raise InputError(f"a table is described by keys and values (table: …, target: …), found {spec!r}")
    return TableSpec(**{str(key): value for key, value in spec.items()})


def _task_names(tables: Sequence[TableSpec]) -> list[dict[str, str]]:
    """For each table, the names of its tasks by target."""
    short = [{t: t if spec.targets else spec.stem for t in spec.all_targets} for spec in tables]
    count = Counter(name for names in short for name in names.values())
    return [
        {
            target: name if count[name] == 1 or (spec.name and not spec.targets) else f"{spec.stem}-{target}"
            for target, name in names.items()
        }
        for spec, names in zip(tables, short, strict=True)
    ]


def _same_table(one: TableSpec, other: TableSpec, base: Path) -> bool:
    if one.table is other.table:
        return True
    paths = [spec.table for spec in (one, other) if isinstance(spec.table, str | Path)]
    return len(paths) == 2 and (base / paths[0]).resolve() == (base / paths[1]).resolve()


def _load(
    frame: pd.DataFrame, spec: TableSpec, names: dict[str, str], siblings: set[str], seed: int
) -> list[Task]:
    features, notes = _feature_columns(frame, spec, siblings)
    split = [spec.split] if spec.split else []
    mark = fingerprint(frame, [*features, *spec.all_targets, *split])
    types_of = {name: column_type(column_of(frame, name)) for name in features}
    types_of |= dict.fromkeys(set(features) & set(spec.categorical), "category")
    targets = [
        make_target(column_of(frame, column), names[column], spec.kind_of(column), spec.drop_rare)
        for column in spec.all_targets
    ]
    codes = np.stack([target.codes(column_of(frame, target.column)) for target in targets], axis=1)
    frame, codes, label_notes = _labelled_rows(frame, codes, targets)
    splits, split_notes = _split(frame, codes, spec, seed)
    columns, dropped = fit_columns(
        frame.iloc[splits.train], types_of, spec.scaling, spec.categorical, spec.indicators
    )
    if not columns:
        raise InputError(
            f"no column to learn from: {'; '.join(dropped) or 'see what columns and drop leave'}"
        )
    targets = [
        _fit_target(target, frame, code, splits) for target, code in zip(targets, codes.T, strict=True)
    ]
    notes += label_notes + split_notes + dropped + _absent_labels(targets, codes, splits)
    schema = TableSchema(spec.stem, tuple(columns), tuple(targets), mark, notes)
    return _tasks(frame, schema, spec, splits)


def _tasks(frame: pd.DataFrame, schema: TableSchema, spec: TableSpec, splits: Splits) -> list[Task]:
    inputs = schema.encode(frame)
    labels = {target.task: target.encode(column_of(frame, target.column)) for target in schema.targets}

    def source(rows: np.ndarray) -> TensorSource:
        index = torch.from_numpy(rows)
        return TensorSource(inputs[index], {task: y[index] for task, y in labels.items()})

    train, val = source(splits.train), source(splits.val)
    test = val if splits.one_held_out else source(splits.test)
    name = schema.name if spec.targets else schema.targets[0].task
    data = Data(name, (schema.width,), train, val, test)
    return [
        Task(target.task, target.kind, data, spec.metric_of(target.column), spec.batch_size, schema)
        for target in schema.targets
    ]


def _feature_columns(frame: pd.DataFrame, spec: TableSpec, siblings: set[str]) -> tuple[list[str], list[str]]:
    """The columns to learn from, before looking at their values, and notes."""
    known = list(frame.columns)
    split = [spec.split] if spec.split else []
    for name in (*spec.all_targets, *(spec.columns or ()), *spec.drop, *spec.categorical, *split):
        if name not in frame:
            raise InputError(f"no column {name!r}, {did_you_mean(name, known)}")
    notes = []
    left_out = {*spec.all_targets, *spec.drop, *split}
    if spec.columns is not None:
        return [name for name in known if name in spec.columns and name not in left_out], notes
    for name in known:
        if name in siblings - left_out:
            notes.append(f"left out column {name!r}: it is the target of another task")
            left_out.add(name)
        elif name.startswith("Unnamed: ") and _counts_rows(column_of(frame, name)):
            notes.append(f"left out column {name!r}: it only numbers the rows")
            left_out.add(name)
    return [name for name in known if name not in left_out], notes


def _counts_rows(series: pd.Series) -> bool:
    """Whether a column without a name is an index that was saved with the table."""
    return series.dtype.kind == "i" and bool((series.diff().iloc[1:] == 1).all())


def _labelled_rows(
    frame: pd.DataFrame, codes: np.ndarray, targets: Sequence[Target]
) -> tuple[pd.DataFrame, np.ndarray, list[str]]:
    """The rows with at least one label, and notes on what has none."""
    notes = []
    for target, code in zip(targets, codes.T, strict=True):
        rare = int((column_of(frame, target.column).notna() & (code < 0)).sum())
        if rare:
            notes.append(f"target {target.column!r}: classes with one row are left out ({rare} in all)")
    labelled = (codes >= 0).any(axis=1)
    if not labelled.all():
        notes.append(f"left out {(~labelled).sum()} of {len(frame)} rows: they have no label")
    return frame.loc[labelled], codes[labelled], notes


def _split(frame: pd.DataFrame, codes: np.ndarray, spec: TableSpec, seed: int) -> tuple[Splits, list[str]]:
    if spec.split is None:
        return stratified_split(codes, spec.val, spec.test, seed), []
    words = frame[spec.split].astype(object)
    part = np.array([PARTS.get(str(word).strip().lower(), -1) for word in words])
    if (part < 0).any():
        row = int(np.flatnonzero(part < 0)[0])
        raise InputError(
            f"column {spec.split!r}, row {frame.index[row]}: {words.iloc[row]!r} is no part of a split; "
            "write train, val or test"
        )
    if spec.test == "val":
        part[part == TEST] = VAL
        return splits_of(part, one_held_out=True), []
    if (part == TEST).any() and not (part == VAL).any():
        train = np.flatnonzero(part == TRAIN)
        inner = stratified_split(codes[train], spec.val, "val", seed)
        part[train[inner.val]] = VAL
        return splits_of(part), [
            f"column {spec.split!r} names no val row: {len(inner.val)} of the training rows validate"
        ]
    if not (part == TEST).any():
        raise InputError(f"column {spec.split!r} names no test row: add some, or say 'test: val'")
    return splits_of(part), []


def _fit_target(target: Target, frame: pd.DataFrame, code: np.ndarray, splits: Splits) -> Target:
    parts = splits[:2] if splits.one_held_out else splits
    rows = tuple(int((code[part] >= 0).sum()) for part in parts)
    if rows[0] == 0:
        raise InputError(f"target {target.column!r} has no label in the training rows")
    return replace(target.fit(column_of(frame, target.column).iloc[splits.train]), rows=rows)


def _absent_labels(targets: Sequence[Target], codes: np.ndarray, splits: Splits) -> list[str]:
    """Notes on parts that cannot judge a task, and classes that cannot be learned."""
    notes = []
    for target, code in zip(targets, codes.T, strict=True):
        for part, rows in zip(("val", "test"), target.rows[1:], strict=False):
            if rows == 0:
                notes.append(f"target {target.column!r} has no label in the {part} rows")
        unlearned = np.setdiff1d(code[code >= 0], code[splits.train])
        if isinstance(target, ClassTarget) and len(unlearned):
            label = target.labels[unlearned[0]]
            notes.append(f"target {target.column!r}: class {label!r} is not among the training rows")
    return notes
