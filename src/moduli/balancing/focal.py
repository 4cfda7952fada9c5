"""The focal loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from moduli.balancing.given import check_given
from moduli.balancing.samples import SampleGroup, sample_groups, scaled
from moduli.balancing.weighting import Weighting
from moduli.errors import InputError
from moduli.functional import focal
from moduli.tasks import Binary, Multiclass, Multilabel, Task
from moduli.types import Losses, Model

_ONE_LABEL = (Binary, Multiclass)  # p = exp(-loss)


class Focal(Weighting):
    """Follows the gradient of the sum of focal losses: samples that are right already count little.

    FL = -alpha_y (1 - p)^gamma log p, with p the probability that the model gives to the truth; averaged
    over the samples of a task, summed over tasks. The gradient goes through the factor as well. Of several
    labels each is treated as a sample, and the sample has their mean.

    It is a loss for cross-entropies: the loss of a regression, or of a kind of the user's own, is left as it
    is. With gamma = 0 and no alpha this is `Equal`.

    Args:
        tasks: all tasks of the model; their kinds decide.
        gamma: at least 0; the greater, the less easy samples count.
        alpha: weight of the class 1 of binary tasks and labels, and 1 - alpha of the class 0; the source
            uses 0.25 for detection, where 1 is rare. None weighs both by 1. Not for multiclass tasks.

    Raises:
        InputError: for numbers out of range, or tasks that are not those of the model.

    Source: Lin et al. (2017), "Focal loss for dense object detection", Eq. 4 and 5.
    """

    of_losses = False

    def __init__(self, tasks: Sequence[Task], gamma: float = 2.0, alpha: float | None = None):
        super().__init__()
        if not gamma >= 0:
            raise InputError(f"gamma is {gamma}: give a number of at least 0")
        if alpha is not None and not 0 < alpha < 1:
            raise InputError(f"alpha is {alpha}: give a number between 0 and 1, or None")
        self.kinds = {task.name: task.kind for task in tasks}
        self.gamma, self.alpha = gamma, alpha

    def attach(self, model: Model) -> None:
        check_given(self.kinds, model, self)

    def weigh(self, losses: Tensor) -> Tensor:
        return torch.ones_like(losses)

    def objectives(self, losses: Losses) -> Mapping[str, Tensor]:
        """The mean focal loss of each task that takes part."""
        if self.gamma == 0 and self.alpha is None:
            return losses.mean
        means = dict(losses.mean)
        for group in sample_groups(losses, [t for t in means if isinstance(self.kinds[t], _ONE_LABEL)]):
            changed = focal(group.values(), self.gamma)
            if self.alpha is not None:
                changed = changed * self._alphas_of(group, losses)
            means |= group.means(scaled(changed, losses))
        for task in means:
            if isinstance(self.kinds[task], Multilabel):
                means[task] = self._of_labels(task, losses)
        return means

    def _of_labels(self, task: str, losses: Losses) -> Tensor:
        """The mean focal loss of a task with several labels, each label by itself."""
        targets = losses.targets[task]
        labels = Binary().loss(losses.outputs[task].to(targets).unsqueeze(-1), targets)  # [..., B, labels]
        changed = focal(labels, self.gamma)
        if self.alpha is not None:
            changed = changed * self._alphas(targets)
        samples = changed.sum(-1) / (~targets.isnan()).sum(-1).clamp(min=1)
        return losses.average(task, scaled(samples, losses))

    def _alphas(self, targets: Tensor) -> Tensor:
        assert self.alpha is not None
        return torch.full_like(targets, 1.0 - self.alpha).masked_fill(targets > 0.5, self.alpha)

    def _alphas_of(self, group: SampleGroup, losses: Losses) -> Tensor:
        """The alphas of the samples of a group, `[G, ..., B]`: 1 for multiclass tasks."""
        one, shape = group.samples.new_ones(()), group.samples.shape[1:]
        binary = {task: isinstance(self.kinds[task], Binary) for task in group.names}
        alphas = [self._alphas(losses.targets[t]) if yes else one for t, yes in binary.items()]
        return torch.stack([alpha.expand(shape) for alpha in alphas])
