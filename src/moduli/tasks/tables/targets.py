"""Target columns: the kind of the task, and how labels become tensors and outputs become labels again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from pandas.api.types import is_float_dtype
from torch import Tensor

from moduli.errors import InputError
from moduli.tasks.kinds import Binary, Kind, Multiclass, Regression
from moduli.tasks.tables.columns import (
    FEW_VALUES,
    codes_of,
    column_type,
    distinct_values,
    mean_and_deviation,
    numbers,
)


@dataclass(frozen=True)
class ClassTarget:
    """Classes: `labels[k]` is what the table holds for class k.

    ``rows``: how many are labelled in train, val, test; without test where val serves as both.
    """

    task: str
    column: str
    binary: bool
    labels: tuple[Any, ...]
    rows: tuple[int, ...] = ()

    @property
    def kind(self) -> Kind:
        return Binary() if self.binary else Multiclass(len(self.labels))

    def codes(self, series: pd.Series) -> np.ndarray:
        """`[N]`: the class of each row, -1 where there is no label (or another one)."""
        codes = codes_of(series, self.labels)
        return np.where(codes == len(self.labels), -1, codes)

    def encode(self, series: pd.Series) -> Tensor:
        """Targets `[N]` as `kind` wants them."""
        codes = torch.from_numpy(self.codes(series))
        return torch.where(codes < 0, torch.nan, codes.float()) if self.binary else codes

    def fit(self, train: pd.Series) -> ClassTarget:
        """Itself: the classes are those of the whole table."""
        return self

    def predictions(self, outputs: Tensor) -> pd.DataFrame:
        """The predicted label, and the probability of each, from outputs `[N, outputs]`."""
        probability = self.kind.predict(outputs.double())
        if self.binary:
            probability = torch.stack([1.0 - probability, probability], dim=-1)
        # argmax of equal values is the first class, as in the metric "accuracy"
        labels = pd.Series(list(self.labels), dtype=object).iloc[probability.argmax(-1).numpy()]
        frame = {self.column: labels.infer_objects().reset_index(drop=True)}
        for k, label in enumerate(self.labels):
            frame[f"p({self.column}={label})"] = pd.Series(probability[:, k].numpy())
        return pd.DataFrame(frame)

    def describe(self) -> str:
        if len(self.labels) <= 6:
            return f"{self.kind.name} ({', '.join(str(label) for label in self.labels)})"
        shown = ", ".join(str(label) for label in self.labels[:3])
        return f"{self.kind.name} ({len(self.labels)} classes: {shown}, …)"

    def to_json(self) -> dict[str, Any]:
        return {"type": "classes", **vars(self), "labels": list(self.labels), "rows": list(self.rows)}


@dataclass(frozen=True)
class NumberTarget:
    """A number to predict, standardised with `mean` and `scale` of the training rows; ``rows`` as above."""

    task: str
    column: str
    mean: float = 0.0
    scale: float = 1.0
    rows: tuple[int, ...] = ()

    @property
    def kind(self) -> Kind:
        return Regression(mean=self.mean, scale=self.scale)

    def codes(self, series: pd.Series) -> np.ndarray:
        """`[N]`: 0 for a row with a value, -1 for one without."""
        return np.where(np.isnan(numbers(series)), -1, 0)

    def encode(self, series: pd.Series) -> Tensor:
        """Standardised values `[N]`, NaN where missing."""
        return torch.from_numpy((numbers(series) - self.mean) / self.scale).float()

    def fit(self, train: pd.Series) -> NumberTarget:
        """With mean and scale of the training rows."""
        values = numbers(train)
        mean, scale = mean_and_deviation(values[~np.isnan(values)])
        return replace(self, mean=mean, scale=scale)

    def predictions(self, outputs: Tensor) -> pd.DataFrame:
        """The value in the table's units, from outputs `[N, 1]`."""
        return pd.DataFrame({self.column: self.kind.predict(outputs.double()).numpy()})

    def describe(self) -> str:
        return f"regression (mean {self.mean:.4g}, sd {self.scale:.4g})"

    def to_json(self) -> dict[str, Any]:
        return {"type": "number", **vars(self), "rows": list(self.rows)}


Target = ClassTarget | NumberTarget


def target_from_json(record: dict[str, Any]) -> Target:
    """The inverse of `to_json`."""
    fields = {key: value for key, value in record.items() if key != "type"}
    fields["rows"] = tuple(fields["rows"])
    if record["type"] == "number":
        return NumberTarget(**fields)
    return ClassTarget(**{**fields, "labels": tuple(fields["labels"])})


# ------------------------------------------------------------------ what a column is to be learned as


def holds_classes(series: pd.Series) -> bool:
    """Whether a target is classes (binary or multiclass) rather than values (regression).

    Text, categories, true/false, and few different whole numbers are classes; other numbers are values.
    Few: at most 20, and at most a third of the labelled rows. A column of floats is classes only if it
    holds two whole numbers, or if it would be whole numbers but for its missing cells.
    """
    type_ = column_type(series)
    if type_ not in ("number", "category"):
        raise InputError(f"target {series.name!r} holds {type_}: give classes or numbers")
    known = series.dropna()
    if type_ == "category":
        return True
    values, distinct = numbers(known, ", or make its kind multiclass"), known.nunique()
    if not (values == np.round(values)).all():
        return False
    if distinct <= 2:
        return True
    meant_whole = series.hasnans or not is_float_dtype(series)
    return meant_whole and distinct <= min(FEW_VALUES, len(known) // 3)


def make_target(series: pd.Series, task: str, kind: str | None, drop_rare: bool) -> Target:
    """The target of one task, not yet fitted where it is a number.

    Raises:
        InputError: if no row has a label, there is nothing to tell apart, a class has one row (unless
            `drop_rare`), or the labels do not suit the kind.
    """
    column = str(series.name)
    if series.isna().all():
        raise InputError(f"target {column!r} is missing in every row: fill it in, or remove the task")
    if kind == "regression" or (kind is None and not holds_classes(series)):
        values = numbers(series, ", or make its kind multiclass")
        if np.nanmin(values) == np.nanmax(values):
            raise InputError(f"target {column!r} is {np.nanmin(values):g} in every row: nothing to learn")
        return NumberTarget(task, column)
    labels = _labels(series, drop_rare)
    if kind is None:
        kind = "binary" if len(labels) == 2 else "multiclass"
    if len(labels) < 2:
        shown = f"one class only ({labels[0]!r})" if labels else "no class with two rows"
        raise InputError(f"target {column!r} has {shown}: nothing to learn")
    if kind == "binary" and len(labels) != 2:
        raise InputError(
            f"target {column!r} has {len(labels)} classes ({_some(labels)}), but its kind is binary: "
            "make it multiclass, or merge classes"
        )
    return ClassTarget(task, column, kind == "binary", labels)


def _labels(series: pd.Series, drop_rare: bool) -> tuple[Any, ...]:
    labels = distinct_values(series)
    codes = codes_of(series, labels)
    counts = np.bincount(codes[codes >= 0], minlength=len(labels))
    single = [label for label, count in zip(labels, counts, strict=True) if count == 1]
    if single and not drop_rare:
        what = f"class {single[0]!r}" if len(single) == 1 else f"{len(single)} classes ({_some(single)})"
        number = "has one row" if len(single) == 1 else "have one row each"
        hint = " or say 'kind: regression'," if not any(isinstance(label, str) for label in labels) else ""
        raise InputError(
            f"target {series.name!r}: {what} {number}; add rows, merge it with another class,{hint} "
            "or say 'drop_rare: true' to leave such rows out"
        )
    return tuple(label for label in labels if label not in single)


def _some(labels: Sequence[Any]) -> str:
    return ", ".join(repr(label) for label in labels[:5]) + (", …" if len(labels) > 5 else "")
