"""Evaluating methods: comparing them over seeds, and what can be said from that."""

from moduli.evaluation.baselines import baselines_of, single_task_scores
from moduli.evaluation.compare import Comparison, Failure, compare
from moduli.evaluation.job import Build, Recipe
from moduli.evaluation.summary import Outcome, Summary, read_summary, summarize, write_summary
from moduli.evaluation.tables import comparison_csv, comparison_markdown, comparison_table, write_tables

__all__ = [
    "Build",
    "Comparison",
    "Failure",
    "Outcome",
    "Recipe",
    "Summary",
    "baselines_of",
    "compare",
    "comparison_csv",
    "comparison_markdown",
    "comparison_table",
    "read_summary",
    "single_task_scores",
    "summarize",
    "write_summary",
    "write_tables",
]
