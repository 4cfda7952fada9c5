"""How many numbers a reparameterised model needs, and its weights in as few."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moduli.functional import generate_blocks
from moduli.hypermodules.bank import Hypermodules


@dataclass(frozen=True)
class Complexity:
    """Numbers in a model, those that are not generated included (section 8.2.5 of Meyerson 2018).

    ``original``: of the models that were given. ``training``: L c + K c m n for the generated part.
    ``inference``: after blocks of modules that are used too rarely are stored as they are (Eq. 8.7).
    """

    original: int
    training: int
    inference: int


def worth_keeping(uses: Tensor, context: int, numel: int) -> Tensor:
    """Which modules need fewer numbers than the blocks that they generate: uses > c mn / (mn - c).

    The dissertation keeps those with c uses or more; one that is used exactly c times costs more than its
    blocks.

    Args:
        uses: `[K]`, locations of each module.
        context: c.
        numel: m n.
    """
    return uses * (numel - context) > context * numel


@dataclass(frozen=True)
class Packed:
    """Generated weights in as few numbers as they need.

    ``hypermodules [K', c, m, n]`` generate the blocks at ``generated [L']`` from ``contexts [L', c]`` by
    ``mapping [L']``; ``blocks [L_o, m, n]`` are those at all other locations, in order.
    """

    hypermodules: Tensor
    contexts: Tensor
    mapping: Tensor
    generated: Tensor
    blocks: Tensor

    @property
    def numel(self) -> int:
        """Numbers in it, the left side of Eq. 8.7; indices do not count."""
        return self.hypermodules.numel() + self.contexts.numel() + self.blocks.numel()

    def unpack(self) -> Tensor:
        """All blocks, `[L, m, n]`."""
        L = len(self.contexts) + len(self.blocks)
        blocks = self.blocks.new_empty(L, *self.blocks.shape[1:])
        plain = torch.ones(L, dtype=torch.bool, device=blocks.device)
        plain[self.generated] = False
        blocks[plain] = self.blocks
        if len(self.contexts):
            blocks[self.generated] = generate_blocks(self.hypermodules, self.contexts, self.mapping)
        return blocks


@torch.no_grad()
def pack(bank: Hypermodules) -> Packed:
    """The generated weights of a bank in as few numbers as they need.

    Args:
        bank: where candidates still compete, the mixed blocks are stored as they are.
    """
    kept, generated = _kept(bank)
    places = generated.nonzero().squeeze(-1)
    row = kept.cumsum(0) - 1
    blocks = bank().view(-1, *bank.table.shape[2:])
    return Packed(
        bank.table[kept], bank.contexts[places], row[bank.mapping[places]], places, blocks[~generated]
    )


def complexity(bank: Hypermodules, generated: int, rest: int) -> Complexity:
    """How many numbers there are.

    Args:
        bank: generates the weights.
        generated: numbers of the weights that it generates.
        rest: numbers that are not generated.
    """
    c, m, n = bank.table.shape[1:]
    kept, places = _kept(bank)
    plain = int((~places).sum())
    packed = (len(places) - plain) * c + int(kept.sum()) * c * m * n + plain * m * n
    trained = sum(p.numel() for p in bank.parameters())
    # Blocks at the edges may reach beyond the weights, so that these would be the fewer numbers.
    return Complexity(generated + rest, trained + rest, min(packed, generated) + rest)


def _kept(bank: Hypermodules) -> tuple[Tensor, Tensor]:
    """Which modules stay as such `[K]`, and at which locations they are used `[L]`."""
    alone = torch.ones_like(bank.mapping, dtype=torch.bool)
    alone[bank.competing] = False
    uses = torch.bincount(bank.mapping[alone], minlength=len(bank.table))
    kept = worth_keeping(uses, bank.context, bank.table[0, 0].numel())
    return kept, kept[bank.mapping] & alone
