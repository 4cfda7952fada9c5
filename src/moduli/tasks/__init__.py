"""What is to be learned: tasks, their kinds, and where their batches come from."""

from moduli.tasks.augment import Chain, Crop, Flip
from moduli.tasks.kinds import Binary, Kind, Metric, Multiclass, Multilabel, Regression
from moduli.tasks.language import LanguageModel, TextSource, language_task
from moduli.tasks.losses import task_losses
from moduli.tasks.sources import DatasetSource, Source, Stream, TensorSource
from moduli.tasks.task import Data, Task, check_made_for, check_tasks, inputs_of, labelled_samples

__all__ = [
    "Binary",
    "Chain",
    "Crop",
    "Data",
    "DatasetSource",
    "Flip",
    "Kind",
    "LanguageModel",
    "Metric",
    "Multiclass",
    "Multilabel",
    "Regression",
    "Source",
    "Stream",
    "Task",
    "TensorSource",
    "TextSource",
    "check_made_for",
    "check_tasks",
    "inputs_of",
    "labelled_samples",
    "language_task",
    "task_losses",
]
