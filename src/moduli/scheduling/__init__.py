"""Scheduling: which tasks take part in the next step."""

from moduli.scheduling.all_tasks import AllTasks

__all__ = ["AllTasks"]
