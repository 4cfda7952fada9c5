"""From a file, or a DataFrame, to a checked DataFrame. The first row is called row 1 in every message."""

from __future__ import annotations

import csv
import gzip
import warnings
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from moduli.errors import InputError, did_you_mean

TEXT_ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
PARQUET_ENDINGS = (".parquet", ".pq")
ENDINGS = TEXT_ENDINGS + PARQUET_ENDINGS


def read_table(table: str | Path | pd.DataFrame, base: Path | None = None) -> pd.DataFrame:
    """The table, with text column names and rows numbered from 1.

    Args:
        table: a path, relative to `base`, or a DataFrame (whose index is left out of account).
        base: the folder that relative paths start from; the working directory if None.

    Raises:
        InputError: if there is no such file, it cannot be read, has no row, or two columns of one name.
    """
    if isinstance(table, str | Path):
        path = Path(base or ".") / Path(table).expanduser()
        frame, where = _read_file(path), str(path)
    else:
        frame, where = table.copy(deep=False), "the DataFrame"
    frame.columns = pd.Index([str(name) for name in frame.columns], dtype=object)
    _check_unique(list(frame.columns), where)
    if frame.empty:
        raise InputError(
            f"{where} has {len(frame)} rows and {frame.shape[1]} columns: give at least one of each"
        )
    frame.index = pd.RangeIndex(1, len(frame) + 1)
    return frame


def column_of(frame: pd.DataFrame, name: str) -> pd.Series:
    """A column; all missing if the table lacks it."""
    return cast(pd.Series, frame[name]) if name in frame else pd.Series(np.nan, index=frame.index, name=name)


def _read_file(path: Path) -> pd.DataFrame:
    _check_file(path)
    try:
        if path.name.lower().endswith(PARQUET_ENDINGS):
            return pd.read_parquet(path)
        return _read_text(path)
    except InputError:
        raise
    except pd.errors.EmptyDataError:
        raise InputError(f"{path} is empty: give a header line and at least one row") from None
    except (
        pd.errors.ParserError,
        pd.errors.ParserWarning,
        csv.Error,
        EOFError,
        OSError,
        ValueError,
    ) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"cannot read {path}: {reason}; is it a table in this format, in UTF-8?") from None


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder: give a file ({', '.join(ENDINGS)})")
    if not path.exists():
        raise InputError(f"no file {path}{_near_files(path)}")
    if not path.name.lower().endswith(ENDINGS):
        raise InputError(
            f"{path}: unknown kind of table {path.suffix or path.name!r}; give one of {', '.join(ENDINGS)}"
        )


def _near_files(path: Path) -> str:
    if not path.parent.is_dir():
        return f": there is no folder {path.parent}"
    tables = [file.name for file in path.parent.iterdir() if file.name.lower().endswith(ENDINGS)]
    return f", {did_you_mean(path.name, tables)}" if tables else f": {path.parent} holds no table"


def _read_text(path: Path) -> pd.DataFrame:
    # pandas' C parser on purpose: the pyarrow one is no faster here, makes dates of some text, and passes
    # on text that is not UTF-8 as bytes.
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        first = file.readline()
    separator = "\t" if ".tsv" in path.name.lower() else _separator(first)
    # pandas would rename the second of two equal names, so the header is checked before.
    header = [name for name in next(csv.reader([first], delimiter=separator), []) if name]
    _check_unique(header, str(path))
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
        return pd.read_csv(path, sep=separator, low_memory=False, index_col=False, encoding="utf-8-sig")


def _separator(header: str) -> str:
    """A comma, or what separates a header that has no comma."""
    if "," in header:
        return ","
    return next((mark for mark in (";", "\t") if mark in header), ",")


def _check_unique(names: list[str], where: str) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{where} has {names.count(twice)} columns called {twice!r}: give each its own name")
