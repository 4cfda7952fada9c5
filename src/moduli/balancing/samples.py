"""Losses of samples, of several tasks in one tensor, for methods that treat samples differently."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from moduli.functional import stack_padded
from moduli.types import Losses


@dataclass(frozen=True)
class SampleGroup:
    """The losses of the samples of some tasks whose batches have one shape.

    ``samples`` is `[G, ..., B]`, in fp16 multiplied by ``scale``. ``labelled`` is bool like them, or None if
    all samples have a label.
    """

    names: list[str]
    samples: Tensor
    labelled: Tensor | None
    scale: Tensor | None

    def values(self) -> Tensor:
        """The losses as they are, without scale."""
        return self.samples if self.scale is None else self.samples / self.scale

    def means(self, samples: Tensor) -> dict[str, Tensor]:
        """The mean of some `[G, ..., B]` by task: over the labelled samples, and over all decoders."""
        if self.labelled is None:
            means = samples.mean(-1)
        else:
            means = (samples * self.labelled).sum(-1) / self.labelled.sum(-1).clamp(min=1)
        means = means.flatten(1).mean(1) if means.dim() > 1 else means
        return dict(zip(self.names, means.unbind(0), strict=True))


def sample_groups(losses: Losses, names: Iterable[str]) -> list[SampleGroup]:
    """The losses of the samples of some tasks, in as few tensors as their shapes allow."""
    groups: dict[Hashable, list[str]] = {}
    for name in names:
        groups.setdefault((losses.samples[name].shape, name in losses.labelled), []).append(name)
    made = []
    for (_, some), group in groups.items():  # type: ignore[misc]
        samples = stack_padded([losses.samples[name] for name in group], 0.0)
        labelled = None
        if some:
            shape = losses.samples[group[0]].shape
            labelled = torch.stack([losses.labelled[name].expand(shape) for name in group])
        made.append(SampleGroup(group, samples, labelled, losses.scale))
    return made


def scaled(values: Tensor, losses: Losses) -> Tensor:
    """What was made from unscaled losses, with the scale of these."""
    return values if losses.scale is None else values * losses.scale
