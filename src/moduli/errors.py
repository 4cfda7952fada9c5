"""Errors that a user can act on. The command line shows them as one line, without a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something the user gave is wrong. Says what, the value found, and what to do. Exit code 2."""


class RunError(RuntimeError):
    """Something failed during a run (NaN loss, full disk). Says what was kept. Exit code 3."""


class SaveError(RunError):
    """A file of a run could not be written (full disk, no permission): going on makes no sense."""


class Interrupted(KeyboardInterrupt):
    """The user stopped a run. The state was saved; the message says how to go on."""


class MissingExtra(ImportError):  # noqa: N818 - an ImportError whose name says which kind
    """A part was constructed whose optional dependency is not installed."""

    def __init__(self, part: str, package: str, extra: str):
        super().__init__(f"{part} needs the package {package!r}: pip install 'moduli[{extra}]'")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`"did you mean 'soft'?"` when a known word is near, capitals aside, else the list of known words."""
    known = sorted(known)
    lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), lower, n=1, cutoff=0.6)
    if near:
        return f"did you mean {lower[near[0]]!r}?"
    more = f" and {len(known) - 20} more" if len(known) > 20 else ""
    return f"known: {', '.join(known[:20])}{more}" if known else "none is known"
