"""What the CelebA scripts share: tasks and encoder of each scale, and a made-up folder of faces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from moduli import HuggingFaceEncoder, Task
from moduli.data import celeba
from moduli.errors import InputError, MissingExtra

RESNET50 = "microsoft/resnet-50"  # ImageNet weights
SIZES = {"cpu": [16, 32, 64, 128], "smoke": [8, 16]}  # channels of the stages of ResNets from scratch


def load(scale: str, folder: Path, landmarks: bool = False) -> list[Task]:
    """The tasks of a scale, for "smoke" made up in `folder`. Ends the program if the data are missing."""
    try:
        if scale == "smoke":
            root = made_up(folder / "celeba")
            return celeba.tasks(root, size=64, attributes=NAMES[:8], landmarks=landmarks)
        if scale == "cpu":
            return celeba.tasks(size=64, landmarks=landmarks, limit=10_000)
        return celeba.tasks(size=224, landmarks=landmarks, workers=8)
    except InputError as error:
        raise SystemExit(str(error)) from error


def encoder(scale: str, width: int | None = None) -> HuggingFaceEncoder:
    """ResNet-50 with its ImageNet weights, or from scratch a small ResNet (cpu) or a tiny one (smoke)."""
    if scale == "paper":
        return HuggingFaceEncoder(RESNET50, width)
    try:
        from transformers import ResNetConfig
    except ImportError:
        raise SystemExit(str(MissingExtra("CelebA's encoder", "transformers", "vision"))) from None
    sizes = SIZES[scale]
    config = ResNetConfig(
        embedding_size=sizes[0], hidden_sizes=sizes, depths=[1] * len(sizes), layer_type="basic"
    )
    return HuggingFaceEncoder(config, width)


# ------------------------------------------------------------------ made-up faces

NAMES = [f"Attribute_{k:02d}" for k in range(40)]
POINTS = [
    f"{place}_{axis}" for place in ("lefteye", "righteye", "nose", "leftmouth", "rightmouth") for axis in "xy"
]
MEAN = np.array([69, 111, 108, 111, 89, 135, 73, 152, 106, 152])  # about where they are in CelebA
WIDTH, HEIGHT, COLUMNS, CELL = 178, 218, 5, (35, 27)


def made_up(root: Path, images: Sequence[int] = (96, 32, 32), seed: int = 0) -> Path:
    """Writes a folder in the layout of CelebA, and returns it.

    Its "faces" are fields of 5×8 cells, cell k light where attribute k is 1, with red dots at the landmarks.

    Args:
        root: the folder.
        images: how many for train, val and test.
        seed: decides labels and landmarks.
    """
    rng, total = np.random.default_rng(seed), sum(images)
    labels = rng.integers(0, 2, (total, len(NAMES)))
    points = MEAN + rng.integers(-8, 9, (total, len(MEAN)))
    files = [f"{number:06d}.jpg" for number in range(1, total + 1)]
    parts = np.repeat(range(3), images)
    (root / celeba.IMAGES).mkdir(parents=True, exist_ok=True)
    for file, shown, places in zip(files, labels, points, strict=True):
        _face(shown, places).save(root / celeba.IMAGES / file, quality=95)
    _write(root / celeba.PARTITION, [f"{file} {part}" for file, part in zip(files, parts, strict=True)])
    for name, header, numbers in (
        (celeba.ATTRIBUTES, NAMES, 2 * labels - 1),
        (celeba.LANDMARKS, POINTS, points),
    ):
        rows = [f"{f} " + " ".join(f"{x:2d}" for x in row) for f, row in zip(files, numbers, strict=True)]
        _write(root / name, [str(total), " ".join(header) + " ", *rows])
    return root


def _face(shown: np.ndarray, points: np.ndarray) -> Image.Image:
    image = Image.new("RGB", (WIDTH, HEIGHT), (60, 60, 60))
    draw = ImageDraw.Draw(image)
    for k in np.flatnonzero(shown).tolist():
        left, top = CELL[0] * (k % COLUMNS), CELL[1] * (k // COLUMNS)
        draw.rectangle((left, top, left + CELL[0] - 1, top + CELL[1] - 1), fill=(200, 180, 160))
    for x, y in points.reshape(-1, 2).tolist():
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=(220, 0, 0))
    return image


def _write(path: Path, lines: Sequence[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
