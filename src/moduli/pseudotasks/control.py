"""The controls of pseudo-task augmentation: six letters and their combinations."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from moduli.errors import InputError
from moduli.pseudotasks.bank import DecoderBank
from moduli.pseudotasks.task import TaskDecoders
from moduli.types import Cost

LETTERS = {
    "I": "independent initialisation, which every control has",
    "F": "freeze all decoders but the first",
    "D": "independent dropout before each decoder",
    "P": "perturb the weights of all but the best",
    "H": "hyperperturb: perturb the dropout rates of all but the best",
    "G": "greedy: make all equal to the best",
}


class PTA:
    """Control of pseudo-task trajectories, section 3.3 of Meyerson & Miikkulainen (2018).

    A string of letters, in any order; all decoders are initialised independently in any case:

    * **I**, independent initialisation: nothing else.
    * **F**, freeze: all decoders of a task but the first get no gradient.
    * **D**, independent dropout: before each decoder other numbers are dropped.
    * **P**, perturb: after each phase normal noise is added to the weights.
    * **H**, hyperperturb: after each phase noise is added to the dropout rates (needs D), within a range.
    * **G**, greedy: after each phase all decoders of a task become copies of its best (needs P, D or
      F, or they would stay equal for ever).

    P, H and G change all decoders of a task but its best: the one with the least error on the validation
    split, of equal errors that with the least loss, then the first. First the best is copied (G), then
    all others are perturbed (P, H). F stops gradients only: G and P act on frozen decoders as well.

    Differences from the paper, where it is open: noise has the *standard deviation* eps (the paper writes
    N(0, eps I), in which eps is a variance; with 0.1 that would jump across half of the range of rates).
    On ties the paper perturbs none of the best, so that under G decoders that once all tie stay equal;
    `literal` does that.

    Args:
        letters: such as "HGD".
        eps_p: noise on weights.
        eps_h: noise on dropout rates.
        rates: least and greatest dropout rate under H.
        eps_is_variance: whether the two eps are variances.
        literal: whether decoders whose error equals that of the best are all left as they are.

    Raises:
        InputError: for unknown or doubled letters, a combination without sense, or an impossible number.
    """

    def __init__(
        self,
        letters: str = "I",
        eps_p: float = 0.01,
        eps_h: float = 0.1,
        rates: tuple[float, float] = (0.2, 0.8),
        eps_is_variance: bool = False,
        literal: bool = False,
    ):
        self.letters = _checked(letters)
        self.rates, self.literal = tuple(rates), literal
        for name, eps in (("eps_p", eps_p), ("eps_h", eps_h)):
            if not eps > 0:
                raise InputError(f"{name} is {eps}: give a number above 0, or leave the letter out")
        if not (len(self.rates) == 2 and 0 <= self.rates[0] <= self.rates[1] < 1):
            raise InputError(
                f"rates are {list(self.rates)}: give the least and the greatest, from 0 to below 1"
            )
        self.std_p = eps_p**0.5 if eps_is_variance else eps_p
        self.std_h = eps_h**0.5 if eps_is_variance else eps_h

    def initialize(self, bank: DecoderBank) -> None:
        """DecInitialize."""
        if "D" in self.letters:
            if not bank.dropout:
                raise InputError(f"PTA-{self.letters} with dropout 0: D drops numbers, give a rate above 0")
            bank.drop_apart()
        if "F" in self.letters:
            bank.freeze()

    def update(self, decoders: TaskDecoders, costs: Sequence[Cost]) -> None:
        """DecUpdate."""
        best = min(range(len(costs)), key=costs.__getitem__)
        others = [d for d in range(len(costs)) if d != best]
        if "G" in self.letters:
            for d in others:
                decoders.copy(best, d)
        if self.literal:
            others = [d for d in others if costs[d][0] != costs[best][0]]
        for d in others:
            if "P" in self.letters:
                decoders.perturb(d, self.std_p)
            if "H" in self.letters:
                noise = self.std_h * torch.randn((), device=decoders.rates.device)
                decoders.rates[d] = (decoders.rates[d] + noise).clamp(*self.rates)

    def __repr__(self) -> str:
        return f"PTA({self.letters!r})"


def _checked(letters: str) -> str:
    known = "".join(LETTERS)
    if not isinstance(letters, str) or not letters:
        raise InputError(f"control {letters!r}: give letters out of {known}, such as HGD")
    letters = letters.upper().removeprefix("PTA-")
    for letter in letters:
        if letter not in LETTERS:
            explained = "; ".join(f"{key} = {meaning}" for key, meaning in LETTERS.items())
            raise InputError(f"control {letters!r} has the unknown letter {letter!r}: {explained}")
        if letters.count(letter) > 1:
            raise InputError(f"control {letters!r} has the letter {letter} twice: give it once")
    if "H" in letters and "D" not in letters:
        raise InputError(f"control {letters!r}: H perturbs the rates of independent dropout, so add D")
    if "G" in letters and not set("PDF") & set(letters):
        raise InputError(f"control {letters!r}: after G all decoders are equal for ever, so add P, D or F")
    return letters
