"""GloVe: vectors of words, learned from Wikipedia and news (Pennington, Socher & Manning 2014).

In the data folder lie the 50,000 most frequent words of the set of six billion words, a line each, as
published: `glove/glove.6B.50d.top50000.txt.gz`, and others where vectors of another size were asked for.
"""

from __future__ import annotations

import gzip
import itertools
import zipfile
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from moduli.data.cache import CacheFile, Dataset, Remote
from moduli.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from moduli.tasks.text import Vocabulary

SIZES = (50, 100, 200, 300)
"""Sizes in which the vectors are published."""

WORDS = 50_000

_SOURCE = Remote(
    "https://nlp.stanford.edu/data/glove.6B.zip",
    "sha256:617afb2fe6cbd085c235baf7a465b96f4112bd7f7ccb2b2cbd649fed9cbcf2fb",
)


class Vectors(NamedTuple):
    """The row of each word, and the rows `[words, size]`."""

    rows: dict[str, int]
    values: np.ndarray


# ------------------------------------------------------------------ from the published form to ours


def pack(archive: Path, size: int, words: int = WORDS) -> bytes:
    """The first lines of the file of one size in the published archive.

    Raises:
        KeyError: if the archive has no such file; zipfile.BadZipFile, OSError if it is damaged.
    """
    with zipfile.ZipFile(archive) as whole, whole.open(f"glove.6B.{size}d.txt") as lines:
        return gzip.compress(b"".join(itertools.islice(lines, words)), mtime=0)


def parse(content: bytes, size: int, words: int = WORDS) -> Vectors:
    """The vectors of a packed file, counted.

    Raises:
        ValueError: if there are not `words` different words with `size` finite numbers each.
        OSError, EOFError: if it is no complete gzip file.
    """
    lines = gzip.decompress(content).decode("utf-8").removesuffix("\n").split("\n")
    rows = [line.split(" ") for line in lines]
    found = {row[0]: number for number, row in enumerate(rows)}
    if len(found) != words or len(rows) != words:
        raise ValueError(f"it has {len(found):,} words in {len(rows):,} lines, not {words:,}")
    if any(len(row) != 1 + size for row in rows):
        raise ValueError(f"a line has not a word and {size} numbers")
    values = np.array([row[1:] for row in rows], np.float32)
    if not np.isfinite(values).all():
        raise ValueError("a number is not finite")
    return Vectors(found, values)


def _build(downloads: Sequence[Path], size: int) -> bytes:
    (archive,) = downloads
    return pack(archive, size)


def _file(size: int) -> CacheFile:
    return CacheFile(
        f"glove/glove.6B.{size}d.top{WORDS}.txt.gz",
        ((_SOURCE,),),
        partial(_build, size=size),
        partial(parse, size=size),
    )


# ------------------------------------------------------------------ vectors


def glove_vectors(vocabulary: Vocabulary, size: int = 50) -> tuple[Tensor, float]:
    """The vectors of a vocabulary's words, to start an embedding from (`moduli.LSTM`'s `vectors`).

    Args:
        vocabulary: which number stands for which word.
        size: of a vector: 50, 100, 200 or 300. All are in one archive of 860 MB, which is downloaded if the
            vectors of this size are not there.

    Returns:
        `[vocabulary.size, size]`, and the share of the vocabulary's words that have a vector. Rows without
        one are NaN: an `LSTM` starts them as it starts all of its own.

    Raises:
        InputError: if there are no vectors of that size, or the file is damaged or cannot be fetched.
    """
    if size not in SIZES:
        raise InputError(f"GloVe has no vectors of size {size}: give one of {', '.join(map(str, SIZES))}")
    import torch

    rows, values = _parsed(_file(size).place, size)
    vectors = torch.full((vocabulary.size, size), torch.nan)
    known = [(number, rows[word]) for word, number in vocabulary.numbers.items() if word in rows]
    if known:
        numbers, places = zip(*known, strict=True)
        vectors[list(numbers)] = torch.from_numpy(values[list(places)])
    return vectors, len(known) / len(vocabulary.numbers)


@lru_cache(maxsize=1)
def _parsed(place: Path, size: int) -> Vectors:
    """The content of a file, read once in a process; by its place, since the data folder may change."""
    return DATASET.read(_file(size))


def _no_tasks(**options: Any) -> Any:
    raise InputError("glove holds vectors of words, no tasks: see moduli.data.glove.glove_vectors")


DATASET = Dataset(
    name="glove",
    title="GloVe 6B word vectors",
    about="no tasks: vectors of the 50,000 most frequent words, 50 numbers each",
    samples=WORDS,
    licence="Open Data Commons PDDL 1.0",
    citation="Pennington, J., Socher, R. & Manning, C. D. (2014). GloVe: global vectors for word "
    "representation. EMNLP 2014:1532-1543",
    homepage="https://nlp.stanford.edu/projects/glove/",
    files=(_file(50),),
    tasks=_no_tasks,
)
