"""Thirty linear regressions in three groups (Kang, Grauman & Sha 2011; dissertation, 8.5).

Within a group the weight vectors are parallel: task t of group g has w_t = a_t b_g, with a_t > 0. There are
20 inputs and no intercept, and 15 training samples are fewer than the weights of a task, so that no task
can be solved alone. The noisy outputs have Gaussian noise of variance 0.1 on top, in training and test
samples alike.

In the data folder lie the published arrays, `mtl_classic/kang2011_synthetic.npz`: `train_X` `[30, 15, 20]`,
`train_Y` and `noisy_train_Y` `[30, 15]`, `test_X` `[30, 50, 20]`, `test_Y` and `noisy_test_Y` `[30, 50]`;
tasks 1-10, 11-20 and 21-30 are the groups. Where the file is absent, data of the same kind are generated,
and the tasks are called `kang_generated_01` and so on.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from moduli.data.cache import CacheFile, Dataset, Remote
from moduli.data.unpickle import load_arrays
from moduli.errors import InputError

if TYPE_CHECKING:
    from moduli.tasks import Task

TASKS, GROUPS, INPUTS, TRAIN, TEST = 30, 3, 20, 15, 50
NOISE = 0.1
"""Variance of the noise."""

_SHAPES = {
    "train_X": (TASKS, TRAIN, INPUTS),
    "train_Y": (TASKS, TRAIN),
    "noisy_train_Y": (TASKS, TRAIN),
    "test_X": (TASKS, TEST, INPUTS),
    "test_Y": (TASKS, TEST),
    "noisy_test_Y": (TASKS, TEST),
}
_FOLDER = "https://raw.githubusercontent.com/leaf-ai/muir/cd1e3042b94db7f50041fe12fd14dd6e0d4e448a/datasets/synthetic/"


def groups() -> list[int]:
    """The true group of each of the thirty tasks, in their order: ten times 0, ten times 1, ten times 2."""
    return [task * GROUPS // TASKS for task in range(TASKS)]


def generate(seed: int = 0) -> dict[str, np.ndarray]:
    """Arrays of the same kind as the published ones, which look like this:

    inputs uniform on [-1, 1], other ones for each task; b_g ~ N(0, I); a_t = |N(0, 1)|; y = w_t x; noise
    N(0, 0.1). The law of the published a_t is not known, only that they are positive and that the norms of
    their weight vectors lie between 0.2 and 8.2.
    """
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((GROUPS, INPUTS))
    scale = np.abs(rng.standard_normal(TASKS))
    weights = scale[:, None] * directions[groups()]
    arrays = {}
    for part in ("train", "test"):
        x = rng.uniform(-1, 1, _SHAPES[f"{part}_X"])
        y = np.einsum("tni,ti->tn", x, weights)
        noise = np.sqrt(NOISE) * rng.standard_normal(y.shape)
        arrays |= {f"{part}_X": x, f"{part}_Y": y, f"noisy_{part}_Y": y + noise}
    return arrays


# ------------------------------------------------------------------ from the published form to ours


def _build(downloads: Sequence[Path]) -> bytes:
    """The arrays from pickle files (of Python 2) of lists of thirty arrays each."""
    arrays = {}
    for name, path in zip(_SHAPES, downloads, strict=True):
        with path.open("rb") as file:
            arrays[name] = np.stack([np.asarray(x, float) for x in load_arrays(file, "latin1")])
    out = io.BytesIO()
    shaped = {name: x.reshape(_SHAPES[name]) for name, x in arrays.items()}
    np.savez_compressed(out, allow_pickle=False, **shaped)
    return out.getvalue()


def parse(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of the data file. Checks their shapes, and that the tasks of a group have parallel weights.

    Raises:
        ValueError: if either is not so; zipfile.BadZipFile and others if it is no such file.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in _SHAPES}
    for name, shape in _SHAPES.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{name} has the shape {arrays[name].shape}")
    directions = weights_of(arrays)
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    same = np.equal.outer(groups(), groups())
    if not np.allclose((directions @ directions.T)[same], 1, atol=1e-6):
        raise ValueError("its tasks are not three groups of parallel weights")
    return arrays


def weights_of(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The true weights of the tasks, `[30, 20]`, from the noiseless test samples, by least squares."""
    pairs = zip(arrays["test_X"], arrays["test_Y"], strict=True)
    return np.stack([np.linalg.lstsq(x, y, rcond=None)[0] for x, y in pairs])


# ------------------------------------------------------------------ tasks


def tasks(noisy: bool = True, val: int = 5, seed: int = 301) -> list[Task]:
    """Thirty regressions of 20 inputs, `kang_01` to `kang_30`, each on an input of its own.

    Outputs are not standardised (their kind has mean 0 and scale 1): the true functions have no intercept,
    and a model without one must be able to fit them. The metric is `rmse`; the figure of the papers is its
    mean over the tasks.

    Args:
        noisy: whether the outputs have noise; the noiseless ones have the same inputs and weights.
        val: training samples of each task that are withheld for validation. 0 validates on the training
            samples: then all 15 train, as in the older work, and nothing is known of overfitting.
        seed: of the draw of those samples. By the generator of the published code of the dissertation, and
            with its seed, so that 301 and 5 withhold the samples that it withholds: the same places in all
            tasks. Where data are generated, it seeds them, too.

    Raises:
        InputError: if `val` is not 0 to 14, or the file is damaged.
    """
    if not (isinstance(val, int) and 0 <= val < TRAIN):
        raise InputError(f"val of the Kang data is {val!r}: give a number of samples from 0 to {TRAIN - 1}")
    (file,) = DATASET.files
    published = file.place.exists()
    arrays = file.read() if published else generate(seed)
    name = "kang_{:02d}" if published else "kang_generated_{:02d}"
    held_out = np.random.RandomState(seed).choice(TRAIN, size=val, replace=False)
    rows = {"train": np.setdiff1d(np.arange(TRAIN), held_out), "val": held_out if val else np.arange(TRAIN)}
    return [
        _task(name.format(t + 1), {n: x[t] for n, x in arrays.items()}, noisy, rows) for t in range(TASKS)
    ]


def _task(name: str, arrays: dict[str, np.ndarray], noisy: bool, rows: dict[str, np.ndarray]) -> Task:
    import torch

    from moduli.tasks import Data, Regression, Task, TensorSource

    def source(part: str, index: np.ndarray) -> TensorSource:
        x, y = arrays[f"{part}_X"][index], arrays[f"{'noisy_' if noisy else ''}{part}_Y"][index]
        return TensorSource(torch.from_numpy(x).float(), {name: torch.from_numpy(y).float()})

    train, val = source("train", rows["train"]), source("train", rows["val"])
    return Task(name, Regression(), Data(name, (INPUTS,), train, val, source("test", np.arange(TEST))))


DATASET = Dataset(
    name="kang",
    title="Synthetic tasks in three groups (Kang et al.)",
    about="30 linear regressions of 20 inputs in 3 groups",
    samples=TASKS * (TRAIN + TEST),
    licence="none stated; shared by its authors for research, cite the paper",
    citation="Kang, Z., Grauman, K. & Sha, F. (2011). Learning with whom to share in multi-task feature "
    "learning. ICML 2011:521-528",
    homepage="http://zhuoliang.me/research.html",
    files=(
        CacheFile(
            "mtl_classic/kang2011_synthetic.npz",
            (tuple(Remote(f"{_FOLDER}{name}.pkl") for name in _SHAPES),),
            _build,
            parse,
        ),
    ),
    tasks=tasks,
)
