"""Encoders of texts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moduli.errors import InputError
from moduli.functional import dropout, masked_lstm


class LSTM(nn.Module):
    """An encoder of texts: embedding, one LSTM layer, its last hidden state; `[B, L] long -> [B, units]`.

    Samples are sequences of token numbers (see `moduli.tasks.text`). Initialised as in Keras, the framework
    of the papers: embeddings uniform in ±0.05, Glorot-uniform input weights, orthogonal recurrent weights,
    biases zero, that of the forget gate 1. torch's second bias of an LSTM, which adds nothing, stays zero.

    Both kinds of dropout draw one mask for each sample, the same at all steps (Gal & Ghahramani 2016), and
    for all four gates. Without recurrent dropout, and when evaluating, torch's own LSTM kernel computes.

    Args:
        tokens: how many different token numbers there are.
        units: of the LSTM.
        embedding: size of the vectors that stand for tokens; that of `vectors`, or else `units`, if None.
        dropout: rate on the embedded inputs, while training.
        recurrent_dropout: rate on the hidden state where it is fed back, while training.
        vectors: `[tokens, embedding]`, what the embedding starts from, such as those of
            `moduli.data.glove.glove_vectors`. Rows with NaN start as all do without.
        freeze_vectors: whether the embedding, all rows of it, stays as it starts.

    Raises:
        InputError: if the shape of the vectors is another one.
    """

    joins = 128  # samples: beyond, one call takes as long as several, or longer (see `moduli.Each`)

    def __init__(
        self,
        tokens: int,
        units: int = 128,
        embedding: int | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        vectors: Tensor | None = None,
        freeze_vectors: bool = False,
    ):
        super().__init__()
        if embedding is None:
            embedding = units if vectors is None else vectors.shape[-1]
        self.dropout, self.recurrent_dropout = dropout, recurrent_dropout
        self.embedding = nn.Embedding(tokens, embedding)
        self.lstm = nn.LSTM(embedding, units)
        nn.init.uniform_(self.embedding.weight, -0.05, 0.05)
        if vectors is not None:
            self._start_from(vectors)
        self.embedding.weight.requires_grad_(not freeze_vectors)
        weight_ih, weight_hh, bias, second_bias = self.lstm.all_weights[0]
        nn.init.xavier_uniform_(weight_ih)
        nn.init.orthogonal_(weight_hh)
        nn.init.zeros_(bias)
        nn.init.ones_(bias.detach()[units : 2 * units])
        nn.init.zeros_(second_bias).requires_grad_(False)

    def _start_from(self, vectors: Tensor) -> None:
        weight = self.embedding.weight.detach()
        if vectors.shape != weight.shape:
            found, wanted = ("×".join(map(str, shape)) for shape in (vectors.shape, weight.shape))
            raise InputError(f"the vectors of an LSTM are {found}: give {wanted} (tokens×embedding)")
        given = ~vectors.isnan().any(1)
        weight[given] = vectors[given].to(weight)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens.t())
        if self.training and self.dropout:
            x = x * dropout(x.new_ones(x.shape[1:]), self.dropout)
        if not (self.training and self.recurrent_dropout):
            return self.lstm(x)[1][0][0]
        weight_ih, weight_hh, bias, _ = self.lstm.all_weights[0]
        with torch.autocast(x.device.type, enabled=False):  # its steps write into tensors of one type
            x = x.to(weight_hh.dtype)
            mask = dropout(x.new_ones(len(x[0]), weight_hh.shape[1]), self.recurrent_dropout)
            return masked_lstm(x, weight_ih, weight_hh, bias, mask)
