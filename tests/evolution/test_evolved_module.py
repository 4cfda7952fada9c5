"""Modules built from genomes."""

import copy
import random
from dataclasses import replace

import pytest
import torch
from genomes import RANGES, SETTINGS, Bred, genome

from moduli.errors import InputError
from moduli.evolution.evolved import EvolvedModule, ModuleSet
from moduli.evolution.operators import random_settings
from moduli.modules import Conv, PadChannels
from moduli.sharing import Apply, Merge, Route, RoutedStructure, chain

SMALL = replace(SETTINGS, width=6)


def without_dropout(made):
    return replace(made, layers=tuple(replace(gene, dropout=0.0) for gene in made.layers))


def bred(number=8, **ranges):
    """Many genomes, and settings for each."""
    torch.manual_seed(0)
    rng = random.Random(0)
    made = [g for seed in range(2) for g in Bred(seed, replace(RANGES, **ranges), steps=100).genomes]
    return [(g, random_settings(0, RANGES, rng)) for g in made[:number]]


def sample(axes, channels, seed=0, batch=2):
    shape = (batch, channels, 5, 4) if axes == 3 else (batch, channels)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# ------------------------------------------------------------------ shapes and gradients


@pytest.mark.parametrize("axes", [1, 3])
def test_the_resolution_is_kept_and_the_width_is_that_of_the_settings(axes):
    for made, settings in bred():
        module = EvolvedModule(made, settings, axes)
        for channels in (settings.width, 1):
            x = sample(axes, channels)
            before = x.clone()
            y = module(x)
            assert y.shape == (2, settings.width, *x.shape[2:])
            assert torch.equal(x, before)
        assert module.filters == settings.width


@pytest.mark.parametrize("axes", [1, 3])
def test_a_gradient_reaches_every_parameter(axes):
    for made, settings in bred(activations=("linear",), dropout=(0.0, 0.1)):
        module = EvolvedModule(made, settings, axes)
        module(sample(axes, settings.width, batch=9)).square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def test_gradients_are_right():
    """Against finite differences, with concatenation, sums and relu, and an input of too few channels."""
    torch.manual_seed(0)
    pairs = [(0, 2), (0, 3), (2, 3), (0, 1), (3, 1), (2, 1)]
    for merge in ("concat", "sum"):
        module = EvolvedModule(genome(*pairs, filters=4, dropout=0.0, merge=merge), SMALL, 3).double()
        x = torch.randn(1, 2, 3, 3, dtype=torch.double, requires_grad=True)
        torch.autograd.gradcheck(module, (x,))


@pytest.mark.parametrize("axes", [1, 3])
@pytest.mark.parametrize("merge", ["concat", "sum"])
def test_channels_that_are_missing_count_as_zeros(axes, merge):
    pairs = [(0, 2), (0, 3), (2, 3), (0, 1), (3, 1), (2, 1)]
    for filters in (2, 9):  # layers narrower and wider than the module
        module = EvolvedModule(genome(*pairs, filters=filters, merge=merge), SMALL, axes).eval()
        x = sample(axes, 3)
        full = torch.cat([x, torch.zeros_like(x)], 1)
        torch.testing.assert_close(module(x), module(full))


# ------------------------------------------------------------------ what a genome means


def test_a_genome_with_one_layer_is_the_module_that_is_not_evolved():
    module = EvolvedModule(genome((0, 1), dropout=0.0), SMALL, 3)
    plain = Conv(6)
    plain.load_state_dict({"conv." + k.split(".")[-1]: v for k, v in module.state_dict().items()})
    assert torch.equal(module(sample(3, 6)), plain(sample(3, 6)))


@pytest.mark.parametrize(("merge", "wide"), [("concat", 4 + 4 + 6), ("sum", 6)])
def test_merges(merge, wide):
    made = genome(
        (0, 2), (0, 3), (0, 1), (2, 1), (3, 1), filters=4, merge=merge, dropout=0.0, activation="linear"
    )
    module = EvolvedModule(made, SMALL, 1)
    x = sample(1, 6)
    a, b, last = (module.layers[n] for n in "231")
    assert last.weight.shape == (6, wide)
    merged = (
        torch.cat([b(x), a(x), x], 1)
        if merge == "concat"
        else x + torch.nn.functional.pad(a(x) + b(x), (0, 2))
    )
    torch.testing.assert_close(module(x), last(merged))


def test_kernel_sizes_and_activations():
    module = EvolvedModule(genome((0, 2), (2, 1), kernel=5, activation="linear", dropout=0.0), SMALL, 3)
    assert module.layers["2"].weight.shape == (8, 6, 5, 5)
    x = sample(3, 6)
    torch.testing.assert_close(module(-x), -module(x))  # linear, biases are zero
    relu = EvolvedModule(genome((0, 1), dropout=0.0), SMALL, 3)
    assert relu(x).min() == 0


@pytest.mark.parametrize(
    ("initialiser", "std"), [("glorot", (2 / (64 + 256)) ** 0.5), ("he", (2 / 64) ** 0.5)]
)
@pytest.mark.parametrize("law", ["normal", "uniform"])
def test_initialisers(initialiser, std, law):
    settings = replace(SMALL, width=64, initialiser=f"{initialiser}_{law}")
    torch.manual_seed(0)
    layer = EvolvedModule(genome((0, 2), (2, 1), filters=256), settings, 1).layers["2"]
    assert layer.weight.std().item() == pytest.approx(std, rel=0.05)
    bounded = layer.weight.abs().max().item() <= std * 3**0.5 + 1e-6
    assert bounded == (law == "uniform")
    assert not layer.bias.any()


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    module = EvolvedModule(genome((0, 1), dropout=0.4, activation="linear"), SMALL, 3)
    x = sample(3, 6, batch=200)
    dropped, whole = module(x), module.eval()(x)
    assert (dropped == 0).float().mean().item() == pytest.approx(0.4, abs=0.02)
    torch.testing.assert_close(dropped, torch.where(dropped == 0, 0.0, whole / 0.6))
    assert torch.equal(module(x), module(x))


@pytest.mark.parametrize("axes", [1, 3])
def test_without_dropout_training_is_evaluation(axes):
    for made, settings in bred(4):
        module = EvolvedModule(without_dropout(made), settings, axes)
        x = sample(axes, settings.width)
        assert torch.equal(module.train()(x), module.eval()(x))


def test_no_other_kind_of_samples():
    with pytest.raises(InputError, match="2 axes"):
        EvolvedModule(genome((0, 1)), SMALL, 2)


# ------------------------------------------------------------------ in a structure


def structure_of(axes, tasks=3, **options):
    made = [without_dropout(g) for g, _ in bred(2)]
    pool = [ModuleSet(SMALL, tuple(made)).make(k, axes) for k in range(4)]
    graph = Route((Apply(0, 0), Apply(1, 1), Apply(2, 1), Merge((2, 3)), Apply(3, 4)), 5)
    routes = {f"t{t}": graph if t else chain([0, 1, 2, 3]) for t in range(tasks)}
    return RoutedStructure(pool, routes, **options)


@pytest.mark.parametrize("axes", [1, 3])
@pytest.mark.parametrize("shared", [False, True])
def test_planned_execution_gives_what_single_calls_give(axes, shared):
    """With inputs of fewer channels than the modules have."""
    torch.manual_seed(0)
    planned = structure_of(axes)
    single = copy.deepcopy(planned)
    single.limit = 0
    common = sample(axes, 1)
    hidden = {t: common if shared else sample(axes, 1, seed) for seed, t in enumerate(planned.routes)}
    results = planned(hidden), single(hidden)
    for task in hidden:
        assert results[0][task].shape[1] == 6
        torch.testing.assert_close(results[0][task], results[1][task])
    for result in results:
        sum(y.square().sum() for y in result.values()).backward()
    for p, q in zip(planned.parameters(), single.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-3, atol=1e-4)


def test_pooling_between_modules():
    made = structure_of(3, 1)
    made.routes["t0"] = chain([0, 1, 2, 3], pooling=True)
    y = made({"t0": torch.rand(2, 1, 16, 16)})["t0"]
    assert y.shape == (2, 6, 1, 1)


def test_it_can_be_merged_with_its_padded_input():
    torch.manual_seed(0)
    module = EvolvedModule(without_dropout(bred(1)[0][0]), SMALL, 3)
    made = RoutedStructure([module], {"t": Route((Apply(0, 0), Merge((0, 1))), 2)})
    x = PadChannels(6)(sample(3, 1))
    torch.testing.assert_close(made({"t": x})["t"], (x + module(x)) / 2)


@pytest.mark.parametrize("axes", [1, 3])
def test_bfloat16(axes):
    for made, settings in bred(4):
        module = EvolvedModule(without_dropout(made), settings, axes)
        x = sample(axes, settings.width)
        with torch.autocast("cpu", torch.bfloat16):
            y = module(x)
        y.float().square().sum().backward()
        torch.testing.assert_close(y.float(), module(x), rtol=0.1, atol=0.1)


def test_copies_and_saved_states_are_the_same_module():
    made, settings = bred(1)[0]
    module = EvolvedModule(made, settings, 3).eval()
    other = EvolvedModule(made, settings, 3).eval()
    other.load_state_dict(module.state_dict())
    x = sample(3, settings.width)
    assert torch.equal(copy.deepcopy(module)(x), module(x))
    assert torch.equal(other(x), module(x))
