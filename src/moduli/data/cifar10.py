"""CIFAR-10: ten classes of small colour images, cropped and flipped at random (dissertation, 8.7.1).

In the data folder all 60,000 images lie in one file, `cifar10/cifar10.npz`: `train_images` `[50000, 3, 32,
32]`, `test_images` `[10000, 3, 32, 32]`, `train_labels` and `test_labels`, all uint8.

Where that file is absent but a subset of 20,000 training and 5,000 test images is there, as JPEG files in
`cifar10/cifar10_jpeg_train.npz` and `cifar10/cifar10_jpeg_test.npz` (`jpeg`, all files one after another;
`offset`, where each begins; `label`), that is used. It is smaller and slightly altered, so errors cannot be
compared with published ones. The input of the task tells which it is: it is called `cifar10` or
`cifar10_jpeg_subset`.
"""

from __future__ import annotations

import io
import itertools
import re
import tarfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from moduli.data.cache import CacheFile, Dataset, Remote
from moduli.data.unpickle import load_arrays
from moduli.errors import InputError, MissingExtra

if TYPE_CHECKING:
    from torch import Tensor

    from moduli.tasks import Task

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""In the order of their numbers."""

SIZE = 32
MEAN, SCALE = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)
"""Of red, green and blue in the training images, from 0 to 255: what Zagoruyko & Komodakis normalise by."""

_SOURCE = Remote(
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz", "md5:c58f30108f718f92721af3b95e74349a"
)
_MEMBER = re.compile(r"(?:\./)?cifar-10-batches-py/(data_batch_[1-5]|test_batch)")


class Images(NamedTuple):
    """Images `[N, 3, 32, 32]` and labels `[N]` of one part, uint8."""

    images: np.ndarray
    labels: np.ndarray


# ------------------------------------------------------------------ from the published form to ours


def pack(archive: Path) -> dict[str, np.ndarray]:
    """The arrays of the data file from the published archive of pickle files.

    A pickle file can make the reader run anything. These are read by `moduli.data.unpickle`, which admits
    nothing but numpy arrays, and refuses the file otherwise.

    Raises:
        ValueError: if a batch is missing or no batch; tarfile.TarError, OSError, EOFError if it is damaged.
    """
    batches: dict[str, Images] = {}
    with tarfile.open(archive, "r|gz") as members:
        for member in members:
            found = _MEMBER.fullmatch(member.name)
            if found and (file := members.extractfile(member)) is not None:
                batch = load_arrays(file, encoding="bytes")
                images = np.asarray(batch[b"data"], np.uint8).reshape(-1, 3, SIZE, SIZE)
                batches[found[1]] = Images(images, np.asarray(batch[b"labels"], np.uint8))
    missing = {"test_batch", *(f"data_batch_{i}" for i in range(1, 6))} - batches.keys()
    if missing:
        raise ValueError(f"no {min(missing)} in it")
    train = [batches[name] for name in sorted(batches) if name != "test_batch"]
    return {
        "train_images": np.concatenate([part.images for part in train]),
        "train_labels": np.concatenate([part.labels for part in train]),
        "test_images": batches["test_batch"].images,
        "test_labels": batches["test_batch"].labels,
    }


def _build(downloads: Sequence[Path]) -> bytes:
    (archive,) = downloads
    out = io.BytesIO()
    try:
        np.savez(out, allow_pickle=False, **pack(archive))  # images hardly shrink
    except tarfile.TarError as error:
        raise ValueError(str(error)) from error
    return out.getvalue()


def parse(content: bytes, sizes: Sequence[int] = (50_000, 10_000)) -> tuple[Images, Images]:
    """The training and test images of the data file, counted.

    Raises:
        ValueError: if there are not as many as `sizes` says, equally many of each class; KeyError,
            zipfile.BadZipFile and others if it is no such file.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        train, test = (Images(file[f"{part}_images"], file[f"{part}_labels"]) for part in ("train", "test"))
    _check(train, sizes[0])
    _check(test, sizes[1])
    return train, test


def parse_jpeg(content: bytes, size: int) -> Images:
    """The images of one part of the subset, counted.

    Raises:
        MissingExtra: if Pillow is not installed.
        ValueError: as `parse`, also if one is no JPEG file of 32×32 pixels; KeyError and others as there.
    """
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtra("reading CIFAR-10's JPEG files", "pillow", "images") from None
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        data, ends, labels = file["jpeg"].tobytes(), file["offset"].tolist(), file["label"]
    pixels = [
        np.asarray(Image.open(io.BytesIO(data[start:end])).convert("RGB"))
        for start, end in itertools.pairwise(ends)
    ]
    images = Images(np.ascontiguousarray(np.stack(pixels).transpose(0, 3, 1, 2)), labels)
    _check(images, size)
    return images


def _check(part: Images, size: int) -> None:
    if part.images.shape != (size, 3, SIZE, SIZE) or part.images.dtype != np.uint8:
        raise ValueError(f"its images have the shape {part.images.shape}")
    if np.bincount(part.labels, minlength=10).tolist() != [size // 10] * 10:
        raise ValueError(f"it has not {size // 10:,} images of each class")


# ------------------------------------------------------------------ tasks


def tasks(val: float | int = 0.1, seed: int = 301, augment: bool = True) -> list[Task]:
    """One task with ten classes, `cifar10`, of images `[3, 32, 32]`.

    Channels are normalised by (125.3, 123.0, 113.9) and (63.0, 62.1, 66.7), of 0 to 255. In training,
    images are padded by 4 pixels as mirrors of themselves, flipped at random, and cut to 32×32 at a random
    place, as in Ha, Dai & Le (2017). The test part is the official one. As numbers the images take 0.7 GB
    of memory.

    Args:
        val: share, or number, of the training images for validation, drawn at random: 5,000 of 50,000.
        seed: of that draw. It is made by the generator of the published code of the dissertation, and with
            its seed: 301 gives, of the official images, the 5,000 that it withholds.
        augment: whether training images are flipped and cut.

    Raises:
        InputError: for an impossible share or number, or if a file is damaged or cannot be fetched.
    """
    from moduli.tasks import Chain, Crop, Data, Flip, Multiclass, Task, TensorSource

    name, train, test = _parts()
    count = len(train.labels)
    size = round(val * count) if isinstance(val, float) else val
    if not (isinstance(size, int) and 0 < size < count):
        raise InputError(f"val of CIFAR-10 is {val!r}: give a share, or a number of images below {count:,}")
    held_out = np.random.RandomState(seed).choice(count, size=size, replace=False)
    rest = np.setdiff1d(np.arange(count), held_out)
    change = Chain(Crop(4, mode="reflect"), Flip()) if augment else None
    parts = (Images(train.images[rows], train.labels[rows]) for rows in (rest, held_out))
    sources = [
        TensorSource(*_tensors(part), augment=a)
        for part, a in zip((*parts, test), (change, None, None), strict=True)
    ]
    return [Task("cifar10", Multiclass(10), Data(name, (3, SIZE, SIZE), *sources))]


def _parts() -> tuple[str, Images, Images]:
    """Name, training and test images: those of the whole set, or of the subset where only that is there."""
    (official,) = DATASET.files
    if official.place.exists() or not all(file.place.exists() for file in DATASET.stand_in):
        return "cifar10", *DATASET.read(official)
    train, test = (file.read() for file in DATASET.stand_in)
    return "cifar10_jpeg_subset", train, test


def _tensors(part: Images) -> tuple[Tensor, dict[str, Tensor]]:
    """Normalised images, and targets."""
    import torch

    mean, scale = (torch.tensor(x).view(3, 1, 1) for x in (MEAN, SCALE))
    images = torch.from_numpy(part.images).float().sub_(mean).div_(scale)
    return images, {"cifar10": torch.from_numpy(part.labels.astype(np.int64))}


DATASET = Dataset(
    name="cifar10",
    title="CIFAR-10",
    about="10 classes of 32×32 colour images",
    samples=60_000,
    licence="none stated; for research, cite the report",
    citation="Krizhevsky, A. (2009). Learning multiple layers of features from tiny images. Technical "
    "report, University of Toronto",
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
    files=(CacheFile("cifar10/cifar10.npz", ((_SOURCE,),), _build, parse),),
    tasks=tasks,
    stand_in=tuple(
        CacheFile(f"cifar10/cifar10_jpeg_{part}.npz", (), _build, partial(parse_jpeg, size=size))
        for part, size in (("train", 20_000), ("test", 5_000))
    ),
)
