"""190 people rate 20 computers: a regression for each person (Lenk, DeSarbo, Green & Young 1996).

Every computer is described by 13 attributes of -1 and 1, and rated by every person from 0 to 10. There are
hardly more computers than weights to learn, so no person can be understood well alone.

The file of the data folder is not downloaded: the form in which the data are published is not known here.
It is `mtl_classic/computer_survey.npz` with `design` `[20, 14]`, a column of ones and the 13 attributes, and
`rating` `[190, 20]`, from 0 to 10. All 190 people are in it; the literature often has 180 of them.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from moduli.data.cache import CacheFile, Dataset
from moduli.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from moduli.tasks import Task

TASKS, COMPUTERS, INPUTS = 190, 20, 13

_SHAPES = {"design": (COMPUTERS, INPUTS + 1), "rating": (TASKS, COMPUTERS)}


def parse(content: bytes) -> dict[str, np.ndarray]:
    """`design` `[20, 13]`, without its column of ones, and `rating` `[190, 20]`, both floats.

    Raises:
        ValueError: if shapes or values are others; zipfile.BadZipFile and others if it is no such file.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        found = {name: file[name] for name in _SHAPES}
    for name, shape in _SHAPES.items():
        if found[name].shape != shape:
            raise ValueError(f"{name} has the shape {found[name].shape}")
    design, rating = (found[name].astype(float) for name in _SHAPES)
    if not (np.all(design[:, 0] == 1) and np.all(np.abs(design) == 1)):
        raise ValueError("design is not a column of ones and 13 attributes of -1 and 1")
    if not (rating.min() >= 0 and rating.max() <= 10):
        raise ValueError(f"rating goes from {rating.min():g} to {rating.max():g}, not from 0 to 10")
    return {"design": design[:, 1:], "rating": rating}


# ------------------------------------------------------------------ arrays and tasks


def arrays() -> dict[str, np.ndarray]:
    """The data with a row for each rating, for methods that take arrays.

    `X` `[3800, 13]`: attributes of the computer, -1 or 1. `y` `[3800]`: the rating, 0 to 10. `task` `[3800]`:
    the person, 0 to 189. The 20 rows of a person are the 20 computers, in the same order for all.

    Raises:
        InputError: if the file is not there, or damaged.
    """
    data = _read()
    return {
        "X": np.tile(data["design"], (TASKS, 1)),
        "y": data["rating"].ravel(),
        "task": np.repeat(np.arange(TASKS), COMPUTERS),
    }


def tasks(val: float = 0.2, test: float = 0.2, seed: int = 0, metric: str = "rmse") -> list[Task]:
    """A regression for each person, `person_001` to `person_190`, all on one input of 13 numbers.

    The same computers train, validate and test for all people: 12, 4 and 4 of the 20. Ratings are
    standardised with the training computers, for each person; metrics are in points.

    Args:
        val: share of the computers for validation.
        test: share for testing.
        seed: of the split.
        metric: what tables show: `rmse`, `mse`, `mae` or `r2`.

    Raises:
        InputError: for impossible shares, or if the file is not there, or damaged.
    """
    from moduli.tasks.arrays import from_arrays

    data = _read()
    ratings = {f"person_{i + 1:03d}": y for i, y in enumerate(data["rating"])}
    return from_arrays(
        "computers", data["design"], ratings, "regression", val=val, test=test, seed=seed, metric=metric
    )


def _read() -> dict[str, np.ndarray]:
    if not _FILE.place.exists():
        raise InputError(
            f"{_FILE.place} is not there and cannot be downloaded: make it from {DATASET.homepage} (see the "
            "documentation of moduli.data.computer_survey), or set MODULI_DATA to a folder that holds it"
        )
    return _FILE.read()


def _never(downloads: Sequence[Path]) -> bytes:
    raise ValueError("it is not downloaded")


_FILE = CacheFile("mtl_classic/computer_survey.npz", (), _never, parse)

DATASET = Dataset(
    name="computer_survey",
    title="Computer survey (Lenk et al.)",
    about="190 regressions of 13 attributes, one for each person",
    samples=TASKS * COMPUTERS,
    licence="none stated; for research, cite the paper",
    citation="Lenk, P., DeSarbo, W., Green, P. & Young, M. (1996). Hierarchical Bayes conjoint "
    "analysis: recovery of partworth heterogeneity from reduced experimental designs. Marketing "
    "Science 15(2):173-191",
    homepage="https://github.com/tjanez/PyMTL",
    files=(),
    tasks=tasks,
    by_hand=(_FILE.path,),
)
