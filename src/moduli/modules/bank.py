"""Encoders and decoders of many tasks as a few stacked parameters.

T small layers of T tasks cost T times the overhead of one. A bank keeps them in one tensor
`[T, inputs, outputs]`, padded with zeros to a common size, and computes them in one product. The padding
never receives a gradient: its inputs are zero, and its outputs are cut off. So a bank is exactly T
separate layers.

One difference remains: where a schedule leaves tasks out of a step, an optimizer with momentum still moves
their rows, while it would skip parameters that got no gradient at all. Where steps train one task each, use
separate layers (`LinearBank.separate`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moduli.errors import InputError
from moduli.functional import stacked_linear
from moduli.modules.each import Each
from moduli.modules.parts import copy_parts
from moduli.types import Part

# Layers may share a stack while padding at most doubles its size, or costs less than this many numbers.
_SMALL = 1 << 14


class LinearBank(nn.Module):
    """One affine map for each name, `{name: [B, i]} -> {name: [B, o]}`.

    Inputs of more axes `[B, C, H, W]` are flattened to vectors first. Weights start Glorot-uniform with
    each layer's own sizes and biases at zero.

    Args:
        sizes: inputs and outputs of each map.
        relu: whether a ReLU follows.
    """

    def __init__(self, sizes: Mapping[str, tuple[int, int]], relu: bool = False):
        super().__init__()
        self.sizes = dict(sizes)
        self.relu = relu
        self.stacks = stacks_of(self.sizes)
        self._place = {
            name: (s, row) for s, names in enumerate(self.stacks) for row, name in enumerate(names)
        }
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for names in self.stacks:
            widest = max(self.sizes[n][0] for n in names), max(self.sizes[n][1] for n in names)
            weight = torch.zeros(len(names), *widest)
            for row, name in enumerate(names):
                i, o = self.sizes[name]
                nn.init.xavier_uniform_(weight[row, :i, :o].T)
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(torch.zeros(len(names), widest[1])))

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        outputs: dict[str, Tensor] = {}
        for names, weight, bias in zip(self.stacks, self.weights, self.biases, strict=True):
            present = [row for row, name in enumerate(names) if name in inputs]
            if not present:
                continue
            if len(present) < len(names):
                weight, bias = weight[present], bias[present]
            here = [names[row] for row in present]
            alike = padded(here, [inputs[n] for n in here], [self.sizes[n][0] for n in here], weight.shape[1])
            results = stacked_linear(alike, weight, bias, self.relu)
            for name, y in zip(here, results, strict=True):
                outputs[name] = y if y.shape[-1] == self.sizes[name][1] else y[..., : self.sizes[name][1]]
        if len(outputs) < len(inputs):
            unknown = next(name for name in inputs if name not in outputs)
            raise InputError(f"no layer for {unknown!r}: give one (there are: {', '.join(self.sizes)})")
        return {name: outputs[name] for name in inputs}

    def separate(self) -> Each:
        """The same maps, with the same weights, as a module for each name."""
        layers: dict[str, nn.Module] = {}
        for name, (i, o) in self.sizes.items():
            weight, bias = (part.value for part in self.own(name))
            linear = nn.Linear(i, o, device="meta")  # draws no random numbers
            linear.weight, linear.bias = nn.Parameter(weight.T.clone()), nn.Parameter(bias.clone())
            layers[name] = nn.Sequential(nn.Flatten(1), linear, *([nn.ReLU()] if self.relu else []))
        return Each(layers)

    def renamed(self, names: Mapping[str, str]) -> LinearBank:
        """The maps under other names, each with weights of its own: `{new name: present name}`."""
        bank = LinearBank({new: self.sizes[old] for new, old in names.items()}, self.relu)
        bank.to(self.weights[0]).train(self.training)
        for new, old in names.items():
            copy_parts(self.own(old), bank.own(new))
        return bank

    def shared_parameters(self) -> list[nn.Parameter]:
        return []

    def own(self, task: str) -> list[Part]:
        s, row = self._place[task]
        i, o = self.sizes[task]
        return [
            Part(f"weights.{s}", self.weights[s], (row, slice(i), slice(o))),
            Part(f"biases.{s}", self.biases[s], (row, slice(o))),
        ]


def padded(
    names: Sequence[str], tensors: Sequence[Tensor], sizes: Sequence[int], width: int
) -> Sequence[Tensor]:
    """Flattened to vectors of `sizes` numbers and filled up with zeros to `width`."""
    tensors = [x.flatten(1) if x.dim() > 2 else x for x in tensors]
    for name, x, size in zip(names, tensors, sizes, strict=True):
        if x.shape[1] != size:
            raise InputError(f"the input of {name!r} has {x.shape[1]} features, its layer takes {size}")
    if all(x.shape[1] == width for x in tensors):
        return tensors
    if any(x.requires_grad or len(x) != len(tensors[0]) for x in tensors):
        return [F.pad(x, (0, width - x.shape[1])) for x in tensors]
    # Data without a gradient, the usual case at the encoders: one tensor, filled row by row.
    padded = tensors[0].new_zeros(len(tensors), len(tensors[0]), width)
    rows = padded.unbind(0)
    for x, row in zip(tensors, rows, strict=True):
        row[:, : x.shape[1]] = x
    return rows


def stacks_of(sizes: Mapping[str, tuple[int, int]]) -> list[list[str]]:
    """Which maps share a stacked tensor: neighbours in size, so that little of it is padding."""
    stacks: list[list[str]] = []
    for name in sorted(sizes, key=lambda n: sizes[n], reverse=True):
        if stacks:
            members = [*stacks[-1], name]
            i, o = max(sizes[n][0] for n in members), max(sizes[n][1] for n in members)
            used = sum(sizes[n][0] * sizes[n][1] for n in members)
            padded = len(members) * i * o
            if padded <= max(2 * used, _SMALL):
                stacks[-1] = members
                continue
        stacks.append([name])
    order = {name: position for position, name in enumerate(sizes)}
    return [sorted(names, key=order.__getitem__) for names in stacks]
