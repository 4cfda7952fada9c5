"""Reviews of 16 kinds of things, one task each: is a review positive? (Q-learning scheduler, section 5.1).

Fourteen kinds of products sold by Amazon, the films of IMDB, and sentences about films (MR), as prepared by
Liu, Qiu & Huang (2017). In the data folder lie three files for each domain, those of the publication packed
with gzip: `fudan_mtl/DOMAIN.task.train.gz` and `.test.gz` with lines of a label (1 positive), a tab and a
text, `.unlabel.gz` with texts alone. They are Latin-1, and a line ends at a line feed only.

The labelled texts were divided into words by their makers ("did n't", "film 's", all in lower case), the
unlabelled ones and MR were not, or not quite. So all texts are treated alike: contractions are divided in
that manner, which is also that of GloVe's words, and then `moduli.tasks.text.words` takes the words; quotes
and other punctuation are dropped.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import tarfile
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from moduli.data.cache import CacheFile, Dataset, Remote
from moduli.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

    from moduli.tasks import Task
    from moduli.tasks.text import Vocabulary

# The beginning of the SHA-256 of each file's content: train, test, unlabel. In the order of the paper.
_DIGESTS = {
    "books": ("40c4c5971165b9e0", "b451ac03e48b599b", "5121a335a736523b"),
    "electronics": ("bb2f28c4a20e3d07", "a4d2e7d2a5b8b501", "da24efbec0053b8b"),
    "dvd": ("47334240d9cef76a", "762e6e030892375e", "5673c05efcefbf5d"),
    "kitchen_housewares": ("df5c9e8473b084a6", "86bcc015f7cfa773", "6255b3597385952d"),
    "apparel": ("589702d71eded8ca", "8e591ec14fa0e3d2", "7dc0cf126e07552b"),
    "camera_photo": ("425bf93c303b2f38", "3fdea0837d6c41f0", "d94c682441e8b8a5"),
    "health_personal_care": ("384f1ec3d76a2f75", "07f289177da7ebe7", "70bd1a5b004f2d0e"),
    "music": ("f0b41243475c1639", "54a157c56930b9e5", "3f2ee8a5becb2323"),
    "toys_games": ("bb8404d3b48ab02b", "6ee304a53f25697e", "8808944481c5478a"),
    "video": ("2867b3e5fffc4413", "8de7a49ee3001409", "0178424fe97c0203"),
    "baby": ("0d884186f3aef0e1", "8763bb4b8bbf83b9", "f4f2be61dddc8165"),
    "magazines": ("d4805a9f094c1c7b", "620ecd0ccd7b7f73", "87de41f73d65b525"),
    "software": ("a050cb3ea22b94b2", "3b92617a5b3ad618", "a34c6f844ba0ac1a"),
    "sports_outdoors": ("062ac0e2fb04a81c", "77394d7c91fbc69c", "7742f40a8b02cd57"),
    "imdb": ("16dd91ee7aebde13", "dc708b7338157a6b", "ea4e02252cf95661"),
    "MR": ("a6f222085a50061d", "82ec2a6d570978d1", "fa9dee0e94afe5a6"),
}
_PARTS = ("train", "test", "unlabel")
DOMAINS = tuple(_DIGESTS)
"""The names of all domains, and of their tasks, in the order of the paper."""

_PLAIN = (
    "https://raw.githubusercontent.com/ccsasuke/man/7ac8140b0bb561ac256cea439116b0d59bed5684/data/fdu-mtl"
)
_ARCHIVE = Remote("https://github.com/FrankWork/fudan_mtl_reviews/raw/master/data/fudan-mtl-dataset.tar.gz")

_CLITIC = "(?:s|m|re|ve|ll|d)"
_QUOTE = re.compile(rf"'(?!\w)|(?<!\w)'(?!{_CLITIC}\b)", re.IGNORECASE)
_CONTRACTION = re.compile(rf"(?<=\w)(n't|'{_CLITIC})\b", re.IGNORECASE)


class Reviews(NamedTuple):
    """Labels `[N]` (1 positive; none of unlabelled texts) and texts, their contractions divided."""

    labels: np.ndarray
    texts: tuple[str, ...]


# ------------------------------------------------------------------ from the published form to ours


def divided(text: str) -> str:
    """A text with its contractions divided and without apostrophes that are quotes: "did n't", "film 's"."""
    return _CONTRACTION.sub(r" \1", _QUOTE.sub(" ", text))


def pack(download: Path, name: str) -> bytes:
    """The published file `name`, packed; from that file itself, or from the archive of all of them.

    Raises:
        ValueError: if the archive has no such file; OSError, EOFError if it is damaged.
    """
    if not tarfile.is_tarfile(download):
        return gzip.compress(download.read_bytes(), mtime=0)
    with tarfile.open(download) as archive:
        for member in archive:
            if Path(member.name).name == name and (file := archive.extractfile(member)) is not None:
                return gzip.compress(file.read(), mtime=0)
    raise ValueError(f"no {name} in it")


def parse(content: bytes, labelled: bool, digest: str = "") -> Reviews:
    """The reviews of a packed file.

    Args:
        content: of the file.
        labelled: whether each line begins with a label.
        digest: what the SHA-256 of the unpacked content begins with.

    Raises:
        ValueError: if it is another file, or a line has no label.
        OSError, EOFError: if it is no complete gzip file.
    """
    plain = gzip.decompress(content)
    if not hashlib.sha256(plain).hexdigest().startswith(digest):
        raise ValueError("its content is not the published one")
    lines = plain.decode("latin-1").removesuffix("\n").split("\n")
    if not labelled:
        return Reviews(np.empty(0, np.int64), tuple(divided(line) for line in lines))
    rows = [line.split("\t", 1) for line in lines]
    if not all(len(row) == 2 and row[0] in ("0", "1") for row in rows):
        raise ValueError("a line does not begin with a label, 0 or 1, and a tab")
    return Reviews(np.array([int(row[0]) for row in rows]), tuple(divided(row[1]) for row in rows))


def _build(downloads: Sequence[Path], name: str) -> bytes:
    (download,) = downloads
    try:
        return pack(download, name)
    except tarfile.TarError as error:
        raise ValueError(str(error)) from error


def _file(domain: str, part: str) -> CacheFile:
    name = f"{domain}.task.{part}"
    digest = _DIGESTS[domain][_PARTS.index(part)]
    return CacheFile(
        f"fudan_mtl/{name}.gz",
        ((Remote(f"{_PLAIN}/{name}"),), (_ARCHIVE,)),
        partial(_build, name=name),
        partial(parse, labelled=part != "unlabel", digest=digest),
    )


# ------------------------------------------------------------------ tasks


def tasks(
    domains: Sequence[str] | None = None,
    words: int = 20_000,
    length: int = 100,
    val: int = 200,
    seed: int = 0,
    known: Vocabulary | None = None,
) -> list[Task]:
    """One binary task for each domain: is the review positive?

    Inputs are the numbers of a review's last words, `[length]` long (see `moduli.tasks.text`), all of one
    `vocabulary`, so that tasks can share an encoder. About 1,400 texts of a domain train, 200 validate, as
    in the paper, and the 400 official ones test.

    Args:
        domains: which ones, of `DOMAINS`; all if None.
        words: how many different numbers there are; the `words - 4` most frequent words have one.
        length: words of a review that are read.
        val: texts of each training file that validate, drawn at random, with positive ones in proportion.
        seed: of that draw.
        known: the words, if not those of these domains: `vocabulary(others, words)` for a domain that was
            left out of training.

    Raises:
        InputError: for an unknown domain or an impossible number, or if a file is damaged or missing.
    """
    chosen = _chosen(domains)
    if not (isinstance(val, int) and 2 <= val <= 1000):
        raise InputError(f"val of the reviews is {val!r}: give a number of texts from 2 to 1,000")
    import torch

    from moduli.tasks import Binary, Data, Task, TensorSource
    from moduli.tasks.splits import stratified_split

    known = known or vocabulary(chosen, words)
    made = []
    for name in chosen:
        train, test = _read(name, "train"), _read(name, "test")
        rows = stratified_split(train.labels[:, None], val / len(train.labels), "val", seed)
        inputs, labels = known.encode(train.texts, length), torch.from_numpy(train.labels).float()
        parts = {
            split: TensorSource(inputs[index], {name: labels[index]})
            for split, index in (("train", rows.train), ("val", rows.val))
        }
        test_labels = {name: torch.from_numpy(test.labels).float()}
        parts["test"] = TensorSource(known.encode(test.texts, length), test_labels)
        made.append(Task(name, Binary(), Data(name, (length,), **parts, tokens=known.size)))
    return made


def vocabulary(domains: Sequence[str] | None = None, words: int = 20_000) -> Vocabulary:
    """The words that `tasks` of the same domains knows, such as `glove_vectors` wants them.

    They are counted on the training files of all these domains together, the validating texts among them.
    The files are read, and the words counted, once in a process.

    Raises:
        InputError: for an unknown domain or too few words, or if a file is damaged or missing.
    """
    return _counted(_file(DOMAINS[0], "train").place.parent, tuple(_chosen(domains)), words)


def unlabelled(
    domains: Sequence[str] | None = None,
    words: int = 20_000,
    length: int = 100,
    known: Vocabulary | None = None,
) -> dict[str, Tensor]:
    """The unlabelled texts of each domain `[N, length]`, prepared as those of `tasks`; 2,000 of most.

    Raises:
        InputError: for an unknown domain or an impossible number, or if a file is damaged or missing.
    """
    known = known or vocabulary(domains, words)
    return {name: known.encode(_read(name, "unlabel").texts, length) for name in _chosen(domains)}


def _chosen(domains: Sequence[str] | None) -> list[str]:
    chosen = list(DOMAINS if domains is None else domains)
    for name in chosen:
        if name not in DOMAINS:
            raise InputError(f"unknown domain of reviews {name!r}, {did_you_mean(name, DOMAINS)}")
    if not chosen or len(set(chosen)) < len(chosen):
        raise InputError(f"domains of reviews are {chosen}: give at least one, and none twice")
    return chosen


def _read(domain: str, part: str) -> Reviews:
    file = _file(domain, part)
    return _parsed(file.place, domain, part)


@lru_cache(maxsize=3 * len(DOMAINS))
def _parsed(place: Path, domain: str, part: str) -> Reviews:
    """The content of a file; by its place, since the data folder may change."""
    return DATASET.read(_file(domain, part))


@lru_cache(maxsize=32)
def _counted(folder: Path, domains: tuple[str, ...], words: int) -> Vocabulary:
    from moduli.tasks.text import count_words

    return count_words((text for name in domains for text in _read(name, "train").texts), words)


DATASET = Dataset(
    name="reviews",
    title="Reviews of 16 domains (FDU-MTL)",
    about="2 classes of reviews in each of 16 domains, as sequences of words",
    samples=31_780,
    licence="none stated; the reviews are from Amazon, IMDB and Rotten Tomatoes, for research",
    citation="Liu, P., Qiu, X. & Huang, X. (2017). Adversarial multi-task learning for text classification. "
    "ACL 2017:1-10",
    homepage="http://pfliu.com/paper/adv-mtl.html",
    files=tuple(_file(domain, part) for domain in DOMAINS for part in _PARTS),
    tasks=tasks,
)
