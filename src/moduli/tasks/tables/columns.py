"""Feature columns: what is fitted on the training rows, and how values become numbers.

A fitted column has ``name``, ``width`` (features per row), ``encode`` and ``to_json``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
import pandas as pd
from pandas.api import types

from moduli.errors import InputError
from moduli.tasks.tables.read import column_of

MANY_CATEGORIES = 256
FEW_VALUES = 20
FEW_TEXTS = 0.1


# ------------------------------------------------------------------ values


def column_type(series: pd.Series) -> str:
    """ "number", "category", or what else the column holds, in words.

    Text is a category, unless it spells numbers: then it is a number column, in which reading the odd
    cell that is not a number fails with a clear line.
    """
    if types.is_bool_dtype(series) or isinstance(series.dtype, pd.CategoricalDtype):
        return "category"
    if types.is_complex_dtype(series):
        return "complex numbers"
    if types.is_numeric_dtype(series):
        return "number"
    holds = types.infer_dtype(series, skipna=True)
    if holds in ("integer", "floating", "mixed-integer-float", "decimal"):
        return "number"
    if holds.startswith(("date", "time", "period", "interval")):
        return "dates"
    try:
        distinct = pd.Series(series.dropna().unique(), dtype=object)
    except TypeError:
        return "lists"
    return "number" if len(distinct) and _spells_numbers(distinct) else "category"


def _spells_numbers(distinct: pd.Series) -> bool:
    """Whether texts are meant as numbers: nearly all are, or all are and they are many."""
    text = float(np.mean(pd.isna(pd.to_numeric(distinct, errors="coerce"))))
    return 0.0 < text <= FEW_TEXTS or (text == 0.0 and len(distinct) > FEW_VALUES)


def numbers(series: pd.Series, hint: str = "") -> np.ndarray:
    """Values `[N]` as float64, NaN where missing. `hint` says what else can be done about text.

    Raises:
        InputError: with column, row and value, for a cell that is no number or not finite.
    """
    if not types.is_numeric_dtype(series):
        series = series.astype(object)
    parsed = pd.Series(pd.to_numeric(series, errors="coerce"))
    values = parsed.to_numpy(dtype=np.float64, na_value=np.nan)
    text = np.isnan(values) & series.notna().to_numpy()
    if text.any():
        _refuse(series, text, f"is not a number; leave missing values empty{hint}")
    if np.isinf(values).any():
        _refuse(series, np.isinf(values), "is not finite; correct it or leave it empty")
    return values


def distinct_values(series: pd.Series) -> tuple[Any, ...]:
    """The different values as plain bool, int, float or str: sorted, or in the order of a categorical type.

    Whole numbers that pandas made floats, because other cells are missing, are whole again.
    """
    values = [_plain(value) for value in series.dropna().unique()]
    infinite = [value for value in values if isinstance(value, float) and math.isinf(value)]
    if infinite:
        _refuse(series, (series == infinite[0]).to_numpy(), "is not finite; correct it or leave it empty")
    if series.hasnans and values and all(isinstance(v, float) and v.is_integer() for v in values):
        values = [int(value) for value in values]
    unique = {_key(value): value for value in values}
    if isinstance(series.dtype, pd.CategoricalDtype):
        return tuple(unique[key] for key in map(_key, series.dtype.categories) if key in unique)
    return tuple(sorted(unique.values(), key=lambda value: (isinstance(value, str), value)))


def codes_of(series: pd.Series, values: Iterable[Hashable]) -> np.ndarray:
    """The position `[N]` of each cell in `values`: -1 if it is missing, `len(values)` if not among them.

    Cells are compared by what they look like in a file, so that 1, 1.0 and "1" are the same: pandas
    reads a column of whole numbers as floats where a cell is empty, and as text where another is text.
    """
    position = {_key(value): index for index, value in enumerate(values)}
    codes, distinct = pd.factorize(series)
    table = [position.get(_key(value), len(position)) for value in distinct]
    return np.array([*table, -1], dtype=np.int64)[codes]


def _plain(value: Any) -> bool | int | float | str:
    value = value.item() if isinstance(value, np.generic) else value
    return value if isinstance(value, bool | int | float | str) else str(value)


def _key(value: Any) -> str:
    value = _plain(value)
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _refuse(series: pd.Series, bad: np.ndarray, reason: str) -> NoReturn:
    place = int(np.flatnonzero(bad)[0])
    value = _plain(series.iloc[place])
    raise InputError(f"column {series.name!r}, row {series.index[place]}: {value!r} {reason}")


# ------------------------------------------------------------------ fitted columns


@dataclass(frozen=True)
class NumberColumn:
    """A number: `(x - shift) / scale`. A missing cell is filled with `fill`, the mean in training.

    ``indicator``: training rows had missing cells, so a second feature is 1 where the cell is missing.
    """

    name: str
    shift: float
    scale: float
    fill: float
    indicator: bool

    @property
    def width(self) -> int:
        return 2 if self.indicator else 1

    def encode(self, series: pd.Series) -> np.ndarray:
        """`[N, width]`, float32."""
        values = numbers(series)
        missing = np.isnan(values)
        with np.errstate(over="ignore"):
            scaled = ((np.where(missing, self.fill, values) - self.shift) / self.scale).astype(np.float32)
        if np.isinf(scaled).any():
            _refuse(series, np.isinf(scaled), "is too large for a 32-bit number; correct or rescale it")
        return np.stack([scaled, missing], axis=1) if self.indicator else scaled[:, None]

    def to_json(self) -> dict[str, Any]:
        return {"type": "number", **vars(self)}


@dataclass(frozen=True)
class CategoryColumn:
    """One of `categories`: one-hot, with a last feature for cells that are missing or hold another value."""

    name: str
    categories: tuple[Any, ...]

    @property
    def width(self) -> int:
        return len(self.categories) + 1

    def encode(self, series: pd.Series) -> np.ndarray:
        """`[N, width]`, float32."""
        codes = codes_of(series, self.categories)
        hot = np.zeros((len(codes), self.width), dtype=np.float32)
        hot[np.arange(len(codes)), codes] = 1.0  # -1, missing, is the last one
        return hot

    def unseen(self, series: pd.Series) -> dict[Any, int]:
        """Values that training did not have, with the number of rows that hold them."""
        other = series.loc[codes_of(series, self.categories) == len(self.categories)]
        return dict(Counter(_plain(value) for value in other))

    def to_json(self) -> dict[str, Any]:
        return {"type": "category", "name": self.name, "categories": list(self.categories)}


Column = NumberColumn | CategoryColumn


def column_from_json(record: dict[str, Any]) -> Column:
    """The inverse of `to_json`."""
    fields = {key: value for key, value in record.items() if key != "type"}
    if record["type"] == "number":
        return NumberColumn(**fields)
    return CategoryColumn(fields["name"], tuple(fields["categories"]))


# ------------------------------------------------------------------ fitting


def fit_columns(
    train: pd.DataFrame,
    types_of: dict[str, str],
    scaling: str,
    forced: Iterable[str] = (),
    indicators: bool = True,
) -> tuple[list[Column], list[str]]:
    """The columns that can be learned from, fitted on the rows of `train`, and notes on the others.

    Args:
        train: the training rows.
        types_of: the feature columns, each with its `column_type`.
        scaling: "standard", "minmax" or "none".
        forced: columns that are categories whatever they hold.
        indicators: whether a number column with missing cells gets a second feature that tells where.
    """
    columns: list[Column] = []
    left_out: dict[str, list[str]] = {}
    for name, type_ in types_of.items():
        try:
            column = _fit(column_of(train, name), type_, scaling, name in set(forced))
        except _Unusable as reason:
            left_out.setdefault(str(reason), []).append(repr(name))
            continue
        if isinstance(column, NumberColumn) and not indicators:
            column = replace(column, indicator=False)
        columns.append(column)
    notes = [f"left out {_plural('column', names)}: {reason}" for reason, names in left_out.items()]
    return columns, notes


class _Unusable(Exception):  # noqa: N818 - never leaves this file
    """Why a column is left out."""


def _fit(series: pd.Series, type_: str, scaling: str, forced: bool) -> Column:
    if type_ not in ("number", "category"):
        raise _Unusable(f"it holds {type_}; turn them into numbers or categories to use them")
    known = series.dropna()
    if known.empty:
        raise _Unusable("no value in the training rows")
    if len(known) == len(series) and known.nunique() == 1:
        raise _Unusable("constant in the training rows")
    if type_ == "number":
        return _fit_number(series, scaling)
    categories = distinct_values(series)
    many = len(categories) > FEW_VALUES and 2 * len(categories) > len(series)
    if (many or len(categories) > MANY_CATEGORIES) and not forced:
        raise _Unusable(
            f"{len(categories)} different texts in {len(series)} training rows; "
            "list it under 'categorical' to use it as categories"
        )
    return CategoryColumn(str(series.name), categories)


def _fit_number(series: pd.Series, scaling: str) -> NumberColumn:
    values = numbers(series, ", or list the column under 'categorical'")
    known = values[~np.isnan(values)]
    mean, deviation = mean_and_deviation(known)
    shift, scale = {
        "standard": (mean, deviation),
        "minmax": (float(known.min()), float(known.max() - known.min())),
        "none": (0.0, 1.0),
    }[scaling]
    return NumberColumn(str(series.name), shift, scale or 1.0, mean, len(known) < len(values))


def mean_and_deviation(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation (with 1/N); the latter is 1 where all values are equal."""
    if values.min() == values.max():
        return float(values[0]), 1.0
    peak = np.abs(values).max()  # squares of very large or small values stay in range
    return float((values / peak).mean() * peak), float((values / peak).std() * peak)


def _plural(word: str, names: list[str]) -> str:
    shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    return f"{word}{'s' if len(names) > 1 else ''} {shown}"
