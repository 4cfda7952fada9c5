"""All tasks at every step."""

from __future__ import annotations

from collections.abc import Sequence

from moduli.types import Schedule


class AllTasks(Schedule):
    """Every step trains every task, as in the soft-ordering paper (appendix A)."""

    def choose(self, tasks: Sequence[str], step: int) -> Sequence[str]:
        return tasks
