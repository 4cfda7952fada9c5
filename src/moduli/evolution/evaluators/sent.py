"""Functions and data on their way to other processes."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from moduli.errors import InputError
from moduli.evolution.evaluators.base import Function, attempt


class Sent:
    """A function and the data that its jobs share, as bytes until a worker needs them.

    Plain pickle: the shared memory that torch would use between processes is gone with the process that made
    it, and runs out of file descriptors.

    Raises:
        InputError: if one of them cannot be pickled.
    """

    def __init__(self, function: Function, shared: Any, dumps: Callable[[Any], bytes] = pickle.dumps):
        name = getattr(function, "__qualname__", type(function).__name__)
        self._function = to_bytes(f"the function {name}", function, dumps)
        self._shared = to_bytes("what the jobs share", shared, dumps)
        self._loaded: tuple[Function, Any] | None = None

    def attempt(self, content: bytes) -> str:
        """In the worker: calls the function with some content."""
        if self._loaded is None:
            self._loaded = pickle.loads(self._function), pickle.loads(self._shared)
        return attempt(*self._loaded, pickle.loads(content))


def to_bytes(what: str, value: Any, dumps: Callable[[Any], bytes] = pickle.dumps) -> bytes:
    """A value pickled.

    Raises:
        InputError: if that cannot be done; `what` says of what.
    """
    try:
        return dumps(value)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{what} cannot be sent to other processes ({reason}): use functions and classes that stand at "
            "the top of a module, or evaluate in this process"
        ) from error
