"""Hypermodules in run files: models whose weights are generated, and whose mapping evolves."""

from __future__ import annotations

from dataclasses import fields
from typing import Literal

from pydantic import Field

from moduli.hypermodules import HyperModel, MappingEvolution, reparameterize
from moduli.model import JointModel
from moduli.runs.sections import Section

_DEFAULT = MappingEvolution()


class Generated(Section):
    """``block``: inputs and outputs of a block. ``context``: numbers in the context of a location.
    ``modules``: how many hypermodules there are at the start, in random places; one for each location if not
    given. ``init``: how weights start. ``uneven``: whether layers that blocks do not divide are skipped.
    ``evolve``: whether the mapping evolves; if so, ``candidates`` to ``within_tasks`` say how, see
    `moduli.MappingEvolution`."""

    block: tuple[int, int] = (16, 16)
    context: int = Field(default=4, ge=1, le=1024)
    modules: int | None = Field(default=None, ge=1)
    init: Literal["model", "he", "printed"] = "model"
    uneven: Literal["skip", "truncate"] = "skip"
    evolve: bool = True
    candidates: int = Field(default=_DEFAULT.candidates, ge=1, le=64)
    share: float = Field(default=_DEFAULT.share, gt=0.0, le=1.0)
    epsilon: float = Field(default=_DEFAULT.epsilon, ge=0.0, le=1.0)
    alpha: float = Field(default=_DEFAULT.alpha, gt=0.0, lt=1.0)
    soft_lr: float = Field(default=_DEFAULT.soft_lr, gt=0.0)
    final: float = Field(default=_DEFAULT.final, ge=0.0, lt=1.0)
    burn_in: int = Field(default=_DEFAULT.burn_in, ge=0)
    select: Literal["soft", "random"] = _DEFAULT.select
    draw: Literal["usage", "uniform"] = _DEFAULT.draw
    within_tasks: bool = _DEFAULT.within_tasks

    def generate(self, model: JointModel) -> HyperModel:
        """A model with its weights generated."""
        evolution = MappingEvolution(**{f.name: getattr(self, f.name) for f in fields(MappingEvolution)})
        return reparameterize(
            model,
            block=self.block,
            context=self.context,
            evolution=evolution if self.evolve else None,
            mapping=self.modules,
            init=self.init,
            uneven=self.uneven,
        )
