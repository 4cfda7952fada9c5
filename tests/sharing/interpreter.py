"""Routes interpreted literally, one node of one task after another: what the planned execution must equal."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moduli import Apply, Merge, PadChannels, Route, RoutedStructure


def interpret(structure: RoutedStructure, hidden: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The structure's outputs without any sharing of work. Dropout is not interpreted."""
    return {task: interpret_route(structure, task, x) for task, x in hidden.items()}


def interpret_route(structure: RoutedStructure, task: str, x: Tensor) -> Tensor:
    route = structure.routes[task]
    scales = iter(scales_of(structure, task))
    levels, values = [0], [x]
    for node in route.nodes:
        if isinstance(node, Apply):
            value = lifted(values[node.input], node.level - levels[node.input])
            values.append(structure.modules_pool[node.module](value))
        else:
            weights = next(scales).softmax(0)
            inputs = filled([lifted(values[i], node.level - levels[i]) for i in node.inputs])
            values.append(sum(w * v for w, v in zip(weights, inputs, strict=True)))
        levels.append(node.level)
    return lifted(values[route.sink], route.level - levels[route.sink])


def scales_of(structure: RoutedStructure, task: str) -> list[Tensor]:
    """The logits of every merge of a task, in the order of its nodes, as pieces of the parameter."""
    start = 0
    for name, route in structure.routes.items():
        widths = [len(node.inputs) for node in route.nodes if isinstance(node, Merge)]
        if name == task:
            return list(structure.scales[start : start + sum(widths)].split(widths)) if widths else []
        start += sum(widths)
    raise KeyError(task)


def filled(inputs: list[Tensor]) -> list[Tensor]:
    """Maps with fewer channels than others, with channels of zeros."""
    most = max(x.shape[1] for x in inputs)
    return [x if x.shape[1] == most else PadChannels(most)(x) for x in inputs]


def lifted(x: Tensor, levels: int) -> Tensor:
    """`levels` times 2x2 max-pooling; a map that is down to one row or column stays as it is."""
    for _ in range(levels):
        if x.dim() >= 4 and min(x.shape[-2:]) >= 2:
            x = F.max_pool2d(x, 2)
    return x


def assert_same(
    structure: RoutedStructure, hidden: Mapping[str, Tensor], interpreted: nn.Module = None
) -> None:
    """Planned and literal execution agree: outputs, and gradients of all parameters and inputs.

    `interpreted`: a copy of the structure for the literal run, if modules keep statistics.
    """
    other = interpreted or structure
    sources = [x for x in dict.fromkeys(hidden.values()) if x.requires_grad]
    got, expected = structure(hidden), interpret(other, hidden)
    assert list(got) == list(hidden)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(
        gradients(got, structure, sources),
        gradients(expected, other, sources),
        msg=lambda m: f"gradients: {m}",
    )


def gradients(outputs: Mapping[str, Tensor], structure: nn.Module, sources: list[Tensor]) -> list[Tensor]:
    """Gradients of one fixed function of all outputs."""
    total = torch.zeros((), dtype=torch.float64)
    for index, y in enumerate(outputs.values()):
        direction = torch.linspace(-1, 1 + index, y.numel(), dtype=y.dtype).view_as(y)
        total = total + (y * direction).sum()
    leaves = [*structure.parameters(), *sources]
    if not total.requires_grad:
        return []
    grads = torch.autograd.grad(total, leaves, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(leaves, grads, strict=True)]


def routes_text(routes: Mapping[str, Route]) -> str:
    return "\n".join(f"{task}: {route}" for task, route in routes.items())
