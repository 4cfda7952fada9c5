"""Convolutional networks for sequences: words, or the letters of DNA."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from moduli.errors import InputError
from moduli.modules.networks.initial import he_normal


class TextConv(nn.Module):
    """One convolution over a text and the greatest value of every filter, `[B, length] long -> [B, outputs]`:

        out(relu(dense(max over positions of relu(conv(embedding(tokens)))))).

    The network for IMDB in section 8.6 of Meyerson (2018), after an example of Keras: 170,433 parameters
    with its 5000 words, 40 blocks of 16×16 weights between the first and last layer. Dropout is that of the
    example; the dissertation says nothing of it. Hidden layers start He-normal, the last as torch does it,
    and the embedding uniform in ±0.05 as in Keras: from torch's start, which is far larger, errors on IMDB
    are twice as many after two epochs.

    Args:
        tokens: how many different token numbers there are.
        width: size of the vectors that stand for tokens.
        filters: of the convolution.
        hidden: units of the dense layer.
        kernel: positions that a filter sees.
        dropout: rate on embeddings and on the dense layer before its ReLU, while training.
        outputs: such as 1 for a binary task or a regression.

    Raises:
        InputError: when called, if a text has fewer tokens than the kernel.
    """

    def __init__(
        self,
        tokens: int = 5000,
        width: int = 32,
        filters: int = 64,
        hidden: int = 64,
        kernel: int = 3,
        dropout: float = 0.2,
        outputs: int = 1,
    ):
        super().__init__()
        self.dropout = dropout
        self.embedding = nn.Embedding(tokens, width)
        self.conv = nn.Conv1d(width, filters, kernel)
        self.dense = nn.Linear(filters, hidden)
        self.last = nn.Linear(hidden, outputs)
        nn.init.uniform_(self.embedding.weight, -0.05, 0.05)
        he_normal(self.conv, self.dense)

    def forward(self, tokens: Tensor) -> Tensor:
        (kernel,) = self.conv.kernel_size
        if tokens.shape[1] < kernel:
            raise InputError(
                f"texts have {tokens.shape[1]} tokens: give at least {kernel}, the kernel's size"
            )
        x = self._drop(self.embedding(tokens)).transpose(1, 2)
        x = self.conv(x).max(2).values.relu()  # the same as ReLU first, on fewer numbers
        return self.last(self._drop(self.dense(x)).relu())

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class DeepBind(TextConv):
    """The network DeepBind for what binds to DNA, `[B, length] long -> [B, outputs]` (Alipanahi et al. 2015).

    In form a `TextConv` without dropout, of letters and with long filters. Letters are embedded, as in
    section 8.6 of Meyerson (2018); in the paper they are columns of zeros and a one. The defaults are those
    of that section: 6817 parameters, 26 blocks of 16×16 weights between the first and last layer. With
    `width=256` and `hidden=256` it is the large one of section 8.7: 1,640,449 parameters, 6400 blocks.

    Args:
        tokens: letters, A, C, T, G and N for unknown.
        width: size of the vectors that stand for letters.
        kernel: positions that a filter sees.
        filters: of the convolution; as many as `width` if None.
        hidden: units of the dense layer.
        outputs: such as 1 for a regression.

    Raises:
        InputError: when called, if a sequence has fewer letters than the kernel; fill it up with N.
    """

    def __init__(
        self,
        tokens: int = 5,
        width: int = 16,
        kernel: int = 24,
        filters: int | None = None,
        hidden: int = 32,
        outputs: int = 1,
    ):
        super().__init__(tokens, width, width if filters is None else filters, hidden, kernel, 0.0, outputs)
