"""State of torchjd's objects, which keep some of it outside `state_dict`.

A scalarizer or aggregator of torchjd is a tree of modules. Its state is here whatever these hold of
tensors, arrays, numbers, words, None, and lists and tuples of them, private or not, and the state of their
optimizers. That is more than strictly needed, but no release can add a history that is forgotten. What a
checkpoint may not hold (arrays, tuples, dtypes) is written as something that it may.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from moduli.types import State

_PLAIN = (bool, int, float, str, type(None))
_OF_MODULE = frozenset(vars(nn.Module()))  # torch's own bookkeeping


def torchjd_state(module: nn.Module) -> State:
    """All that `module` and its parts hold, as dicts and lists of tensors, numbers and words."""
    return {name: _held(part) for name, part in module.named_modules()}


def load_torchjd_state(module: nn.Module, state: Mapping[str, Any]) -> None:
    """Puts back what `torchjd_state` gave."""
    for name, part in module.named_modules():
        for key, written in state[name].items():
            _put(part, key, written)


def _held(part: nn.Module) -> dict[str, Any]:
    held: dict[str, Any] = {}
    tensors = {**part._parameters, **part._buffers}
    own = {key: value for key, value in vars(part).items() if key not in _OF_MODULE}
    for key, value in {**tensors, **own}.items():
        written = _write(value)
        if written is not None:
            held[key] = written
    return held


def _write(value: Any) -> dict[str, Any] | None:
    """A value with a word for what it is; None for what is no state (a solver's problem, a function)."""
    if isinstance(value, _PLAIN):
        return {"plain": value}
    if isinstance(value, Tensor):
        return {"tensor": value.detach().clone()}
    if isinstance(value, np.ndarray):
        return {"array": torch.from_numpy(value.copy())}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, torch.device):
        return {"device": str(value)}
    if isinstance(value, Optimizer):
        return {"optimizer": copy.deepcopy(value.state_dict())}
    if isinstance(value, list | tuple):
        items = [_write(item) for item in value]
        what = "list" if isinstance(value, list) else "tuple"
        return None if any(item is None for item in items) else {what: items}
    return None


def _read(written: Mapping[str, Any]) -> Any:
    ((what, value),) = written.items()
    if what == "tensor":
        return value.clone()
    if what == "array":
        return value.numpy().copy()
    if what == "dtype":
        return getattr(torch, value)
    if what == "device":
        return torch.device(value)
    if what in ("list", "tuple"):
        items = [_read(item) for item in value]
        return items if what == "list" else tuple(items)
    return value


def _put(part: nn.Module, key: str, written: Mapping[str, Any]) -> None:
    ((what, value),) = written.items()
    if what == "optimizer":
        getattr(part, key).load_state_dict(copy.deepcopy(value))
    elif key in part._parameters and part._parameters[key] is not None:
        with torch.no_grad():
            part._parameters[key].copy_(value)  # type: ignore[union-attr]  # the optimizer holds the object
    else:
        setattr(part, key, _read(written))
