"""The global random number generators of this process: saving and restoring where they are."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from moduli.types import State


def rng_state(cuda: bool = True) -> State:
    """The state of every global random number generator; without those on GPUs if not `cuda`."""
    kind, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if cuda and torch.cuda.is_available() else [],
        "numpy": [kind, torch.from_numpy(np.asarray(keys, dtype=np.int64)), position, has_gauss, cached],
        "python": _as_lists(random.getstate()),
    }


def set_rng_state(state: State) -> None:
    """Puts every global random number generator where `rng_state` found it."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    random.setstate(_as_tuples(state["python"]))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """While active, all of them start from `seed`; afterwards they go on from where they were."""
    before = rng_state()
    try:
        torch.manual_seed(seed)
        np.random.seed(seed % (1 << 32))
        random.seed(seed)
        yield
    finally:
        set_rng_state(before)


@contextmanager
def torch_seeded(seed: int, device: torch.device) -> Iterator[None]:
    """While active, torch's generators for the CPU and `device` start from `seed`. Cheap."""
    accelerators = [device] if device.type not in ("cpu", "meta") else []
    with torch.random.fork_rng(accelerators, device_type=device.type if accelerators else "cuda"):
        # `torch.manual_seed` would format a traceback each time.
        torch.default_generator.manual_seed(seed % (1 << 63))
        if accelerators:
            torch.get_device_module(device).manual_seed(seed % (1 << 63))
        yield


def _as_lists(value: Any) -> Any:
    return [_as_lists(item) for item in value] if isinstance(value, tuple) else value


def _as_tuples(value: Any) -> Any:
    return tuple(_as_tuples(item) for item in value) if isinstance(value, list) else value
