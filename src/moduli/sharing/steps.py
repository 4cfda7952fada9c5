"""The steps of a plan, and their replay. Each takes rows of earlier buffers and makes one new buffer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from moduli.functional import Blocks, channels_last, concatenate, constant, soft_merge, soft_merge_common
from moduli.sharing.apart import ApartModules


class Run(NamedTuple):
    """Pieces first..last-1 of a buffer, or all of it if `first` is None."""

    buffer: int
    first: int | None
    last: int | None


Runs = tuple[Run, ...]


class Buffers:
    """The results so far. Buffers that are needed in part are split once, not sliced again and again."""

    def __init__(self, sources: Sequence[Tensor], cuts: Mapping[int, tuple[int, ...]]):
        self._tensors = list(sources)
        self._cuts = cuts
        self._pieces: dict[int, Sequence[Tensor]] = {}

    def append(self, tensor: Tensor) -> None:
        self._tensors.append(tensor)

    def take(self, runs: Runs) -> Tensor:
        """The rows of some runs as one tensor; copies only if they are not neighbours."""
        parts: list[Tensor] = []
        for buffer, first, last in runs:
            if first is None:
                parts.append(self._tensors[buffer])
                continue
            if buffer not in self._pieces:
                self._pieces[buffer] = self._tensors[buffer].split(self._cuts[buffer])
            parts.extend(self._pieces[buffer][first:last])
        return concatenate(parts)


@dataclass
class Context:
    """What steps need beside the buffers: the pool, dropout, pooling, and the weights of each merge."""

    modules: Sequence[nn.Module]
    drop: Callable[[Tensor], Tensor]
    pool: Callable[[Tensor], Tensor]
    merge_weights: Iterator[Tensor]
    apart: ApartModules | None = None  # stands in for the modules


class Step(Protocol):
    def __call__(self, buffers: Buffers, context: Context) -> Tensor: ...


@dataclass(frozen=True)
class ApplyStep:
    """One module on the concatenation of all its inputs; ``blocks[0]``: which source the rows come from."""

    module: int
    runs: Runs
    blocks: tuple[Blocks, ...] = ()

    def __call__(self, buffers: Buffers, context: Context) -> Tensor:
        x = buffers.take(self.runs)
        if context.apart is not None:
            return context.apart.apply((self.module,), x.unsqueeze(0), self.blocks).squeeze(0)
        return context.modules[self.module](x)


@dataclass(frozen=True)
class TogetherStep:
    """L alike modules in one batched call, on L inputs of equal size or all on one input.

    ``blocks``: for each module, which source its rows come from.
    """

    modules: tuple[int, ...]
    runs: Runs
    one_input: bool
    blocks: tuple[Blocks, ...] = ()

    def __call__(self, buffers: Buffers, context: Context) -> Tensor:
        modules = [context.modules[k] for k in self.modules]
        x = buffers.take(self.runs)
        if self.one_input:
            x = x.expand(len(modules), *x.shape)
        else:
            x = x.view(len(modules), -1, *x.shape[1:])
        if context.apart is not None:
            return context.apart.apply(self.modules, x, self.blocks).flatten(0, 1)
        return type(modules[0]).together(modules, x).flatten(0, 1)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class PoolStep:
    runs: Runs

    def __call__(self, buffers: Buffers, context: Context) -> Tensor:
        return context.pool(buffers.take(self.runs))


@dataclass(frozen=True)
class FillStep:
    """Appends channels of zeros until there are ``channels``."""

    runs: Runs
    channels: int

    def __call__(self, buffers: Buffers, context: Context) -> Tensor:
        x = channels_last(buffers.take(self.runs))
        return F.pad(x, (0, 0) * (x.dim() - 2) + (0, self.channels - x.shape[1]))


@dataclass(frozen=True)
class DropStep:
    runs: Runs

    def __call__(self, buffers: Buffers, context: Context) -> Tensor:
        return context.drop(buffers.take(self.runs))


@dataclass(frozen=True)
class MergeStep:
    """Soft merges of at most M inputs each, those with most inputs first; merge g has ``sizes[g]`` rows.

    ``inputs[m]``: input m of all merges that have so many.
    """

    inputs: tuple[Runs, ...]
    sizes: tuple[int, ...]

    def __call__(self, buffers: Buffers, context: Context) -> Tensor:
        s_GM = next(context.merge_weights)[:, : len(self.inputs)]
        if len(set(self.sizes)) == 1:
            s_NM = s_GM if self.sizes[0] == 1 else s_GM.repeat_interleave(self.sizes[0], dim=0)
        else:
            repeats = constant(self.sizes, s_GM.device)
            s_NM = s_GM.repeat_interleave(repeats, dim=0, output_size=sum(self.sizes))
        return soft_merge(s_NM, [buffers.take(runs) for runs in self.inputs])


@dataclass(frozen=True)
class CommonMergeStep:
    """Several soft merges of the same M inputs (tasks that share their input)."""

    inputs: tuple[Runs, ...]

    def __call__(self, buffers: Buffers, context: Context) -> Tensor:
        s_GM = next(context.merge_weights)[:, : len(self.inputs)]
        return soft_merge_common(s_GM, [buffers.take(runs) for runs in self.inputs])


def halve(x: Tensor) -> Tensor:
    """The adapter between two levels: 2x2 max-pooling."""
    return F.max_pool2d(x, 2)
