"""Balancing: from many losses to one gradient."""

from moduli.balancing.equal import Equal
from moduli.balancing.weighting import Weighting
from moduli.balancing.weights import Weights

__all__ = ["Equal", "Weighting", "Weights"]
