"""From the outputs of a network to the joystick and the button."""

from __future__ import annotations

import numpy as np

OUTPUTS = 10
"""A 3 x 3 joystick and a button."""

ACTIONS = np.array(
    [
        [7, 2, 6, 4, 0, 3, 9, 5, 8],
        [15, 10, 14, 12, 1, 11, 17, 13, 16],
    ]
)
"""Numbers of the emulator's 18 actions: without and with fire, by direction in reading order."""


def decode(outputs: np.ndarray) -> np.ndarray:
    """Which of the 18 actions each network chose.

    The direction is the greatest of the first nine outputs, which are a 3 x 3 joystick in reading order
    (up-left, up, up-right, left, none, right, down-left, down, down-right), the first of several that are
    equal. Fire if the tenth is above zero. The dissertation says what the outputs stand for, not how they
    are read.

    Args:
        outputs: `[n, 10]`.

    Returns:
        `[n]` numbers of actions.
    """
    return ACTIONS[(outputs[:, 9] > 0).view(np.int8), outputs[:, :9].argmax(axis=1)]
