"""Scores that were published for the eight Atari games."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """A line of Table 4.1 of Meyerson (2018); human and DQN are of Mnih et al. (2015).

    The sources of the table played under sticky actions with frame skip, episode caps and action decoding
    that are not printed, DQN without sticky actions: the numbers are for orientation.
    """

    scratch: float
    random: float
    transfer: float
    source: str
    human: float
    dqn: float


PUBLISHED = {
    "pong": Published(0.0, 21.0, 10.0, "asterix", 9.3, 18.9),
    "breakout": Published(31.0, 35.0, 30.3, "boxing", 31.8, 401.2),
    "asterix": Published(2800.0, 3216.7, 3355.0, "bowling", 8503.0, 6012.0),
    "bowling": Published(249.3, 265.0, 265.0, "freeway", 154.8, 42.4),
    "freeway": Published(31.4, 31.5, 32.2, "breakout", 29.6, 30.3),
    "boxing": Published(93.9, 92.7, 95.0, "seaquest", 4.3, 71.8),
    "space_invaders": Published(1438.0, 1407.5, 1655.0, "pong", 1652.0, 1976.0),
    "seaquest": Published(466.0, 460.0, 975.0, "space_invaders", 20182.0, 5286.0),
}
