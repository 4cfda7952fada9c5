"""All words that a run file may use, for `moduli list`."""

from __future__ import annotations

from moduli.pseudotasks.control import LETTERS
from moduli.runs.balances import BALANCES
from moduli.runs.methods import METHODS
from moduli.runs.schedules import SCHEDULES
from moduli.training.settings import OPTIMIZERS


def names() -> dict[str, list[tuple[str, str]]]:
    """The words, with a line on each: `{place: [(word, line)]}`."""
    kinds = [
        ("binary", "one of two classes"),
        ("multiclass", "one of several classes"),
        ("regression", "a number"),
    ]
    return {
        "sharing and compare": [(word, method.about) for word, method in METHODS.items()],
        "pseudotasks.control": list(LETTERS.items()),
        "balance": [(word, balance.about) for word, balance in BALANCES.items()],
        "schedule": [(word, schedule.about) for word, schedule in SCHEDULES.items()],
        "train.optimizer": [(word, f"torch.optim.{make.__name__}") for word, make in OPTIMIZERS.items()],
        "tasks.kind": kinds,
    }
