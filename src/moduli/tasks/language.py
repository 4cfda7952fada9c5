"""Language modelling: one long text, of which every next token is to be predicted from those before it.

A text is cut into columns that are read side by side, and every column into consecutive segments: truncated
backpropagation through time, as in Zaremba, Sutskever & Vinyals (2014). The state that a network carries from
one segment to the next is the network's own.

Losses are means over tokens, as all losses here are means. Zaremba et al. sum over the tokens of a segment:
with plain SGD, their learning rate of 1 and clipping at 5 are a rate of `length`, clipping at 5 / `length`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from moduli.errors import InputError
from moduli.tasks.kinds import Metric
from moduli.tasks.sources import Stream
from moduli.tasks.task import Data, Task
from moduli.types import Batch, State

END, UNKNOWN = "<eos>", "<unk>"
"""The token at the end of every line, and the one of words that the training text does not have."""


# ------------------------------------------------------------------ the kind


@dataclass(frozen=True)
class LanguageModel:
    """The next of `tokens` different tokens, at every position of a sequence.

    Outputs are `[..., B, T, tokens]`, targets `[B, T]` are 0..tokens-1, or -1 where missing. The loss of a
    sample is the mean negative log likelihood, in nats, over its labelled positions; 0 if it has none.

    Metrics: `perplexity`, exp of the mean negative log likelihood over all labelled tokens of a split (one
    mean over tokens, not a mean over batches), and `accuracy`, the share of tokens that got the highest
    probability. Both, and the loss of a split, follow from sums over the batches (see
    `moduli.tasks.kinds.Tallied`), so the outputs of a whole split, `[N, T, tokens]`, are never kept.

    Args:
        tokens: how many different tokens there are.

    Raises:
        InputError: if there are fewer than 2.
    """

    tokens: int

    def __post_init__(self):
        if self.tokens < 2:
            raise InputError(f"a language model of {self.tokens} tokens: give at least 2")

    @property
    def name(self) -> str:
        return "language_model"

    @property
    def outputs(self) -> int:
        return self.tokens

    @property
    def group(self) -> Hashable:
        return None  # stacking would copy outputs that are large already

    @property
    def primary(self) -> str:
        return "perplexity"

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        known = (targets >= 0).sum(-1).clamp(min=1)
        return self._surprise(outputs, targets).sum(-1) / known

    def labelled(self, targets: Tensor) -> Tensor:
        return (targets >= 0).any(-1)

    def predict(self, outputs: Tensor) -> Tensor:
        """Probability of each token as the next one, `[..., B, T, tokens]`."""
        return outputs.softmax(-1)

    def metrics(self) -> Mapping[str, Metric]:
        return {
            name: Metric(partial(self._compute, name), higher)
            for name, higher in (("perplexity", False), ("accuracy", True))
        }

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Negative log likelihood, tokens predicted rightly, and tokens, all summed: `[..., 3]`, double."""
        surprise = self._surprise(outputs.float(), targets).double().sum((-2, -1))
        right = (outputs.argmax(-1) == targets).sum((-2, -1))  # no token is -1
        return torch.stack([surprise, right.double(), (targets >= 0).sum().expand_as(right).double()], -1)

    def scored(self, sums: Tensor) -> tuple[float, dict[str, float]]:
        """Mean negative log likelihood of a token, and the metrics, from sums over a split `[3]`."""
        surprise, right, count = sums.tolist()
        if count == 0:
            return math.nan, {"perplexity": math.nan, "accuracy": math.nan}
        loss = math.inf if math.isnan(surprise) else surprise / count
        perplexity = math.exp(loss) if loss < 700 else math.inf
        return loss, {"perplexity": perplexity, "accuracy": right / count}

    def _compute(self, name: str, outputs: Tensor, targets: Tensor) -> float:
        return self.scored(self.tally(outputs, targets))[1][name]

    def _surprise(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Negative log likelihood of every token, `[..., B, T]`; 0 where missing."""
        targets = targets.expand(outputs.shape[:-1])
        flat = F.cross_entropy(outputs.flatten(0, -2), targets.flatten(), ignore_index=-1, reduction="none")
        return flat.view(targets.shape)


# ------------------------------------------------------------------ the source


class TextSource:
    """A long text, read in `columns` columns side by side, in consecutive segments of `length` tokens.

    Inputs are `[columns, length]` token numbers, targets the tokens that follow them. A column begins where
    the one before it ends: what its last token is to predict is the first token of the next column.

    A stream gives all segments of the text in turn, and then begins anew, of which a model that carries its
    state is not told. What is left of a column after its last whole segment is left out in training, and so
    are the last tokens of the text where its length is no multiple of the columns. `batches` leaves nothing
    out: every token but the first of the text is predicted exactly once. There the last segment may be
    shorter, and the end of the text is filled up with token 0, of which no prediction counts.

    Args:
        tokens: the whole text as token numbers, `[N]` long.
        name: of the task that learns from it.
        length: tokens in a segment.
        columns: segments in a batch.

    Raises:
        InputError: if the text is no such tensor, has fewer than 2 tokens, or length or columns are below 1.
    """

    def __init__(self, tokens: Tensor, name: str, length: int = 35, columns: int = 20):
        if tokens.dtype != torch.long or tokens.dim() != 1 or len(tokens) < 2:
            found = f"{tokens.dtype} {list(tokens.shape)}".removeprefix("torch.")
            raise InputError(f"the text of {name!r} is {found}: give at least 2 token numbers, int64 [N]")
        for what, value in (("length", length), ("columns", columns)):
            if value < 1:
                raise InputError(f"the text of {name!r} is read with {what}={value}: give at least 1")
        self.tokens, self.name, self.length, self.columns = tokens, name, length, columns

    def __len__(self) -> int:
        """Whole segments in the text, at least 1."""
        return max(1, (len(self.tokens) - 1) // self.length)

    def stream(self, batch_size: int, seed: int, device: torch.device) -> Stream:
        """Segments in the order of the text, without end; `seed` decides nothing.

        Raises:
            InputError: if the batch size is not `columns`, or no column has a whole segment.
        """
        if batch_size != self.columns:
            raise InputError(
                f"batches of {batch_size} for the text of {self.name!r}, which is read in {self.columns} "
                f"columns: give its task batch_size={self.columns}"
            )
        if (len(self.tokens) - 1) // self.columns < self.length:
            raise InputError(
                f"the text of {self.name!r} has {len(self.tokens)} tokens, too few for {self.columns} "
                f"columns of {self.length}: give at least {self.columns * self.length + 1}, or fewer columns"
            )
        return _TextStream(self, device)

    def batches(self, batch_size: int, device: torch.device) -> Iterator[Batch]:
        """All of the text once, in `columns` columns, whatever `batch_size` is."""
        size = -(-(len(self.tokens) - 1) // self.columns)
        missing = size * self.columns - (len(self.tokens) - 1)
        inputs = F.pad(self.tokens[:-1], (0, missing)).view(self.columns, size).to(device)
        targets = F.pad(self.tokens[1:], (0, missing), value=-1).view(self.columns, size).to(device)
        complete = frozenset() if missing else frozenset((self.name,))
        for x, y in zip(inputs.split(self.length, 1), targets.split(self.length, 1), strict=True):
            yield Batch(x, {self.name: y}, complete)


class _TextStream:
    """Whole segments of a text, one after another; its state is the number of the next one."""

    def __init__(self, source: TextSource, device: torch.device):
        self._name, self._length = source.name, source.length
        size = (len(source.tokens) - 1) // source.columns
        kept = size * source.columns
        self._inputs = source.tokens[:kept].view(source.columns, size).to(device)
        self._targets = source.tokens[1 : kept + 1].view(source.columns, size).to(device)
        self._segment = 0

    def draw(self) -> Batch:
        part = slice(self._segment * self._length, (self._segment + 1) * self._length)
        self._segment = (self._segment + 1) % (self._inputs.shape[1] // self._length)
        targets = {self._name: self._targets[:, part]}
        return Batch(self._inputs[:, part], targets, frozenset(targets))

    def state_dict(self) -> State:
        return {"segment": self._segment}

    def load_state_dict(self, state: State) -> None:
        self._segment = state["segment"]


def language_task(
    name: str, train: Tensor, val: Tensor, test: Tensor, tokens: int, length: int = 35, columns: int = 20
) -> Task:
    """A language-model task from three texts (the defaults are Zaremba et al.'s medium network).

    Args:
        name: of the task and of its input.
        train, val, test: each a text as token numbers, `[N]` long.
        tokens: how many different tokens there are.
        length: tokens in a segment.
        columns: segments in a batch; also the batch size of the task.

    Raises:
        InputError: if a text is no such tensor, is too short, or holds a number that is no token.
    """
    for text in (train, val, test):
        wrong = text[(text < 0) | (text >= tokens)]
        if len(wrong):
            raise InputError(f"the text of {name!r} holds token {wrong[0].item()}: give 0 to {tokens - 1}")
    sources = [TextSource(text, name, length, columns) for text in (train, val, test)]
    data = Data(name, (length,), *sources, tokens=tokens)
    return Task(name, LanguageModel(tokens), data, batch_size=columns)


# ------------------------------------------------------------------ words


def number_words(text: str) -> dict[str, int]:
    """The number of every word of a training text, and of `<eos>`: 0 is the most frequent one.

    Words are what stands between blanks. Of equally frequent ones, that which comes first has the smaller
    number. `<unk>` is the last one if the text itself has none.
    """
    counts = Counter(_words(text))
    ordered = [word for word, _ in counts.most_common()]
    return {word: i for i, word in enumerate(ordered if UNKNOWN in counts else [*ordered, UNKNOWN])}


def encode_words(text: str, numbers: Mapping[str, int]) -> Tensor:
    """A text as token numbers, `[N]` long, with `<eos>` at the end of every line, also of an empty one.

    Words without a number become `<unk>`.
    """
    unknown = numbers[UNKNOWN]
    return torch.tensor([numbers.get(word, unknown) for word in _words(text)], dtype=torch.long)


def _words(text: str) -> Iterator[str]:
    for line in text.removesuffix("\n").split("\n"):
        yield from line.split()
        yield END
