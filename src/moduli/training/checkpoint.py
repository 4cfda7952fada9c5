"""Checkpoints: the whole state of a run in one file, written atomically, read without running any code."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from moduli.errors import RunError
from moduli.files import write_atomically
from moduli.types import State

FORMAT, VERSION = "moduli-checkpoint", 1


def save_checkpoint(path: Path, state: State) -> None:
    """Writes `state` (nested dicts and lists of tensors, numbers and strings) to `path`."""
    whole = {"format": FORMAT, "version": VERSION, **state}
    write_atomically(path, lambda file: torch.save(whole, file))


def load_checkpoint(path: Path) -> State:
    """Reads a checkpoint, onto the CPU.

    Raises:
        RunError: if the file is missing, damaged, no checkpoint of moduli, or of a later version.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise RunError(f"no checkpoint at {path}: was the run folder moved?") from error
    except Exception as error:
        raise RunError(f"{path} is damaged or no checkpoint of moduli") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise RunError(f"{path} is no checkpoint of moduli")
    if state["version"] > VERSION:
        raise RunError(
            f"{path} is of version {state['version']}, this moduli reads {VERSION}: upgrade moduli"
        )
    return state


class Checkpoints:
    """The checkpoints of one run: the last few, and that of the best phase.

    Args:
        folder: where they are.
        keep: how many of the last to keep.
    """

    def __init__(self, folder: Path, keep: int):
        self.folder, self.keep = folder, keep

    def save(self, step: int, state: State, best_step: int) -> None:
        """Saves, then removes those that are no longer needed."""
        save_checkpoint(self._path(step), state)
        steps = self.steps()
        for old in steps[: -self.keep]:
            if old != best_step:
                self._path(old).unlink(missing_ok=True)

    def latest(self) -> State | None:
        """The newest checkpoint that can be read; None if there is none. Warns of newer, damaged ones.

        Raises:
            RunError: if there are checkpoints and none can be read.
        """
        problem: RunError | None = None
        for step in reversed(self.steps()):
            try:
                state = load_checkpoint(self._path(step))
            except RunError as error:
                problem = problem or error
                continue
            if problem is not None:
                warnings.warn(f"{problem}; going on from step {step}", stacklevel=2)
            return state
        if problem is not None:
            raise RunError(f"{problem}, nor is there an earlier one: delete {self.folder} to start again")
        return None

    def steps(self) -> list[int]:
        """Steps of which there is a checkpoint, ascending."""
        found = (path.stem.removeprefix("step-") for path in self.folder.glob("step-*.pt"))
        return sorted(int(number) for number in found if number.isdigit())

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:09d}.pt"
