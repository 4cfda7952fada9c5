"""Linear, convex and Bayesian multitask learning, as scikit-learn estimators.

    model = MultiTaskRegressor(TraceNorm(alpha=0.1)).fit(X, y, task=school)

Two estimators, for regression and for classification, take a method, as a Gaussian process takes a kernel.
Online learning and Gaussian processes are estimators of their own. Needs NumPy, SciPy and scikit-learn only.
"""

from moduli.linear.estimators import MultiTaskClassifier, MultiTaskRegressor
from moduli.linear.folds import TaskKFold, hold_out
from moduli.linear.method import Method
from moduli.linear.methods.independent import Pooled, Ridge
from moduli.linear.methods.low_rank import TraceNorm
from moduli.linear.methods.sparse import GroupLasso, Lasso
from moduli.linear.path import Path, regularization_path
from moduli.linear.perceptron import MultiTaskPerceptron
from moduli.linear.plots import plot_coefficients, plot_path, plot_relationship

__all__ = [
    "GroupLasso",
    "Lasso",
    "Method",
    "MultiTaskClassifier",
    "MultiTaskPerceptron",
    "MultiTaskRegressor",
    "Path",
    "Pooled",
    "Ridge",
    "TaskKFold",
    "TraceNorm",
    "hold_out",
    "plot_coefficients",
    "plot_path",
    "plot_relationship",
    "regularization_path",
]
