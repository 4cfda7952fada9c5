"""Where batches come from: tensors that live on the device, or any `torch.utils.data.Dataset`.

A `Source` is data and never changes. A `Stream` is one pass of one run through it, without end, in an
order that its seed decides; it can be saved and continued bit for bit. The two kinds of source can be
mixed in one run.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from moduli.errors import InputError
from moduli.rng import rng_state, set_rng_state
from moduli.types import Batch, State

_GOLDEN = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio: makes another seed of a seed

Augment = Callable[[Tensor, torch.Generator], Tensor]
"""Changes the inputs `[B, ...]` of a training batch at random; all random numbers come from the generator."""


class Stream(Protocol):
    """Random batches without end."""

    def draw(self) -> Batch: ...

    def state_dict(self) -> State: ...

    def load_state_dict(self, state: State) -> None: ...


class Source(Protocol):
    """Samples with targets for one or more tasks."""

    def __len__(self) -> int: ...

    def stream(self, batch_size: int, seed: int, device: torch.device) -> Stream:
        """Endless random batches of exactly `batch_size` samples."""
        ...

    def batches(self, batch_size: int, device: torch.device) -> Iterator[Batch]:
        """All samples once, in order, for evaluation; the last batch may be smaller."""
        ...


class ShuffledIndices:
    """Endless indices: one random permutation of 0..n-1 after another, in pieces of `batch_size`.

    Every sample is seen once before any is seen again. A piece may straddle two permutations, so that
    all batches are of one size, also when there are fewer samples than a batch holds.
    """

    def __init__(self, n: int, batch_size: int, seed: int):
        self.n, self.batch_size = n, batch_size
        self._generator = torch.Generator().manual_seed(seed)
        self._order = torch.empty(0, dtype=torch.long)
        self._position = 0
        self.drawn = 0  # batches so far

    def draw(self) -> Tensor:
        """The next `[batch_size]` indices, on the CPU."""
        while self._position + self.batch_size > len(self._order):
            # Several permutations at once for small n: fewer calls.
            more = max(1, 16 * self.batch_size // self.n)
            fresh = [torch.randperm(self.n, generator=self._generator) for _ in range(more)]
            self._order = torch.cat([self._order[self._position :], *fresh])
            self._position = 0
        self._position += self.batch_size
        self.drawn += 1
        return self._order[self._position - self.batch_size : self._position]

    def state_dict(self) -> State:
        return {
            "order": self._order[self._position :].clone(),
            "generator": self._generator.get_state(),
            "drawn": self.drawn,
        }

    def load_state_dict(self, state: State) -> None:
        self._order, self._position, self.drawn = state["order"], 0, state["drawn"]
        self._generator.set_state(state["generator"])


class TensorSource:
    """Small data: inputs `[N, ...]` and targets `[N, ...]` of each task as tensors on the device.

    Batches are drawn by indexing, without a Python loop over rows.

    Args:
        inputs: `[N, ...]`.
        targets: `[N, ...]` of each task.
        augment: changes the inputs of every batch that a stream draws, never those of `batches`:
            `augment(x [B, ...], generator) -> [B, ...]` (see `moduli.tasks.augment`). The generator belongs
            to the stream and to its state, so a run goes on bit for bit. It is on the CPU, whatever the
            device of `x`: random numbers are then the same on all.

    Raises:
        InputError: if a target has another number of rows than the inputs, or there is no row.
    """

    def __init__(self, inputs: Tensor, targets: Mapping[str, Tensor], augment: Augment | None = None):
        if len(inputs) == 0:
            raise InputError(f"no samples for {', '.join(targets)}: give at least one row")
        for task, target in targets.items():
            if len(target) != len(inputs):
                raise InputError(
                    f"task {task!r}: {len(target)} targets for {len(inputs)} inputs; give one per row"
                )
        self.inputs, self.targets, self.augment = inputs, dict(targets), augment
        self._copies: dict[torch.device, TensorSource] = {}
        self.complete = frozenset(task for task, target in targets.items() if _complete(target))

    def __len__(self) -> int:
        return len(self.inputs)

    def to(self, device: torch.device) -> TensorSource:
        """The same data on `device`: itself if it is there already, else a copy that is made once."""
        if self.inputs.device == device:
            return self
        if device not in self._copies:
            moved = copy.copy(self)  # what is known of the data holds there too
            moved.inputs = self.inputs.to(device)
            moved.targets = {task: target.to(device) for task, target in self.targets.items()}
            self._copies[device] = moved
        return self._copies[device]

    def take(self, index: Tensor) -> Batch:
        """The samples at `index [B]`."""
        targets = {task: target.index_select(0, index) for task, target in self.targets.items()}
        return Batch(self.inputs.index_select(0, index), targets, self.complete)

    def stream(self, batch_size: int, seed: int, device: torch.device) -> Stream:
        return _TensorStream(self.to(device), ShuffledIndices(len(self), batch_size, seed), seed, device)

    def batches(self, batch_size: int, device: torch.device) -> Iterator[Batch]:
        source = self.to(device)
        for start in range(0, len(source), batch_size):
            part = slice(start, start + batch_size)
            targets = {task: target[part] for task, target in source.targets.items()}
            yield Batch(source.inputs[part], targets, source.complete)


class _TensorStream:
    def __init__(self, source: TensorSource, indices: ShuffledIndices, seed: int, device: torch.device):
        self._source, self._indices, self._device = source, indices, device
        # Not the generator of the order: that stays the same, with augmentation and without.
        self._generator = torch.Generator().manual_seed((seed + _GOLDEN) % (1 << 63))

    def draw(self) -> Batch:
        index = self._indices.draw()
        batch = self._source.take(index if self._device.type == "cpu" else index.to(self._device))
        if self._source.augment is None:
            return batch
        return replace(batch, inputs=self._source.augment(batch.inputs, self._generator))

    def state_dict(self) -> State:
        state = self._indices.state_dict()
        return state if self._source.augment is None else {**state, "augment": self._generator.get_state()}

    def load_state_dict(self, state: State) -> None:
        self._indices.load_state_dict(state)
        if self._source.augment is not None:
            self._generator.set_state(state["augment"])


class DatasetSource:
    """Any map-style `torch.utils.data.Dataset`, read through a `DataLoader`.

    Each item is `(inputs, target)` for one task, or `(inputs, {task: target})` for several.

    Args:
        dataset: has `__len__` and `__getitem__`.
        tasks: names of the tasks that learn from it.
        workers: processes that read ahead; 0 reads in this process.
        collate: how items become a batch; torch's default if None.
        pin_memory: see `DataLoader`; useful on CUDA.
    """

    def __init__(
        self, dataset: Dataset, tasks: Sequence[str], workers: int = 0, collate: Any = None, pin_memory=False
    ):
        self.dataset, self.tasks = dataset, tuple(tasks)
        self._loader = {"num_workers": workers, "collate_fn": collate, "pin_memory": pin_memory}
        if len(self) == 0:
            raise InputError(f"the data set for {', '.join(tasks)} is empty: give at least one sample")

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def loader(self, sampler: Any, dataset: Dataset | None = None) -> DataLoader:
        """A loader whose batches are what `sampler` asks the data set for."""
        generator = torch.Generator().manual_seed(0)  # or the global generator would be drawn from
        dataset = self.dataset if dataset is None else dataset
        return DataLoader(dataset, batch_sampler=sampler, generator=generator, **self._loader)

    def to_batch(self, item: Any, device: torch.device) -> Batch:
        """A collated `(inputs, target)` pair as a `Batch` on `device`."""
        inputs, targets = item
        if not isinstance(targets, Mapping):
            targets = dict.fromkeys(self.tasks, targets)
        return Batch(_to(inputs, device), {task: _to(targets[task], device) for task in self.tasks})

    def stream(self, batch_size: int, seed: int, device: torch.device) -> Stream:
        return _DatasetStream(self, ShuffledIndices(len(self), batch_size, seed), seed, device)

    def batches(self, batch_size: int, device: torch.device) -> Iterator[Batch]:
        indices = [
            list(range(start, min(start + batch_size, len(self))))
            for start in range(0, len(self), batch_size)
        ]
        for item in _items(self.loader(indices)):
            yield self.to_batch(item, device)


class _SeededByBatch(Dataset):
    """A data set that is asked for whole batches, each with the seed of its random augmentation.

    So a batch does not depend on which worker makes it, on what was made before, or on whether the run
    was interrupted. The random numbers of this process stay as they were.
    """

    def __init__(self, dataset: Dataset):
        self._dataset = dataset

    def __getitem__(self, index: Any) -> Any:
        return self._dataset[index]

    def __getitems__(self, request: tuple[int, list[int]]) -> list[Any]:
        seed, indices = request
        before = rng_state(cuda=False)  # in a worker process CUDA must not be touched
        try:
            torch.manual_seed(seed)
            np.random.seed(seed % (1 << 32))
            random.seed(seed)
            return [self._dataset[index] for index in indices]
        finally:
            set_rng_state(before)


class _DatasetStream:
    """Reads ahead in worker processes, yet its state is that of the batches already *given out*."""

    def __init__(self, source: DatasetSource, indices: ShuffledIndices, seed: int, device: torch.device):
        self._source, self._indices, self._seed, self._device = source, indices, seed, device
        self._states: list[State] = [indices.state_dict()]  # [0]: before the batch that comes next
        self._loader: Iterator | None = None

    def draw(self) -> Batch:
        if self._loader is None:
            sampler = _recorded(self._indices, self._states, self._seed)
            self._loader = _items(self._source.loader(sampler, _SeededByBatch(self._source.dataset)))
        item = next(self._loader)
        self._states.pop(0)
        return self._source.to_batch(item, self._device)

    def state_dict(self) -> State:
        return self._states[0]

    def load_state_dict(self, state: State) -> None:
        self._indices.load_state_dict(state)
        self._states, self._loader = [self._indices.state_dict()], None


def _complete(target: Tensor) -> bool:
    """Whether no label is missing."""
    return not bool(target.isnan().any() if target.is_floating_point() else (target < 0).any())


def _recorded(indices: ShuffledIndices, states: list[State], seed: int) -> Iterator[tuple[int, list[int]]]:
    """Endless index lists, each with a seed; the state after each is added to `states`.

    Not a method: a loader that led back to its stream would be freed, and its workers stopped, late.
    """
    while True:
        index = indices.draw().tolist()
        states.append(indices.state_dict())
        yield (seed + _GOLDEN * indices.drawn) % (1 << 63), index


def _items(loader: DataLoader) -> Iterator[Any]:
    """What a loader gives; an `InputError` of a process that reads ahead without the traceback around it."""
    try:
        yield from loader
    except InputError as error:
        last = str(error).rstrip().splitlines()[-1]
        raise InputError(last.removeprefix("moduli.errors.InputError: ")) from None


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, Mapping):
        return {key: _to(item, device) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_to(item, device) for item in value)
    return value
