"""Scheduling: which tasks take part in the next step."""

from moduli.scheduling.adaptive import Adaptive
from moduli.scheduling.all_tasks import AllTasks
from moduli.scheduling.by_weights import ByWeights
from moduli.scheduling.greedy import Greedy
from moduli.scheduling.kiperwasser import Constant, Exponential, Shift, Sigmoid
from moduli.scheduling.proportional import Proportional
from moduli.scheduling.random_tasks import RandomTasks
from moduli.scheduling.round_robin import RoundRobin

__all__ = [
    "Adaptive",
    "AllTasks",
    "ByWeights",
    "Constant",
    "Exponential",
    "Greedy",
    "Proportional",
    "RandomTasks",
    "RoundRobin",
    "Shift",
    "Sigmoid",
]
