"""Encoders and decoders around modules of any width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from moduli.errors import InputError
from moduli.model import dense_ends, image_decoders
from moduli.tasks import Task, check_tasks, inputs_of


def default_ends(
    tasks: Sequence[Task], width: int, levels: Mapping[str, int]
) -> tuple[nn.Module | Mapping[str, nn.Module], nn.Module]:
    """Encoders and decoders for tables or images.

    Tables have a ReLU layer and a linear layer, see `dense_ends`. Images enter the modules as they are, and
    what is left of them after the poolings, `[width, H, W]`, is read by one linear layer (Meyerson 2018,
    7.2.2).

    Args:
        tasks: what is to be learned.
        width: channels out of every module.
        levels: poolings before the decoder of each task.

    Raises:
        InputError: if the samples are neither vectors nor images, or images are too small for the poolings.
    """
    if axes_of(tasks) == 1:
        return dense_ends(tasks, width)
    encoders = dict.fromkeys(inputs_of(check_tasks(tasks)), nn.Identity())
    return encoders, image_decoders(tasks, width, levels)


def axes_of(tasks: Sequence[Task]) -> int:
    """How many axes the samples of all tasks have: 1 for tables, 3 for images.

    Raises:
        InputError: if they are neither, or differ.
    """
    inputs = inputs_of(check_tasks(tasks)).values()
    axes = {len(data.shape) for data in inputs if data.tokens is None}
    if axes in ({1}, {3}) and all(data.tokens is None for data in inputs):
        return axes.pop()
    shapes = ", ".join(f"{data.name} {data.shape}" for data in inputs)
    raise InputError(f"modules are searched for tasks that are all tables, or all images ({shapes})")
