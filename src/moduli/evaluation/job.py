"""One method with one seed: trained, or taken from where it was trained before."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moduli.evaluation.summary import Outcome
from moduli.files import read_json, write_json
from moduli.model import JointModel
from moduli.rng import seeded
from moduli.training import Fit, Trainer
from moduli.training.weights import load_weights, save_weights
from moduli.types import Combine, Control, Schedule

Build = Callable[[int], JointModel]
"""Makes the model of a method for one seed."""


@dataclass(frozen=True)
class Recipe:
    """A method that is more than a model: its own way to balance losses and to schedule tasks.

    All but ``train`` are functions of the seed that make a new object for every run. What is None is what the
    comparison has in common. ``train`` has the settings of training, such as `lr`, that are the method's own.
    ``fitted`` makes the model with its weights, of methods that are not trained in steps; ``model`` then
    makes one of the same shape, into which saved weights are loaded.
    """

    model: Build
    combine: Callable[[int], Combine] | None = None
    schedule: Callable[[int], Schedule] | None = None
    controls: Callable[[int], Sequence[Control]] | None = None
    train: Mapping[str, Any] | None = None
    fitted: Build | None = None


@dataclass(frozen=True)
class Job:
    """A (method, seed). ``folder`` keeps its checkpoints, and then its outcome and weights."""

    method: str
    seed: int
    recipe: Recipe
    folder: Path | None

    def model(self) -> JointModel:
        """The untrained model; the global random numbers stay as they were."""
        with seeded(self.seed):
            return self.recipe.model(self.seed)

    def trained(self, trainer: Callable[[Job, JointModel], Trainer]) -> tuple[Outcome, JointModel]:
        """Trains, or goes on training, and saves the result."""
        fit = self._fit(trainer)
        outcome = Outcome(
            self.method,
            self.seed,
            fit.model.count_parameters(),
            fit.seconds,
            fit.steps,
            fit.test,
            fit.val,
            {"best_step": fit.best_step, **fit.model.described()},
        )
        if self.folder is not None:
            save_weights(self.folder / "model.safetensors", fit.model)
            # Its presence says that the job is done, so it comes last.
            write_json(self.folder / "outcome.json", outcome.to_json())
            self._drop_checkpoints()
        return outcome, fit.model

    def _fit(self, trainer: Callable[[Job, JointModel], Trainer]) -> Fit:
        if self.recipe.fitted is None:
            return trainer(self, self.model()).run()
        began = time.monotonic()
        with seeded(self.seed):
            model = self.recipe.fitted(self.seed)
        return trainer(self, model).measure(time.monotonic() - began)

    def restored(self) -> tuple[Outcome, JointModel] | None:
        """What was trained before, if it was trained to the end."""
        if self.folder is None or not (self.folder / "outcome.json").exists():
            return None
        outcome, model = Outcome.from_json(read_json(self.folder / "outcome.json")), self.model()
        load_weights(self.folder / "model.safetensors", model)
        self._drop_checkpoints()
        return outcome, model

    def _drop_checkpoints(self) -> None:
        assert self.folder is not None
        shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)
