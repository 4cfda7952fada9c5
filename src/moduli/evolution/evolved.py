"""Modules built from genomes, and sets of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moduli.errors import InputError
from moduli.evolution.genome import INPUT, LAST, GlobalGenome, LayerGene, ModuleGenome
from moduli.functional import channels_last, dropout

_INITIALISERS: dict[str, Callable[[Tensor], Tensor]] = {
    "glorot_normal": nn.init.xavier_normal_,
    "glorot_uniform": nn.init.xavier_uniform_,
    "he_normal": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
    "he_uniform": lambda weight: nn.init.kaiming_uniform_(weight, nonlinearity="relu"),
}


class EvolvedModule(nn.Module):
    """A module with the topology of a genome; it keeps the resolution and ends at the settings' width.

    For images `[B, C, H, W] -> [B, width, H, W]`, layers are convolutions; for vectors `[B, C] -> [B, width]`
    they are dense, and kernel sizes are not looked at. A layer merges its inputs, then applies its weights,
    its activation and its dropout (Fig. 7.4 of Meyerson 2018). Merges concatenate, or add, where narrower
    inputs count as filled up with zeros.

    An input with fewer channels than the width counts as filled up with channels of zeros, too. What would
    be multiplied by zero is not computed (see `moduli.modules.Conv`).

    Pooling is not part of the module, though the printed example has a pool at its end: routes pool between
    levels.

    Args:
        genome: the topology.
        settings: for the width, and the initialiser of the weights; biases start at zero.
        axes: of a sample: 3 for images, 1 for vectors.

    Raises:
        InputError: if `axes` is neither.
    """

    def __init__(self, genome: ModuleGenome, settings: GlobalGenome, axes: int):
        super().__init__()
        if axes not in (1, 3):
            raise InputError(f"samples with {axes} axes: modules are evolved for images (3) or vectors (1)")
        self.genome, self.filters = genome, settings.width
        channels = {INPUT: self.filters}
        layers = nn.ModuleDict()
        for number in genome.order:
            gene = genome.layer(number)
            widths = [channels[node] for node in genome.inputs[number]]
            wide = sum(widths) if gene.merge == "concat" else max(widths)
            channels[number] = self.filters if number == LAST else gene.filters
            layers[str(number)] = _layer(gene, wide, channels[number], axes, settings.initialiser)
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        values = {INPUT: channels_last(x)}
        for number in self.genome.order:
            gene, layer = self.genome.layer(number), self.layers[str(number)]
            y = _apply(layer, _merged([values[i] for i in reversed(self.genome.inputs[number])], gene.merge))
            if gene.activation == "relu":
                y = y.relu_()  # of a tensor that was just made
            values[number] = dropout(y, gene.dropout) if self.training and gene.dropout else y
        return values[LAST]


def _layer(gene: LayerGene, wide: int, filters: int, axes: int, initialiser: str) -> nn.Module:
    """The weights of a layer with `wide` channels in."""
    if axes == 3:
        layer: Any = nn.Conv2d(wide, filters, gene.kernel, padding=gene.kernel // 2)
    else:
        layer = nn.Linear(wide, filters)
    _INITIALISERS[initialiser](layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _merged(inputs: list[Tensor], merge: str) -> Tensor:
    """Several `[B, C, ...]` as one. If the module's input is among them it is the last.

    Only the module's input may have fewer channels than it should; as it comes last, those that are missing
    are the last ones of a concatenation.
    """
    if len(inputs) == 1:
        return inputs[0]
    if merge == "concat":
        return torch.cat(inputs, 1)
    widest = max(x.shape[1] for x in inputs)
    space = (0, 0) * (inputs[0].dim() - 2)
    padded = [x if x.shape[1] == widest else F.pad(x, (*space, 0, widest - x.shape[1])) for x in inputs]
    return sum(padded[1:], padded[0])


def _apply(layer: Any, x: Tensor) -> Tensor:
    """A layer on an input of which the last channels may be missing: they count as zeros."""
    if x.shape[1] == layer.weight.shape[1]:
        return layer(x)
    weight = layer.weight[:, : x.shape[1]]
    if isinstance(layer, nn.Conv2d):
        return F.conv2d(x, weight, layer.bias, padding=layer.padding)  # type: ignore[arg-type]
    return F.linear(x, weight, layer.bias)


@dataclass(frozen=True)
class ModuleSet:
    """What is evaluated: the architectures of a pool of modules, and the settings they have in common.

    Args:
        settings: width, learning rate, weight decay, initialiser.
        modules: one architecture from each species. With two and a pool of four modules, modules 0 and 2
            have the first and modules 1 and 3 the second, all with weights of their own.
    """

    settings: GlobalGenome
    modules: tuple[ModuleGenome, ...]

    def make(self, k: int, axes: int) -> EvolvedModule:
        """Module k of the pool, with fresh weights; `axes` of a sample: 3 for images, 1 for vectors."""
        return EvolvedModule(self.modules[k % len(self.modules)], self.settings, axes)

    def to_json(self) -> dict[str, Any]:
        """The set as JSON data; `from_json` gives it back."""
        return {"settings": self.settings.to_json(), "modules": [m.to_json() for m in self.modules]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ModuleSet:
        """Raises `InputError` if `data` is not a set of modules."""
        try:
            modules = tuple(ModuleGenome.from_json(module) for module in data["modules"])
            return cls(GlobalGenome.from_json(data["settings"]), modules)
        except (KeyError, TypeError) as error:
            raise InputError(f"not a set of modules: {error!r} in {str(data)[:80]}") from error
