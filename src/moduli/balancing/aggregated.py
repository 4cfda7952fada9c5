"""Balancing by gradients: torchjd's aggregators on the gradients of all tasks."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from moduli.balancing.task_gradients import CommonGradients, TaskGradients, gram_cosines
from moduli.balancing.torchjd_state import load_torchjd_state, torchjd_state
from moduli.errors import InputError, RunError
from moduli.functional import constant
from moduli.rng import torch_seeded
from moduli.types import Combine, Losses, Model, State

if TYPE_CHECKING:
    from torchjd.aggregation import Aggregator


class Aggregated(Combine):
    """Follows what an aggregator of the library torchjd makes of the gradients of all tasks' losses.

    Any of them: `Aggregated(torchjd.aggregation.UPGrad())`, PCGrad, CAGrad, MGDA, NashMTL, IMTLG,
    AlignedMTL, GradVac, FairGrad, GradDrop, ... The rows of the matrix are the gradients by the *shared*
    parameters; what a task has for its own follows its own loss. torchjd's own `mtl_backward` needs a point
    at which all tasks part, and its `backward` pushes all rows through the whole graph; here tasks may share
    what they like, and where they have inputs of their own all gradients come out of one backward pass (see
    `moduli.balancing.task_gradients`).

    With ``at="representation"`` the weights come from the gradients by the last hidden tensor that all tasks
    have in common, as in MGDA-UB (Sener & Koltun 2018): far cheaper where many tasks read one input. Only
    then is there such a tensor, and only aggregators that weigh gradients can be used so.

    Random ones draw from random numbers of their own, so that a run resumes with the same ones. Those
    that keep a state have one for each set of tasks that is trained together.

    Args:
        aggregator: an aggregator of torchjd. For a weighting alone, see its `GramianWeightedAggregator`.
        at: "parameters" or "representation".
        seed: of the random numbers.

    Raises:
        InputError: if `at` is neither, or the aggregator cannot be used at the representation.
        RunError: when training, if the gradient of a task is not finite; it is named.
    """

    def __init__(
        self,
        aggregator: Aggregator,
        at: Literal["parameters", "representation"] = "parameters",
        seed: int = 0,
    ):
        if at not in ("parameters", "representation"):
            raise InputError(f"at is {at!r}: give parameters or representation")
        self.aggregator, self.at = aggregator, at
        if at == "representation" and _weighting(aggregator) is None:
            raise InputError(f"{type(aggregator).__name__} gives no weights: use it at the parameters")
        self._generator = torch.Generator().manual_seed(seed)
        self._by_tasks: dict[tuple[str, ...], Any] = {}
        self._sums: dict[str, Tensor] = {}
        self._tasks: list[str] = []

    def attach(self, model: Model) -> None:
        if self.at == "representation" or not model.keep_apart():
            model.keep_common()

    def backward(self, losses: Losses, model: Model) -> None:
        self._tasks = self._tasks or list(model.input_of)
        names = [task for task in self._tasks if task in losses.mean]  # in one order, for random ones
        losses = replace(losses, mean={task: losses.mean[task] for task in names})
        if self.at == "parameters" or (model.common() is None and len(names) == 1):
            gradients: TaskGradients | CommonGradients = TaskGradients(losses, model)
        else:
            gradients = CommonGradients(losses, model)
        matrix = gradients.matrix
        gram = matrix @ matrix.t()
        finite = bool(gram.diagonal().isfinite().all())
        if not finite and losses.scale is None:
            bad = names[int(gram.diagonal().isfinite().int().argmin())]
            raise RunError(f"the gradient of task {bad!r} is not finite: try a lower lr, or clip")
        if not finite or len(names) == 1 or not matrix.shape[1]:  # in fp16 the step will be left out
            gradients.follow(torch.ones_like(gram[0]))
            return
        weights = self._follow(tuple(names), gradients, gram)
        self._note(names, weights, gram_cosines(gram))

    # -------------------------------------------------------------- the aggregator

    def _follow(
        self, names: tuple[str, ...], gradients: TaskGradients | CommonGradients, gram: Tensor
    ) -> Tensor | None:
        """Follows the aggregator; returns the weights that it gave, None if it works without."""
        aggregator, matrix = self._of(names), gradients.matrix
        seed = int(torch.randint(1 << 62, (), generator=self._generator))
        with torch_seeded(seed, matrix.device), torch.no_grad():
            found = _weighting(aggregator)
            try:
                made = aggregator(matrix) if found is None else found[0](gram if found[1] else matrix)
            except ValueError as error:  # such as one that needs at least three tasks
                reason = str(error).splitlines()[0]
                raise InputError(f"{type(aggregator).__name__} with {len(names)} tasks: {reason}") from error
        if found is None:
            gradients.descend(made)  # type: ignore[union-attr]
            return None
        gradients.follow(made)
        return made

    def _of(self, names: tuple[str, ...]) -> Any:
        """The aggregator of a set of tasks, with a state of its own."""
        if names not in self._by_tasks:
            made = copy.deepcopy(self.aggregator)
            if hasattr(made, "n_tasks"):
                made.n_tasks = len(names)  # type: ignore[assignment]
            if hasattr(made, "reset"):
                made.reset()  # type: ignore[operator]
            self._by_tasks[names] = made
        return self._by_tasks[names]

    # -------------------------------------------------------------- records and state

    def _note(self, names: list[str], weights: Tensor | None, cosines: Tensor) -> None:
        """Adds to the mean weights and cosines that `record` tells."""
        T = len(self._tasks)
        if not self._sums:
            zeros = {"weights": (T,), "steps": (T,), "cosines": (T, T), "pairs": (T, T)}
            self._sums = {name: cosines.new_zeros(shape) for name, shape in zeros.items()}
        self._sums = {name: x.to(cosines.device) for name, x in self._sums.items()}
        if names == self._tasks:
            self._sums["cosines"] += cosines
            self._sums["pairs"] += 1
            if weights is not None:
                self._sums["weights"] += weights
                self._sums["steps"] += 1
            return
        rows = constant(tuple(self._tasks.index(task) for task in names), cosines.device)
        if weights is not None:
            self._sums["weights"].index_add_(0, rows, weights)
            self._sums["steps"].index_add_(0, rows, torch.ones_like(weights))
        pair = (rows.unsqueeze(1), rows.unsqueeze(0))
        self._sums["cosines"].index_put_(pair, cosines, accumulate=True)
        self._sums["pairs"].index_put_(pair, torch.ones_like(cosines), accumulate=True)

    def record(self) -> list[dict[str, Any]]:
        """Mean weights, and mean cosines between the gradients of every two tasks, since the last record."""
        if not self._sums:
            return []
        sums = {name: x.tolist() for name, x in self._sums.items()}
        self._sums = {}
        told: list[dict[str, Any]] = []
        if any(sums["steps"]):
            every = zip(self._tasks, sums["weights"], sums["steps"], strict=True)
            told.append({"split": "balance", "weights": {task: w / n for task, w, n in every if n}})
        cosine = {
            one: {
                other: sums["cosines"][i][j] / sums["pairs"][i][j]
                for j, other in enumerate(self._tasks)
                if sums["pairs"][i][j]
            }
            for i, one in enumerate(self._tasks)
        }
        told.append({"split": "balance", "cosine": {one: others for one, others in cosine.items() if others}})
        return told

    def state_dict(self) -> State:
        return {
            "generator": self._generator.get_state(),
            "sums": {name: x.clone() for name, x in self._sums.items()},
            "aggregators": [
                {"tasks": list(names), "state": torchjd_state(aggregator)}
                for names, aggregator in self._by_tasks.items()
            ],
        }

    def load_state_dict(self, state: State, /) -> None:
        self._generator.set_state(state["generator"])
        self._sums = {name: x.clone() for name, x in state["sums"].items()}
        self._by_tasks = {}
        for entry in state["aggregators"]:
            aggregator = self._of(tuple(entry["tasks"]))
            load_torchjd_state(aggregator, entry["state"])
            if hasattr(aggregator, "n_tasks") and aggregator.weighting.step:
                aggregator.weighting._init_optim_problem()  # Nash-MTL makes it in its first step only


def _weighting(aggregator: Any) -> tuple[Any, bool] | None:
    """What gives the weights of an aggregator, and whether it takes the Gramian; None if nothing does."""
    from torchjd.aggregation import GramianWeightedAggregator, WeightedAggregator

    if isinstance(aggregator, GramianWeightedAggregator):
        return aggregator.gramian_weighting, True
    if isinstance(aggregator, WeightedAggregator):
        return aggregator.weighting, False
    return None
