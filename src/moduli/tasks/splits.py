"""Which rows train, which validate, which test: a random split that keeps every class in proportion."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from moduli.errors import InputError

TRAIN, VAL, TEST = 0, 1, 2


class Splits(NamedTuple):
    """Row numbers of each part, ascending. `test` equals `val` where one part serves as both."""

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Rows in train, val, test."""
        return len(self.train), len(self.val), len(self.test)

    @property
    def one_held_out(self) -> bool:
        """Whether one part both validates and tests."""
        return self.test is self.val


def stratified_split(codes: np.ndarray, val: float, test: float | Literal["val"], seed: int) -> Splits:
    """A random split in which each stratum is divided in proportion, to within one row.

    Rows with equal `codes` are one stratum. Within a stratum of n rows the i-th row, in random order,
    stands at position (i + u) / n with one u ~ U(0, 1) per stratum; all rows are sorted by position and
    cut at the wanted sizes. So the sizes of the parts are exact, a large class is divided in proportion,
    and with many small strata this is a plain random split. A class that has rows, but none of them in
    the training part, then moves one row there.

    Args:
        codes: `[N, T]` integers, for each task the class of a row, or -1 where the label is missing.
        val: fraction of the rows for validation, in (0, 1).
        test: fraction for testing; "val" to use the validation rows for both.
        seed: of the random split.

    Raises:
        InputError: if a part would have no row.
    """
    if not 0.0 < val < 1.0 or not (test == "val" or (test > 0.0 and val + test < 1.0)):
        raise InputError(f"fractions val={val} and test={test}: each above 0, their sum below 1")
    rows = _in_order_of_position(codes, np.random.default_rng(seed))
    test_size = 0 if test == "val" else max(1, round(test * len(rows)))
    val_size = max(1, round(val * len(rows)))
    part = np.full(len(rows), TRAIN)
    part[rows[len(rows) - test_size :]] = TEST
    part[rows[len(rows) - test_size - val_size : len(rows) - test_size]] = VAL
    _give_training_every_class(part, codes)
    return splits_of(part, one_held_out=test == "val")


def splits_of(part: np.ndarray, one_held_out: bool = False) -> Splits:
    """Row numbers from `part [N]`, which holds TRAIN, VAL or TEST; all held out rows are both val and test
    if `one_held_out`.

    Raises:
        InputError: if a part has no row.
    """
    train, val, test = (np.flatnonzero(part == code) for code in (TRAIN, VAL, TEST))
    splits = Splits(train, val, val if one_held_out else test)
    for name, rows in splits._asdict().items():
        if len(rows) == 0:
            sizes = "/".join(str(size) for size in splits.sizes)
            raise InputError(
                f"the split leaves no {name} row ({sizes} rows in train/val/test): "
                "give more rows, or change 'val' and 'test'"
            )
    return splits


def _in_order_of_position(codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    _, stratum, counts = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
    shuffled = rng.permutation(len(codes))
    grouped = shuffled[np.argsort(stratum.reshape(-1)[shuffled], kind="stable")]
    sizes = np.repeat(counts, counts)
    rank = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    position = (rank + np.repeat(rng.random(len(counts)), counts)) / sizes
    return grouped[np.argsort(position, kind="stable")]


def _give_training_every_class(part: np.ndarray, codes: np.ndarray) -> None:
    for column in codes.T:
        labelled = column >= 0
        for code in np.setdiff1d(column[labelled], column[labelled & (part == TRAIN)]):
            part[np.flatnonzero(column == code)[0]] = TRAIN
