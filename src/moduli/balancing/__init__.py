"""Balancing: from many losses to one gradient."""

from moduli.balancing.aggregated import Aggregated
from moduli.balancing.dtp import DynamicTaskPriority, validation_kpi
from moduli.balancing.dwa import DWA
from moduli.balancing.equal import Equal
from moduli.balancing.exponent import Exponent
from moduli.balancing.focal import Focal
from moduli.balancing.gradnorm import GradNorm
from moduli.balancing.prioritise import Prioritise
from moduli.balancing.random_weights import RandomWeights
from moduli.balancing.scalarized import Scalarized
from moduli.balancing.self_paced import SelfPaced
from moduli.balancing.uncertainty import Uncertainty
from moduli.balancing.weighting import Weighting
from moduli.balancing.weights import Weights

__all__ = [
    "DWA",
    "Aggregated",
    "DynamicTaskPriority",
    "Equal",
    "Exponent",
    "Focal",
    "GradNorm",
    "Prioritise",
    "RandomWeights",
    "Scalarized",
    "SelfPaced",
    "Uncertainty",
    "Weighting",
    "Weights",
    "validation_kpi",
]
