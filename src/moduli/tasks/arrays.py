"""Arrays and tensors as tasks: images, sequences, or features that are ready to be learned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from moduli.errors import InputError, did_you_mean
from moduli.tasks.kinds import Binary, Kind, Multiclass, Multilabel, Regression
from moduli.tasks.sources import TensorSource
from moduli.tasks.splits import stratified_split
from moduli.tasks.task import Data, Task
from moduli.tasks.text import check_tokens

KINDS = ("binary", "multiclass", "multilabel", "regression")


class _Part(NamedTuple):
    inputs: Tensor
    targets: dict[str, Tensor]

    def take(self, rows: np.ndarray) -> _Part:
        index = torch.from_numpy(rows)
        return _Part(self.inputs[index], {task: y[index] for task, y in self.targets.items()})

    def change(self, task: str, y: Tensor) -> _Part:
        return _Part(self.inputs, {**self.targets, task: y})


def from_arrays(
    name: str,
    X: Any,
    y: Any,
    kind: Kind | str | Mapping[str, Kind | str] | None = None,
    *,
    val: float = 0.15,
    test: float | Literal["val"] = 0.2,
    seed: int = 0,
    val_data: tuple[Any, Any] | None = None,
    test_data: tuple[Any, Any] | None = None,
    metric: str | Mapping[str, str] = "",
    batch_size: int | None = None,
    tokens: int | None = None,
) -> list[Task]:
    """Tasks from arrays or tensors that hold one sample per row. All tasks share the input.

    Inputs become float32 and are not scaled; a `torch.long` tensor (indices of tokens) stays as it is.
    A kind that is not given follows from the targets:

    - whole numbers or booleans `[N]` are classes 0..C-1, -1 where missing: binary if C = 2, else multiclass;
    - 0, 1 and missing, `[N, labels]`: multilabel;
    - floats `[N]` or `[N, dims]`: regression, NaN where missing, standardised with the training rows.

    Args:
        name: of the input, and of the task where `y` is one array.
        X: inputs `[N, ...]`.
        y: targets `[N]` or `[N, k]`, or `{task: targets}`.
        kind: a word or a `Kind`, for all tasks or by task. With a `Regression` object the targets count
            as standardised already.
        val: fraction of the rows for validation; rows are divided in proportion to the classes.
        test: fraction of the rows for testing; "val" uses one held-out part for both.
        seed: of the random split.
        val_data: `(X, y)` of a validation part that is apart already, instead of a fraction.
        test_data: the same for testing.
        metric: the metric that tables show, for all tasks or by task.
        batch_size: samples per step; the run's if None.
        tokens: how many different tokens there are, where samples are sequences of token numbers `[length]`
            (see `moduli.tasks.text`); None for all other inputs.

    Raises:
        InputError: if shapes do not fit, values are not finite, classes are not numbered 0..C-1, or tokens
            not 0..tokens-1.
    """
    whole = _part(name, X, y, tokens)
    held_out = (("val", val_data), ("test", test_data))
    given = {part: _part(name, *data, tokens) for part, data in held_out if data}
    for key, option in (("kind", kind), ("metric", metric)):
        _check_names(key, option, whole.targets)
    for part in given.values():
        _check_alike(name, whole, part)
    kinds = {}
    for task in whole.targets:
        kinds[task] = _kind(task, _of(kind, task), [p.targets[task] for p in (whole, *given.values())])
        whole = whole.change(task, _encode(kinds[task], whole.targets[task]))
        given = {n: p.change(task, _encode(kinds[task], p.targets[task])) for n, p in given.items()}

    parts = _divide(whole, given, kinds, val, test, seed)
    for task, found in kinds.items():
        if not bool(found.labelled(parts["train"].targets[task]).any()):
            raise InputError(f"task {task!r} has no label in the training rows")
        if isinstance(found, Regression) and not isinstance(_of(kind, task), Regression):
            kinds[task], parts = _standardise(task, found, parts)
    sources = {part: _source(tensors) for part, tensors in parts.items()}
    shape = tuple(whole.inputs.shape[1:])
    data = Data(name, shape, **{"test": sources["val"], **sources}, tokens=tokens)
    return [Task(task, k, data, _of(metric, task) or "", batch_size) for task, k in kinds.items()]


# ------------------------------------------------------------------ what the user gave


def _part(name: str, X: Any, y: Any, tokens: int | None) -> _Part:
    inputs = _tensor(f"the inputs of {name!r}", X)
    if tokens is not None:
        check_tokens(name, inputs, tokens)
    elif not (isinstance(X, Tensor) and X.dtype == torch.long):
        inputs = inputs.float()
    if inputs.ndim == 0 or len(inputs) == 0:
        raise InputError(f"the inputs of {name!r} have shape {list(inputs.shape)}: give at least one row")
    if inputs.is_floating_point() and not bool(inputs.isfinite().all()):
        row = int((~inputs.isfinite()).reshape(len(inputs), -1).any(1).nonzero()[0])
        raise InputError(f"the inputs of {name!r} are not finite in row {row}: correct or impute them")
    by_task = y if isinstance(y, Mapping) else {name: y}
    if not by_task:
        raise InputError(f"no targets for {name!r}: give an array, or {{task: array}}")
    targets = {task: _target(task, values, len(inputs)) for task, values in by_task.items()}
    return _Part(inputs, targets)


def _target(task: str, values: Any, rows: int) -> Tensor:
    """Targets `[N]` or `[N, k]`, double or long."""
    y = _tensor(f"the targets of {task!r}", values)
    y = y.double() if y.is_floating_point() else y.long()
    if y.ndim not in (1, 2) or len(y) != rows:
        raise InputError(
            f"the targets of {task!r} have shape {list(y.shape)}: give [N] or [N, k] for the {rows} inputs"
        )
    if bool(y.isinf().any()):
        raise InputError(f"the targets of {task!r} hold an infinity: correct it, or write NaN if missing")
    return y.squeeze(1) if y.shape[1:] == (1,) else y


def _tensor(what: str, values: Any) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach().cpu()
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{what} are of type {array.dtype}: give numbers (text: see load_tables)")
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)  # torch computes with no other unsigned type than uint8
    array = np.ascontiguousarray(array)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _of(option: Any, task: str) -> Any:
    """What an option says about one task."""
    return option.get(task) if isinstance(option, Mapping) else option


def _check_names(key: str, option: Any, tasks: Mapping[str, Any]) -> None:
    for task in option if isinstance(option, Mapping) else ():
        if task not in tasks:
            raise InputError(f"{key} names {task!r}, which has no targets, {did_you_mean(task, tasks)}")


def _check_alike(name: str, whole: _Part, part: _Part) -> None:
    if part.inputs.shape[1:] != whole.inputs.shape[1:]:
        raise InputError(
            f"{name!r}: held-out samples of shape {list(part.inputs.shape[1:])}, "
            f"training samples of {list(whole.inputs.shape[1:])}"
        )
    if set(part.targets) != set(whole.targets):
        raise InputError(
            f"{name!r}: held-out targets for {', '.join(part.targets)}, "
            f"training targets for {', '.join(whole.targets)}"
        )


# ------------------------------------------------------------------ kinds and targets


def _kind(task: str, given: Kind | str | None, targets: list[Tensor]) -> Kind:
    """The kind of a task; `targets` are those of all its parts."""
    y = torch.cat([part.reshape(-1) for part in targets])
    known = y[~y.isnan()] if y.is_floating_point() else y[y != -1]
    if len(known) == 0:
        raise InputError(f"task {task!r} has no label at all")
    if given is not None and not isinstance(given, str):
        kind = given
    else:
        kind = _kind_of_word(task, given or _infer(targets[0], known), targets[0], known)
    _check_labels(task, kind, targets[0], known)
    return kind


def _infer(y: Tensor, known: Tensor) -> str:
    if y.ndim == 2 and bool(((known == 0) | (known == 1)).all()):
        return "multilabel"
    if y.is_floating_point():
        return "regression"
    return "binary" if y.ndim == 1 and int(known.max()) <= 1 else "multiclass"


def _kind_of_word(task: str, word: str, y: Tensor, known: Tensor) -> Kind:
    if word not in KINDS:
        raise InputError(f"task {task!r}: unknown kind {word!r}, {did_you_mean(word, KINDS)}")
    axes = {"binary": (1,), "multiclass": (1,), "multilabel": (2,), "regression": (1, 2)}[word]
    if y.ndim not in axes:
        raise InputError(f"task {task!r}: targets of shape {list(y.shape)} do not suit a {word} task")
    if word == "regression":
        return Regression(dims=y.shape[1] if y.ndim == 2 else 1)
    if word == "multilabel":
        return Multilabel(y.shape[1])
    classes = known.long().unique()
    if not torch.equal(classes, torch.arange(len(classes))) or len(classes) < 2:
        raise InputError(
            f"task {task!r}: classes must be numbered 0..C-1 (C at least 2), found {len(classes)} from "
            f"{int(classes[0])} to {int(classes[-1])}; renumber them, or say kind='regression'"
        )
    return Binary() if word == "binary" else Multiclass(len(classes))


def _check_labels(task: str, kind: Kind, y: Tensor, known: Tensor) -> None:
    """Shape and values of targets of the kinds that are known here."""
    wide = (kind.outputs,) if kind.outputs > 1 or isinstance(kind, Multilabel) else ()
    if isinstance(kind, Multilabel | Regression) and y.shape[1:] != wide:
        raise InputError(f"task {task!r}: targets {list(y.shape)} do not suit {kind}; give {['N', *wide]}")
    if not isinstance(kind, Binary | Multiclass | Multilabel):
        return
    top = kind.outputs - 1 if isinstance(kind, Multiclass) else 1
    wrong = known[(known < 0) | (known > top) | (known != known.round())]
    if len(wrong):
        raise InputError(f"task {task!r}: label {wrong[0].item()} in a {kind.name} task; give 0..{top}")


def _encode(kind: Kind, y: Tensor) -> Tensor:
    """Targets as the kind wants them, real values still in double precision."""
    if isinstance(kind, Multiclass):
        return y.nan_to_num(nan=-1).long()
    if isinstance(kind, Binary | Multilabel):
        return y.double() if y.is_floating_point() else y.double().masked_fill(y == -1, torch.nan)
    return y.double() if isinstance(kind, Regression) else y


def _standardise(task: str, kind: Regression, parts: dict[str, _Part]) -> tuple[Regression, dict[str, _Part]]:
    y = parts["train"].targets[task]
    known = y[~y.isnan()]
    constant = bool(known.min() == known.max())
    mean, scale = known.mean().item(), 1.0 if constant else known.std(correction=0).item()
    changed = {n: p.change(task, (p.targets[task] - mean) / scale) for n, p in parts.items()}
    return replace(kind, mean=mean, scale=scale), changed


# ------------------------------------------------------------------ parts


def _source(part: _Part) -> TensorSource:
    targets = {task: y.float() if y.is_floating_point() else y for task, y in part.targets.items()}
    return TensorSource(part.inputs, targets)


def _divide(
    whole: _Part,
    given: dict[str, _Part],
    kinds: Mapping[str, Kind],
    val: float,
    test: float | Literal["val"],
    seed: int,
) -> dict[str, _Part]:
    """Train and val, and test unless it is the same as val."""
    wanted = {"val": val} if test == "val" else {"val": val, "test": test}
    missing = {part: fraction for part, fraction in wanted.items() if part not in given}
    if not missing:
        return {"train": whole, **given}
    codes = np.concatenate([_codes(kind, whole.targets[task]) for task, kind in kinds.items()], axis=1)
    first, *second = missing.values()
    splits = stratified_split(codes, first, second[0] if second else "val", seed)
    rows = dict(zip(missing, (splits.val, splits.test), strict=False))
    return {
        "train": whole.take(splits.train),
        **{part: whole.take(index) for part, index in rows.items()},
        **given,
    }


def _codes(kind: Kind, y: Tensor) -> np.ndarray:
    """`[N, k]`: what the split keeps in proportion: classes, or whether there is a label."""
    if isinstance(kind, Multiclass):
        codes = y
    elif isinstance(kind, Binary | Multilabel):
        codes = y.nan_to_num(nan=-1).long()
    else:
        codes = kind.labelled(y).long() - 1
    return codes.reshape(len(y), -1).numpy()
