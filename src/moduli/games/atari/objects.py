"""Where things are on the screen, read from the 128 bytes of an Atari's memory, and grids of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

COLUMNS, ROWS = 8, 10
"""Cells of a grid; the dissertation says 8 x 10 and leaves open which of the two is columns."""
CELLS = COLUMNS * ROWS
WIDTH, HEIGHT = 160, 210
"""Pixels of the screen."""

_VALUES = np.arange(256)
_NOWHERE = 1 << 30
"""Added to the index of an object that is not there: any sum with it lies beyond every grid."""


@dataclass(frozen=True)
class Byte:
    """A number (or a condition) that is a function of one byte of memory.

    Args:
        index: which byte, 0 to 127.
        table: what each of its 256 values stands for.
    """

    index: int
    table: np.ndarray


def byte(index: int, add: int = 0, scale: int = 1, modulo: int | None = None) -> Byte:
    """`scale * RAM[index] + add`, mod `modulo` where one is given."""
    values = scale * _VALUES + add
    return Byte(index, values if modulo is None else values % modulo)


def when(index: int, holds: Callable[[np.ndarray], np.ndarray]) -> Byte:
    """A condition on one byte; `holds` is given all 256 values."""
    return Byte(index, np.asarray(holds(_VALUES), dtype=bool))


@dataclass(frozen=True)
class Thing:
    """One object that may be on the screen.

    Args:
        kind: its class.
        x, y: upper left corner in pixels: a number, or read from a byte.
        size: width and height in pixels.
        present: conditions which must all hold for it to be there.
    """

    kind: str
    x: int | Byte
    y: int | Byte
    size: tuple[int, int]
    present: tuple[Byte, ...] = ()


class ObjectGrids:
    """Grids of 8 x 10 cells, one for each class of objects, from bytes of memory.

    A cell is 1 where the centre of at least one object of the class lies, else 0 (Hausknecht et al., 2013;
    dissertation of Meyerson, 2018, section 4.4). The cell of a centre (cx, cy) is column
    `floor(cx * 8 / 160)`, row `floor(cy * 10 / 210)`; what lies outside of the screen is in no cell.

    A class, a column, a row and a condition each depend on one byte at most. Thus the index of an object's
    cell is a sum of numbers that are looked up, and all objects of all memories take a handful of NumPy
    calls.

    Args:
        kinds: the classes in the order of their grids.
        things: all objects there may be.
    """

    def __init__(self, kinds: Sequence[str], things: Sequence[Thing]):
        self.kinds = tuple(kinds)
        self.things = tuple(things)
        self.inputs = CELLS * len(self.kinds)
        self._fixed = np.zeros((1, len(self.things)), dtype=np.int64)
        terms = [self._terms(number, thing) for number, thing in enumerate(self.things)]
        most = max(len(each) for each in terms)
        nothing = np.zeros(256, dtype=np.int64)
        padded = [list(each.items()) + [(0, nothing)] * (most - len(each)) for each in terms]
        flat = [padded[number][k] for k in range(most) for number in range(len(self.things))]
        tables, which = np.unique(np.stack([table for _, table in flat]), axis=0, return_inverse=True)
        self._terms_each = most
        self._bytes = np.array([index for index, _ in flat])
        self._tables = tables.ravel()
        self._offsets = 256 * which.reshape(-1)

    def __call__(self, ram: np.ndarray) -> np.ndarray:
        """Grids of some memories.

        Args:
            ram: `[n, 128]`, uint8.

        Returns:
            `[n, inputs]`, float32: grid after grid, and in each row after row.
        """
        n, things = len(ram), len(self.things)
        looked_up = self._tables.take(ram.take(self._bytes, axis=1) + self._offsets)
        cells = looked_up.reshape(n, self._terms_each, things).sum(axis=1)
        cells += self._fixed
        cells += np.arange(0, n * self.inputs, self.inputs)[:, None]
        grids = np.zeros(n * self.inputs + 1, dtype=np.float32)  # the last takes what is not there
        np.put(grids, cells, 1.0, mode="clip")
        return grids[:-1].reshape(n, self.inputs)

    def centres(self, ram: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where every thing is: the same as the grids, in pixels. For pictures and tests.

        Args:
            ram: `[n, 128]`, uint8.

        Returns:
            x and y of the centres and whether a thing is there, each `[n, len(things)]`.
        """
        x = np.stack([_read(thing.x, ram) + thing.size[0] // 2 for thing in self.things], axis=1)
        y = np.stack([_read(thing.y, ram) + thing.size[1] // 2 for thing in self.things], axis=1)
        present = (x >= 0) & (x < WIDTH) & (y >= 0) & (y < HEIGHT)
        for number, thing in enumerate(self.things):
            for condition in thing.present:
                present[:, number] &= _read(condition, ram).astype(bool)
        return x, y, present

    def _terms(self, number: int, thing: Thing) -> dict[int, np.ndarray]:
        """What each byte adds to the index of a thing's cell; what no byte changes goes to `_fixed`."""
        self._fixed[0, number] = CELLS * self.kinds.index(thing.kind)
        terms: dict[int, np.ndarray] = {}
        width, height = thing.size
        for place, half, pixels, cells, stride in (
            (thing.x, width // 2, WIDTH, COLUMNS, 1),
            (thing.y, height // 2, HEIGHT, ROWS, COLUMNS),
        ):
            if isinstance(place, Byte):
                centre = place.table + half
                added = np.where(
                    (centre >= 0) & (centre < pixels), centre * cells // pixels * stride, _NOWHERE
                )
                terms[place.index] = terms.get(place.index, 0) + added
            else:
                self._fixed[0, number] += (place + half) * cells // pixels * stride
        for condition in thing.present:
            added = np.where(condition.table, 0, _NOWHERE)
            terms[condition.index] = terms.get(condition.index, 0) + added
        return terms


def _read(value: int | Byte, ram: np.ndarray) -> np.ndarray:
    return value.table[ram[:, value.index]] if isinstance(value, Byte) else np.full(len(ram), value)
