"""CelebA: faces with forty attributes, one yes/no task for each; five landmarks as one regression more.

The data may not be passed on, so nothing is downloaded: the user puts them into one folder, in the form in
which they are published::

    celeba/img_align_celeba/000001.jpg ...      aligned images, 178×218
    celeba/list_attr_celeba.txt                 number of images, 40 names, then `000001.jpg -1  1 ...`
    celeba/list_eval_partition.txt              `000001.jpg 0`: 0 train, 1 val, 2 test
    celeba/list_landmarks_align_celeba.txt      number of images, 10 names, then pixel coordinates
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from moduli.data.cache import Dataset, folder
from moduli.errors import InputError, MissingExtra, did_you_mean

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import Tensor

    from moduli.tasks import Task

HOMEPAGE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
IMAGES, ATTRIBUTES = "img_align_celeba", "list_attr_celeba.txt"
PARTITION, LANDMARKS = "list_eval_partition.txt", "list_landmarks_align_celeba.txt"
SPLITS = ("train", "val", "test")

NORMALISATIONS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "inception": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "unit": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
"""What is taken from the red, green and blue of an image in [0, 1], and what the rest is divided by."""


def tasks(
    root: str | Path | None = None,
    size: int = 224,
    attributes: Sequence[str] | None = None,
    landmarks: bool = False,
    limit: int | None = None,
    normalize: str = "imagenet",
    workers: int = 0,
) -> list[Task]:
    """One binary task for each attribute; all read one input, called `celeba`: `[3, size, size]`.

    Images are read from their files when a batch needs them. The published partition decides the split; the
    images of one person are in one part only.

    Args:
        root: the folder with the files; `celeba` in the data folder if None.
        size: side to which images are resized, both ways alike, so that faces become a fifth wider.
        attributes: names of those wanted, such as `["Smiling", "Young"]`; all forty if None.
        landmarks: adds a regression task `landmarks`: x and y of both eyes, the nose and both corners of the
            mouth, each as its distance from the mean place in the training images, all ten divided by one
            deviation. Its metrics are in pixels of the aligned images.
        limit: at most about so many images in all, the first ones of each part in proportion.
        normalize: "imagenet" (its channels' mean and deviation), "inception" ([-1, 1]) or "unit" ([0, 1]).
        workers: processes that read images ahead; 0 reads them in this process.

    Raises:
        InputError: if a file is missing or damaged, or an option is impossible. A damaged image is found when
            it is read.
        MissingExtra: if Pillow is not installed.
    """
    _check_options(size, limit, normalize, workers)
    _pillow()
    from moduli.tasks import Binary, Data, DatasetSource, Regression, Task

    place = folder() / "celeba" if root is None else Path(root).expanduser()
    labels, partition = _read(place / ATTRIBUTES), _read(place / PARTITION, ["part"])
    names = _choose(attributes, list(labels.columns))
    if not labels.isin([-1, 1]).all(axis=None):
        raise _damaged(place / ATTRIBUTES, "a label is neither 1 nor -1")
    rows = _split(_like(labels, partition, place / PARTITION)["part"].to_numpy(), limit, place / PARTITION)
    files = labels.index.to_numpy(dtype=str)
    _check_images(place, files[np.concatenate(list(rows.values()))])

    kinds: dict[str, Any] = {name: Binary() for name in names}
    columns: dict[str, int | slice] = {name: column for column, name in enumerate(names)}
    targets = (labels[names].to_numpy() > 0).astype(np.float32)
    if landmarks:
        table = _like(labels, _read(place / LANDMARKS), place / LANDMARKS)
        offsets, deviation = _standardised(table.to_numpy(np.float64), rows["train"])
        kinds["landmarks"] = Regression(dims=offsets.shape[1], scale=deviation)
        columns["landmarks"] = slice(len(names), None)
        targets = np.concatenate([targets, offsets], axis=1, dtype=np.float32)

    def source(part: str) -> DatasetSource:
        index = rows[part]
        faces: Any = Faces(place / IMAGES, files[index], targets[index], columns, size, normalize)
        return DatasetSource(faces, list(kinds), workers, faces.collate)

    data = Data("celeba", (3, size, size), source("train"), source("val"), source("test"))
    return [Task(name, kind, data) for name, kind in kinds.items()]


def _standardised(positions: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, float]:
    """Distances from the mean of the training rows, in deviations; and that deviation in pixels."""
    offsets = positions - positions[train].mean(0)
    deviation = float(offsets[train].std()) or 1.0
    return offsets / deviation, deviation


# ------------------------------------------------------------------ images


class Faces:
    """Images and targets as a map-style data set: an item is `(image [3, size, size], targets [columns])`.

    Args:
        images: the folder of the image files.
        files: their names.
        targets: `[N, columns]`, those of all tasks side by side.
        columns: which of them belong to each task.
        size: side to which images are resized.
        normalize: a word of `NORMALISATIONS`.
    """

    def __init__(
        self,
        images: Path,
        files: np.ndarray,
        targets: np.ndarray,
        columns: Mapping[str, int | slice],
        size: int,
        normalize: str,
    ):
        self.images, self.files, self.targets, self.columns = images, files, targets, columns
        mean, deviation = (np.array(x, np.float32)[:, None, None] for x in NORMALISATIONS[normalize])
        self.size, self._factor, self._shift = size, 1.0 / (255.0 * deviation), -mean / deviation

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        import torch

        pixels = _pixels(self.images / str(self.files[index]), self.size)
        image = np.ascontiguousarray(pixels.transpose(2, 0, 1)) * self._factor + self._shift
        return torch.from_numpy(image), torch.from_numpy(self.targets[index])

    def collate(self, items: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, dict[str, Tensor]]:
        """Items as a batch: images `[B, 3, size, size]`, and targets by task."""
        import torch

        images, targets = zip(*items, strict=True)
        rows = torch.stack(targets)
        return torch.stack(images), {task: rows[:, column] for task, column in self.columns.items()}


def _pixels(path: Path, size: int) -> np.ndarray:
    """An image file as `[size, size, 3]` uint8."""
    Image = _pillow()
    try:
        with Image.open(path) as image:
            resized = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        reason = reason.replace(f" {str(path)!r}", "")
        raise InputError(f"cannot read the image {path} ({reason}): put it there anew") from None
    return np.array(resized)


def _pillow() -> Any:
    """Pillow's module `Image`."""
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtra("reading CelebA's images", "pillow", "images") from None
    return Image


def _check_images(place: Path, files: np.ndarray) -> None:
    """Raises `InputError` unless all images are there."""
    there = set(os.listdir(place / IMAGES)) if (place / IMAGES).is_dir() else set()
    missing = [str(file) for file in files if file not in there]
    if len(missing) == len(files):
        raise _missing(place / IMAGES)
    if missing:
        raise InputError(
            f"CelebA: {len(missing)} of {len(files)} images are not in {place / IMAGES}, the first of them "
            f"{missing[0]}: put them there, or take fewer (limit)"
        )


# ------------------------------------------------------------------ lists


def _read(path: Path, columns: Sequence[str] | None = None) -> DataFrame:
    """A list of whole numbers, a row for each image, its file name as the index.

    Args:
        path: of the text file.
        columns: their names; if None, the first line has the number of images, the second the names.
    """
    import pandas as pd

    try:
        with open(path, encoding="utf-8") as file:
            count = int(next(file)) if columns is None else None
            names = next(file).split() if columns is None else list(columns)
        types: Any = {0: str} | dict.fromkeys(range(1, len(names) + 1), np.int16)
        table = pd.read_csv(path, sep=r"\s+", header=None, dtype=types, skiprows=2 if columns is None else 0)
    except FileNotFoundError:
        raise _missing(path) from None
    except (OSError, ValueError, StopIteration) as error:
        raise _damaged(path, (str(error) or "it ends too early").splitlines()[0]) from None
    if table.shape[1] != len(names) + 1:
        raise _damaged(path, f"its lines have {table.shape[1] - 1} numbers, for {len(names)} names")
    table = table.set_axis(["file", *names], axis=1).set_index("file")
    if count is not None and count != len(table):
        raise _damaged(path, f"it speaks of {count} images and has {len(table)}")
    if table.index.has_duplicates:
        raise _damaged(path, f"it has {table.index[table.index.duplicated()][0]} twice")
    return table


def _like(labels: DataFrame, table: DataFrame, path: Path) -> DataFrame:
    """The rows of `table`, read from `path`, in the order of `labels`."""
    if table.index.equals(labels.index):
        return table
    missing = labels.index[~labels.index.isin(table.index)]
    if len(missing):
        raise _damaged(path, f"it has no line for {missing[0]}")
    return table.loc[labels.index]


def _split(part: np.ndarray, limit: int | None, path: Path) -> dict[str, np.ndarray]:
    """The rows of train, val and test; `part [N]` is 0, 1 or 2."""
    if not np.isin(part, (0, 1, 2)).all():
        raise _damaged(path, "a part is neither 0, 1 nor 2")
    share = 1.0 if limit is None else min(1.0, limit / len(part))
    rows = {name: np.flatnonzero(part == number) for number, name in enumerate(SPLITS)}
    for name, index in rows.items():
        if not len(index):
            raise _damaged(path, f"no image is in the part {SPLITS.index(name)}, {name}")
    return {name: index[: max(1, round(share * len(index)))] for name, index in rows.items()}


# ------------------------------------------------------------------ what can be wrong


def _choose(attributes: Sequence[str] | None, names: list[str]) -> list[str]:
    chosen = names if attributes is None else list(attributes)
    for name in chosen:
        if name not in names:
            raise InputError(f"unknown attribute {name!r} of CelebA, {did_you_mean(name, names)}")
    if not chosen or len(set(chosen)) < len(chosen):
        raise InputError(f"attributes is {chosen}: give at least one, each once")
    return chosen


def _check_options(size: int, limit: int | None, normalize: str, workers: int) -> None:
    least = {"size": (size, 1), "workers": (workers, 0), "limit": (1 if limit is None else limit, 1)}
    for name, (value, lowest) in least.items():
        if not (isinstance(value, int) and value >= lowest):
            raise InputError(f"CelebA: {name} is {value!r}: give a whole number of at least {lowest}")
    if normalize not in NORMALISATIONS:
        raise InputError(f"CelebA: normalize is {normalize!r}: {did_you_mean(normalize, NORMALISATIONS)}")


def _missing(path: Path) -> InputError:
    return InputError(
        f"no {path}: CelebA may not be passed on, so download it by hand from {HOMEPAGE} and put {IMAGES}/ "
        f"and the lists (list_*.txt) into {path.parent}"
    )


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"{path} is damaged ({reason}): put it there anew from {HOMEPAGE}")


DATASET = Dataset(
    name="celeba",
    title="CelebFaces Attributes (CelebA)",
    about="40 yes/no attributes of faces, 178×218 images; 5 landmarks",
    samples=202_599,
    licence="non-commercial research only, not to be passed on",
    citation="Liu, Z., Luo, P., Wang, X. & Tang, X. (2015). Deep learning face attributes in the wild. "
    "ICCV 2015, 3730-3738",
    homepage=HOMEPAGE,
    files=(),
    by_hand=tuple(f"celeba/{name}" for name in (ATTRIBUTES, PARTITION, IMAGES)),
    tasks=tasks,
)
