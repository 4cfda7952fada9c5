"""The one loop: phases of training steps, and between them everything that is not gradient descent."""

from __future__ import annotations

import json
import math
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from moduli.balancing import Equal
from moduli.errors import InputError, Interrupted, RunError, SaveError
from moduli.files import write_atomically
from moduli.model import JointModel
from moduli.rng import rng_state, seeded, set_rng_state
from moduli.scheduling import AllTasks
from moduli.tasks import Task, check_made_for, check_tasks, inputs_of
from moduli.training.checkpoint import Checkpoints
from moduli.training.evaluate import evaluate
from moduli.training.interrupt import Interrupt
from moduli.training.precision import Precision
from moduli.training.progress import Progress, Silent
from moduli.training.running import RunningMean
from moduli.training.selection import Selection
from moduli.training.settings import Train, choose_device, cpu_threads, deterministic_kernels
from moduli.training.step import Parts, train_step
from moduli.types import Combine, Control, Phase, Schedule, Scores, State

_SMALL = 10_000_000  # multiplications of a forward pass up to which one thread is faster than several


@dataclass(frozen=True)
class Fit:
    """The result of training.

    ``model`` holds the weights of the best phase and is in evaluation mode. ``val`` and ``test`` were
    measured with them, at the end; the test split is read nowhere else. ``history`` has one record per
    phase, split and task, and whatever the model tells of itself.
    """

    model: JointModel
    val: Scores
    test: Scores
    steps: int
    seconds: float
    best_step: int
    history: list[dict[str, Any]] = field(repr=False)


class Trainer:
    """Trains a joint model; `fit` is the short way.

    State is everything that the next step depends on: weights, optimizer, learning rate, streams of
    batches, balancing, schedule, controls, selection, and the random number generators. It is saved after
    every phase if there is a folder, and a trainer that finds such a state goes on from there: with the
    same machine and number of threads, to the same bits.

    Args:
        model: see `JointModel`; moved to the device.
        tasks: what it learns.
        train: settings.
        combine: losses -> one gradient; equal weights by default.
        schedule: which tasks take part in a step; all by default.
        controls: act between phases, after those that the model brings along.
        seed: of the batches and of dropout. The model was initialised by whoever made it.
        device: "auto", "cpu", "cuda", ...
        folder: for checkpoints and `metrics.jsonl`; None keeps everything in memory.
        progress: where to report.
        title: what the progress report calls this run.

    Raises:
        InputError: if the model was made for other tasks, or a setting is impossible.
    """

    def __init__(
        self,
        model: JointModel,
        tasks: Sequence[Task],
        train: Train | None = None,
        combine: Combine | None = None,
        schedule: Schedule | None = None,
        controls: Sequence[Control] = (),
        seed: int = 0,
        device: str | torch.device = "auto",
        folder: Path | None = None,
        progress: Progress | None = None,
        title: str = "training",
    ):
        self.train = train or Train()
        self.tasks = check_tasks(tasks)
        check_made_for(self.tasks, model.input_of)
        self.device = choose_device(device)
        self.model = model.to(self.device)
        self.combine, self.schedule = combine or Equal(), schedule or AllTasks()
        self.controls = [*model.controls(), *controls]
        self.seed, self.title = seed, title
        self.progress = progress or Silent()
        self.history: list[dict[str, Any]] = []
        self.step, self.phases, self.seconds = 0, 0, 0.0
        self._running = RunningMean(list(self.tasks), self.device)

        for parameter in self.combine.parameters():
            parameter.data = parameter.data.to(self.device)
        self.model.keep_together()  # whatever an earlier training wanted
        self.combine.attach(self.model)
        self.schedule.attach(self.model)
        optimizer = self.train.make_optimizer(
            self.model.parameters(), self.combine.parameters(), self.model.learning_rates()
        )
        self.parts = Parts(
            model=self.model,
            forward=torch.compile(self.model) if self.train.compile else self.model,  # type: ignore[arg-type]
            tasks=self.tasks,
            streams={
                name: data.train.stream(self._batch_size(name), _mix(seed, name), self.device)
                for name, data in inputs_of(self.tasks).items()
            },
            combine=self.combine,
            optimizer=optimizer,
            lr_schedule=self.train.make_lr_schedule(optimizer),
            precision=Precision(self.train.precision, self.device),
            clip=self.train.clip,
        )
        self.selection = Selection(self.model, self.train.select, self.train.patience)
        self.checkpoints = Checkpoints(folder / "checkpoints", self.train.keep) if folder else None
        self._log = folder / "metrics.jsonl" if folder else None

    # -------------------------------------------------------------- the loop

    def run(self, test: bool = True) -> Fit:
        """Trains to the end and evaluates.

        Args:
            test: whether to read the test split; `Fit.test` is NaN throughout if not.

        Raises:
            Interrupted: after Ctrl-C; the state was saved if there is a folder.
            RunError: if a loss or a weight is no longer a number, or nothing can be saved.
        """
        deterministic = deterministic_kernels(self.train.deterministic)
        threads = cpu_threads(self.threads)
        with seeded(self.seed), deterministic, threads, Interrupt() as interrupt:
            self._resume()
            began = time.monotonic() - self.seconds
            self.model.train()
            self.progress.start(self.title, self.step, self.train.steps)
            try:
                while self.step < self.train.steps and not self.selection.finished:
                    self.one_step()
                    if self.step % self.train.phase == 0 or self.step == self.train.steps:
                        self._end_phase(time.monotonic() - began)
                    if interrupt.requested:
                        self._stop(time.monotonic() - began)
            finally:
                self.progress.stop()
            result = self._finish(time.monotonic() - began, test)
        if interrupt.requested:
            raise Interrupted(f"{self.title}: stopped after the last step" + self._what_was_saved())
        return result

    def measure(self, seconds: float = 0.0) -> Fit:
        """Evaluates a model that has its weights already: no step is taken.

        Args:
            seconds: that finding the weights took.
        """
        with cpu_threads(self.threads):
            return self._finish(seconds, test=True)

    def one_step(self) -> None:
        """One training step, counted: see `moduli.training.step.train_step` for what it does."""
        names = list(self.schedule.choose(list(self.tasks), self.step))
        losses = train_step(self.parts, names, self.schedule.rate(names))
        self.step += 1
        self._running.add(losses.mean)
        self.schedule.after_step(losses)
        if self.progress.wants_losses():
            self.progress.update(self.step, self._running.means())

    def _end_phase(self, seconds: float) -> None:
        self.phases, self.seconds = self.phases + 1, seconds
        training = self._running.means()
        self._check_finite(training)
        scores = self._evaluate("val", every_metric=False, choose=True)
        self.selection.update(scores, self.step)  # keeps what was scored, before controls change it
        self._record(training, scores)
        phase = Phase(
            self.model,
            scores,
            self.parts.optimizer,
            self.phases,
            self.step,
            self.train.steps,
            self.selection.restore,
        )
        for control in self.controls:
            control.after_phase(phase)
        self.combine.observe(scores)
        self.schedule.observe(scores)
        self._running.reset()
        self._save()

    def _stop(self, seconds: float) -> None:
        self.seconds = seconds
        self._check_finite(self._running.means())
        self._save()
        raise Interrupted(f"{self.title}: stopped at step {self.step}" + self._what_was_saved())

    def _what_was_saved(self) -> str:
        return "; the state was saved" if self.checkpoints else "; without a folder nothing was saved"

    def _finish(self, seconds: float, test: bool) -> Fit:
        self.selection.restore()
        self.model.keep_together()
        self.model.eval()
        best_step = max(self.selection.best_step)
        val = self._evaluate("val")
        tested = self._evaluate("test") if test else _unread(val)
        return Fit(self.model, val, tested, self.step, seconds, best_step, self.history)

    # -------------------------------------------------------------- records

    def _evaluate(self, split: str, every_metric: bool = True, choose: bool = False) -> Scores:
        size = self.train.eval_batch_size
        return evaluate(self.model, self.tasks, split, size, self.device, every_metric, choose)

    def _check_finite(self, losses: Mapping[str, float]) -> None:
        first = self._running.first_infinite()
        bad = [] if first is None else [f"training loss of task {first!r} is {losses[first]}"]
        bad += [
            f"parameter {n!r} is not finite"
            for n, p in self.model.named_parameters()
            if not p.isfinite().all()
        ]
        if bad:
            saved = self.checkpoints.steps() if self.checkpoints is not None else []
            kept = f"; the checkpoint of step {saved[-1]} is kept" if saved else ""
            raise RunError(
                f"{self.title}: the {bad[0]} at step {self.step}: "
                f"try a lower lr (now {self.train.lr}) or clip (now {self.train.clip}){kept}"
            )

    def _record(self, training: Mapping[str, float], scores: Scores) -> None:
        records = [
            {"step": self.step, "split": "train", "task": task, "loss": loss}
            for task, loss in training.items()
        ]
        records += [
            {
                "step": self.step,
                "split": "val",
                "task": task,
                "loss": scores.loss[task],
                **scores.metrics[task],
            }
            for task in self.tasks
        ]
        shares = self._running.shares((self.step - 1) % self.train.phase + 1)
        told = [*self.model.record(), *self.combine.record(), *self.schedule.record()]
        if min(shares.values()) < 1:  # else all tasks took part in all steps
            told.append({"split": "schedule", "shares": shares})
        records += [{"step": self.step, **record} for record in told]
        self.history += records
        if self._log is not None:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            try:
                with open(self._log, "a", encoding="utf-8") as file:
                    file.writelines(json.dumps(record) + "\n" for record in records)
            except OSError as error:
                raise SaveError(f"could not write {self._log} ({error.strerror}): free some space") from error

    # -------------------------------------------------------------- state

    def state_dict(self) -> State:
        """Everything that the next step depends on."""
        schedule = self.parts.lr_schedule
        return {
            "step": self.step,
            "phases": self.phases,
            "seconds": self.seconds,
            "records": len(self.history),
            "running": self._running.state_dict(),
            "model": self.model.state_dict(),
            "optimizer": self.parts.optimizer.state_dict(),
            "lr_schedule": schedule.state_dict() if schedule is not None else {},
            "precision": self.parts.precision.state_dict(),
            "streams": {name: stream.state_dict() for name, stream in self.parts.streams.items()},
            "combine": self.combine.state_dict(),
            "schedule": self.schedule.state_dict(),
            "controls": [control.state_dict() for control in self.controls],
            "selection": self.selection.state_dict(),
            "rng": rng_state(),
        }

    def load_state_dict(self, state: State) -> None:
        """Goes back to the moment at which `state` was taken.

        Raises:
            RunError: if the state is that of another model, or of other parts.
        """
        try:
            self._load_parts(state)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise RunError(f"{self.title}: the checkpoint is of another model ({reason})") from error
        self.step, self.phases, self.seconds = state["step"], state["phases"], state["seconds"]
        self._running.load_state_dict(state["running"])
        set_rng_state(state["rng"])

    def _load_parts(self, state: State) -> None:
        self.model.load_state_dict(state["model"])
        self.parts.optimizer.load_state_dict(state["optimizer"])
        if self.parts.lr_schedule is not None:
            self.parts.lr_schedule.load_state_dict(state["lr_schedule"])
        self.parts.precision.load_state_dict(state["precision"])
        for name, stream in self.parts.streams.items():
            stream.load_state_dict(state["streams"][name])
        self.combine.load_state_dict(state["combine"])
        self.schedule.load_state_dict(state["schedule"])
        for control, saved in zip(self.controls, state["controls"], strict=True):
            control.load_state_dict(saved)
        self.selection.load_state_dict(state["selection"])

    def _save(self) -> None:
        if self.checkpoints is not None:
            self.checkpoints.save(self.step, self.state_dict(), max(self.selection.best_step))

    def _resume(self) -> None:
        state = self.checkpoints.latest() if self.checkpoints is not None else None
        records = state["records"] if state is not None else 0
        if self._log is not None and self._log.exists():
            lines = self._log.read_text(encoding="utf-8").splitlines()[:records]
            self.history = [json.loads(line) for line in lines]
            kept = "".join(line + "\n" for line in lines)
            write_atomically(self._log, lambda file: file.write(kept.encode()))
        if state is not None:
            self.load_state_dict(state)

    @property
    def threads(self) -> int | None:
        """Threads that torch is to compute with on a CPU; None for its own number."""
        if self.train.threads is not None or self.device.type != "cpu":
            return self.train.threads
        vectors = all(len(data.shape) == 1 for data in inputs_of(self.tasks).values())
        multiplications = self.train.batch_size * self.model.count_parameters()
        return 1 if vectors and multiplications < _SMALL else None

    def _batch_size(self, name: str) -> int:
        sizes = [t.batch_size for t in self.tasks.values() if t.data.name == name]
        size = self.train.batch_size if sizes[0] is None else sizes[0]
        if size < 1:
            raise InputError(f"the batch size of input {name!r} is {size}: give at least 1")
        return size


def fit(
    model: JointModel,
    tasks: Sequence[Task],
    *,
    combine: Combine | None = None,
    schedule: Schedule | None = None,
    controls: Sequence[Control] = (),
    seed: int = 0,
    device: str | torch.device = "auto",
    folder: str | Path | None = None,
    progress: Progress | Callable[[], Progress] | None = None,
    **train: Any,
) -> Fit:
    """Trains a joint model on its tasks, and evaluates the model of the best phase.

    Args:
        model: see `JointModel`.
        tasks: what it learns.
        combine, schedule, controls, seed, device, progress: see `Trainer`.
        folder: saves the state there after every phase; called again, goes on from what is there.
        **train: settings, see `Train`: `steps=5000, batch_size=32, lr=0.001, phase=250, patience=10, ...`.

    Returns:
        A `Fit`: the model with its best weights, and its scores on the validation and test splits.
    """
    trainer = Trainer(
        model, tasks, Train(**train), combine, schedule, controls, seed, device,
        Path(folder) if folder is not None else None,
        progress() if callable(progress) else progress,
    )  # fmt: skip
    return trainer.run()


def _unread(val: Scores) -> Scores:
    """Scores of a test split that was not read."""
    nan = {task: dict.fromkeys(metrics, math.nan) for task, metrics in val.metrics.items()}
    return replace(val, split="test", loss=dict.fromkeys(val.loss, math.nan), metrics=nan)


def _mix(seed: int, name: str) -> int:
    """A seed for the batches of one input, the same whichever other inputs there are."""
    return (seed * 0x9E3779B1 + zlib.crc32(name.encode())) % (1 << 62)
