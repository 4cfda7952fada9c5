"""Analysing runs of games: transfer effectiveness, its indicators and its prediction."""

from moduli.games.analysis.analysis import GENERATIONS, Analysis, analyse
from moduli.games.analysis.order import Features, Order, letters, partial_order
from moduli.games.analysis.prediction import Prediction, leave_target_out, predict_effectiveness
from moduli.games.analysis.published import PUBLISHED, Published
from moduli.games.analysis.records import Run, load_runs
from moduli.games.analysis.scores import Row, Score
from moduli.games.analysis.transfer import (
    INDICATORS,
    Curve,
    Pair,
    success,
    threshold,
    training_complexity,
    transfer_effectiveness,
)

__all__ = [
    "GENERATIONS",
    "INDICATORS",
    "PUBLISHED",
    "Analysis",
    "Curve",
    "Features",
    "Order",
    "Pair",
    "Prediction",
    "Published",
    "Row",
    "Run",
    "Score",
    "analyse",
    "leave_target_out",
    "letters",
    "load_runs",
    "partial_order",
    "predict_effectiveness",
    "success",
    "threshold",
    "training_complexity",
    "transfer_effectiveness",
]
