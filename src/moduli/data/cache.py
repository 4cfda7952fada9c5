"""One folder for all data sets: what is there is used, what is missing is downloaded once.

The folder is `MODULI_DATA` if that is set, else the user's cache folder. It holds data sets in a simple
processed form (plain CSV, idx, npz), not the archives that they are published in: a file is downloaded,
converted, checked, and only then moved to its place. A folder that cannot be written to serves as well, as
long as the files are there.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from moduli.errors import InputError

if TYPE_CHECKING:
    from moduli.tasks import Task

_UNREADABLE = (ValueError, KeyError, IndexError, EOFError, OSError, zlib.error, zipfile.BadZipFile)
"""What reading a damaged or unexpected file raises, from gzip to Pillow."""


def folder() -> Path:
    """The data folder: `MODULI_DATA` if set, else the user's cache folder. It need not exist yet."""
    chosen = os.environ.get("MODULI_DATA")
    if chosen:
        return Path(chosen).expanduser()
    import pooch

    return Path(pooch.os_cache("moduli"))


# ------------------------------------------------------------------ records


@dataclass(frozen=True)
class Remote:
    """A published file: its address, and its hash (`"md5:..."`) where one is published."""

    url: str
    hash: str | None = None

    @property
    def file_name(self) -> str:
        return Path(urlsplit(self.url).path).name


@dataclass(frozen=True)
class CacheFile:
    """A processed file in the data folder, and how it comes about.

    Args:
        path: where it lies, relative to the data folder.
        mirrors: ways to get it, the preferred one first; each lists all published files that are needed.
        build: makes the content of the processed file from the downloaded files of one mirror.
        parse: checks the content and returns it in the form that tasks are made of. Raises `ValueError`, or
            whatever its file format raises, if it is damaged.
    """

    path: str
    mirrors: tuple[tuple[Remote, ...], ...]
    build: Callable[[Sequence[Path]], bytes]
    parse: Callable[[bytes], Any]

    @property
    def place(self) -> Path:
        """Where the file lies, or will lie."""
        return folder() / self.path

    def read(self) -> Any:
        """The checked content.

        Raises:
            InputError: if the file is damaged or cannot be read.
        """
        try:
            content = self.place.read_bytes()
        except OSError as error:
            raise InputError(f"cannot read {self.place} ({_reason(error)}): check its permissions") from error
        try:
            return self.parse(content)
        except _UNREADABLE as error:
            raise InputError(
                f"{self.place} is damaged ({_reason(error)}): delete it, and it is fetched again"
            ) from error


@dataclass(frozen=True)
class Dataset:
    """A public data set: what it is, whose it is, where it comes from, and the tasks that it makes.

    Args:
        name: the name in run files and on the command line, such as `uci/iris`.
        title: its full name.
        about: tasks and sizes in a few words.
        samples: rows, images or drawings in all.
        licence: the licence of the data, with its source where the licence is only commonly stated.
        citation: what to cite.
        homepage: the page of its makers or keepers.
        files: what a fetch leaves in the data folder; empty for a set that an installed package brings along.
        tasks: makes the tasks; takes keyword options (splits, sizes, seed), downloads what is missing.
        by_hand: places in the data folder of what may not be downloaded but by the user; `tasks` says so.
        stand_in: files that `tasks` takes, all of them, where a file is missing; they are never downloaded.
    """

    name: str
    title: str
    about: str
    samples: int
    licence: str
    citation: str
    homepage: str
    files: tuple[CacheFile, ...]
    tasks: Callable[..., list[Task]]
    by_hand: tuple[str, ...] = ()
    stand_in: tuple[CacheFile, ...] = ()

    @property
    def places(self) -> list[Path]:
        """Where its files lie, or will lie; none for a set that an installed package brings along."""
        return [*(file.place for file in self.files), *(folder() / path for path in self.by_hand)]

    @property
    def present(self) -> bool:
        """Whether its tasks can be made without a download."""
        built = {file.place for file in self.files if not file.mirrors}
        there = all(place.exists() for place in self.places if place not in built)
        return there or (self.stand_in != () and all(file.place.exists() for file in self.stand_in))

    def fetch(self) -> list[Path]:
        """Downloads the files that are missing, checks those that are there; their places.

        Raises:
            InputError: if a file is damaged, cannot be downloaded or cannot be written.
        """
        for file in self.files:
            self.read(file)
        if self.by_hand:
            self.tasks()  # says what is missing
        return self.places

    def read(self, file: CacheFile) -> Any:
        """The checked content of one of its files, downloaded first if it is missing.

        Raises:
            InputError: if it is damaged, cannot be downloaded or cannot be written.
        """
        if not file.place.exists():
            if not any(other.place.exists() for other in self.files if other.mirrors):
                _announce(self)
            _obtain(file)
        return file.read()


# ------------------------------------------------------------------ downloading


def _announce(dataset: Dataset) -> None:
    """Licence and citation, once: when the first file of a data set is fetched."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(
        f"{dataset.title}\n  licence:  {dataset.licence}\n  cite:     {dataset.citation}\n"
        f"  homepage: {dataset.homepage}",
        markup=False,
    )


def _obtain(file: CacheFile) -> None:
    """Downloads, converts and checks a file, and only then moves it to its place."""
    place, failures = file.place, []
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=".fetch-") as name:
            scratch = Path(name)
            for mirror in file.mirrors or ((),):
                content = _convert(file, mirror, scratch, failures)
                if content is not None:
                    finished = scratch / "finished"
                    finished.write_bytes(content)
                    os.replace(finished, place)
                    return
    except OSError as error:
        raise InputError(
            f"cannot write {place} ({_reason(error)}): set MODULI_DATA to a folder that can be written to, "
            f"or to one that holds {file.path}"
        ) from error
    first = file.mirrors[0]
    by_hand = " and ".join(str(folder() / "raw" / remote.file_name) for remote in first)
    raise InputError(
        f"cannot fetch {file.path}: {'; '.join(failures)}. Download {' and '.join(r.url for r in first)} by "
        f"hand to {by_hand}, or set MODULI_DATA to a folder that holds {file.path}"
    )


def _convert(file: CacheFile, mirror: Sequence[Remote], scratch: Path, failures: list[str]) -> bytes | None:
    """The checked content made from one mirror; None, with a line in `failures`, if that fails."""
    downloads: list[Path] = []
    for remote in mirror:
        by_hand = folder() / "raw" / remote.file_name
        try:
            downloads.append(by_hand if by_hand.exists() else _download(remote, scratch))
        except _UNREADABLE as error:
            failures.append(f"{remote.url} ({_reason(error)})")
            return None
    try:
        content = file.build(downloads)
        file.parse(content)
    except _UNREADABLE as error:
        failures.append(f"{', '.join(r.url for r in mirror)} (unexpected content: {_reason(error)})")
        return None
    return content


def _download(remote: Remote, scratch: Path) -> Path:
    """Downloads one file into `scratch`, with a second try and a progress bar in a terminal."""
    import pooch
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    pooch.get_logger().setLevel("WARNING")
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        one = pooch.create(
            path=scratch,
            base_url="",
            registry={remote.file_name: remote.hash},
            urls={remote.file_name: remote.url},
            retry_if_failed=1,
        )
        bar: Any = _Bar(progress, remote.file_name)
        downloader: Any = pooch.HTTPDownloader(progressbar=bar, chunk_size=2**16, timeout=30)
        return Path(one.fetch(remote.file_name, downloader=downloader))


class _Bar:
    """A rich progress bar in the shape that pooch asks for."""

    def __init__(self, progress: Any, name: str):
        self.total = 0
        self._progress, self._task = progress, progress.add_task(name, total=None)

    def update(self, count: int) -> None:
        self._progress.update(self._task, advance=count, total=self.total or None)

    def reset(self) -> None:
        self._progress.reset(self._task)

    def close(self) -> None:
        """The surrounding `with` closes the bar, also after a failure."""


def _reason(error: BaseException) -> str:
    """An error in a few words, on one line."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not accepted"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return (text or type(error).__name__).splitlines()[0]
