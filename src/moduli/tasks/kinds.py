"""Kinds of tasks: what the decoder must put out, the loss, and the metrics.

A kind is a small frozen dataclass. A new kind is a new class with these members; nothing else changes:
``name``, ``outputs``, ``group``, ``primary``, ``loss``, ``labelled``, ``predict``, ``metrics``. A kind whose
outputs are too large to be kept for a whole split also has ``tally`` and ``scored``, see `Tallied`.

Missing labels are NaN (floating targets) or -1 (class indices): their loss is zero and they do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Metric:
    """A number that says how good outputs are, computed over a whole split, labelled rows only."""

    compute: Callable[[Tensor, Tensor], float]
    higher_is_better: bool


class Kind(Protocol):
    """What is to be learned from a target.

    A kind may also offer two more members, `tally` and `scored` (see `Tallied`): then evaluation adds up a
    few sums batch by batch, and never keeps the outputs of a whole split.
    """

    @property
    def name(self) -> str:
        """The word for it in run files and summaries."""
        ...

    @property
    def outputs(self) -> int:
        """Size of the last axis of the decoder's output."""
        ...

    @property
    def group(self) -> Hashable:
        """Tasks with equal groups have losses that can be computed in one call, stacked.

        The outputs of a task that has fewer are filled up with minus infinity. None: never stacked.
        """
        ...

    @property
    def primary(self) -> str:
        """The metric that tables show and selection uses unless the user names another."""
        ...

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Per-sample losses `[..., B]` of `outputs [..., B, outputs]`; 0 where the label is missing."""
        ...

    def labelled(self, targets: Tensor) -> Tensor:
        """Which samples have a label: bool, shape of the per-sample losses."""
        ...

    def predict(self, outputs: Tensor) -> Tensor:
        """From decoder outputs to what a user reads: class indices, probabilities, or values in units."""
        ...

    def metrics(self) -> Mapping[str, Metric]:
        """Metric by name. Each takes `outputs [N, outputs]` and `targets [N, ...]`, all labelled."""
        ...


@runtime_checkable
class Tallied(Protocol):
    """What a kind offers whose loss and metrics follow from a few sums over all samples of a split."""

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Sums over a batch, `[..., S]` in double precision, of `outputs [..., B, ...]`."""
        ...

    def scored(self, sums: Tensor) -> tuple[float, dict[str, float]]:
        """Loss and every metric, from the sums `[S]` over all batches of a split.

        NaN says that nothing was labelled; a loss of outputs that are no numbers is infinite.
        """
        ...


def _masked_bce(outputs: Tensor, targets: Tensor) -> Tensor:
    missing = targets.isnan()
    loss = F.binary_cross_entropy_with_logits(
        outputs, targets.masked_fill(missing, 0.0).expand_as(outputs), reduction="none"
    )
    return loss.masked_fill(missing, 0.0)


@dataclass(frozen=True)
class Binary:
    """Two classes, one logit. Targets `[B]` are 0, 1 or NaN. Loss: cross-entropy (natural log)."""

    @property
    def name(self) -> str:
        return "binary"

    @property
    def outputs(self) -> int:
        return 1

    @property
    def group(self) -> Hashable:
        return self.name

    @property
    def primary(self) -> str:
        return "accuracy"

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return _masked_bce(outputs.squeeze(-1), targets)

    def labelled(self, targets: Tensor) -> Tensor:
        return ~targets.isnan()

    def predict(self, outputs: Tensor) -> Tensor:
        """Probability of the second class, `[..., B]`."""
        return outputs.squeeze(-1).sigmoid()

    def metrics(self) -> Mapping[str, Metric]:
        return {
            "accuracy": Metric(_binary_accuracy, True),
            "error": Metric(lambda o, y: 1.0 - _binary_accuracy(o, y), False),
            "auroc": Metric(_binary_torchmetric("binary_auroc"), True),
            "f1": Metric(_binary_torchmetric("binary_f1_score"), True),
            "average_precision": Metric(_binary_torchmetric("binary_average_precision"), True),
        }


@dataclass(frozen=True)
class Multiclass:
    """One of `classes` classes. Targets `[B]` are 0..classes-1, or -1. Loss: cross-entropy."""

    classes: int

    @property
    def name(self) -> str:
        return "multiclass"

    @property
    def outputs(self) -> int:
        return self.classes

    @property
    def group(self) -> Hashable:
        return (self.name, max(self.classes - 1, 15).bit_length())  # so that filling up costs little

    @property
    def primary(self) -> str:
        return "accuracy"

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if outputs.dim() == 2:
            return F.cross_entropy(outputs, targets, ignore_index=-1, reduction="none")
        targets = targets.expand(outputs.shape[:-1])
        flat = F.cross_entropy(
            outputs.reshape(-1, outputs.shape[-1]), targets.reshape(-1), ignore_index=-1, reduction="none"
        )
        return flat.view(targets.shape)

    def labelled(self, targets: Tensor) -> Tensor:
        return targets >= 0

    def predict(self, outputs: Tensor) -> Tensor:
        """Class probabilities, `[..., B, classes]`."""
        return outputs.softmax(-1)

    def metrics(self) -> Mapping[str, Metric]:
        return {
            "accuracy": Metric(_multiclass_accuracy, True),
            "error": Metric(lambda o, y: 1.0 - _multiclass_accuracy(o, y), False),
            "f1": Metric(partial(_multiclass_f1, classes=self.classes), True),
        }


@dataclass(frozen=True)
class Multilabel:
    """Several yes/no labels at once. Targets `[B, labels]` are 0, 1 or NaN.

    Loss: binary cross-entropy, averaged over the labels that a sample has.
    """

    labels: int

    @property
    def name(self) -> str:
        return "multilabel"

    @property
    def outputs(self) -> int:
        return self.labels

    @property
    def group(self) -> Hashable:
        return (self.name, self.labels)

    @property
    def primary(self) -> str:
        return "accuracy"

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        known = (~targets.isnan()).sum(-1).clamp(min=1)
        return _masked_bce(outputs, targets).sum(-1) / known

    def labelled(self, targets: Tensor) -> Tensor:
        return ~targets.isnan().all(-1)

    def predict(self, outputs: Tensor) -> Tensor:
        """Probability of each label, `[..., B, labels]`."""
        return outputs.sigmoid()

    def metrics(self) -> Mapping[str, Metric]:
        return {
            "accuracy": Metric(_multilabel_accuracy, True),
            "error": Metric(lambda o, y: 1.0 - _multilabel_accuracy(o, y), False),
            "f1": Metric(partial(_multilabel_f1, labels=self.labels), True),
        }


@dataclass(frozen=True)
class Regression:
    """Real values. Targets `[B]` (or `[B, dims]`) are **standardised**, NaN where missing.

    Loss: squared error in standardised units. `predict` and the metrics are in the user's units,
    ``mean + scale * output`` (`mse` in their square).
    """

    dims: int = 1
    mean: float = 0.0
    scale: float = 1.0

    @property
    def name(self) -> str:
        return "regression"

    @property
    def outputs(self) -> int:
        return self.dims

    @property
    def group(self) -> Hashable:
        return (self.name, self.dims)

    @property
    def primary(self) -> str:
        return "rmse"

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        missing = targets.isnan()
        error = (self._values(outputs) - targets.nan_to_num()).square().masked_fill(missing, 0.0)
        if self.dims == 1:
            return error
        return error.sum(-1) / (~missing).sum(-1).clamp(min=1)

    def labelled(self, targets: Tensor) -> Tensor:
        return ~targets.isnan() if self.dims == 1 else ~targets.isnan().all(-1)

    def predict(self, outputs: Tensor) -> Tensor:
        """Values in the user's units, `[..., B]` (`[..., B, dims]` if dims > 1)."""
        return self._values(outputs) * self.scale + self.mean

    def metrics(self) -> Mapping[str, Metric]:
        def error(outputs: Tensor, targets: Tensor) -> Tensor:
            return (self._values(outputs) - targets) * self.scale

        return {
            "rmse": Metric(lambda o, y: error(o, y).square().nanmean().sqrt().item(), False),
            "mse": Metric(lambda o, y: error(o, y).square().nanmean().item(), False),
            "mae": Metric(lambda o, y: error(o, y).abs().nanmean().item(), False),
            "r2": Metric(lambda o, y: _r2(self._values(o), y), True),
        }

    def _values(self, outputs: Tensor) -> Tensor:
        return outputs.squeeze(-1) if self.dims == 1 else outputs


# ------------------------------------------------------------------ metrics, on labelled rows
# torchmetrics is imported when a metric is first computed: it would double the time of `import moduli`.


def _binary_accuracy(outputs: Tensor, targets: Tensor) -> float:
    return ((outputs.squeeze(-1) > 0) == (targets > 0.5)).double().mean().item()


def _binary_torchmetric(name: str) -> Callable[[Tensor, Tensor], float]:
    def compute(outputs: Tensor, targets: Tensor) -> float:
        from torchmetrics.functional import classification

        return getattr(classification, name)(outputs.squeeze(-1).sigmoid(), targets.long()).item()

    return compute


def _multiclass_accuracy(outputs: Tensor, targets: Tensor) -> float:
    return (outputs.argmax(-1) == targets).double().mean().item()


def _multiclass_f1(outputs: Tensor, targets: Tensor, classes: int) -> float:
    from torchmetrics.functional.classification import multiclass_f1_score

    return multiclass_f1_score(outputs, targets, num_classes=classes, average="macro").item()


def _multilabel_accuracy(outputs: Tensor, targets: Tensor) -> float:
    known = ~targets.isnan()
    return ((outputs > 0) == (targets > 0.5))[known].double().mean().item()


def _multilabel_f1(outputs: Tensor, targets: Tensor, labels: int) -> float:
    from torchmetrics.functional.classification import multilabel_f1_score

    known = targets.nan_to_num(nan=-1).long()
    return multilabel_f1_score(
        outputs.sigmoid(), known, num_labels=labels, average="macro", ignore_index=-1
    ).item()


def _r2(values: Tensor, targets: Tensor) -> float:
    """Mean of 1 - residual/total variance over the dimensions whose target varies; NaN if none does."""
    residual = (values - targets).square().nanmean(0)
    total = (targets - targets.nanmean(0)).square().nanmean(0)
    return (1.0 - residual / total.masked_fill(total == 0, float("nan"))).nanmean().item()
