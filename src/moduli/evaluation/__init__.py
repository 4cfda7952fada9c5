"""Evaluating methods: comparing them over seeds, and what can be said from that."""

from moduli.evaluation.compare import Comparison, Failure, compare
from moduli.evaluation.job import Build
from moduli.evaluation.summary import Outcome, Summary, read_summary, summarize, write_summary

__all__ = [
    "Build",
    "Comparison",
    "Failure",
    "Outcome",
    "Summary",
    "compare",
    "read_summary",
    "summarize",
    "write_summary",
]
