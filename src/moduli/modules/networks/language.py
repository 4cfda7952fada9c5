"""A model of language that reads on where it stopped."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn


class LSTMLanguageModel(nn.Module):
    """The next token at every position of a text: embedding, stacked LSTM, decoder (Zaremba et al. 2014).

    `[B, T] long -> [B, T, tokens]`. Dropout acts only on what is not recurrent: on the embedded tokens,
    between layers, and on the last layer's outputs. With the defaults and the 33,278 tokens of WikiText-2
    there are 9,605,118 parameters, and 4096 blocks of 16×16 weights in the LSTM, as in section 8.7 of
    Meyerson (2018).

    **It reads on.** Every call while training starts with the hidden states and cells that the last one ended
    with, so consecutive segments of B texts are read as if they were one; no gradient flows back into an
    earlier segment. Another B starts from zeros. `eval()` starts a new text, and calls while evaluating carry
    on with it; `train()` goes back to where training was. Where that is stands in the `state_dict`, as
    `_extra_state`: `[2, layers, B, width]`, or `[0]` before the first call, so a training resumes bit for
    bit.

    Args:
        tokens: how many different token numbers there are.
        width: of the embedding and of every layer.
        layers: of the LSTM.
        dropout: rate, while training.
        tied: whether the decoder's weight is that of the embedding, one tensor. The paper ties nothing; the
            experiments of the dissertation do.
        init: all weights, and the biases of the LSTM, start uniform between -init and init; the decoder's
            bias starts at 0.
    """

    def __init__(
        self,
        tokens: int,
        width: int = 256,
        layers: int = 2,
        dropout: float = 0.2,
        tied: bool = True,
        init: float = 0.1,
    ):
        super().__init__()
        self.embedding = nn.Embedding(tokens, width)
        # torch's dropout is on what goes from layer to layer, and it warns where there is one layer
        self.lstm = nn.LSTM(width, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.decoder = nn.Linear(width, tokens)
        if tied:
            self.decoder.weight = self.embedding.weight
        self.dropout = nn.Dropout(dropout)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -init, init)
        nn.init.zeros_(self.decoder.bias)
        self._reached = {True: torch.empty(0), False: torch.empty(0)}  # while training, while evaluating

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.dropout(self.embedding(tokens))
        h, c = self._start(x)
        x, reached = self.lstm(x, (h, c))
        self._reached[self.training] = torch.stack(reached).detach()
        return self.decoder(self.dropout(x))

    def _start(self, x: Tensor) -> Tensor:
        """Hidden states and cells to go on from, `[2, layers, B, width]`."""
        shape = (2, self.lstm.num_layers, len(x), self.lstm.hidden_size)
        reached = self._reached[self.training]
        return reached.to(x) if reached.shape == shape else x.new_zeros(shape)

    def train(self, mode: bool = True) -> Self:
        """As for any module; going to evaluation also starts a new text there."""
        if not mode:
            self._reached[False] = torch.empty(0)
        return super().train(mode)

    def get_extra_state(self) -> Tensor:
        """Where training is in its texts: `[2, layers, B, width]`, or `[0]` at the start."""
        return self._reached[True]

    def set_extra_state(self, state: Tensor) -> None:
        """Goes on from there when training."""
        self._reached[True] = state.detach().clone()
