"""How the weight of a layer reads as linear maps, and how these are cut into blocks.

A linear map here goes from m inputs to n outputs and is a matrix `[m, n]`. A dense layer is one map. A
convolution has one for each position of its kernel and each group, a gated recurrent layer one for each gate
(section 8.2.2 of Meyerson 2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from moduli.modules import Dense

Block = tuple[int, int]
"""Inputs m and outputs n of a block."""


@dataclass(frozen=True)
class Layout:
    """Which axes of a weight are inputs and outputs of linear maps; all others count the maps.

    Args:
        view: the shape of the weight, with axes divided where several maps stand one after another in one.
        inputs, outputs: the axes of `view` that are those of a map.
        kernel: positions of a kernel; the fan-in of a unit is `kernel` times the inputs.
    """

    view: tuple[int, ...]
    inputs: int
    outputs: int
    kernel: int = 1

    @property
    def fan_in(self) -> int:
        """Inputs of a unit, all positions of the kernel together."""
        return self.view[self.inputs] * self.kernel

    @property
    def maps(self) -> tuple[int, ...]:
        """The axes of `view` that count the maps."""
        return tuple(a for a in range(len(self.view)) if a not in (self.inputs, self.outputs))

    def divides(self, block: Block) -> bool:
        """Whether a whole number of blocks makes a map."""
        return self.view[self.inputs] % block[0] == 0 and self.view[self.outputs] % block[1] == 0

    def blocks(self, block: Block) -> int:
        """How many blocks the weight is cut into; those at the edges may be larger than what is left."""
        p, q = self._grid(block)
        return math.prod(self.view[a] for a in self.maps) * p * q

    def fold(self, blocks: Tensor, block: Block) -> Tensor:
        """The weight from its blocks: `[N, m * n]` -> `view`, without what is outside of it."""
        (m, n), (p, q) = block, self._grid(block)
        x = blocks.view(*(self.view[a] for a in self.maps), p, q, m, n).permute(self._order())
        padded = list(self.view)
        padded[self.inputs], padded[self.outputs] = p * m, q * n
        x = x.reshape(padded)
        for axis in (self.inputs, self.outputs):
            if x.shape[axis] != self.view[axis]:
                x = x.narrow(axis, 0, self.view[axis])
        return x.contiguous()  # a view would keep the blocks of all weights in memory

    def unfold(self, weight: Tensor, block: Block, fill: float = 0.0) -> Tensor:
        """The blocks of a weight, `[N, m * n]`; what is outside of it is normal, N(0, fill^2)."""
        (m, n), (p, q) = block, self._grid(block)
        padded = list(self.view)
        padded[self.inputs], padded[self.outputs] = p * m, q * n
        x = weight.detach().reshape(self.view)
        if padded != list(self.view):
            whole = torch.randn(padded, dtype=x.dtype, device=x.device) * fill
            whole[tuple(slice(size) for size in self.view)] = x
            x = whole
        split = [s for a, size in enumerate(padded) for s in self._split(a, size, block)]
        order = self._order()
        back = [order.index(a) for a in range(len(order))]
        return x.reshape(split).permute(back).reshape(-1, m * n)

    def _grid(self, block: Block) -> tuple[int, int]:
        return -(-self.view[self.inputs] // block[0]), -(-self.view[self.outputs] // block[1])

    def _order(self) -> list[int]:
        """Where the axes of the weight, inputs and outputs divided, stand in `[*maps, p, q, m, n]`."""
        maps = self.maps
        order: list[int] = []
        for axis in range(len(self.view)):
            if axis == self.inputs:
                order += [len(maps), len(maps) + 2]
            elif axis == self.outputs:
                order += [len(maps) + 1, len(maps) + 3]
            else:
                order.append(maps.index(axis))
        return order

    def _split(self, axis: int, size: int, block: Block) -> tuple[int, ...]:
        if axis == self.inputs:
            return size // block[0], block[0]
        if axis == self.outputs:
            return size // block[1], block[1]
        return (size,)


# ------------------------------------------------------------------ kinds of layers

Layouts = Callable[[nn.Module], dict[str, Layout]]
"""For a layer, the layouts of its weights by their names."""


def _dense(layer: nn.Module) -> dict[str, Layout]:
    return {"weight": _matrix(layer.weight)}  # type: ignore[arg-type]


def _matrix(weight: Tensor, maps: int = 1) -> Layout:
    """Some matrices `[outputs, inputs]`, one below the other."""
    outputs, inputs = weight.shape
    return Layout((maps, outputs // maps, inputs), 2, 1)


def _convolution(layer: nn.Module) -> dict[str, Layout]:
    weight, groups, transposed = layer.weight, layer.groups, layer.transposed
    first, second, *kernel = weight.shape  # type: ignore[union-attr,misc]
    view = (groups, first // groups, second, *kernel)  # type: ignore[operator]
    inputs, outputs = (1, 2) if transposed else (2, 1)
    return {"weight": Layout(view, inputs, outputs, math.prod(kernel))}  # type: ignore[arg-type]


def _recurrent(layer: nn.Module) -> dict[str, Layout]:
    """Weights of input and state, for each gate; a projection of the state is one map."""
    gates = _GATES[getattr(layer, "mode", "") or type(layer).__name__]
    weights = [(name, x) for name, x in layer.named_parameters(recurse=False) if name.startswith("weight")]
    return {name: _matrix(x, 1 if name.startswith("weight_hr") else gates) for name, x in weights}


_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1, "LSTMCell": 4, "GRUCell": 3, "RNNCell": 1}


def _attention(layer: nn.Module) -> dict[str, Layout]:
    """Projections of queries, keys and values; that of the output is a dense layer inside."""
    weights = [(name, x) for name, x in layer.named_parameters(recurse=False) if name.endswith("proj_weight")]
    return {name: _matrix(x, 3 if name == "in_proj_weight" else 1) for name, x in weights}


def _input_first(layer: nn.Module) -> dict[str, Layout]:
    """A dense layer with its weight the other way round: `Conv1D` of GPT-2 in Hugging Face's library."""
    return {"weight": Layout(tuple(layer.weight.shape), 0, 1)}  # type: ignore[arg-type]


KINDS: dict[type[nn.Module], Layouts] = {
    nn.Linear: _dense,
    Dense: _dense,
    nn.modules.conv._ConvNd: _convolution,
    nn.RNNBase: _recurrent,
    nn.RNNCellBase: _recurrent,
    nn.MultiheadAttention: _attention,
}
"""Layers whose weights are generated, subclasses included."""


def layouts_of(layer: nn.Module, kinds: Mapping[type[nn.Module], Layouts] = KINDS) -> dict[str, Layout]:
    """The layouts of the weights that a layer itself holds; none if it is of no known kind.

    Raises:
        ValueError: if the weights have no shapes yet (see `torch.nn.LazyLinear`).
    """
    for kind, layouts in kinds.items():
        if isinstance(layer, kind):
            return layouts(layer)
    if type(layer).__name__ == "Conv1D" and type(layer).__module__.startswith("transformers"):
        return _input_first(layer)
    return {}
