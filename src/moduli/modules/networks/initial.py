"""How the networks start."""

from __future__ import annotations

from torch import nn


def he_normal(*layers: nn.Module) -> None:
    """Weights normal with variance 2 / fan-in (He et al. 2015), biases 0.

    So the outputs of a layer that reads ReLUs vary as much as its inputs did before them. The fan-in of a
    convolution is its input channels times the size of its kernel.

    Args:
        *layers: convolutions and dense layers.
    """
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")  # type: ignore[arg-type]
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
