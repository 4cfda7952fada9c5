"""How to train: everything that is the same whatever the sharing structure."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from moduli.errors import InputError, did_you_mean

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
}
PRECISIONS = ("fp32", "bf16", "fp16")
SELECTIONS = ("metric", "loss", "last")
LR_SCHEDULES = ("constant", "cosine", "linear")


@dataclass(frozen=True)
class Train:
    """Settings of a training run.

    Args:
        steps: most optimizer steps.
        batch_size: samples per task and step; a task may have its own.
        optimizer: a word (adam, adamw, sgd, rmsprop, adagrad), or a function from parameters to an
            optimizer of the user's. Fused kernels are used where torch has them.
        lr: learning rate. Adam's own default, 0.001, is also the papers'.
        weight_decay: passed to the optimizer.
        momentum: passed to sgd and rmsprop.
        lr_schedule: constant, cosine (to zero at `steps`), linear (to zero), or a function from the
            optimizer to a `torch.optim.lr_scheduler`; stepped once per step.
        warmup: steps over which the learning rate rises linearly from zero.
        clip: bound on the norm of the whole gradient, all tasks together; None for none.
        phase: steps between two evaluations on the validation split (a meta-iteration).
        patience: stop after so many phases without a better validation score; None never stops early.
        select: which phase's model is kept: that of the best mean validation "metric", of the lowest
            "loss" (summed over tasks, as the soft-ordering paper reports it), or the "last", which also
            never stops early. A loss has no bound, so one task that overfits can decide the sum for all.
        precision: fp32, or autocast to bf16 or fp16 (fp16 scales the loss).
        compile: whether to run the model through `torch.compile`.
        deterministic: whether to refuse nondeterministic kernels (matters on CUDA).
        threads: of torch on a CPU; None takes one for small tables, where several only wait for each other,
            and torch's own number else. A run resumes bit for bit with the same number.
        eval_batch_size: samples per batch when evaluating.
        keep: how many checkpoints to keep, beside that of the best phase.

    Raises:
        InputError: if a value is impossible.
    """

    steps: int = 5000
    batch_size: int = 32
    optimizer: str | Callable[[Iterable[Parameter]], Optimizer] = "adam"
    lr: float = 0.001
    weight_decay: float = 0.0
    momentum: float = 0.0
    lr_schedule: str | Callable[[Optimizer], LRScheduler] = "constant"
    warmup: int = 0
    clip: float | None = None
    phase: int = 250
    patience: int | None = 10
    select: Literal["metric", "loss", "last"] = "metric"
    precision: str = "fp32"
    compile: bool = False
    deterministic: bool = False
    threads: int | None = None
    eval_batch_size: int = 4096
    keep: int = 2

    def __post_init__(self):
        for name in ("steps", "batch_size", "phase", "eval_batch_size", "keep"):
            self._check(name, getattr(self, name) >= 1, "give at least 1")
        for name in ("weight_decay", "momentum", "warmup"):
            self._check(name, getattr(self, name) >= 0, "give at least 0")
        self._check("lr", self.lr > 0, "give a number above 0")
        self._check("clip", self.clip is None or self.clip > 0, "give a number above 0, or leave it out")
        self._check("threads", self.threads is None or self.threads >= 1, "give at least 1, or null")
        self._check("patience", self.patience is None or self.patience >= 1, "give at least 1, or null")
        words = {
            "optimizer": OPTIMIZERS,
            "lr_schedule": LR_SCHEDULES,
            "precision": PRECISIONS,
            "select": SELECTIONS,
        }
        for name, known in words.items():
            word = getattr(self, name)
            if isinstance(word, str) and word not in known:
                raise InputError(f"train.{name} is {word!r}: {did_you_mean(word, known)}")

    def _check(self, name: str, fine: bool, remedy: str) -> None:
        if not fine:
            raise InputError(f"train.{name} is {getattr(self, name)}: {remedy}")

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON data; functions by their names."""
        return {k: getattr(v, "__name__", str(v)) if callable(v) else v for k, v in asdict(self).items()}

    def make_optimizer(
        self,
        parameters: Iterable[Parameter],
        undecayed: Iterable[Parameter] = (),
        rates: Mapping[Parameter, float] | None = None,
    ) -> Optimizer:
        """The optimizer over `parameters`, and over `undecayed` without weight decay.

        Args:
            parameters, undecayed: those that need no gradient are passed over.
            rates: learning rates of some of the parameters, which do not decay either.
        """
        rates = rates or {}
        parameters, undecayed = ([p for p in some if p.requires_grad] for some in (parameters, undecayed))
        groups: list[Any] = [p for p in parameters if p not in rates]
        apart = [{"params": undecayed}] if undecayed else []
        apart += [{"params": [p], "lr": rates[p]} for p in parameters if p in rates]
        if apart:
            groups = [{"params": groups}, *({**group, "weight_decay": 0.0} for group in apart)]
        if not isinstance(self.optimizer, str):
            return self.optimizer(groups)
        options: dict[str, Any] = {"lr": self.lr, "weight_decay": self.weight_decay}
        if self.optimizer in ("sgd", "rmsprop"):
            options["momentum"] = self.momentum
        devices = {p.device.type for p in (*parameters, *undecayed)}
        if self.optimizer in ("adam", "adamw", "sgd") and devices <= {"cpu", "cuda"}:
            options["fused"] = True
        return OPTIMIZERS[self.optimizer](groups, **options)

    def make_lr_schedule(self, optimizer: Optimizer) -> LRScheduler | None:
        """The learning-rate schedule, or None if the rate is constant."""
        if not isinstance(self.lr_schedule, str):
            return self.lr_schedule(optimizer)
        if self.lr_schedule == "constant" and not self.warmup:
            return None
        return LambdaLR(optimizer, self._lr_factor)

    def _lr_factor(self, step: int) -> float:
        if step < self.warmup:
            return (step + 1) / self.warmup
        done = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        if self.lr_schedule == "cosine":
            return 0.5 * (1.0 + torch.cos(torch.tensor(done * torch.pi, dtype=torch.float64)).item())
        return 1.0 - done if self.lr_schedule == "linear" else 1.0


@contextmanager
def deterministic_kernels(wanted: bool) -> Iterator[None]:
    """While active, refuses kernels whose results vary from run to run, if `wanted`."""
    before = torch.are_deterministic_algorithms_enabled()
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS demands it
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """The device called "cpu", "cuda", "cuda:1", "mps", ..., or for "auto" the best that is there.

    Raises:
        InputError: if there is no such device.
    """
    if str(device) == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {device!s} cannot be used ({reason}): try cpu or auto") from error
    return chosen


def describe_device(device: str | torch.device = "auto") -> str:
    """What a device is, in a few words, for summaries."""
    chosen = choose_device(device)
    if chosen.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(chosen)})"
    return f"cpu ({os.cpu_count()} cores)" if chosen.type == "cpu" else str(chosen)


@contextmanager
def cpu_threads(number: int | None) -> Iterator[None]:
    """While active, torch computes with so many threads on the CPU; None changes nothing."""
    before = torch.get_num_threads()
    try:
        if number is not None:
            torch.set_num_threads(number)
        yield
    finally:
        torch.set_num_threads(before)
