"""Ten digits as ten tasks, one against the rest: small splits of MNIST and USPS (Kang, Grauman & Sha 2011).

Of each set there are 1,000 training, 500 validation and 500 test images, as 87 (MNIST) or 64 (USPS) principal
components, which hold about 95 % of the variance. The papers have several such splits; this is their first.
Classes are numbered 1 to 10; which digit a number stands for is not known here.

In the data folder lie `mtl_classic/kang2011_mnist_split1.npz` and `mtl_classic/kang2011_usps_split1.npz`:
`X_train`, `X_valid`, `X_test`, float32 with a row for each image, and `y_train`, `y_valid`, `y_test`, 1-10.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from moduli.data.cache import CacheFile, Dataset, Remote
from moduli.data.matlab import load_mat, whole
from moduli.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from moduli.tasks import Task

TASKS = 10
SIZES = {"train": 1000, "valid": 500, "test": 500}
INPUTS = {"mnist": 87, "usps": 64}

_COMMITS = {
    "mnist": "a78e0abe195d7e656f19abb7a5c6c4fd8fd8cb30",
    "usps": "5e0988f195cd46e169f3d9993b6d42c56455e613",
}


# ------------------------------------------------------------------ from the published form to ours


def _build(downloads: Sequence[Path]) -> bytes:
    """The arrays from a MATLAB file with `digit_trainx`, `digit_trainy` and so on."""
    (path,) = downloads
    names = [(part, letter) for part in SIZES for letter in "xy"]
    found = load_mat(path, [f"digit_{part}{letter}" for part, letter in names])
    made = {}
    for (part, letter), values in zip(names, found, strict=True):
        made[f"{'X' if letter == 'x' else 'y'}_{part}"] = (
            values.astype(np.float32) if letter == "x" else whole(values.ravel(), f"y of {part}")
        )
    out = io.BytesIO()
    np.savez_compressed(out, allow_pickle=False, **made)
    return out.getvalue()


def parse(content: bytes, inputs: int) -> dict[str, np.ndarray]:
    """The arrays of a data file with so many inputs.

    Raises:
        ValueError: if shapes are others, a number is not finite, or the classes of a part are not 1 to 10;
            zipfile.BadZipFile and others if it is no such file.
    """
    shapes = {f"X_{part}": (n, inputs) for part, n in SIZES.items()}
    shapes |= {f"y_{part}": (n,) for part, n in SIZES.items()}
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        found = {name: file[name] for name in shapes}
    for name, shape in shapes.items():
        if found[name].shape != shape:
            raise ValueError(f"{name} has the shape {found[name].shape}")
        if not np.isfinite(found[name]).all():
            raise ValueError(f"{name} is not finite")
        if name.startswith("y") and not np.array_equal(np.unique(found[name]), np.arange(1, TASKS + 1)):
            raise ValueError(f"{name} does not hold the classes 1 to {TASKS}")
    return found


# ------------------------------------------------------------------ arrays and tasks


def arrays(name: str) -> dict[str, np.ndarray]:
    """One of the sets, for methods that take arrays; downloaded if it is not there.

    `X_train` `[1000, d]`, `X_valid` `[500, d]`, `X_test` `[500, d]`: the inputs, d = 87 or 64, which all
    tasks share. `Y_train` `[1000, 10]`, `Y_valid`, `Y_test`: 1 where the image is of the class of the column,
    -1 where it is of another.

    Args:
        name: `mnist` or `usps`.

    Raises:
        InputError: if the name is unknown, or the file is damaged, cannot be fetched or written.
    """
    if name not in DATASETS:
        raise InputError(f"unknown set of digits {name!r}, {did_you_mean(name, DATASETS)}")
    dataset = DATASETS[name]
    found = dataset.read(dataset.files[0])
    codes = np.arange(1, TASKS + 1)
    made = {f"X_{part}": found[f"X_{part}"].astype(float) for part in SIZES}
    made |= {f"Y_{part}": np.where(found[f"y_{part}"][:, None] == codes, 1, -1) for part in SIZES}
    return made


def tasks(name: str) -> list[Task]:
    """Ten binary tasks, such as `mnist_class_01` to `mnist_class_10`, all on one input.

    The published split; inputs are not scaled (principal components of images have one scale).

    Args:
        name: `mnist` or `usps`.

    Raises:
        InputError: if the name is unknown, or the file is damaged, cannot be fetched or written.
    """
    from moduli.tasks.arrays import from_arrays

    data = arrays(name)

    def part(key: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        columns = (data[f"Y_{key}"] == 1).T
        return data[f"X_{key}"], {f"{name}_class_{i:02d}": y for i, y in enumerate(columns, 1)}

    train, valid, test = map(part, SIZES)
    return from_arrays(f"kang_{name}", *train, "binary", val_data=valid, test_data=test)


def _dataset(name: str) -> Dataset:
    path = f"data/{name}_digits/split1_{name}_1000train.mat"
    url = f"https://raw.githubusercontent.com/tjanez/PyMTL/{_COMMITS[name]}/{path}"
    return Dataset(
        name=f"kang_{name}",
        title=f"{name.upper()} digits, a small split (Kang et al.)",
        about=f"10 classes, one against the rest, from {INPUTS[name]} numbers",
        samples=sum(SIZES.values()),
        licence="none stated; shared by its authors for research, cite the paper",
        citation="Kang, Z., Grauman, K. & Sha, F. (2011). Learning with whom to share in multi-task feature "
        "learning. ICML 2011:521-528",
        homepage="http://zhuoliang.me/research.html",
        files=(
            CacheFile(
                f"mtl_classic/kang2011_{name}_split1.npz",
                ((Remote(url),),),
                _build,
                partial(parse, inputs=INPUTS[name]),
            ),
        ),
        tasks=partial(tasks, name),
    )


DATASETS = {name: _dataset(name) for name in INPUTS}
"""The two sets by their short name; `moduli.data.load` knows them as `kang_mnist` and `kang_usps`."""
