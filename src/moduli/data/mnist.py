"""MNIST: ten classes of digits, or pairs of digits as binary tasks (soft layer ordering, 4.1 and A.1)."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from moduli.data.cache import CacheFile, Dataset, Remote
from moduli.errors import InputError

if TYPE_CHECKING:
    from moduli.tasks import Crop, Task, TensorSource

Part = tuple[np.ndarray, np.ndarray]
"""Images `[N, 28, 28]` uint8 and digits `[N]` of one part of the data."""

# The page of its makers comes last: it has refused downloads for years.
_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "http://yann.lecun.com/exdb/mnist/",
)
# MD5 of the uncompressed files: mirrors may compress them in their own way.
_FILES = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


def parse(content: bytes, md5: str) -> np.ndarray:
    """The array in a gzipped idx file: images `[N, 28, 28]` or labels `[N]`, uint8.

    Raises:
        ValueError: if the uncompressed file has not the given MD5.
        OSError, EOFError: if it is no complete gzip file.
    """
    data = gzip.decompress(content)
    if hashlib.md5(data, usedforsecurity=False).hexdigest() != md5:
        raise ValueError("its content has not the known MD5")
    axes = data[3]
    shape = np.frombuffer(data, ">i4", count=axes, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)


def _as_is(downloads: Sequence[Path]) -> bytes:
    (path,) = downloads
    return path.read_bytes()


def tasks(
    pairs: Sequence[tuple[int, int]] | None = None,
    val: float | Literal["test"] = 1 / 6,
    seed: int = 0,
    flat: bool = True,
    augment: bool = False,
) -> list[Task]:
    """One task with ten classes, or one binary task for each pair of digits.

    The test part is the official one, restricted to the two digits of a pair. The validation part is taken
    from the official training part, stratified by digit, the same images in every task.

    Args:
        pairs: of different digits, such as `[(3, 8), (0, 1)]`; the label is 1 for the second digit. None for
            the task with ten classes. A pair may occur twice: its tasks then have inputs, and encoders, of
            their own.
        val: share of the training part for validation; or "test" to train on all of it and validate on the
            test part, as the paper does. Figures of models selected on it are then held-out, not test,
            figures.
        seed: of the validation split.
        flat: inputs `[784]` if true, else `[1, 28, 28]`; both in [0, 1].
        augment: whether training images are padded by one pixel and cut to 28×28 at a random place, as in Ha,
            Dai & Le (2017). Not for flat inputs.

    Raises:
        InputError: for an impossible pair or share, flat inputs with augmentation, or if a file is damaged
            or cannot be fetched.
    """
    if pairs is not None and not pairs:
        raise InputError("no pairs of MNIST digits: give at least one, or None for ten classes")
    if flat and augment:
        raise InputError("MNIST with augment=True needs images: give flat=False, too")
    for pair in pairs or ():
        _check_pair(pair)
    parts = _parts(val, seed)
    if pairs is None:
        return [_task("mnist", None, parts, flat, augment)]
    named = []
    for pair in pairs:
        name = f"mnist_{pair[0]}v{pair[1]}"
        before = sum(tuple(pair) == tuple(other) for other in pairs[: len(named)])
        named.append((f"{name}_{before + 1}" if before else name, pair))
    return [_task(name, pair, parts, flat, augment) for name, pair in named]


def draw_pairs(n: int, seed: int = 0) -> list[tuple[int, int]]:
    """`n` random pairs of digits, smaller first: two different digits each, and pairs may repeat (A.1).

    Raises:
        InputError: if `n` is no whole number of at least 1.
    """
    if not (isinstance(n, int) and n >= 1):
        raise InputError(f"{n!r} pairs of digits: give a whole number of at least 1")
    generator = np.random.default_rng(seed)
    drawn = [sorted(generator.choice(10, size=2, replace=False).tolist()) for _ in range(n)]
    return [(first, second) for first, second in drawn]


def pair_tasks(
    n: int = 10, seed: int = 0, val: float | Literal["test"] = 1 / 6, flat: bool = True
) -> list[Task]:
    """`n` binary tasks on pairs of digits drawn by `seed`; see `draw_pairs` and `tasks`."""
    return tasks(draw_pairs(n, seed), val=val, seed=seed, flat=flat)


def _check_pair(pair: Sequence[int]) -> None:
    if len(pair) != 2 or pair[0] == pair[1] or not all(digit in range(10) for digit in pair):
        raise InputError(f"{list(pair)} is not a pair of digits: give two different digits from 0 to 9")


def _parts(val: float | Literal["test"], seed: int) -> dict[str, Part]:
    """Train, val and test."""
    if val != "test" and not (isinstance(val, float) and 0 < val < 1):
        raise InputError(f"val of MNIST is {val!r}: give a share between 0 and 1, or 'test'")
    images, digits, test_images, test_digits = (DATASET.read(file) for file in DATASET.files)
    test = test_images, test_digits
    if val == "test":
        return {"train": (images, digits), "val": test, "test": test}
    from moduli.tasks.splits import stratified_split

    rows = stratified_split(digits[:, None], val, "val", seed)
    return {
        "train": (images[rows.train], digits[rows.train]),
        "val": (images[rows.val], digits[rows.val]),
        "test": test,
    }


def _task(name: str, pair: Sequence[int] | None, parts: dict[str, Part], flat: bool, augment: bool) -> Task:
    from moduli.tasks import Binary, Crop, Data, Multiclass, Task

    kind = Multiclass(10) if pair is None else Binary()
    train, val, test = (
        _source(name, pair, parts[split], flat, Crop(1) if augment and split == "train" else None)
        for split in ("train", "val", "test")
    )
    return Task(name, kind, Data(name, (784,) if flat else (1, 28, 28), train, val, test))


def _source(
    name: str, pair: Sequence[int] | None, part: Part, flat: bool, augment: Crop | None
) -> TensorSource:
    import torch

    from moduli.tasks import TensorSource

    images, digits = part
    if pair is None:
        targets = torch.from_numpy(digits.astype(np.int64))
    else:
        rows = np.isin(digits, pair)
        images, targets = images[rows], torch.from_numpy(np.float32(digits[rows] == pair[1]))
    inputs = torch.from_numpy(images.astype(np.float32)).div_(255)
    return TensorSource(inputs.flatten(1) if flat else inputs.unsqueeze(1), {name: targets}, augment)


DATASET = Dataset(
    name="mnist",
    title="MNIST handwritten digits",
    about="10 classes of 28×28 images, or pairs of digits",
    samples=70_000,
    licence="CC BY-SA 3.0 (as usually stated)",
    citation="LeCun, Y., Bottou, L., Bengio, Y. & Haffner, P. (1998). Gradient-based learning applied to "
    "document recognition. Proceedings of the IEEE 86(11):2278-2324",
    homepage="http://yann.lecun.com/exdb/mnist/",
    files=tuple(
        CacheFile(
            f"mnist/{name}.gz",
            tuple((Remote(f"{mirror}{name}.gz"),) for mirror in _MIRRORS),
            _as_is,
            partial(parse, md5=md5),
        )
        for name, md5 in _FILES.items()
    ),
    tasks=tasks,
)
