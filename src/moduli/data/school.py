"""Exam scores of 15,362 pupils in 139 schools of inner London: a regression for each school (Goldstein 1991).

The 27 inputs are 25 columns of 0 and 1 (year of the exam, gender and verbal reasoning band of the pupil,
ethnic group, gender and denomination of the school) and two percentages of the school (columns 3 and 4).
About half of the columns do not vary within a school.

In the data folder lies `mtl_classic/school.npz`: `X` `[15362, 28]`, with a last column of ones that is not
used here, `y` `[15362]` from 1 to 70, and `task` `[15362]` from 0 to 138, all uint8, school after school.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from moduli.data.cache import CacheFile, Dataset, Remote
from moduli.data.matlab import load_mat, whole

if TYPE_CHECKING:
    from moduli.tasks import Task

TASKS, PUPILS, INPUTS = 139, 15_362, 27

PERCENTAGES = (3, 4)
"""The columns of the inputs that are percentages; the others are 0 or 1."""

_SHAPES = {"X": (PUPILS, INPUTS + 1), "y": (PUPILS,), "task": (PUPILS,)}
_URL = (
    "https://raw.githubusercontent.com/jiayuzhou/MALSAR/ca3d55b878cc4113f0d9603e8ac46538aeb1ecd9/"
    "data/school.mat"
)


# ------------------------------------------------------------------ from the published form to ours


def _build(downloads: Sequence[Path]) -> bytes:
    """The arrays from a MATLAB file with the lists `X` and `Y`, of an array for each school."""
    (path,) = downloads
    variables = load_mat(path, ("X", "Y"))
    inputs, scores = ([np.atleast_1d(part) for part in cells.ravel()] for cells in variables)
    sizes = [len(part) for part in inputs]
    if len(sizes) != TASKS or sizes != [part.size for part in scores]:
        raise ValueError(f"X and Y are not lists of {TASKS} schools with as many rows as scores")
    out = io.BytesIO()
    np.savez_compressed(
        out,
        allow_pickle=False,
        X=whole(np.concatenate(inputs), "X"),
        y=whole(np.concatenate([part.ravel() for part in scores]), "Y"),
        task=np.repeat(np.arange(TASKS, dtype=np.uint8), sizes),
    )
    return out.getvalue()


def parse(content: bytes) -> dict[str, np.ndarray]:
    """`X` `[15362, 27]` and `y` `[15362]`, floats, and `task` `[15362]`, integers from 0 to 138.

    Raises:
        ValueError: if shapes or ranges are others, or the last column of the file is not one of ones;
            zipfile.BadZipFile and others if it is no such file.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        found = {name: file[name] for name in _SHAPES}
    for name, shape in _SHAPES.items():
        if found[name].shape != shape:
            raise ValueError(f"{name} has the shape {found[name].shape}")
    X, y, task = found["X"], found["y"], found["task"].astype(np.int64)
    if not np.all(X[:, -1] == 1):
        raise ValueError("the last column of X is not one of ones")
    if X.min() < 0 or X.max() > 100 or np.delete(X, PERCENTAGES, axis=1).max() > 1:
        raise ValueError("X is not made of percentages and columns of 0 and 1")
    if y.min() < 1 or y.max() > 70:
        raise ValueError(f"y goes from {y.min()} to {y.max()}, not from 1 to 70")
    if not np.array_equal(np.unique(task), np.arange(TASKS)):
        raise ValueError(f"task does not hold the numbers 0 to {TASKS - 1}")
    return {"X": X[:, :-1].astype(float), "y": y.astype(float), "task": task}


# ------------------------------------------------------------------ arrays and tasks


def arrays() -> dict[str, np.ndarray]:
    """The data as they are, for methods that take arrays; downloaded if they are not there.

    `X` `[15362, 27]`: the inputs, not scaled, without a column of ones. `y` `[15362]`: the scores, 1 to 70.
    `task` `[15362]`: the school of each pupil, 0 to 138.

    Raises:
        InputError: if the file is damaged, cannot be fetched or written.
    """
    return DATASET.read(DATASET.files[0])


def tasks(val: float = 0.15, test: float = 0.25, seed: int = 0, metric: str = "rmse") -> list[Task]:
    """A regression for each school, `school_001` to `school_139`, each on an input of its own.

    The two percentages are divided by 100, so that all inputs lie in [0, 1]. Scores are standardised with the
    training pupils of the school; metrics are in points. In the literature a random quarter of each school
    tests and the other pupils train; here some of these validate.

    Args:
        val: share of the pupils of each school for validation.
        test: share for testing.
        seed: of the split.
        metric: what tables show: `rmse`, `mse`, `mae` or `r2`.

    Raises:
        InputError: for impossible shares, or if the file is damaged, cannot be fetched or written.
    """
    from moduli.tasks.arrays import from_arrays

    data = arrays()
    X = data["X"].copy()
    X[:, PERCENTAGES] /= 100
    made = []
    for school in range(TASKS):
        rows = data["task"] == school
        name = f"school_{school + 1:03d}"
        made += from_arrays(
            name, X[rows], data["y"][rows], "regression", val=val, test=test, seed=seed, metric=metric
        )
    return made


DATASET = Dataset(
    name="school",
    title="School: exam scores in inner London",
    about="139 regressions of 27 inputs, one for each school",
    samples=PUPILS,
    licence="none stated; for research, cite the paper",
    citation="Goldstein, H. (1991). Multilevel modelling of survey data. The Statistician 40(2):235-244",
    homepage="https://github.com/jiayuzhou/MALSAR",
    files=(CacheFile("mtl_classic/school.npz", ((Remote(_URL),),), _build, parse),),
    tasks=tasks,
)
