"""All tasks at every step."""

from __future__ import annotations

from collections.abc import Sequence

from moduli.types import Scores, State


class AllTasks:
    """Every step trains every task, as in the soft-ordering paper (appendix A)."""

    def choose(self, tasks: Sequence[str], step: int) -> Sequence[str]:
        return tasks

    def observe(self, scores: Scores) -> None:
        """Learns nothing from scores."""

    def state_dict(self) -> State:
        return {}

    def load_state_dict(self, state: State, /) -> None:
        """Has no state."""
