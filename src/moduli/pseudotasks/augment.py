"""Pseudo-task augmentation of a model that is there already, in one line."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from moduli.errors import InputError
from moduli.model import JointModel
from moduli.modules import Each, LinearBank
from moduli.pseudotasks.bank import DecoderBank, DecoderControl
from moduli.pseudotasks.control import PTA


def augment(
    model: JointModel,
    control: str | DecoderControl | None = "I",
    decoders: int = 10,
    dropout: float = 0.5,
    ensemble: bool = False,
    make: Callable[[str], nn.Module] | None = None,
    trajectories: int = 1,
) -> JointModel:
    """Gives every task of a model D decoders: pseudo-task augmentation, for any encoders and structure.

    Nothing else changes: `fit(augment(model, "HGD"), tasks)`. The first decoder of each task is the one that
    the model had, the others are drawn anew. With one decoder and no dropout it is the plain model.

    Args:
        model: changed, and returned. Its decoders are a `LinearBank`, or the user's modules.
        control: letters for `PTA`, such as "HGD"; or a control of the user's; None leaves decoders alone.
        decoders: D.
        dropout: rate before each decoder. It takes the place of the dropout that a routed structure has
            after its last layer.
        ensemble: see `DecoderBank`.
        make: makes a fresh decoder of a task; needed only where a decoder has parameters that its modules
            cannot draw anew themselves (with `reset_parameters`, which torch's layers have).
        trajectories: of so many tasks the decoders' weights are logged.

    Returns:
        The model.

    Raises:
        InputError: if the decoders cannot be copied, tasks share one, or a number or letter is impossible.
    """
    control = PTA(control) if isinstance(control, str) else control
    given = model.decoders
    if isinstance(given, LinearBank):
        bank = DecoderBank(given.sizes, decoders, control, dropout, ensemble, trajectories)
        for task in given.sizes:
            for old, new in zip(given.own(task), bank.decoders_of(task).weights[0], strict=True):
                new.value.copy_(old.value)
        bank.to(given.weights[0])
    elif isinstance(given, Each):
        if given.shared_parameters():
            raise InputError("tasks share a decoder, so it cannot be several for each: give each its own")
        members = {task: given.members[position] for task, position in given.names.items()}
        copies = {task: _copies(task, module, decoders, make) for task, module in members.items()}
        bank = DecoderBank(copies, decoders, control, dropout, ensemble, trajectories)
    else:
        raise InputError(
            f"decoders of type {type(given).__name__} cannot be copied: give a LinearBank, a module for "
            "each task, or build a DecoderBank yourself"
        )
    model.decoders = bank
    structure: Any = model.structure
    if dropout and hasattr(structure, "drop_last"):
        structure.drop_last = False
    return model


def _copies(
    task: str, module: nn.Module, decoders: int, make: Callable[[str], nn.Module] | None
) -> Sequence[nn.Module]:
    """The module itself and fresh ones of its make."""
    return [module, *(make(task) if make else _fresh(task, module) for _ in range(decoders - 1))]


def _fresh(task: str, module: nn.Module) -> nn.Module:
    """A copy with weights drawn anew."""
    fresh = copy.deepcopy(module)
    for name, part in fresh.named_modules():
        if hasattr(part, "reset_parameters"):
            part.reset_parameters()  # type: ignore[operator]
        elif any(True for _ in part.parameters(recurse=False)):
            what = f"its {name!r}" if name else "it"
            raise InputError(
                f"the decoder of {task!r} cannot be drawn anew, because {what} ({type(part).__name__}) has "
                "no reset_parameters: give `make`, a function that makes a decoder"
            )
    return fresh
