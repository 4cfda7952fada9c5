"""Grids of hand-made memories, of every game; actions; names."""

import ast
from pathlib import Path

import numpy as np
import pytest

from moduli.games.atari import names
from moduli.games.atari.actions import ACTIONS, decode
from moduli.games.atari.layouts import KINDS, object_grids
from moduli.games.atari.names import FEATURES, GAMES
from moduli.games.atari.objects import CELLS, ObjectGrids, Thing, byte, when


def memory(fill=0, **values):
    ram = np.full(128, fill, dtype=np.uint8)
    for name, value in values.items():
        ram[int(name.removeprefix("b"))] = value
    return ram


def seen(game, ram):
    """Cells (column, row) that are 1, by class."""
    grids = object_grids(game)(ram[None]).reshape(-1, 10, 8)
    return {
        kind: {(int(c), int(r)) for r, c in np.argwhere(grid)}
        for kind, grid in zip(KINDS[game], grids, strict=True)
    }


def test_pongs_ball_of_the_worked_example():
    ram = memory(b49=129, b54=114, b50=115, b51=113)
    grids = object_grids("pong")
    x, y, present = grids.centres(ram[None])
    ball = next(number for number, thing in enumerate(grids.things) if thing.kind == "ball")
    assert (x[0, ball] - 1, y[0, ball] - 2, present[0, ball]) == (80, 100, True)  # upper left corner
    assert seen("pong", ram) == {"self": {(7, 5)}, "ball": {(4, 4)}, "enemy": {(0, 5)}}
    assert seen("pong", memory(b49=129, b54=0, b50=0, b51=113))["ball"] == set()
    assert seen("pong", memory(b49=49, b54=114, b50=0, b51=113)) == {
        "self": {(7, 5)},
        "ball": set(),
        "enemy": set(),
    }


def test_breakouts_wall_is_taken_down_block_by_block():
    full = {
        f"b{i}": v
        for start, v in zip(range(0, 36, 6), (63, 255, 240, 255, 255, 192), strict=True)
        for i in range(start, start + 6)
    }
    wall = seen("breakout", memory(b72=102, b99=129, b101=111, **full))
    assert wall["self"] == {(3, 9)}
    assert wall["ball"] == {(4, 5)}
    assert wall["blocks"] == {(c, r) for c in range(8) for r in (2, 3, 4)}
    grids = object_grids("breakout")
    blocks = [number for number, thing in enumerate(grids.things) if thing.kind == "blocks"]
    assert len(blocks) == 108
    x, y, present = grids.centres(memory(**full)[None])
    assert present[0, blocks].all()
    hit = memory(**{**full, "b30": 0})  # the leftmost block of the lowest row
    gone = present[0] & ~grids.centres(hit[None])[2][0]
    assert [(x[0, i] - 4, y[0, i] - 3) for i in np.flatnonzero(gone)] == [(8, 87)]
    nothing = seen("breakout", memory(b72=102, b101=200))
    assert nothing["blocks"] == nothing["ball"] == set()


def test_asterix_tells_enemies_from_what_may_be_eaten():
    empty = {f"b{18 - i}": 11 for i in range(8)}
    ram = memory(
        b41=76,
        b39=3,
        **{**empty, "b18": 108, "b17": 204, "b11": 204},
        b42=20,
        b43=100,
        b49=100,
        b29=1,
        b30=2,
        b36=1,
    )
    ram[73 + 7] = 5  # points are shown in the lowest lane
    assert seen("asterix", ram) == {"self": {(4, 3)}, "enemies": {(1, 1)}, "consumables": {(5, 2)}}


def test_bowlings_pins_vanish():
    pins = {f"b{57 + i}": 255 for i in range(10)}
    ram = memory(b29=24, b40=1, b30=80, b41=5, **{**pins, "b57": 7, "b58": 0}, b47=16, b48=21)
    assert seen("bowling", ram) == {"self": {(1, 7)}, "ball": {(4, 7)}, "pins": {(6, 6)}}


def test_freeways_cars_come_back_on_the_other_side():
    ram = memory(b14=86, **{f"b{117 - i}": 16 * i for i in range(10)})
    cells = seen("freeway", ram)
    assert cells["self"] == {(2, 5)}
    # The first car would be at x = -3, and is at 157: its centre is outside. The others are at 16 i - 3.
    columns, rows = (0, 1, 2, 3, 4, 4, 5, 6, 7), (2, 3, 3, 4, 5, 6, 6, 7, 8)
    assert cells["cars"] == set(zip(columns, rows, strict=True))


def test_boxing():
    assert seen("boxing", memory(b32=8, b34=0, b33=90, b35=80)) == {"self": {(1, 2)}, "enemy": {(5, 6)}}


def test_space_invaders():
    bare = memory(b28=60, b26=23, b16=0, b81=246, b82=246, b24=80)
    assert seen("space_invaders", bare) == {
        "self": {(3, 9)},
        "aliens": set(),
        "enemy bullets": set(),
        "shields": set(),
    }
    ram = bare.copy()
    ram[23], ram[18] = 0b000001, 0b100000  # the first of the highest row, the last of the lowest
    ram[83], ram[81] = 62, 40
    ram[43], ram[69] = 60, 195  # one row of the first shield, one of the third
    cells = seen("space_invaders", ram)
    assert cells["aliens"] == {(1, 1), (5, 6)}
    assert cells["enemy bullets"] == {(3, 4)}
    assert cells["shields"] == {(2, 7), (5, 7)}
    ram[24] = 18
    assert seen("space_invaders", ram)["shields"] == set()


def test_seaquest():
    ram = memory(b70=76, b97=60, b93=4)
    ram[30], ram[36], ram[89] = (
        248,
        0b101,
        0,
    )  # sharks: the first is off the screen, the third at 248 + 32 - 256
    ram[31], ram[37], ram[90] = 100, 0b010, 5  # a submarine at 116, and its missile
    ram[72] = 50
    ram[74] = 90  # a diver in the highest lane
    assert seen("seaquest", ram) == {
        "self": {(4, 4)},
        "enemies": {(1, 6), (6, 5)},
        "divers": {(4, 3)},
        "enemy missiles": {(2, 5)},
    }
    ram[118] = 20  # a submarine at the surface
    assert (1, 2) in seen("seaquest", ram)["enemies"]


def test_every_class_has_things_and_a_grid_of_its_own():
    for game, kinds in KINDS.items():
        grids = object_grids(game)
        assert grids.inputs == 80 * len(kinds)
        assert {thing.kind for thing in grids.things} == set(kinds)
    assert list(KINDS) == list(GAMES) == list(FEATURES)


@pytest.mark.parametrize("game", GAMES)
def test_grids_agree_with_centres_for_any_memory(game):
    grids = object_grids(game)
    ram = np.random.default_rng(0).integers(0, 256, (200, 128), dtype=np.uint8)
    x, y, present = grids.centres(ram)
    expected = np.zeros((200, len(grids.kinds), 10, 8), dtype=np.float32)
    for frame, number in np.argwhere(present):
        kind = grids.kinds.index(grids.things[number].kind)
        expected[frame, kind, y[frame, number] * 10 // 210, x[frame, number] * 8 // 160] = 1
    assert grids(ram).dtype == np.float32
    np.testing.assert_array_equal(grids(ram), expected.reshape(200, -1))
    np.testing.assert_array_equal(grids(ram[7:8]), grids(ram)[7:8])
    assert grids(ram[:0]).shape == (0, grids.inputs)


def test_cells_at_the_edges_and_outside():
    grids = ObjectGrids(["dot"], [Thing("dot", byte(0), byte(1), (1, 1), (when(2, lambda v: v == 0),))])
    ram = np.zeros((6, 128), dtype=np.uint8)
    ram[:, :3] = [(0, 0, 0), (19, 20, 0), (20, 21, 0), (159, 209, 0), (160, 0, 0), (0, 0, 1)]
    cells = [np.flatnonzero(grid).tolist() for grid in grids(ram)]
    assert cells == [[0], [0], [9], [CELLS - 1], [], []]


def test_the_joystick_reads_like_a_page_and_the_tenth_output_fires():
    directions = np.full((9, 10), -1.0)
    directions[np.arange(9), np.arange(9)] = 1
    expected = ["UPLEFT", "UP", "UPRIGHT", "LEFT", "NOOP", "RIGHT", "DOWNLEFT", "DOWN", "DOWNRIGHT"]
    plain = decode(directions)
    directions[:, 9] = 0.1
    fire = decode(directions)
    assert sorted([*plain, *fire]) == list(range(18)) == sorted(ACTIONS.ravel())
    action = pytest.importorskip("ale_py", reason="ale-py is not installed").Action
    assert [action(int(number)).name for number in plain] == expected
    assert [action(int(number)).name for number in fire] == [
        "FIRE" if name == "NOOP" else f"{name}FIRE" for name in expected
    ]


def test_no_fire_at_zero_and_the_first_of_equals():
    assert decode(np.zeros((1, 10))).tolist() == [7]


def test_features_follow_from_the_interface():
    pytest.importorskip("ale_py", reason="ale-py is not installed")
    from moduli.games.atari.emulators import borrow, give_back

    def interface(game):
        emulator = borrow(game)
        actions = {action.name for action in emulator.ale.getMinimalActionSet()}
        give_back(game, emulator)
        found = {"horizontal"} if {"LEFT", "RIGHT"} <= actions else set()
        found |= {"vertical"} if {"UP", "DOWN"} <= actions else set()
        return found | ({"shooting"} if "FIRE" in actions else set())

    for game, features in FEATURES.items():
        assert features - {"delayed rewards", "long-term planning"} == interface(game), game
    assert {game for game, has in FEATURES.items() if "delayed rewards" in has} == {"freeway", "seaquest"}
    assert {game for game, has in FEATURES.items() if "long-term planning" in has} == {
        "space_invaders",
        "seaquest",
    }


def test_names_need_no_imports():
    source = Path(names.__file__).read_text(encoding="utf-8")
    assert not [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
