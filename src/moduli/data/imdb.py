"""IMDB: is a movie review positive or negative? (pseudo-task augmentation, section 4.2).

In the data folder lie two tables, `imdb/train.tsv.gz` and `imdb/test.tsv.gz`, tab-separated without quotes,
with the columns `label` (0 negative, 1 positive), `rating` (of ten), `id` (the number in the name of the
published file) and `text`; rows are sorted by label, then id. Tabs and line ends in a text are blanks.
"""

from __future__ import annotations

import gzip
import re
import tarfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from moduli.data.cache import CacheFile, Dataset, Remote
from moduli.errors import InputError

if TYPE_CHECKING:
    from moduli.tasks import Task

REVIEWS = 25_000
"""In each of the two parts, half of them positive."""

_HEADER = "label\trating\tid\ttext"
_MEMBER = re.compile(r"(?:\./)?aclImdb/(train|test)/(neg|pos)/(\d+)_(\d+)\.txt")
_BREAKS = re.compile(r"[\t\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")
_SOURCE = Remote(
    "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    "md5:7c2ac02c03563afcf9b574c7e56c153a",
)


class Reviews(NamedTuple):
    """Labels `[N]` (1 positive) and texts of one part."""

    labels: np.ndarray
    texts: list[str]


# ------------------------------------------------------------------ from the published form to ours


def pack(archive: Path, part: str) -> bytes:
    """The table of one part, "train" or "test", from the published archive of text files.

    Raises:
        ValueError: if there is no review of that part; tarfile.TarError, OSError, EOFError if it is damaged.
    """
    rows = []
    with tarfile.open(archive, "r|gz") as members:
        for member in members:
            found = _MEMBER.fullmatch(member.name)
            if found and found[1] == part and (file := members.extractfile(member)) is not None:
                text = _BREAKS.sub(" ", file.read().decode("utf-8"))
                rows.append((int(found[2] == "pos"), int(found[3]), int(found[4]), text))
    if not rows:
        raise ValueError(f"no {part} reviews in it")
    lines = [f"{label}\t{rating}\t{number}\t{text}" for label, number, rating, text in sorted(rows)]
    return gzip.compress("\n".join([_HEADER, *lines, ""]).encode(), mtime=0)


def _build(downloads: Sequence[Path], part: str) -> bytes:
    (archive,) = downloads
    try:
        return pack(archive, part)
    except tarfile.TarError as error:
        raise ValueError(str(error)) from error


def parse(content: bytes, reviews: int = REVIEWS) -> Reviews:
    """The reviews in a table, counted: half of `reviews` of each label.

    Raises:
        ValueError: if the counts differ, or it is no such table.
        OSError, EOFError: if it is no complete gzip file.
    """
    header, *lines = gzip.decompress(content).decode("utf-8").removesuffix("\n").split("\n")
    if header != _HEADER:
        raise ValueError(f"its columns are not {', '.join(_HEADER.split())}")
    rows = [line.split("\t") for line in lines]
    if not all(len(row) == 4 for row in rows):
        raise ValueError("a row has not four columns")
    labels = np.array([int(row[0]) for row in rows])
    if np.bincount(labels, minlength=2).tolist() != [reviews // 2, reviews // 2]:
        raise ValueError(f"it has not {reviews // 2:,} reviews of each label")
    return Reviews(labels, [row[3] for row in rows])


# ------------------------------------------------------------------ tasks


def tasks(words: int = 20_000, length: int = 80, val: int = 2500, seed: int = 0) -> list[Task]:
    """One binary task, `imdb`: is the review positive?

    Inputs are the numbers of a review's last words, `[length]` long (see `moduli.tasks.text`), with Keras'
    preparation in its LSTM example but for one thing: the vocabulary is counted on the training part
    (the validation reviews among it), not on both parts. The test part is the official one.

    Args:
        words: how many different numbers there are; the `words - 4` most frequent words have one.
        length: words of a review that are read.
        val: reviews of the training part that validate, drawn at random, half of them positive.
        seed: of that draw.

    Raises:
        InputError: for an impossible number, or if a file is damaged or cannot be fetched.
    """
    if not (isinstance(val, int) and 2 <= val <= REVIEWS - 2):
        raise InputError(f"val of IMDB is {val!r}: give a number of reviews from 2 to {REVIEWS - 2:,}")
    import torch

    from moduli.tasks import Binary, Data, Task, TensorSource
    from moduli.tasks.splits import stratified_split
    from moduli.tasks.text import count_words

    official: tuple[Reviews, Reviews] = tuple(DATASET.read(file) for file in DATASET.files)
    vocabulary = count_words(official[0].texts, words)
    inputs, test_inputs = (vocabulary.encode(part.texts, length) for part in official)
    labels, test_labels = (torch.from_numpy(part.labels).float() for part in official)
    rows = stratified_split(official[0].labels[:, None], val / len(labels), "val", seed)
    sources = {
        split: TensorSource(inputs[index], {"imdb": labels[index]})
        for split, index in (("train", rows.train), ("val", rows.val))
    }
    test = TensorSource(test_inputs, {"imdb": test_labels})
    return [Task("imdb", Binary(), Data("imdb", (length,), **sources, test=test, tokens=words))]


DATASET = Dataset(
    name="imdb",
    title="Large Movie Review Dataset (IMDB)",
    about="2 classes of movie reviews, as sequences of words",
    samples=2 * REVIEWS,
    licence="none stated; for research, cite the paper",
    citation="Maas, A., Daly, R., Pham, P., Huang, D., Ng, A. & Potts, C. (2011). Learning word vectors for "
    "sentiment analysis. ACL 2011:142-150",
    homepage="https://ai.stanford.edu/~amaas/data/sentiment/",
    files=tuple(
        CacheFile(f"imdb/{part}.tsv.gz", ((_SOURCE,),), partial(_build, part=part), parse)
        for part in ("train", "test")
    ),
    tasks=tasks,
)
