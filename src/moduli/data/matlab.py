"""MATLAB files (up to version 7) as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np


def load_mat(path: Path, names: Sequence[str]) -> list[np.ndarray]:
    """The variables called `names`; one that is a list of arrays (a cell array) is an array of objects.

    Raises:
        ValueError: if it is no such file, it is cut off, or a variable is missing.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        found = loadmat(path, variable_names=names)
    except (MatReadError, NotImplementedError, TypeError) as error:
        raise ValueError(f"no MATLAB file that can be read: {error}") from error
    missing = [name for name in names if name not in found]
    if missing:
        raise ValueError(f"the MATLAB file has no variable {missing[0]!r}")
    return [found[name] for name in names]


def whole(values: np.ndarray, name: str) -> np.ndarray:
    """The same numbers as bytes.

    Raises:
        ValueError: if one is not a whole number from 0 to 255.
    """
    numbers = np.asarray(values, float)
    if not np.all((numbers >= 0) & (numbers <= 255) & (numbers == np.round(numbers))):
        raise ValueError(f"{name} has numbers that are not whole, or not from 0 to 255")
    return numbers.astype(np.uint8)
