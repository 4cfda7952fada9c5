"""CRISPR: how well does a guide cut? Regression on short DNA sequences (dissertation, 8.6.1, by other data).

The data of the dissertation are private. `crispr` takes those of Xiang et al. 2021 in their place: 11,617
guides with the share of changed cells, each in a context of 37 letters. `deepcrispr` has the guides that
Chuai et al. 2018 put together from four cell lines, a task for each. Neither is published as a file of this
form: see `DATASET` and `CELL_LINES` for where they come from.

In the data folder lie two tables, gzipped CSV with a header, of which these columns are read:
`crispr/crispron_xiang2021.csv.gz` (`context37`, with the guide at letters 11-30 and its PAM at 31-33, and
`total_indel_eff` in percent) and `crispr/deepcrispr_ontarget.csv.gz` (`cell_line`, `guide` of 23 letters
with the PAM, and `efficiency` from 0 to 1).
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from moduli.data.cache import CacheFile, Dataset
from moduli.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from moduli.tasks import Task

LETTERS = "ACGTN"
"""Token numbers 0 to 4; N stands for a letter that is not known, and does not occur in these tables."""

CELLS = ("hct116", "hek293t", "hela", "hl60")
"""The cell lines of `deepcrispr`."""

COMMON, ALIKE = 16, 17
"""Letters in a row, or letters of the guides, that two sequences share to be nearly the same."""

_FIRST = 10  # of the guide in a context of 37 letters


def parse(content: bytes, columns: Sequence[str], letters: int) -> list[tuple[str, ...]]:
    """Some columns of a gzipped table; the last one is a number, the one before it `letters` letters of DNA.

    Raises:
        ValueError: if there is no row, a column is missing, or a sequence or the number after it is none.
        OSError, EOFError: if it is no complete gzip file.
    """
    rows = list(csv.DictReader(io.StringIO(gzip.decompress(content).decode("utf-8"))))
    missing = [column for column in columns if not rows or column not in rows[0]]
    if missing:
        raise ValueError(f"it has no column {missing[0]!r}" if rows else "it has no row")
    kept = [tuple(row[column] for column in columns) for row in rows]
    for *_, sequence, number in kept:
        if len(sequence) != letters or set(sequence) - set(LETTERS):
            raise ValueError(f"{sequence!r} is no sequence of {letters} letters")
        float(number)
    return kept


def encode(sequences: Sequence[str]) -> np.ndarray:
    """Token numbers `[N, length]` of sequences of one length: A C G T N are 0 to 4.

    Raises:
        ValueError: if they differ in length.
    """
    table = np.zeros(256, np.int64)
    table[np.frombuffer(LETTERS.encode(), np.uint8)] = np.arange(len(LETTERS))
    return table[np.stack([np.frombuffer(s.encode(), np.uint8) for s in sequences])]


# ------------------------------------------------------------------ splits without near repetition


def groups_of(sequences: np.ndarray, first: int) -> np.ndarray:
    """A group number for each of `sequences [N, length]`; sequences that are nearly the same have one.

    Two belong together if they share 16 letters in a row, at whatever place (target sites of one gene
    overlap), or if 17 of the 20 letters of their guides agree; and so do any two between which such pairs
    lead.

    Args:
        sequences: token numbers.
        first: the place of the guide's first letter.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    n = len(sequences)
    windows = np.lib.stride_tricks.sliding_window_view(sequences, COMMON, axis=1)
    words = windows @ 5 ** np.arange(COMMON)  # every word of 16 letters as one number
    _, word = np.unique(words, return_inverse=True)
    rows = np.repeat(np.arange(n), words.shape[1])
    left, right = _alike(sequences[:, first : first + 20])
    # A graph of sequences and, after them, words.
    edges = np.concatenate([rows, left]), np.concatenate([n + word.reshape(-1), right])
    size = n + int(word.max()) + 1
    graph = coo_matrix((np.ones(len(edges[0]), bool), edges), (size, size))
    return np.unique(connected_components(graph, directed=False)[1][:n], return_inverse=True)[1]


def _alike(guides: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows of `guides [N, 20]` that agree in at least 17 places."""
    one_hot = (guides[:, :, None] == np.arange(len(LETTERS))).reshape(len(guides), -1).astype(np.float32)
    found = []
    for start in range(0, len(guides), 1000):
        left, right = np.nonzero(one_hot[start : start + 1000] @ one_hot.T >= ALIKE)
        found.append((left + start, right))
    return np.concatenate([left for left, _ in found]), np.concatenate([right for _, right in found])


def split_groups(groups: np.ndarray, val: float, test: float, seed: int) -> dict[str, np.ndarray]:
    """Row numbers of train, val and test, so that no group `[N]` is in two of them.

    Groups are taken in random order until the test part has its share of the rows, then the validation part.

    Raises:
        InputError: for impossible shares, or if a part is left without a row.
    """
    if not (0 < val < 1 and 0 < test < 1 and val + test < 1):
        raise InputError(f"shares val={val} and test={test} of the guides: each above 0, their sum below 1")
    sizes = np.bincount(groups)
    order = np.random.default_rng(seed).permutation(len(sizes))
    before = np.cumsum(sizes[order]) - sizes[order]  # rows in the groups that come earlier
    part_of = np.empty(len(sizes), int)
    ends = np.round(np.array([test, test + val]) * len(groups))
    part_of[order] = np.searchsorted(ends, before, side="right")
    part = part_of[groups]
    rows = {name: np.flatnonzero(part == code) for code, name in ((2, "train"), (1, "val"), (0, "test"))}
    for name, found in rows.items():
        if len(found) == 0:
            raise InputError(f"val={val} and test={test} leave no {name} row of {len(groups)}: change them")
    return rows


# ------------------------------------------------------------------ tasks


def tasks(val: float = 0.1, test: float = 0.2, seed: int = 0, metric: str = "mse") -> list[Task]:
    """One regression task, `crispr`: the share of cells that a guide changes, from its context.

    Inputs are `[37]` token numbers of 5 (A C G T N are 0 to 4). The target is `total_indel_eff` in percent,
    standardised with the training rows: `mse` is in squared percentage points, `rmse` in percentage points.
    Contexts that are nearly the same, as those of overlapping sites are, are all in one part (see
    `groups_of`).

    Args:
        val: share of the guides for validation.
        test: share for testing.
        seed: of the split.
        metric: what tables show: `mse` as in the dissertation, `rmse`, `mae` or `r2`.

    Raises:
        InputError: for impossible shares, or if the file is not there or damaged.
    """
    rows = _read(DATASET, _XIANG)
    inputs = encode([context for context, _ in rows])
    parts = split_groups(groups_of(inputs, _FIRST), val, test, seed)
    return [_task("crispr", inputs, [float(y) for _, y in rows], parts, metric)]


def cell_tasks(
    cells: Sequence[str] = CELLS, val: float = 0.1, test: float = 0.2, seed: int = 0, metric: str = "mse"
) -> list[Task]:
    """A regression task for each cell line, such as `crispr_hela`: how well a guide knocks genes out in it.

    Inputs are `[23]` token numbers of 5, the guide and its PAM. Targets are efficiencies from 0 to 1,
    standardised with the training rows of the cell line. Rows that repeat another are dropped. Guides are
    split once for all cell lines, so that no guide, nor one that is nearly the same, trains in one and
    tests in another (see `groups_of`).

    Args:
        cells: some of hct116, hek293t, hela and hl60.
        val: share of the guides for validation.
        test: share for testing.
        seed: of the split.
        metric: what tables show: `mse`, `rmse`, `mae` or `r2`.

    Raises:
        InputError: for impossible shares, unknown cell lines, or if the file is not there or damaged.
    """
    for cell in cells:
        if cell not in CELLS:
            raise InputError(f"unknown cell line {cell!r}, {did_you_mean(cell, CELLS)}")
    rows = list(dict.fromkeys(_read(CELL_LINES, _CHUAI)))
    inputs = encode([guide for _, guide, _ in rows])
    parts = split_groups(groups_of(inputs, 0), val, test, seed)
    cell_of = np.array([cell for cell, _, _ in rows])
    efficiency = [float(y) for *_, y in rows]
    made = []
    for cell in cells:
        of_cell = {name: index[cell_of[index] == cell] for name, index in parts.items()}
        made.append(_task(f"crispr_{cell}", inputs, efficiency, of_cell, metric))
    return made


def _task(
    name: str, inputs: np.ndarray, y: Sequence[float], parts: dict[str, np.ndarray], metric: str
) -> Task:
    import torch

    from moduli.tasks.arrays import from_arrays

    x, target = torch.from_numpy(inputs), torch.tensor(y, dtype=torch.float64)
    train, val, test = ((x[parts[part]], target[parts[part]]) for part in ("train", "val", "test"))
    (task,) = from_arrays(
        name, *train, "regression", val_data=val, test_data=test, metric=metric, tokens=len(LETTERS)
    )
    return task


# ------------------------------------------------------------------ where they come from


def _read(dataset: Dataset, file: CacheFile) -> list[tuple[str, ...]]:
    if not file.place.exists():
        raise InputError(
            f"{file.place} is not there and cannot be downloaded: make it from {dataset.homepage} (see the "
            "documentation of moduli.data.crispr), or set MODULI_DATA to a folder that holds it"
        )
    return file.read()


def _never(downloads: Sequence[Path]) -> bytes:
    raise ValueError("it is not downloaded")


def _file(name: str, columns: Sequence[str], letters: int) -> CacheFile:
    return CacheFile(f"crispr/{name}.csv.gz", (), _never, partial(parse, columns=columns, letters=letters))


_XIANG = _file("crispron_xiang2021", ("context37", "total_indel_eff"), 37)
_CHUAI = _file("deepcrispr_ontarget", ("cell_line", "guide", "efficiency"), 23)

DATASET = Dataset(
    name="crispr",
    title="CRISPR guide efficiency (Xiang et al.)",
    about="regression on DNA sequences of 37 letters",
    samples=11_617,
    licence="CC BY 4.0 (that of the article)",
    citation="Xiang, X., Corsi, G., Anthon, C. et al. (2021). Enhancing CRISPR-Cas9 gRNA efficiency "
    "prediction by data integration and deep learning. Nature Communications 12:3238",
    homepage="https://doi.org/10.1038/s41467-021-23576-0",
    files=(),
    tasks=tasks,
    by_hand=(_XIANG.path,),
)

CELL_LINES = Dataset(
    name="deepcrispr",
    title="CRISPR guide efficiency in four cell lines (DeepCRISPR)",
    about="4 regressions on DNA sequences of 23 letters",
    samples=16_749,
    licence="Apache 2.0 (that of the repository)",
    citation="Chuai, G., Ma, H., Yan, J. et al. (2018). DeepCRISPR: optimized CRISPR guide RNA design by "
    "deep learning. Genome Biology 19:80",
    homepage="https://github.com/bm2-lab/DeepCRISPR",
    files=(),
    tasks=cell_tasks,
    by_hand=(_CHUAI.path,),
)
