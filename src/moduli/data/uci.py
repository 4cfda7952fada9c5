"""The ten UCI classification sets of soft layer ordering (Meyerson & Miikkulainen 2018, Fig. 5a).

The files of the UCI repository come as comma- or space-separated values without a header, the class somewhere
among them. In the data folder they are CSV files with a header: numbers as they are, missing cells empty, the
last column `target` the index of the class. `shapes.json` beside them has sizes and names.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from moduli.data.cache import CacheFile, Dataset, Remote
from moduli.data.uci_tables import TABLES, Table
from moduli.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from pandas import DataFrame

    from moduli.tasks import Task


_ARCHIVES = "https://archive.ics.uci.edu/static/public/"
_FILES = "https://archive.ics.uci.edu/ml/machine-learning-databases/"
# Withdrawn from UCI. Kaggle, where it lives on, asks for an account; this is the usual open copy.
_PIMA = "https://raw.githubusercontent.com/jbrownlee/Datasets/master/pima-indians-diabetes.data.csv"
_SHAPES_SHA256 = "f71398059d633c48d974c14277206782998b079f13a425f633e0f66ab98eeaf8"


# ------------------------------------------------------------------ from the published form to ours


def convert(table: Table, text: str) -> bytes:
    """The CSV file of a set, from the text of its published file.

    Raises:
        ValueError: if a row has another number of cells, or an unknown class.
    """
    features, targets = [], []
    for line in filter(None, map(str.strip, text.splitlines())):
        cells = re.split(r"[,\s]+", line)
        if len(cells) != table.ids + len(table.features) + 1:
            raise ValueError(f"a row of {len(cells)} cells")
        targets.append(str(table.classes.index(cells.pop(table.class_at))))
        features.append(cells[table.ids :])
    columns = [_numbers(column) for column in zip(*features, strict=True)]
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*table.features, "target"])
    writer.writerows(zip(*columns, targets, strict=True))
    return out.getvalue().encode()


def _numbers(column: Sequence[str]) -> list[str]:
    """A column of numbers in one spelling: whole numbers without a point, `?` as an empty cell."""
    numbers = [None if cell == "?" else float(cell) for cell in column]
    whole = all(number.is_integer() for number in numbers if number is not None)
    return ["" if n is None else str(int(n)) if whole else repr(n) for n in numbers]


def build(table: Table, downloads: Sequence[Path]) -> bytes:
    """The CSV file of a set, from its published file or the archive that holds it."""
    (path,) = downloads
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return convert(table, archive.read(Path(table.raw).name).decode())
    return convert(table, path.read_text())


def shapes() -> bytes:
    """`shapes.json`: sizes and names of the ten sets."""
    described = {
        name: {
            "file": f"{name}.csv",
            "features": len(table.features),
            "classes": len(table.classes),
            "instances": sum(table.counts),
            "missing_cells": table.missing[0],
            "rows_with_missing": table.missing[1],
            "class_names": table.classes,
            "class_counts": table.counts,
            "feature_names": table.features,
        }
        for name, table in TABLES.items()
    }
    return json.dumps(described, indent=1).encode()


def _exactly(sha256: str, content: bytes) -> bytes:
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError("its SHA-256 is not the known one")
    return content


# ------------------------------------------------------------------ tasks


def tasks(
    seed: int = 0,
    scaling: str = "minmax",
    val: float = 0.2,
    test: float | Literal["val"] = "val",
    names: Sequence[str] | None = None,
    kind: Literal["multiclass", "binary"] = "multiclass",
) -> list[Task]:
    """The ten sets as tasks, or those in `names`; by default in the protocol of the paper (A.2).

    There, inputs are scaled to [0, 1] and a random 80-20 split, the same in all trials, gives training and
    held-out rows. The held-out rows are both `val` and `test`, so a model selected on them has seen them:
    report such a figure as held-out, not as test. For a clean test part give, say, `val=0.16, test=0.2`,
    which is what `moduli.data.load` does.

    Args:
        seed: decides the split; keep it fixed over trials.
        scaling: as in `load_tables`, fitted on the training rows.
        val: share of the rows for validation.
        test: share of the rows for testing, or "val" to test on the validation rows.
        names: which sets, such as `["iris", "wine"]`.
        kind: of the sets with two classes: "multiclass" for two outputs with softmax, as in the paper, or
            "binary" for one logit.

    Raises:
        InputError: if a name is unknown, or a file is damaged, cannot be fetched or written.
    """
    from moduli.tasks.tables import load_tables

    chosen = list(TABLES) if names is None else list(names)
    for name in chosen:
        if name not in TABLES:
            raise InputError(f"unknown UCI set {name!r}, {did_you_mean(name, TABLES)}")
    if kind not in ("multiclass", "binary"):
        raise InputError(
            f"unknown kind {kind!r} for UCI sets, {did_you_mean(kind, ('multiclass', 'binary'))}"
        )
    return load_tables(
        [
            {
                "name": name,
                "table": frame(name),
                "target": "target",
                "kind": kind if len(TABLES[name].classes) == 2 else "multiclass",
                "scaling": scaling,
                "indicators": False,  # as many inputs as the paper has
                "val": val,
                "test": test,
            }
            for name in chosen
        ],
        seed=seed,
    )


def frame(name: str) -> DataFrame:
    """One set as a table; its last column, `target`, has the names of the classes.

    Raises:
        InputError: if the file is damaged, cannot be fetched or written.
    """
    import pandas as pd

    dataset = DATASETS[f"uci/{name}"]
    table = pd.read_csv(io.BytesIO(dataset.read(dataset.files[0])))
    table["target"] = pd.Categorical.from_codes(table["target"], list(TABLES[name].classes))
    return table


def _dataset(name: str, table: Table) -> Dataset:
    if name == "pima":
        mirrors = ((Remote(_PIMA),),)
        homepage = "https://www.kaggle.com/datasets/uciml/pima-indians-diabetes-database"
        licence = "CC0 (as its Kaggle page states)"
    else:
        mirrors = ((Remote(_ARCHIVES + table.archive),), (Remote(_FILES + table.raw),))
        number, page = table.archive.removesuffix(".zip").split("/")
        homepage = f"https://archive.ics.uci.edu/dataset/{number}/{page}"
        licence = "CC BY 4.0"
    return Dataset(
        name=f"uci/{name}",
        title=f"UCI {table.title}",
        about=f"{len(table.classes)} classes from {len(table.features)} columns",
        samples=sum(table.counts),
        licence=licence,
        citation=table.citation,
        homepage=homepage,
        files=(
            CacheFile(f"uci/{name}.csv", mirrors, partial(build, table), partial(_exactly, table.sha256)),
            CacheFile("uci/shapes.json", (), lambda _: shapes(), partial(_exactly, _SHAPES_SHA256)),
        ),
        tasks=partial(tasks, names=(name,), val=0.16, test=0.2),
    )


DATASETS = {f"uci/{name}": _dataset(name, table) for name, table in TABLES.items()}
