"""Mixed precision: autocast, and loss scaling for fp16."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import torch
from torch.optim import Optimizer

from moduli.types import Losses, State


class Precision:
    """fp32 (does nothing), bf16 (autocast) or fp16 (autocast and a `GradScaler`).

    Args:
        name: fp32, bf16 or fp16.
        device: where the model is.
    """

    def __init__(self, name: str, device: torch.device):
        self._device = device.type
        self._dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[name]
        self._scaler = torch.amp.GradScaler(device.type) if name == "fp16" else None  # type: ignore[attr-defined]

    def autocast(self) -> AbstractContextManager:
        if self._dtype is None:
            return nullcontext()
        return torch.autocast(self._device, self._dtype)

    def scaled(self, losses: Losses) -> Losses:
        """Losses multiplied by the factor that keeps small gradients from vanishing in fp16."""
        if self._scaler is None:
            return losses
        scale = self._scaler.scale(torch.ones((), device=next(iter(losses.mean.values())).device))
        assert isinstance(scale, torch.Tensor)
        return replace(
            losses,
            mean={task: x * scale for task, x in losses.mean.items()},
            samples={task: x * scale for task, x in losses.samples.items()},
            scale=scale,
        )

    def unscale(self, optimizer: Optimizer) -> None:
        """Makes the gradients those of the unscaled losses."""
        if self._scaler is not None:
            self._scaler.unscale_(optimizer)

    def step(self, optimizer: Optimizer) -> None:
        """The optimizer's step; in fp16 skipped where a gradient overflowed."""
        if self._scaler is None:
            optimizer.step()
        else:
            self._scaler.step(optimizer)
            self._scaler.update()

    def state_dict(self) -> State:
        return {} if self._scaler is None else self._scaler.state_dict()

    def load_state_dict(self, state: State) -> None:
        if self._scaler is not None:
            self._scaler.load_state_dict(state)
