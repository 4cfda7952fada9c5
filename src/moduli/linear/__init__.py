"""Linear, convex and Bayesian multitask learning, as scikit-learn estimators.

    model = MultiTaskRegressor(TraceNorm(alpha=0.1)).fit(X, y, task=school)

Two estimators, for regression and for classification, take a method, as a Gaussian process takes a kernel.
Online learning and Gaussian processes are estimators of their own. Needs NumPy, SciPy and scikit-learn only.
"""

from moduli.linear.estimators import MultiTaskClassifier, MultiTaskRegressor
from moduli.linear.folds import TaskKFold, hold_out
from moduli.linear.gaussian_process import MultiTaskGP
from moduli.linear.hierarchical_gp import HierarchicalGP
from moduli.linear.method import Method, Solution, Stop
from moduli.linear.methods.alternating_structure import AlternatingStructure
from moduli.linear.methods.clustered import Clustered, MeanRegularized
from moduli.linear.methods.decomposed import DirtyModel, Robust, SparseLowRank
from moduli.linear.methods.dg_mtl import DGMTL
from moduli.linear.methods.go_mtl import GOMTL
from moduli.linear.methods.graph import GraphFusedLasso
from moduli.linear.methods.hypotheses import SharedHypotheses
from moduli.linear.methods.independent import Pooled, Ridge
from moduli.linear.methods.low_rank import TraceNorm
from moduli.linear.methods.mixture import MixtureOfTasks
from moduli.linear.methods.relations import FeatureLearning, TaskRelationship
from moduli.linear.methods.sparse import GroupLasso, Lasso
from moduli.linear.methods.task_clustering import TaskClustering
from moduli.linear.methods.tree import TreeLasso
from moduli.linear.path import Path, regularization_path
from moduli.linear.perceptron import MultiTaskPerceptron
from moduli.linear.plots import plot_coefficients, plot_path, plot_relationship

__all__ = [
    "DGMTL",
    "GOMTL",
    "AlternatingStructure",
    "Clustered",
    "DirtyModel",
    "FeatureLearning",
    "GraphFusedLasso",
    "GroupLasso",
    "HierarchicalGP",
    "Lasso",
    "MeanRegularized",
    "Method",
    "MixtureOfTasks",
    "MultiTaskClassifier",
    "MultiTaskGP",
    "MultiTaskPerceptron",
    "MultiTaskRegressor",
    "Path",
    "Pooled",
    "Ridge",
    "Robust",
    "SharedHypotheses",
    "Solution",
    "SparseLowRank",
    "Stop",
    "TaskClustering",
    "TaskKFold",
    "TaskRelationship",
    "TraceNorm",
    "TreeLasso",
    "hold_out",
    "plot_coefficients",
    "plot_path",
    "plot_relationship",
    "regularization_path",
]
