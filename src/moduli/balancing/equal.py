"""Equal weighting."""

from __future__ import annotations

import torch

from moduli.types import Combine, Losses, Model


class Equal(Combine):
    """Follows the gradient of the sum of all losses (Meyerson & Miikkulainen 2018, appendix A)."""

    def backward(self, losses: Losses, model: Model) -> None:
        torch.stack(list(losses.mean.values())).sum().backward()
