"""Omniglot: handwritten characters of fifty alphabets, one task for each alphabet.

In the data folder all drawings lie in one file, `omniglot_105.npz`, a row for each, sorted by alphabet (30
background, then 20 evaluation alphabets, each by name), character and drawer: `images` (packed bits,
1 = ink), `shape`, `alphabet`, `character` (from 1 inside its alphabet), `character_id`, `drawer`, `split`
and `alphabet_names`.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from moduli.data.cache import CacheFile, Dataset, Remote
from moduli.errors import InputError, MissingExtra, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

    from moduli.tasks import Task

SIZE = 105
DRAWERS = 20
SPLITS = {"50/20/30": (10, 4, 6), "80/20": (16, 0, 4), "90/10": (18, 0, 2)}
"""Drawings of each character for training, validation and testing."""

_PYTHON = "https://github.com/brendenlake/omniglot/raw/master/python/"
_MEMBER = re.compile(r"images_(background|evaluation)/([^/]+)/character(\d+)/(\d+)_(\d+)\.png")


# ------------------------------------------------------------------ from the published form to ours


class _Drawing(NamedTuple):
    """Where a drawing is and what it shows; sorts in the order of the rows."""

    split: int
    alphabet: str
    character: int
    drawer: int
    character_id: int
    member: str


def pack(archives: Sequence[Path]) -> dict[str, np.ndarray]:
    """The arrays of the data file from the published archives of PNG files (white paper, black ink).

    Raises:
        MissingExtra: if Pillow is not installed.
        ValueError: if there is no drawing, or one has another size than 105×105.
    """
    found: list[tuple[_Drawing, np.ndarray]] = []
    for path in archives:
        with zipfile.ZipFile(path) as archive:
            found += [(drawing, _ink(archive.read(drawing.member))) for drawing in _drawings(archive)]
    if not found:
        raise ValueError("no drawings in it")
    found.sort(key=lambda pair: pair[0])
    drawings = [drawing for drawing, _ in found]
    names = sorted({(drawing.split, drawing.alphabet) for drawing in drawings})
    numbers = {name: i for i, name in enumerate(names)}
    return {
        "images": np.stack([ink for _, ink in found]),
        "shape": np.array([SIZE, SIZE], np.int32),
        "alphabet": np.array([numbers[d.split, d.alphabet] for d in drawings], np.uint8),
        "character": np.array([d.character for d in drawings], np.uint8),
        "character_id": np.array([d.character_id for d in drawings], np.uint16),
        "drawer": np.array([d.drawer for d in drawings], np.uint8),
        "split": np.array([d.split for d in drawings], np.uint8),
        "alphabet_names": np.array([alphabet for _, alphabet in names]),
    }


def _drawings(archive: zipfile.ZipFile) -> list[_Drawing]:
    matches = [match for name in archive.namelist() if (match := _MEMBER.fullmatch(name))]
    return [
        _Drawing(int(m[1] == "evaluation"), m[2], int(m[3]), int(m[5]), int(m[4]), m.string) for m in matches
    ]


def _ink(png: bytes) -> np.ndarray:
    """A drawing as packed bits, 1 = ink: `[1379]` uint8."""
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtra("reading Omniglot's PNG files", "pillow", "images") from None
    ink = np.asarray(Image.open(io.BytesIO(png)).convert("L")) < 128
    if ink.shape != (SIZE, SIZE):
        raise ValueError(f"a drawing of {ink.shape[0]}×{ink.shape[1]}")
    return np.packbits(ink.ravel())


def _build(downloads: Sequence[Path]) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, allow_pickle=False, **pack(downloads))
    return out.getvalue()


def parse(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of the data file, counted: 50 alphabets, 1,623 characters, 20 drawings of each.

    Raises:
        ValueError: if the counts differ; KeyError, zipfile.BadZipFile and others if it is no such file.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    rows = len(arrays["alphabet"])
    drawers = arrays["drawer"].reshape(-1, DRAWERS) if rows % DRAWERS == 0 else np.zeros((1, 1))
    characters = {(int(a), int(c)) for a, c in zip(arrays["alphabet"], arrays["character"], strict=True)}
    background = np.unique(arrays["character_id"][arrays["split"] == 0])
    counts = (rows, len(characters), len(background), len(arrays["alphabet_names"]))
    if counts != (32_460, 1623, 964, 50) or not (drawers == np.arange(1, DRAWERS + 1)).all():
        raise ValueError("it has not 50 alphabets, 1,623 characters and 20 drawings of each")
    if arrays["images"].shape != (rows, (SIZE * SIZE + 7) // 8):
        raise ValueError(f"its images have the shape {arrays['images'].shape}")
    return arrays


# ------------------------------------------------------------------ tasks


def tasks(
    alphabets: int | Sequence[str] = 20, seed: int = 0, size: int = SIZE, split: str = "50/20/30"
) -> list[Task]:
    """One task for each alphabet: which of its characters is it?

    Inputs are `[1, size, size]`, 1 = ink; at less than 105 each value is the mean of the pixels it covers.
    The twenty drawings of every character are divided at random, so that all characters have equally many in
    each part.

    Args:
        alphabets: the first so many of a random order of all fifty, which `seed` alone decides (A.3 of soft
            layer ordering), or their names.
        seed: of the order and the splits; keep it fixed over trials.
        size: side of the images, from 1 to 105. All fifty alphabets at 105 take 1.4 GB.
        split: "50/20/30" for 10 training, 4 validation and 6 test drawings of each character; "80/20" or
            "90/10" as in Yang & Hospedales 2017, without validation: the held-out drawings are then both
            `val` and `test`, so figures of models selected on them are held-out, not test, figures.

    Raises:
        InputError: for an impossible number, name, size or split, or if the file is damaged or cannot be
            fetched.
    """
    if split not in SPLITS:
        raise InputError(f"unknown split {split!r} of Omniglot, {did_you_mean(split, SPLITS)}")
    if not (isinstance(size, int) and 1 <= size <= SIZE):
        raise InputError(f"Omniglot images of size {size!r}: give 1 to {SIZE}")
    arrays = DATASET.read(DATASET.files[0])
    chosen = _choose(alphabets, arrays["alphabet_names"].tolist(), seed)
    return [_task(name, number, arrays, seed, size, SPLITS[split]) for number, name in chosen]


def _choose(alphabets: int | Sequence[str], names: list[str], seed: int) -> list[tuple[int, str]]:
    """Numbers and names of the chosen alphabets."""
    if isinstance(alphabets, int):
        if not 1 <= alphabets <= len(names):
            raise InputError(f"{alphabets} Omniglot alphabets: give 1 to {len(names)}")
        order = np.random.default_rng(seed).permutation(len(names))[:alphabets]
        return [(int(number), names[number]) for number in order]
    for name in alphabets:
        if name not in names:
            raise InputError(f"unknown alphabet {name!r} of Omniglot, {did_you_mean(name, names)}")
    return [(names.index(name), name) for name in alphabets]


def _task(
    name: str, number: int, arrays: Mapping[str, np.ndarray], seed: int, size: int, counts: Sequence[int]
) -> Task:
    import torch

    from moduli.tasks import Data, Multiclass, Task, TensorSource

    rows = np.flatnonzero(arrays["alphabet"] == number)
    images = _images(arrays["images"][rows], size)
    characters = torch.from_numpy(arrays["character"][rows].astype(np.int64)) - 1

    def source(index: np.ndarray) -> TensorSource:
        return TensorSource(images[index], {name: characters[index]})

    classes = len(rows) // DRAWERS
    train, val, test = split_rows(classes, counts, np.random.default_rng([seed, number]))
    held_out = source(test)
    data = Data(name, (1, size, size), source(train), source(val) if len(val) else held_out, held_out)
    return Task(name, Multiclass(classes), data)


def _images(packed: np.ndarray, size: int) -> Tensor:
    """Packed drawings `[N, 1379]` as images `[N, 1, size, size]`."""
    import torch
    from torch.nn.functional import adaptive_avg_pool2d

    pixels = np.unpackbits(packed, axis=1, count=SIZE * SIZE)
    images = torch.from_numpy(pixels).float().view(-1, 1, SIZE, SIZE)
    return adaptive_avg_pool2d(images, size) if size < SIZE else images


def split_rows(characters: int, counts: Sequence[int], generator: np.random.Generator) -> list[np.ndarray]:
    """Rows of train, val and test, as many drawings of each character as `counts` says.

    The rows are `characters` times 20 drawings.
    """
    drawers = generator.permuted(np.tile(np.arange(DRAWERS), (characters, 1)), axis=1)
    rows = drawers + DRAWERS * np.arange(characters)[:, None]
    return [part.ravel() for part in np.split(rows, np.cumsum(counts)[:2], axis=1)]


DATASET = Dataset(
    name="omniglot",
    title="Omniglot handwritten characters",
    about="50 alphabets of 14 to 55 characters, 105×105 images",
    samples=32_460,
    licence="MIT",
    citation="Lake, B., Salakhutdinov, R. & Tenenbaum, J. (2015). Human-level concept learning through "
    "probabilistic program induction. Science 350(6266):1332-1338",
    homepage="https://github.com/brendenlake/omniglot",
    files=(
        CacheFile(
            "omniglot_105.npz",
            (
                (
                    Remote(_PYTHON + "images_background.zip", "md5:68d2efa1b9178cc56df9314c21c6e718"),
                    Remote(_PYTHON + "images_evaluation.zip", "md5:6b91aef0f799c5bb55b94e3f2daec811"),
                ),
            ),
            _build,
            parse,
        ),
    ),
    tasks=tasks,
)
