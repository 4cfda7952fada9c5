"""Eight games of the Atari 2600, seen as grids of objects: see `AtariGame`."""

from moduli.games.atari.game import AtariGame

__all__ = ["AtariGame"]
