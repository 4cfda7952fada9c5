"""Run files and run folders: from a user's YAML file to a trained, compared and saved joint model."""

from moduli.runs.balances import BALANCES
from moduli.runs.config import Run, read_run_file
from moduli.runs.methods import METHODS
from moduli.runs.predictor import Predictor, load_predictor
from moduli.runs.runner import is_finished, resume, run_file
from moduli.runs.schedules import SCHEDULES

__all__ = [
    "BALANCES",
    "METHODS",
    "SCHEDULES",
    "Predictor",
    "Run",
    "is_finished",
    "load_predictor",
    "read_run_file",
    "resume",
    "run_file",
]
