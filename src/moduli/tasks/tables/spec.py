"""What a user says about one table: the entry of a run file under ``tasks:``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

from moduli.errors import InputError, did_you_mean

KINDS = ("binary", "multiclass", "regression")
_ENDING = re.compile(r"(\.(csv|tsv|parquet|pq))?(\.gz)?$", re.IGNORECASE)
Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]


class TableSpec(BaseModel):
    """One table and the column, or columns, to learn from it.

    Args:
        table: a CSV (`.csv`, `.tsv`, also `.gz`) or Parquet (`.parquet`, `.pq`) file, or a DataFrame.
        name: of the task, and of the input; the file's stem if None (a DataFrame needs a name). With
            `targets` it names the input, and each task is called after its column.
        target: the column to predict.
        targets: several columns to predict from the same input, one task each; labels may be missing.
        kind: "binary", "multiclass" or "regression", one word or `{target: word}`; inferred where not given.
        metric: the metric that tables show, one word or `{target: word}`; the kind's own if not given.
        columns: the columns to learn from; all that are neither target nor split if None.
        drop: columns to leave out.
        categorical: columns to treat as categories although they hold numbers.
        scaling: of number columns: "standard" (mean 0, variance 1), "minmax" (0 to 1) or "none",
            fitted on the training rows.
        indicators: whether a number column with missing values gets a second feature that tells where.
        split: a column that says train, val or test for each row; a random split if None.
        val: fraction of the rows for validation.
        test: fraction of the rows for testing; "val" uses the validation rows for both.
        seed: of the random split; that of `load_tables` if None.
        drop_rare: leave out the label of a class that has one row, instead of refusing the table.
        batch_size: samples per step; the run's if None.

    Raises:
        InputError: in one line, for an unknown key or an impossible value.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, coerce_numbers_to_str=True
    )

    table: Any
    name: str | None = None
    target: str | None = None
    targets: tuple[str, ...] = ()
    kind: str | dict[str, str] | None = None
    metric: str | dict[str, str] | None = None
    columns: tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    scaling: Literal["standard", "minmax", "none"] = "standard"
    indicators: bool = True
    split: str | None = None
    val: Fraction = 0.15
    test: Fraction | Literal["val"] = 0.2
    seed: int | None = None
    drop_rare: bool = False
    batch_size: int | None = Field(default=None, ge=1)

    def __init__(self, **values: Any):
        for key in values:
            if key not in type(self).model_fields:
                raise InputError(
                    f"{_title(values)}: unknown key {key!r}, {did_you_mean(key, type(self).model_fields)}"
                )
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InputError(f"{_title(values)}: {_first_line(error)}") from None

    @property
    def all_targets(self) -> tuple[str, ...]:
        """The target columns, one or several."""
        return self.targets or ((self.target,) if self.target is not None else ())

    @property
    def stem(self) -> str:
        """The name of the input: `name`, or the file's name without its endings."""
        return self.name or _ENDING.sub("", Path(self.table).name)

    def kind_of(self, target: str) -> str | None:
        """The kind that the user gave for a target, or None."""
        return self.kind.get(target) if isinstance(self.kind, dict) else self.kind

    def metric_of(self, target: str) -> str:
        """The metric that the user gave for a target, or an empty word."""
        return (self.metric.get(target) if isinstance(self.metric, dict) else self.metric) or ""

    @field_validator("targets", "columns", "drop", "categorical", mode="before")
    @classmethod
    def _one_word_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("table")
    @classmethod
    def _is_path_or_frame(cls, value: Any) -> Any:
        if not isinstance(value, str | Path) and not hasattr(value, "columns"):
            raise ValueError("give the path of a file, or a DataFrame")
        return value

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, value: Any) -> Any:
        for word in _words(value):
            if word == "multilabel":
                raise ValueError("list the columns of a multilabel problem under 'targets'")
            if word not in KINDS:
                raise ValueError(f"unknown kind {word!r}, {did_you_mean(word, KINDS)}")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> TableSpec:
        if (self.target is None) == (not self.targets):
            raise ValueError("give 'target' (one column) or 'targets' (a list of columns)")
        if len(set(self.targets)) < len(self.targets):
            raise ValueError("a target is listed twice under 'targets'")
        if self.name is None and not isinstance(self.table, str | Path):
            raise ValueError("a DataFrame has no file name: give 'name'")
        for key in ("kind", "metric"):
            mapping = getattr(self, key)
            for target in mapping if isinstance(mapping, dict) else ():
                if target not in self.all_targets:
                    raise ValueError(
                        f"{key} names {target!r}, not a target, {did_you_mean(target, self.all_targets)}"
                    )
        for key in ("columns", "categorical"):
            for column in getattr(self, key) or ():
                if column in self.all_targets:
                    raise ValueError(f"{column!r} is a target and cannot be listed under {key!r}")
        if self.split in self.all_targets or self.split in (self.columns or ()):
            raise ValueError(f"{self.split!r} is the split column and can be neither feature nor target")
        if self.test != "val" and self.val + self.test >= 1.0:
            raise ValueError(
                f"val {self.val:g} and test {self.test:g} leave no training row: their sum must be below 1"
            )
        return self

    @field_serializer("table")
    def _write_table(self, value: Any) -> str:
        return str(value) if isinstance(value, str | Path) else "DataFrame"


def _words(value: str | dict[str, str] | None) -> Iterable[str]:
    if isinstance(value, dict):
        return value.values()
    return () if value is None else (value,)


def _title(values: dict[str, Any]) -> str:
    table = values.get("table")
    name = values.get("name") or (table if isinstance(table, str | Path) else None)
    return f"table {str(name)!r}" if name else "table"


def _first_line(error: ValidationError) -> str:
    """The first of pydantic's complaints, in one line: key, what is wrong, the value found."""
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    key = ".".join(str(part) for part in first["loc"] if isinstance(part, str))
    if first["type"] == "value_error":
        return message
    if first["type"] == "missing":
        return f"{key!r} is missing"
    choices = [other["msg"] for other in error.errors() if other["loc"][:1] == first["loc"][:1]]
    return f"{first['loc'][0]!r}: {'; '.join(dict.fromkeys(choices))}, found {first['input']!r}"
