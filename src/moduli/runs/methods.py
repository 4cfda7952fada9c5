"""What a run file may call a method, and how its model is built.

A new method is a new entry of `METHODS`: its options, and a function from tasks, options and seed to a
model. Python code does not need names: it passes objects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import Field
from torch import nn

from moduli.errors import InputError
from moduli.evolution import evolve
from moduli.model import JointModel, dense_ends, image_decoders
from moduli.modules import LSTM, Conv, Dense, LinearBank, PadChannels
from moduli.runs.evolving import Evolution, EvolvingModules, Given, own_settings, search, searched_model
from moduli.runs.generated import Generated
from moduli.runs.linear import LINEAR
from moduli.runs.sections import Section
from moduli.sharing import RoutedStructure, hard, permuted, single, soft
from moduli.tasks import LanguageModel, Task, check_tasks, inputs_of
from moduli.training import Train

# ------------------------------------------------------------------ methods


class Layers(Section):
    """A pool of alike layers.

    ``layers``: how many. ``width``: units of a dense layer or an LSTM, filters of a convolution.
    ``dropout``: rate after every application of a layer. ``encoder_dropout``: for texts only, rate on the
    inputs and on the recurrence of the LSTM, 0 if not given.
    """

    layers: int = Field(default=4, ge=0, le=1024)
    width: int = Field(default=32, ge=1, le=65536)
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    encoder_dropout: float | None = Field(default=None, ge=0.0, lt=1.0)

    @property
    def applied(self) -> int:
        """Layers applied one after another."""
        return self.layers


class OrderedLayers(Layers):
    """With at least one layer."""

    layers: int = Field(default=4, ge=1, le=1024)


class SoftLayers(OrderedLayers):
    """``depth``: mixes one after another, as many as layers if not given. ``identity``: adds a fixed layer
    that passes its input on."""

    depth: int | None = Field(default=None, ge=1)
    identity: bool = False

    @property
    def applied(self) -> int:
        return self.depth or self.layers


class EvolvingLayers(OrderedLayers, Evolution):
    """Layers whose routes evolve."""


class GeneratedLayers(OrderedLayers, Generated):
    """Layers of separate models, whose weights are generated."""


@dataclass(frozen=True)
class Method:
    """An entry of the table: what it is, what can be said about it, and how its model is built.

    ``prepare`` may find out, before anything is trained, what the options leave open, and gives options that
    say it. ``train`` gives settings of training that are the method's own. ``fit`` makes the model with its
    weights, for methods that take no training steps: then there is nothing to balance or to schedule.
    """

    about: str
    options: type[Section]
    build: Callable[[Sequence[Task], Any, int], JointModel]
    prepare: Callable[[Any, Given], Any] | None = None
    train: Callable[[Any], Mapping[str, Any]] | None = None
    fit: Callable[[Sequence[Task], Any, Train, int], JointModel] | None = None


def _single(tasks: Sequence[Task], options: Layers, seed: int) -> JointModel:
    return _routed(tasks, options, single, encode_apart=True)


def _hard(tasks: Sequence[Task], options: Layers, seed: int) -> JointModel:
    return _routed(tasks, options, hard)


def _permuted(tasks: Sequence[Task], options: Layers, seed: int) -> JointModel:
    return _routed(tasks, options, partial(permuted, seed=seed))


def _soft(tasks: Sequence[Task], options: SoftLayers, seed: int) -> JointModel:
    order = partial(soft, depth=options.depth, identity=options.identity)
    return _routed(tasks, options, order, pad=options.identity)


def _ctr(tasks: Sequence[Task], options: EvolvingLayers, seed: int) -> JointModel:
    model = _routed(tasks, options, options.first_routes(seed), pad=options.start == "minimal")
    return evolve(model, **options.of_routes)


def _muir(tasks: Sequence[Task], options: GeneratedLayers, seed: int) -> JointModel:
    return options.generate(_single(tasks, options, seed))


METHODS = {
    "single": Method("a model for each task, nothing shared", Layers, _single),
    "hard": Method("all tasks share all layers, in the same order", Layers, _hard),
    "permuted": Method(
        "all tasks share all layers, each in a random order of its own", OrderedLayers, _permuted
    ),
    "soft": Method("at each depth, every task learns a mix of all shared layers", SoftLayers, _soft),
    "ctr": Method(
        "routes through shared layers evolve for each task, while they train", EvolvingLayers, _ctr
    ),
    "cmtr": Method(
        "as ctr, through modules that a search evolves before",
        EvolvingModules,
        searched_model,
        search,
        own_settings,
    ),
    "muir": Method(
        "a model for each task, all weights generated by modules that evolve to be shared",
        GeneratedLayers,
        _muir,
    ),
    **{
        f"linear/{word}": Method(entry.about, entry.options, entry.build, fit=entry.fit)
        for word, entry in LINEAR.items()
    },
}


def _routed(
    tasks: Sequence[Task],
    options: Layers,
    order: Callable[..., RoutedStructure],
    encode_apart: bool = False,
    pad: bool = False,
) -> JointModel:
    """Dense layers where the samples are vectors or texts, convolutions with pooling where images.

    Texts are read by an LSTM, tables by one ReLU layer; images enter the convolutions as they are.
    """
    by_name = check_tasks(tasks)
    language = [name for name, task in by_name.items() if isinstance(task.kind, LanguageModel)]
    if language:
        raise InputError(
            f"task {language[0]!r} is a language model, which no method of a run file learns: train it in "
            "Python, with moduli.LSTMLanguageModel"
        )
    names, inputs = list(by_name), inputs_of(by_name)
    texts = {data.tokens is not None for data in inputs.values()}
    axes = {len(data.shape) for data in inputs.values()}
    if len(texts) > 1 or axes not in ({1}, {3}):
        shapes = ", ".join(f"{task.name} {_form(task)}" for task in tasks)
        raise InputError(
            f"these tasks cannot share layers: all must be tables, or all images, or all texts ({shapes})"
        )
    if options.encoder_dropout is not None and texts == {False}:
        raise InputError("encoder_dropout is for texts, and there are none: leave it out (or see dropout)")
    if axes == {1}:
        structure = order(names, lambda _: Dense(options.width), options.layers, options.dropout)
        make_ends = _text_ends if texts == {True} else _table_ends
        return JointModel(tasks, structure, *make_ends(tasks, options, encode_apart), encode_apart)
    decoders = _image_decoders(tasks, options)
    structure = order(names, lambda _: Conv(options.width), options.layers, options.dropout, pooling=True)
    encoder = PadChannels(options.width) if pad else nn.Identity()  # `Conv` fills up channels itself
    encoders = dict.fromkeys([*names, *inputs], encoder)
    return JointModel(tasks, structure, encoders, decoders, encode_apart)


def _form(task: Task) -> str:
    return f"{task.data.shape}" + (" tokens" if task.data.tokens is not None else "")


def _table_ends(tasks: Sequence[Task], options: Layers, apart: bool) -> tuple[nn.Module, nn.Module]:
    return dense_ends(tasks, options.width, apart)


def _text_ends(tasks: Sequence[Task], options: Layers, apart: bool) -> tuple[dict[str, nn.Module], nn.Module]:
    """An LSTM that reads all texts, or one for each task; linear decoders."""
    by_name = check_tasks(tasks)
    decoders = LinearBank({name: (options.width, task.kind.outputs) for name, task in by_name.items()})

    def lstm(tokens: int | None) -> nn.Module:
        rate = options.encoder_dropout or 0.0
        return LSTM(tokens or 0, options.width, dropout=rate, recurrent_dropout=rate)

    if apart:
        return {name: lstm(task.data.tokens) for name, task in by_name.items()}, decoders
    inputs = inputs_of(by_name)
    first, *others = inputs.values()
    for other in others:
        if other.tokens != first.tokens:
            raise InputError(
                f"texts of {first.name!r} have {first.tokens} tokens, of {other.name!r} {other.tokens}: "
                "number their words by one vocabulary, so that they can share an encoder"
            )
    return dict.fromkeys(inputs, lstm(first.tokens)), decoders


def _image_decoders(tasks: Sequence[Task], options: Layers) -> LinearBank:
    """One linear decoder for each task, from what is left of its images after the poolings."""
    by_name = check_tasks(tasks)
    if options.applied < 1:
        raise InputError("layers is 0, and the tasks are images: give at least 1")
    for name, data in inputs_of(by_name).items():
        if data.shape[0] > options.width:
            raise InputError(
                f"images of {name!r} have {data.shape[0]} channels: give a width of at least that"
            )
    return image_decoders(tasks, options.width, dict.fromkeys(by_name, options.applied))
