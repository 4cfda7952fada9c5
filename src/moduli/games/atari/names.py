"""The eight games of the dissertation, and what makes each of them complex. No imports: `--help` uses it."""

GAMES = {
    "pong": "Pong",
    "breakout": "Breakout",
    "asterix": "Asterix",
    "bowling": "Bowling",
    "freeway": "Freeway",
    "boxing": "Boxing",
    "space_invaders": "Space Invaders",
    "seaquest": "Seaquest",
}
"""Names, as the library and ale-py write them, and titles."""

FEATURES = {
    "pong": frozenset({"horizontal", "shooting"}),
    "breakout": frozenset({"horizontal", "shooting"}),
    "asterix": frozenset({"horizontal", "vertical"}),
    "bowling": frozenset({"vertical", "shooting"}),
    "freeway": frozenset({"vertical", "delayed rewards"}),
    "boxing": frozenset({"horizontal", "vertical", "shooting"}),
    "space_invaders": frozenset({"horizontal", "shooting", "long-term planning"}),
    "seaquest": frozenset({"horizontal", "vertical", "shooting", "delayed rewards", "long-term planning"}),
}
"""Complexity features of Figure 4.2 of the dissertation.

The first three are "completely defined based on game interface", which is read as the minimal action set of
the emulator: `horizontal` if it has LEFT and RIGHT, `vertical` if it has UP and DOWN, `shooting` if it has
FIRE. Two games come out in a way one may not expect. Pong is horizontal: its paddle goes up and down on the
screen, but the joystick that moves it goes left and right. Pong and Breakout have shooting: the button only
serves a ball there, but it is part of the interface, and in Breakout nothing happens without it. The last two
are given in the text of section 4.4.
"""
