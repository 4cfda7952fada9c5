"""Objects read from memory are where the screen shows them."""

import numpy as np
import pytest

pytest.importorskip("ale_py", reason="ale-py is not installed")

from moduli.games.atari.emulators import borrow, give_back
from moduli.games.atari.layouts import object_grids

CARS = (18, 26, 36, 66, 68, 74, 130, 136, 216, 220)
BORDER = 8
"""Columns at the left edge that some games keep black."""
SHARKS = (148, 150, 152, 156, 160, 192, 200)
SUBMARINE = 8
BOLD = (1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15, 16, 17)
"""Actions, most of which fire: enough to get somewhere by chance."""

# Colours of a class (numbers of the palette), the rows of the screen on which it alone has them (or none),
# the least share of objects that show their colour at their place, and of pixels in these colours which lie
# there.
CLASSES = {
    "pong": {
        "self": ((200,), (34, 194), 0.99, 0.96),
        "ball": ((14,), (34, 194), 0.99, 0.95),
        "enemy": ((56,), (34, 194), 1, 0.99),
    },
    "breakout": {
        "self": ((70,), (189, 193), 0.98, 0.9),
        "ball": ((70,), (93, 188), 1, 0.99),
        "blocks": ((22, 38, 54, 70, 134, 198), (57, 93), 1, 0.99),
    },
    "asterix": {
        "self": ((24,), None, 0.98, 0),
        "enemies": ((74,), (26, 154), 0.99, 0.95),
        "consumables": ((66,), (26, 154), 0.99, 0.95),
    },
    "bowling": {
        "self": ((88,), (137, 147), 0.99, 0.95),
        "ball": ((132,), None, 0.98, 0),
        "pins": ((132,), None, 0.99, 0),
    },
    "freeway": {
        "self": ((30,), None, 1, 0),
        "cars": (CARS, (27, 181), 0.98, 0.95),
    },
    "boxing": {
        "self": ((12,), (38, 178), 1, 0.8),
        "enemy": ((0,), None, 1, 0),
    },
    "space_invaders": {
        "self": ((196,), (185, 195), 0.9, 0.95),
        "aliens": ((20,), (31, 185), 1, 0.99),
        "enemy bullets": ((6,), (30, 195), 0.99, 0.95),
        "shields": ((52,), (150, 180), 1, 1),
    },
    "seaquest": {
        "self": ((24, 0, 14, 148, 150, 152, 156), None, 0.9, 0),
        "enemies": ((SUBMARINE, *SHARKS), (60, 150), 0.99, 0.95),
        "divers": ((134,), None, 0.99, 0),
        "enemy missiles": ((134, SUBMARINE), None, 0.99, 0),
    },
}


def random_play(game, frames, every):
    """Memories and screens of random play, of every so many frames."""
    emulator = borrow(game)
    ale, random, action = emulator.ale, np.random.default_rng(0), 0
    ale.restoreState(emulator.start)
    memories, screens = [], []
    for frame in range(frames):
        if random.random() < 0.2:
            action = int(random.choice(BOLD))
        ale.act(action)
        if ale.game_over():
            ale.restoreState(emulator.start)
        elif frame % every == every - 1:
            memories.append(ale.getRAM())
            screens.append(ale.getScreen())
    give_back(game, emulator)
    return np.stack(memories), np.stack(screens)


def rates(game, kind, memories, screens):
    """How many objects there were, the share with their colour, and of coloured pixels that are theirs."""
    colours, rows, _, _ = CLASSES[game][kind]
    coloured = np.isin(screens, colours)
    theirs = np.zeros_like(coloured)
    grids = object_grids(game)
    x, y, present = grids.centres(memories)
    hits = count = 0
    for number, thing in enumerate(grids.things):
        if thing.kind != kind:
            continue
        width, height = thing.size
        for frame in np.flatnonzero(present[:, number]):
            left, top = x[frame, number] - width // 2, y[frame, number] - height // 2
            if left + width <= BORDER:
                continue
            box = (frame, slice(max(top, 0), top + height), slice(max(left, 0), left + width))
            hits += coloured[box].any()
            count += 1
            theirs[box] = True
    if rows is not None:
        coloured, theirs = coloured[:, slice(*rows), BORDER:152], theirs[:, slice(*rows), BORDER:152]
    return count, hits / max(count, 1), (coloured & theirs).sum() / max(coloured.sum(), 1)


def as_shown(game, kind, memories, screens):
    """Leaves out what the game itself draws on some frames only."""
    if kind == "enemy bullets":
        even = memories[:, 74] % 2 == 0
        return memories[even], screens[even]
    return memories, screens


@pytest.mark.parametrize("game", CLASSES)
def test_objects_are_where_the_screen_shows_their_colour(game):
    # Submarines of Seaquest do not come before frame 1 500.
    memories, screens = random_play(game, 3200 if game == "seaquest" else 2100, 3)
    for kind, (_, _, least_hits, least_covered) in CLASSES[game].items():
        count, hits, covered = rates(game, kind, *as_shown(game, kind, memories, screens))
        assert count >= 20, kind
        assert hits >= least_hits, kind
        assert covered >= least_covered, kind
