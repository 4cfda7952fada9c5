"""Equal weighting."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import Parameter

from moduli.types import Losses, Model, State


class Equal:
    """Follows the gradient of the sum of all losses (Meyerson & Miikkulainen 2018, appendix A)."""

    def backward(self, losses: Losses, model: Model) -> None:
        torch.stack(list(losses.mean.values())).sum().backward()

    def parameters(self) -> Sequence[Parameter]:
        return ()

    def state_dict(self) -> State:
        return {}

    def load_state_dict(self, state: State, /) -> None:
        """Has no state."""
