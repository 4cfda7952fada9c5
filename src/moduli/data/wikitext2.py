"""WikiText-2: language modelling of two million words of good Wikipedia articles (dissertation, 8.7.1).

In the data folder lie the three texts, gzipped: `wikitext2/wiki.train.tokens.gz`,
`wikitext2/wiki.valid.tokens.gz` and `wikitext2/wiki.test.tokens.gz`; a paragraph in each line, rare words
as `<unk>`.
"""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from moduli.data.cache import CacheFile, Dataset, Remote
from moduli.errors import InputError

if TYPE_CHECKING:
    from moduli.tasks import Task

_ARCHIVE = Remote(
    "https://s3.amazonaws.com/research.metamind.io/wikitext/wikitext-2-v1.zip",
    "md5:542ccefacc6c27f945fb54453812b3cd",
)
TOKENS = {"train": 2_088_628, "valid": 217_646, "test": 245_569}
"""Tokens of each text, with an `<eos>` at the end of every line, as published."""


def _build(downloads: Sequence[Path], part: str) -> bytes:
    (path,) = downloads
    with zipfile.ZipFile(path) as archive:
        return gzip.compress(archive.read(f"wikitext-2/wiki.{part}.tokens"), mtime=0)


def parse(content: bytes, tokens: int) -> str:
    """The text in a gzipped file, counted.

    Raises:
        ValueError: if there are not as many words and line ends as `tokens` says.
        OSError, EOFError: if it is no complete gzip file.
    """
    text = gzip.decompress(content).decode("utf-8")
    found = len(text.split()) + text.count("\n")
    if found != tokens:
        raise ValueError(f"it has {found:,} tokens instead of {tokens:,}")
    return text


def tasks(length: int = 35, columns: int = 20) -> list[Task]:
    """One language-model task, `wikitext2`, of 33,278 tokens: all words of the training text, by frequency.

    Args:
        length: tokens in a segment (see `moduli.TextSource`).
        columns: segments in a batch.

    Raises:
        InputError: for an impossible number, or if a file is damaged or cannot be fetched.
    """
    from moduli.tasks.language import encode_words, language_task, number_words

    texts = [_text(file) for file in DATASET.files]
    numbers = number_words(texts[0])
    train, val, test = (encode_words(text, numbers) for text in texts)
    return [language_task("wikitext2", train, val, test, len(numbers), length, columns)]


def _text(file: CacheFile) -> str:
    try:
        return DATASET.read(file)
    except InputError as error:
        if file.place.exists():
            raise
        raise InputError(
            f"{file.place} is not there: download {_ARCHIVE.url}, or take the data set 'ptb' ({error})"
        ) from error


DATASET = Dataset(
    name="wikitext2",
    title="WikiText-2",
    about="a language model of 33,278 different words",
    samples=sum(TOKENS.values()),
    licence="CC BY-SA 3.0",
    citation="Merity, S., Xiong, C., Bradbury, J. & Socher, R. (2017). Pointer sentinel mixture models. "
    "ICLR 2017",
    homepage="https://www.salesforce.com/products/einstein/ai-research/the-wikitext-dependency-language-modeling-"
    "dataset/",
    files=tuple(
        CacheFile(
            f"wikitext2/wiki.{part}.tokens.gz",
            ((_ARCHIVE,),),
            partial(_build, part=part),
            partial(parse, tokens=tokens),
        )
        for part, tokens in TOKENS.items()
    ),
    tasks=tasks,
)
