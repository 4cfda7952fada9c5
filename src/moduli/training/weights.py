"""The weights of a model as one safetensors file: plain numbers, no code."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from moduli.errors import RunError
from moduli.files import write_atomically


def save_weights(path: Path, model: nn.Module) -> None:
    """Writes parameters and buffers to `path`, a tensor that has several names once.

    Raises:
        SaveError: if the file cannot be written.
    """
    tensors = {name: x.detach().cpu().contiguous() for name, x in _distinct(model).items()}
    content = safetensors.torch.save(tensors)
    write_atomically(path, lambda file: file.write(content))


def load_weights(path: Path, model: nn.Module) -> None:
    """Puts the weights of `path` into a model of the same make.

    Raises:
        RunError: if the file is missing, damaged, or of another model.
    """
    try:
        saved = safetensors.torch.load_file(path)
    except FileNotFoundError:
        raise RunError(f"no weights at {path}: was the folder moved?") from None
    except (OSError, safetensors.SafetensorError) as error:
        raise RunError(f"{path} is damaged ({error}): restore it, or train again") from None
    own = _distinct(model)
    different = [*(name for name in own if name not in saved), *(name for name in saved if name not in own)]
    if not different:
        try:
            model.load_state_dict(saved, strict=False)  # a name that a tensor has beside its first is missing
        except RuntimeError:
            own = _distinct(model)
            different = [name for name in own if own[name].shape != saved[name].shape]
    if different:
        raise RunError(f"{path} holds the weights of another model (they differ in {different[0]})")


def _distinct(model: nn.Module) -> dict[str, Tensor]:
    """The state of a model; a tensor with several names stands under the first alone."""
    first: dict[int, str] = {}
    state = model.state_dict(keep_vars=True).items()
    return {name: x for name, x in state if first.setdefault(id(x), name) == name}
