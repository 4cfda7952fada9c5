"""Scheduling: which tasks take part in the next step."""

from moduli.scheduling.adaptive import Adaptive
from moduli.scheduling.all_tasks import AllTasks
from moduli.scheduling.by_weights import ByWeights
from moduli.scheduling.greedy import Greedy
from moduli.scheduling.kiperwasser import ConstantShare, ExponentialShare, ShiftingShares, SigmoidShare
from moduli.scheduling.proportional import Proportional
from moduli.scheduling.qls import Policy, QLearningScheduler
from moduli.scheduling.random_tasks import RandomTasks
from moduli.scheduling.round_robin import RoundRobin

__all__ = [
    "Adaptive",
    "AllTasks",
    "ByWeights",
    "ConstantShare",
    "ExponentialShare",
    "Greedy",
    "Policy",
    "Proportional",
    "QLearningScheduler",
    "RandomTasks",
    "RoundRobin",
    "ShiftingShares",
    "SigmoidShare",
]
