"""The learned half of a reparameterisation: hypermodules, contexts, and which generates which block."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from moduli.functional import Sums, generate

Ranges = tuple[tuple[int, int], ...]
"""Locations from a first one up to, without it, an end; ascending."""

_SHAPED = ("table", "contexts", "soft", "mapping", "competing", "candidates", "ids", "before")


@dataclass(frozen=True)
class _Entries:
    """What `generate` sums for some locations: for each entry c rows, a context and a share."""

    place: Tensor | None  # [E] location; None if each location has one entry
    share: Tensor  # [E] place in [1, *shares of candidates]
    sums: Sums  # of [E * c] rows of the slices


class Hypermodules(nn.Module):
    """K hypermodules `H_k [c, m, n]` that generate the blocks of L locations, each with a context `z_l [c]`.

    B_l = sum_q softmax(s_l)_q H[psi_q(l)] x_1 z_l (Eq. 8.12 of Meyerson 2018). psi_0 is the ``mapping``; at
    ``competing`` locations further ``candidates`` are tried, with soft weights s. The table holds the modules
    in use only: it grows and shrinks between phases (see `compete`, `settle`), and so a state is loaded
    whatever the shapes are at that moment.

    Args:
        table: H `[K, c, m, n]`.
        contexts: z `[L, c]`.
        mapping: psi_0 `[L]`, rows of the table.
        before: `[K]`, how often each module is used by models that were trained before; zeros if None.
    """

    def __init__(self, table: Tensor, contexts: Tensor, mapping: Tensor, before: Tensor | None = None):
        super().__init__()
        self.table, self.contexts = nn.Parameter(table), nn.Parameter(contexts)
        self.soft = nn.Parameter(table.new_zeros(0, 1))
        self.mapping: Tensor
        self.competing: Tensor
        self.candidates: Tensor
        self.ids: Tensor
        self.before: Tensor
        self.born: Tensor
        self.changed: Tensor
        modules = torch.arange(len(table))
        self.register_buffer("mapping", mapping.long())
        self.register_buffer("competing", torch.empty(0, dtype=torch.long))
        self.register_buffer("candidates", torch.empty(0, 0, dtype=torch.long))
        self.register_buffer("ids", modules)
        self.register_buffer("before", torch.zeros_like(modules) if before is None else before.clone())
        self.register_buffer("born", torch.tensor(len(table)))  # ids given so far
        self.register_buffer("changed", torch.zeros(2, dtype=torch.long))  # accepted, created: last time
        self._entries: dict[Ranges | None, _Entries] = {}

    @property
    def context(self) -> int:
        """Numbers in a context, c."""
        return self.table.shape[1]

    @property
    def frozen(self) -> bool:
        """Whether the hypermodules are not trained, only contexts and mapping."""
        return not self.table.requires_grad

    def uses(self) -> Tensor:
        """At how many locations each module stands, in psi_0: `[K]`."""
        return torch.bincount(self.mapping, minlength=len(self.table))

    # -------------------------------------------------------------- generation

    def forward(self, ranges: Ranges | None = None) -> Tensor:
        """The blocks of all locations, or of those in some ranges: `[N, m * n]`, in one operation."""
        entries = self._entries_of(ranges)
        weights = self.contexts if entries.place is None else self.contexts.index_select(0, entries.place)
        if len(self.competing):
            shares = self.soft.softmax(-1).flatten()
            shares = torch.cat([shares.new_ones(1), shares]).index_select(0, entries.share)
            weights = weights * shares.unsqueeze(-1)
        return generate(self.table.flatten(2).flatten(0, 1), weights.flatten(), entries.sums)

    def _entries_of(self, ranges: Ranges | None) -> _Entries:
        if ranges not in self._entries:
            self._entries[ranges] = self._make_entries(ranges)
        return self._entries[ranges]

    def _make_entries(self, ranges: Ranges | None) -> _Entries:
        device, c = self.mapping.device, self.context
        L, tried = len(self.mapping), self.candidates.shape[-1]
        place = torch.cat([torch.arange(L, device=device), self.competing.repeat_interleave(tried)])
        module = torch.cat([self.mapping, self.candidates.flatten()])
        share = torch.zeros_like(place)
        numbers = 1 + torch.arange(len(self.competing) * (tried + 1), device=device).view(-1, tried + 1)
        share[self.competing], share[L:] = numbers[:, 0], numbers[:, 1:].flatten()
        order = torch.argsort(place, stable=True)
        wanted = torch.arange(L, device=device)
        if ranges is not None:
            wanted = torch.cat([wanted[first:end] for first, end in ranges])
            chosen = torch.zeros(L, dtype=torch.bool, device=device)
            chosen[wanted] = True
            order = order[chosen[place[order]]]
        module, place, share = module[order], place[order], share[order]
        which = (module.unsqueeze(-1) * c + torch.arange(c, device=device)).flatten()
        counts = torch.bincount(place, minlength=L)[wanted]
        sums = Sums.of(which, (counts.cumsum(0) - counts) * c, len(self.table) * c)
        alone = ranges is None and not len(self.competing)
        return _Entries(None if alone else place, share, sums)

    # -------------------------------------------------------------- competition

    @torch.no_grad()
    def compete(
        self, competing: Tensor, candidates: Tensor, alpha: float, optimizer: Any = None, fresh: int = 0
    ) -> None:
        """Lets candidates compete with the present modules of some locations.

        Each location's candidates have `alpha` of the shares between them (Eq. 8.13). What the optimizer
        knew of soft weights is forgotten: they are others now.

        Args:
            competing: locations `[C]`, ascending.
            candidates: psi_1 .. psi_Q of each `[C, Q]`: rows of the table, beyond its end for new modules.
            alpha: share of all candidates of a location at the start.
            optimizer: of the parameters; None before training.
            fresh: how many new modules there are. They are drawn as the first were, N(0, 1/c).
        """
        rows = torch.arange(len(self.table), device=self.table.device)
        self._take_rows(rows, optimizer, fresh)
        self.competing, self.candidates = competing, candidates
        Q = candidates.shape[-1]
        soft = self.table.new_zeros(len(competing), Q + 1)
        if Q:
            soft[:, 1:] = math.log(alpha) - math.log(Q) - math.log1p(-alpha)
        self._forget_soft(soft, optimizer)
        self.changed[1] = fresh

    @torch.no_grad()
    def settle(self, optimizer: Any = None, chance: bool = False, delete: bool = True) -> None:
        """Ends the competition: psi_0(l) becomes the module with the largest share at l.

        Shares of the same module are summed; of equal ones the present module stays. Modules that are then
        used nowhere are deleted (section 8.4.2).

        Args:
            optimizer: of the parameters; None before training.
            chance: whether a random number decides in place of the share, for comparison.
            delete: whether modules without use go.
        """
        self.changed.zero_()
        options = torch.cat([self.mapping[self.competing].unsqueeze(-1), self.candidates], -1)
        if len(self.competing):
            shares = torch.rand_like(self.soft) if chance else self.soft.softmax(-1)
            same = options.unsqueeze(-1) == options.unsqueeze(-2)
            best = (shares if chance else (same * shares.unsqueeze(-2)).sum(-1)).argmax(-1, keepdim=True)
            winners = options.gather(-1, best).squeeze(-1)
            self.changed[0] = (winners != self.mapping[self.competing]).sum()
            self.mapping[self.competing] = winners
        self.competing, self.candidates = self.competing[:0], self.candidates[:0]
        self._forget_soft(self.soft[:0].detach(), optimizer)
        if delete:
            self._take_rows((self.uses() + self.before).nonzero().squeeze(-1), optimizer, 0)

    def _take_rows(self, rows: Tensor, optimizer: Any, fresh: int) -> None:
        """Keeps some modules and appends new ones; what the optimizer knows follows those that stay."""
        if not (fresh or len(rows) < len(self.table)):
            self._entries.clear()
            return
        table = self.table.detach()
        new = torch.randn(fresh, *table.shape[1:]).to(table) / math.sqrt(self.context)
        state = optimizer.state.get(self.table, {}) if optimizer is not None else {}
        for key, value in state.items():
            if isinstance(value, Tensor) and value.shape == table.shape:
                state[key] = torch.cat([value[rows], torch.zeros_like(new)])
        self.table.data, self.table.grad = torch.cat([table[rows], new]), None
        now = torch.zeros(len(table), dtype=torch.long, device=rows.device)
        now[rows] = torch.arange(len(rows), device=rows.device)
        self.mapping = now[self.mapping]
        self.ids = torch.cat([self.ids[rows], self.born + torch.arange(fresh, device=rows.device)])
        self.before = torch.cat([self.before[rows], self.before.new_zeros(fresh)])
        self.born += fresh
        self._entries.clear()

    def _forget_soft(self, soft: Tensor, optimizer: Any) -> None:
        self.soft.data, self.soft.grad = soft.contiguous(), None
        if optimizer is not None:
            optimizer.state.pop(self.soft, None)
        self._entries.clear()

    # -------------------------------------------------------------- state

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any, **kwargs: Any) -> None:
        for name in _SHAPED:
            saved, own = state_dict.get(prefix + name), getattr(self, name)
            if saved is None or saved.shape == own.shape:
                continue
            if isinstance(own, nn.Parameter):
                own.data, own.grad = own.data.new_zeros(saved.shape), None
            else:
                setattr(self, name, own.new_zeros(saved.shape))
        self._entries.clear()
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        self._entries.clear()  # they lie on the device
        return super()._apply(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """Without what follows from the rest."""
        return {**super().__getstate__(), "_entries": {}}

    def extra_repr(self) -> str:
        K, c, m, n = self.table.shape
        return f"{K} hypermodules [{c}, {m}, {n}], {len(self.mapping)} locations"
