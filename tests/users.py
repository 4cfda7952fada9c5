"""The plug points as a user might write them: a structure, a combine, a schedule, two controls.

Tests are written against the protocols of `moduli.types`; these keep them honest, and have more state than
moduli's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from moduli import Combine, Losses, Part, Phase, Schedule, Scores


class SharedThenOwn(nn.Module):
    """A user's structure: one shared layer, then a gain and a centre for each task, all in one tensor."""

    def __init__(self, tasks: Sequence[str], width: int):
        super().__init__()
        self.row = {task: row for row, task in enumerate(tasks)}
        self.shared = nn.Linear(width, width)
        self.gain = nn.Parameter(torch.ones(len(tasks), width))
        self.register_buffer("centre", torch.zeros(len(tasks), width))

    def forward(self, hidden: Mapping[str, Tensor]) -> dict[str, Tensor]:
        rows = {task: self.row[task] for task in hidden}
        return {t: self.shared(x - self.centre[rows[t]]) * self.gain[rows[t]] for t, x in hidden.items()}

    def shared_parameters(self) -> list[nn.Parameter]:
        return list(self.shared.parameters())

    def own(self, task: str) -> list[Part]:
        row = self.row[task]
        return [Part("gain", self.gain, row), Part("centre", self.centre, row)]


class ByRecentLoss(Combine):
    """A user's combine with state and a parameter: losses over their running means, times a learned gain."""

    def __init__(self):
        self.recent: dict[str, float] = {}
        self.log_gain = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def backward(self, losses: Losses, model: Any) -> None:
        total = torch.zeros((), dtype=torch.float64)
        for task, loss in losses.mean.items():
            seen = self.recent.get(task, loss.item())
            self.recent[task] = 0.5 * seen + 0.5 * loss.item()
            total = total + self.log_gain.exp() * loss / max(self.recent[task], 1e-30)
        (total - self.log_gain).backward()

    def parameters(self) -> Sequence[nn.Parameter]:
        return [self.log_gain]

    def state_dict(self) -> dict[str, Any]:
        return {"recent": dict(self.recent), "log_gain": self.log_gain.detach().clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.recent = dict(state["recent"])
        with torch.no_grad():
            self.log_gain.copy_(state["log_gain"])


class WorstTwo(Schedule):
    """A user's schedule: by turns one task, and the two with the lowest fitness seen last."""

    def __init__(self):
        self.turn, self.fitness = 0, {}

    def choose(self, tasks: Sequence[str], step: int) -> Sequence[str]:
        self.turn += 1
        if self.turn % 2:
            return [tasks[(self.turn // 2) % len(tasks)]]
        worst = sorted(tasks, key=lambda t: self.fitness.get(t, 0.0))[:2]
        return [task for task in tasks if task in worst]

    def observe(self, scores: Scores) -> None:
        self.fitness = {task: scores.fitness(task) for task in scores.loss}

    def state_dict(self) -> dict[str, Any]:
        return {"turn": self.turn, "fitness": dict(self.fitness)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.turn, self.fitness = state["turn"], dict(state["fitness"])


@dataclass
class Perturb:
    """A user's control: adds noise to the decoders of the worst task, with random numbers of its own."""

    seed: int = 0
    scale: float = 0.01
    generator: torch.Generator = field(init=False)

    def __post_init__(self):
        self.generator = torch.Generator().manual_seed(self.seed)

    def after_phase(self, phase: Phase) -> None:
        worst = max(phase.scores.loss, key=phase.scores.loss.__getitem__)
        for part in phase.model.own(worst):
            noise = torch.randn(part.value.shape, generator=self.generator).to(part.value.dtype)
            part.value.add_(self.scale * noise)

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.generator.set_state(state["generator"])


class Grow:
    """A user's control: adds one parameter, which no other depends on, after the second phase."""

    def __init__(self):
        self.phases = 0
        self.added: nn.Parameter | None = None

    def after_phase(self, phase: Phase) -> None:
        self.phases += 1
        if self.phases == 2:
            self.added = nn.Parameter(torch.ones(3))
            phase.optimizer.add_param_group({"params": [self.added]})

    def state_dict(self) -> dict[str, Any]:
        return {"phases": self.phases}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.phases = state["phases"]
