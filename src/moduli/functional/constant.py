"""Small integer tensors that are needed again and again."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def constant(values: tuple[int, ...], device: torch.device) -> Tensor:
    """`values` as a tensor on `device`, made once: making it anew would wait for an accelerator every time.

    The tensor is shared, so it must not be written to.
    """
    if torch.compiler.is_compiling():  # a compiled step keeps its constants itself
        return torch.tensor(values, device=device)
    return _made_once(values, device)


@lru_cache(maxsize=1024)
def _made_once(values: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device)
