"""The files of a comparison's folder: what they were made from, and the results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch

from moduli.errors import InputError
from moduli.evaluation.summary import Summary, write_summary
from moduli.evaluation.tables import write_tables
from moduli.files import finite, read_json, write_atomically, write_json
from moduli.tasks import Data, Task, TensorSource, TextSource, inputs_of, labelled_samples
from moduli.training import Train


def check_file_name(what: str, name: str) -> None:
    """Raises `InputError` if a folder cannot be called `name` on every system."""
    if not name.strip() or name.startswith(".") or any(character in name for character in '/\\\0:*?"<>|'):
        raise InputError(f"{what} {name!r} names a folder: use letters, digits, '-', '_' and spaces")


def describe_task(task: Task) -> dict[str, Any]:
    """What a summary says about a task; `samples` counts those that have a label."""
    return {
        "name": task.name,
        "kind": task.kind.name,
        "metric": task.metric,
        "direction": "higher" if task.higher_is_better else "lower",
        "samples": {part: labelled_samples(task, part) for part in ("train", "val", "test")},
    }


# ------------------------------------------------------------------ what all runs of a folder have in common


def check_same(folder: Path, tasks: dict[str, Task], train: Train) -> None:
    """Notes tasks, data and settings in a new folder; in a used one checks that they are the same.

    Raises:
        InputError: if the folder holds a comparison of something else.
    """
    path = folder / "training" / "settings.json"
    marks = {name: fingerprint(data) for name, data in inputs_of(tasks).items()}
    infos = {name: {**describe_task(task), "data": marks[task.data.name]} for name, task in tasks.items()}
    now = {"tasks": infos, "train": finite(train.to_json())}
    if not path.exists():
        write_json(path, now)
        return
    before = read_json(path)
    if list(before["tasks"]) != list(now["tasks"]):
        others = ", ".join(before["tasks"])
        raise InputError(f"{folder} holds a comparison on the tasks {others}: choose another folder")
    for name, info in infos.items():
        if before["tasks"][name] != info:
            raise InputError(
                f"the data of task {name!r} have changed since {folder} was begun: "
                "restore them, or begin anew in another folder"
            )
    for key, value in now["train"].items():
        was = before["train"].get(key)
        if was != value:
            raise InputError(f"{folder} was begun with {key} {was}, now {value}: choose another folder")


def fingerprint(data: Data) -> str:
    """SHA-256 of all tensors of an input and its targets, or of texts; of other sources, of their sizes."""
    digest = hashlib.sha256(repr(data.shape).encode())
    for source in (data.train, data.val, data.test):
        digest.update(str(len(source)).encode())
        tensors: tuple[torch.Tensor, ...] = ()
        if isinstance(source, TensorSource):
            tensors = (source.inputs, *source.targets.values())
        elif isinstance(source, TextSource):
            tensors = (source.tokens,)
        for x in tensors:
            digest.update(x.cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


# ------------------------------------------------------------------ files


def write_results(folder: Path, runs: Iterable[tuple[str, int, Path]], summary: Summary) -> None:
    """Writes the log of all runs (method, seed, folder), the tables, and last `summary.json`."""
    write_atomically(folder / "metrics.jsonl", lambda file: _merge_logs(file, runs))
    write_tables(folder, summary)
    write_summary(folder / "summary.json", summary)


def _merge_logs(file: BinaryIO, runs: Iterable[tuple[str, int, Path]]) -> None:
    for method, seed, folder in runs:
        log = folder / "metrics.jsonl"
        lines: Sequence[str] = log.read_text(encoding="utf-8").splitlines() if log.exists() else ()
        for line in lines:
            record = {"method": method, "seed": seed, **json.loads(line)}
            file.write(json.dumps(finite(record), ensure_ascii=False).encode() + b"\n")
