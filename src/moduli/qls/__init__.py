"""Learning a schedule: training as a decision process, and the Q-learning of its first phase.

`MultitaskTrainingEnv` is loaded when it is first used: it needs the package gymnasium, the others do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moduli.qls.learn import Learner, learn_schedule
from moduli.qls.process import TrainingProcess

if TYPE_CHECKING:
    from moduli.qls.env import MultitaskTrainingEnv

__all__ = ["Learner", "MultitaskTrainingEnv", "TrainingProcess", "learn_schedule"]


def __getattr__(name: str) -> Any:
    if name == "MultitaskTrainingEnv":
        from moduli.qls.env import MultitaskTrainingEnv

        return MultitaskTrainingEnv
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
