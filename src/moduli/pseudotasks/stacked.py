"""Decoders of any make, D copies of one module with weights of their own, computed as one."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from moduli.functional import mask_apart
from moduli.types import Part


class StackedDecoders(nn.Module):
    """D alike modules of one task, their parameters stacked `[D, ...]` and applied by `torch.vmap`.

    Whatever `torch.vmap` can map over can be a decoder: layers, activations, normalisation, dropout.

    Args:
        task: its name.
        modules: D modules of one make; their weights are taken over.
    """

    def __init__(self, task: str, modules: Sequence[nn.Module]):
        super().__init__()
        self.task, self.decoders = task, len(modules)
        stacked, buffers = stack_module_state(list(modules))  # type: ignore[arg-type]
        self.weights = nn.ParameterDict({_key(n): nn.Parameter(p.detach()) for n, p in stacked.items()})
        self.frozen = nn.Module()
        self.stacked_buffers = nn.Module()
        for name, value in buffers.items():
            self.stacked_buffers.register_buffer(_key(name), value)
        self.names = {_key(name): name for name in (*stacked, *buffers)}
        # What is applied, with other weights each time: not a submodule, or its weights would be trained.
        self._made = (copy.deepcopy(modules[0]).requires_grad_(False),)

    def freeze(self) -> None:
        """From now on only the first decoder gets gradients."""
        for key, p in list(self.weights.items()):
            self.frozen.register_buffer(key, p.detach()[1:].clone())
            self.weights[key] = nn.Parameter(p.detach()[:1].clone())

    # -------------------------------------------------------------- decoding

    def every(self, hidden: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs of all decoders, `{task: [D, B, outputs]}`; random layers in them act alike."""
        return {task: self._mapped(x, None, "same") for task, x in hidden.items()}

    def every_apart(self, hidden: Mapping[str, Tensor], rates: Tensor) -> dict[str, Tensor]:
        """As `every`, with dropout of its own before each decoder, at `rates [1, D]`, and inside it."""
        return {task: self._mapped(mask_apart(x, rates[0]), 0, "different") for task, x in hidden.items()}

    def one(self, hidden: Mapping[str, Tensor], chosen: Tensor) -> dict[str, Tensor]:
        """The outputs of one decoder, `{task: [B, outputs]}`; `chosen [1]`."""
        weights, buffers = self._state()
        state = {name: x.index_select(0, chosen)[0] for name, x in (weights | buffers).items()}
        return {task: functional_call(self._template(), state, (x,)) for task, x in hidden.items()}

    def _mapped(self, x: Tensor, axis: int | None, randomness: str) -> Tensor:
        template = self._template()

        def decode(weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Tensor:
            return functional_call(template, (weights, buffers), (x,))

        weights, buffers = self._state()
        return torch.vmap(decode, in_dims=(0, 0, axis), randomness=randomness)(weights, buffers, x)

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Weights and buffers of all D decoders, by the names that the module gives them."""
        frozen = dict(self.frozen.named_buffers())
        weights = {
            self.names[key]: torch.cat([p, frozen[key]]) if key in frozen else p
            for key, p in self.weights.items()
        }
        return weights, {self.names[key]: x for key, x in self.stacked_buffers.named_buffers()}

    def _template(self) -> nn.Module:
        return self._made[0].train(self.training)

    def copy_of(self, d: int) -> nn.Module:
        """Decoder d as a module of its own."""
        weights, buffers = self._state()
        module = copy.deepcopy(self._made[0]).requires_grad_(True)
        state = {name: x[d].detach().clone() for name, x in (weights | buffers).items()}
        module.load_state_dict(state, strict=False)
        return module.to(next(iter(state.values())).device) if state else module

    # -------------------------------------------------------------- whose numbers are where

    def weights_of(self, task: str, d: int) -> list[Part]:
        """The weights of decoder d."""
        parts = []
        for key, p in self.weights.items():
            if d < len(p):
                parts.append(Part(f"weights.{key}", p, d))
            else:
                parts.append(Part(f"frozen.{key}", getattr(self.frozen, key), d - len(p)))
        return parts

    def buffers_of(self, task: str, d: int) -> list[Part]:
        """Buffers of decoder d, such as running statistics."""
        return [Part(f"stacked_buffers.{k}", x, d) for k, x in self.stacked_buffers.named_buffers()]

    def own(self, task: str) -> list[Part]:
        parts = [Part(f"weights.{key}", p) for key, p in self.weights.items()]
        parts += [Part(f"frozen.{key}", x) for key, x in self.frozen.named_buffers()]
        return parts + [Part(f"stacked_buffers.{k}", x) for k, x in self.stacked_buffers.named_buffers()]


def _key(name: str) -> str:
    """A name without dots, which parameters and buffers may not have."""
    return name.replace("_", "__").replace(".", "_d_")
