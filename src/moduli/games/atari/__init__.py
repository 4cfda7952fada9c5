"""Eight games of the Atari 2600, seen as grids of objects: see `AtariGame`."""

from moduli.games.atari.game import AtariGame
from moduli.games.atari.layouts import KINDS
from moduli.games.atari.names import FEATURES, GAMES

__all__ = ["FEATURES", "GAMES", "KINDS", "AtariGame"]
