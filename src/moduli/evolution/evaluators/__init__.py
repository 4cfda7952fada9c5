"""Evaluators: many independent jobs, done in this process, in local processes, or on a Ray cluster.

They know nothing of what is evaluated: a job is a function, data that all jobs share, and some content.
"""

from moduli.evolution.evaluators.base import Evaluator, Job, Result, Workers
from moduli.evolution.evaluators.in_process import InProcess
from moduli.evolution.evaluators.journal import Journal
from moduli.evolution.evaluators.processes import Processes
from moduli.evolution.evaluators.ray import Ray
from moduli.evolution.evaluators.watch import Board, Unwatched, Watcher

__all__ = [
    "Board",
    "Evaluator",
    "InProcess",
    "Job",
    "Journal",
    "Processes",
    "Ray",
    "Result",
    "Unwatched",
    "Watcher",
    "Workers",
]
