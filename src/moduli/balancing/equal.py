"""Equal weighting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch.nn import Parameter

from moduli.types import Losses, State

if TYPE_CHECKING:
    from moduli.model import JointModel


class Equal:
    """Follows the gradient of the sum of all losses (Meyerson & Miikkulainen 2018, appendix A)."""

    def backward(self, losses: Losses, model: JointModel) -> None:
        torch.stack(list(losses.mean.values())).sum().backward()

    def parameters(self) -> Sequence[Parameter]:
        return ()

    def state_dict(self) -> State:
        return {}

    def load_state_dict(self, state: State, /) -> None:
        """Has no state."""
