"""Texts as sequences of token numbers, in the way of the IMDB data set of Keras.

Numbers 0 to 3 have a meaning of their own: 0 fills up short texts, 1 stands before every text, 2 for every
word that is not in the vocabulary, and 3 is not used. The most frequent word is 4, the next one 5, ...

Keras counted its words on training and test texts together. Give `count_words` the training texts only:
then nothing of a test text is known before it is read. Tasks that are to share an encoder of texts need one
vocabulary, counted on the training texts of all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from moduli.errors import InputError

PADDING, START, UNKNOWN, FIRST_WORD = 0, 1, 2, 4

# What Keras' tokenizer strips. The apostrophe stays: "don't" is one word.
_SPACES = dict.fromkeys(map(ord, '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'), " ")


def words(text: str) -> list[str]:
    """The words of a text: in lower case, divided at white space and punctuation other than apostrophes."""
    return text.lower().translate(_SPACES).split()


@dataclass(frozen=True)
class Vocabulary:
    """Which number stands for which word.

    Args:
        numbers: of the words, from 4.
        size: how many different numbers there are, those without a word among them (`Data.tokens`).
    """

    numbers: Mapping[str, int] = field(repr=False)
    size: int

    def encode(self, texts: Sequence[str], length: int) -> Tensor:
        """The numbers of each text's words, `[N, length]` long.

        Of a longer text the end is kept, and a shorter one is filled up at the front, as
        `pad_sequences` of Keras does by default: what an LSTM reads last is always text.

        Raises:
            InputError: if the length is below 1.
        """
        if length < 1:
            raise InputError(f"texts of {length} words: give at least 1")
        encoded = np.full((len(texts), length), PADDING, np.int64)
        number = self.numbers.get
        for row, text in zip(encoded, texts, strict=True):
            found = words(text)
            kept = [number(word, UNKNOWN) for word in found[-length:]]
            if len(found) < length:
                kept.insert(0, START)
            row[length - len(kept) :] = kept
        return torch.from_numpy(encoded)


def count_words(texts: Iterable[str], size: int) -> Vocabulary:
    """The vocabulary of the most frequent words; of equally frequent ones, those that come first.

    Args:
        texts: the training texts.
        size: how many different numbers there may be: the `size - 4` most frequent words get one.

    Raises:
        InputError: if that leaves no word.
    """
    if size <= FIRST_WORD:
        raise InputError(f"a vocabulary of {size}: give more than {FIRST_WORD}, which are not words")
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(words(text))
    kept = [word for word, _ in counts.most_common(size - FIRST_WORD)]
    return Vocabulary({word: number for number, word in enumerate(kept, FIRST_WORD)}, size)


def check_tokens(name: str, inputs: Tensor, tokens: int) -> None:
    """Refuses inputs that are no sequences `[N, length]` of token numbers below `tokens`.

    Raises:
        InputError: with what was found instead.
    """
    if inputs.dtype != torch.long or inputs.ndim != 2 or not inputs.numel():
        found = f"{inputs.dtype} {list(inputs.shape)}".removeprefix("torch.")
        raise InputError(f"the texts of {name!r} are {found}: give token numbers, int64 [N, length]")
    low, high = inputs.min().item(), inputs.max().item()
    if low < 0 or high >= tokens:
        wrong = low if low < 0 else high
        raise InputError(f"the texts of {name!r} hold token {wrong:.0f}: give 0 to {tokens - 1}")
