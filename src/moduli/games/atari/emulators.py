"""Emulators of this process, which are kept for the next arena: one takes about 0.1 s to make."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

from moduli.errors import MissingExtra


@dataclass(frozen=True)
class Emulator:
    """One console with a game in it.

    Args:
        ale: the `ALEInterface`, without sticky actions or skipped frames of its own.
        start: its state at the start of a game; restoring it takes 0.03 ms where a reset takes 3.
        picture: the screen at the start, `[210, 160, 3]`; a state does not hold it.
    """

    ale: Any
    start: Any
    picture: np.ndarray


_idle: defaultdict[str, list[Emulator]] = defaultdict(list)


def ale_py() -> Any:
    """The package, imported.

    Raises:
        MissingExtra: if it is not installed.
    """
    try:
        import ale_py
    except ImportError:
        raise MissingExtra("AtariGame", "ale-py", "atari") from None
    return ale_py


def borrow(name: str) -> Emulator:
    """An emulator for a game that nobody else has until it is given back."""
    return _idle[name].pop() if _idle[name] else _make(name)


def give_back(name: str, emulator: Emulator) -> None:
    """Keeps an emulator for whoever asks next."""
    _idle[name].append(emulator)


def _make(name: str) -> Emulator:
    package = ale_py()
    package.ALEInterface.setLoggerMode(package.LoggerMode.Error)  # else each prints a banner
    ale = package.ALEInterface()
    ale.setFloat("repeat_action_probability", 0.0)
    ale.setInt("frame_skip", 1)
    ale.loadROM(package.roms.get_rom_path(name))
    ale.reset_game()
    return Emulator(ale, ale.cloneState(), ale.getScreenRGB())
