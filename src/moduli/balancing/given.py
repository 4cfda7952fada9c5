"""Some methods are made with the tasks of the model that they will balance: they must be the same."""

from __future__ import annotations

from collections.abc import Iterable

from moduli.errors import InputError
from moduli.types import Model


def check_given(given: Iterable[str], model: Model, method: object) -> None:
    """Checks that a method was made with all tasks of the model, and no other.

    Raises:
        InputError: if it was not.
    """
    given, tasks, name = set(given), set(model.input_of), type(method).__name__
    for task in sorted(tasks - given):
        raise InputError(f"the model has a task {task!r} that {name} was not given: give all its tasks")
    for task in sorted(given - tasks):
        raise InputError(f"{name} was given a task {task!r} that the model does not have: leave it out")
