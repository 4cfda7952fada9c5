"""Training: the step, the loop, the state."""

from moduli.training.evaluate import evaluate, predict_split
from moduli.training.loop import Fit, Trainer, fit
from moduli.training.progress import Bar, Progress, Silent
from moduli.training.settings import Train, choose_device
from moduli.training.step import Parts, train_step

__all__ = [
    "Bar",
    "Fit",
    "Parts",
    "Progress",
    "Silent",
    "Train",
    "Trainer",
    "choose_device",
    "evaluate",
    "fit",
    "predict_split",
    "train_step",
]
