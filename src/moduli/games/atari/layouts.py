"""In which bytes of memory the eight games keep their objects.

The bytes follow AtariARI and OCAtari, and were checked against the pixels of some thousands of frames of
random play with ale-py 0.12; where the two packages differ, the pixels decide. Coordinates are upper left
corners.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np

from moduli.games.atari.objects import WIDTH, ObjectGrids, Thing, byte, when

KINDS = {
    "pong": ("self", "ball", "enemy"),
    "breakout": ("self", "ball", "blocks"),
    "asterix": ("self", "enemies", "consumables"),
    "bowling": ("self", "ball", "pins"),
    "freeway": ("self", "cars"),
    "boxing": ("self", "enemy"),
    "space_invaders": ("self", "aliens", "enemy bullets", "shields"),
    "seaquest": ("self", "enemies", "divers", "enemy missiles"),
}
"""Classes of objects of each game, in the order of their grids; what the network plays comes first.

The dissertation has "between one and four" classes and does not name them.
"""


@cache
def object_grids(game: str) -> ObjectGrids:
    """What turns the memory of a game into grids."""
    return ObjectGrids(KINDS[game], tuple(_THINGS[game]()))


def _pong() -> Iterator[Thing]:
    yield Thing("self", 140, byte(51, -13), (4, 16))
    served = (when(49, lambda v: v > 49), when(54, lambda v: v > 0))
    yield Thing("ball", byte(49, -49), byte(54, -14), (2, 4), served)
    # At the start of a game the enemy waits above the field, where it is not drawn.
    yield Thing("enemy", 16, byte(50, -15), (4, 16), (when(50, lambda v: v > 33),))


def _breakout() -> Iterator[Thing]:
    # The paddle becomes half as wide once the ball has hit the top; its left end stays where it is.
    yield Thing("self", byte(72, -47), 189, (16, 4))
    yield Thing("ball", byte(99, -49), byte(101, 9), (2, 4), (when(101, lambda v: (v > 0) & (v < 186)),))
    # A row lies in six bytes, which are drawn from bit 0 up or from bit 7 down; two bits are a block.
    up, down = (0, 2, 4, 6), (6, 4, 2, 0)
    bits = ((30, (6,)), (24, down), (18, up), (12, (4, 6)), (6, down), (0, (0, 2, 4)))
    columns = [(start, bit) for start, of_blocks in bits for bit in of_blocks]
    for row in range(6):
        for column, (start, bit) in enumerate(columns):
            stands = when(start + 5 - row, lambda v, bit=bit: v & (3 << bit))
            yield Thing("blocks", 8 + 8 * column, 57 + 6 * row, (8, 6), (stands,))


def _asterix() -> Iterator[Thing]:
    yield Thing("self", byte(41), byte(39, 26, 16), (8, 11))
    for lane in range(8):
        # The picture of what is in a lane: 11 is nothing, 0 occurs in the very first frame only.
        there = when(18 - lane, lambda v: (v != 11) & (v != 0))
        not_text = when(73 + lane, lambda v: v == 0)  # else the points for what was collected are shown
        for kind, odd in (("enemies", 1), ("consumables", 0)):
            right_kind = when(29 + lane, lambda v, odd=odd: v % 2 == odd)
            conditions = (there, not_text, right_kind)
            yield Thing(kind, byte(42 + lane), 26 + 16 * lane, (8, 11), conditions)


def _bowling() -> Iterator[Thing]:
    yield Thing("self", byte(29, 8), byte(40, 141, -2), (8, 32))
    yield Thing("ball", byte(30, 7), byte(41, 163, -2), (4, 10))
    for pin in range(10):
        stands = when(57 + pin, lambda v: v <= 120)
        yield Thing("pins", byte(57 + pin, 135, -2), byte(47 + pin, 169, -2), (2, 4), (stands,))


def _freeway() -> Iterator[Thing]:
    # The second chicken, at x = 108, is nobody's.
    yield Thing("self", 44, byte(14, 193, -1), (6, 8))
    for lane in range(10):
        yield Thing("cars", byte(117 - lane, -3, modulo=WIDTH), 27 + 16 * lane, (8, 10))


def _boxing() -> Iterator[Thing]:
    yield Thing("self", byte(32, 5), byte(34, 38), (14, 46))
    yield Thing("enemy", byte(33, 4), byte(35, 38), (14, 46))


def _space_invaders() -> Iterator[Thing]:
    yield Thing("self", byte(28, -1), 185, (7, 10))
    for row in range(6):  # from the lowest
        for column in range(6):
            lives = when(18 + row, lambda v, column=column: v & (1 << column))
            y = byte(16, 31 + 18 * (5 - row), 2)
            yield Thing("aliens", byte(26, -1 + 16 * column), y, (8, 10), (lives,))
    for bullet in range(2):  # 246 if there is none; not drawn below row 188
        flies = when(81 + bullet, lambda v: v < 93)
        yield Thing("enemy bullets", byte(83 + bullet, -2), byte(81 + bullet, 3, 2), (1, 10), (flies,))
    drawn = when(24, lambda v: v & 64)  # shields vanish when the aliens have come down to them
    for shield in range(3):
        for row in range(9):  # it stands as long as one of its rows has a dot
            dots = when(43 + 9 * shield + row, lambda v: v > 0)
            yield Thing("shields", 42 + 32 * shield, 157, (8, 18), (dots, drawn))


def _seaquest() -> Iterator[Thing]:
    yield Thing("self", byte(70), byte(97, 33), (16, 11))
    for lane in range(4):  # from the lowest
        submarines = when(89 + lane, _submarine)
        sharks = when(89 + lane, lambda v: ~_submarine(v))
        y = 141 - 24 * lane
        for place in range(3):
            x = byte(30 + lane, 16 * place, modulo=256)
            there = when(36 + lane, lambda v, place=place: v & (4 >> place))
            yield Thing("enemies", x, y, (8, 11), (there, submarines))
            yield Thing("enemies", x, byte(93, y - 4), (8, 7), (there, sharks))
        # Divers swim with sharks, missiles come from submarines; both have the same byte.
        moving = when(71 + lane, lambda v: (v > 0) & (v < WIDTH))
        yield Thing("divers", byte(71 + lane), y, (8, 11), (moving, sharks))
        yield Thing("enemy missiles", byte(71 + lane, 3), y + 4, (6, 4), (moving, submarines))
    yield Thing("enemies", byte(118), 45, (8, 11), (when(118, lambda v: (v > 0) & (v < WIDTH)),))


def _submarine(v: np.ndarray) -> np.ndarray:
    return (v % 8 > 3) & (v % 8 < 7)


_THINGS = {
    "pong": _pong,
    "breakout": _breakout,
    "asterix": _asterix,
    "bowling": _bowling,
    "freeway": _freeway,
    "boxing": _boxing,
    "space_invaders": _space_invaders,
    "seaquest": _seaquest,
}
