"""Generated weights start with the variance that their layers want (Eq. 8.5 of Meyerson 2018)."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from moduli import InputError
from moduli.hypermodules import HyperModel, reparameterize


def layers(std: float | None = None) -> nn.Module:
    """A dense layer, a convolution and an LSTM between ends; weights N(0, std^2) or as torch makes them."""
    model = nn.ModuleList(
        [nn.Linear(2, 2), nn.Linear(200, 200), nn.Conv2d(40, 50, 3), nn.LSTM(100, 40), nn.Linear(2, 2)]
    )
    if std is not None:
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=std)
    return model


def generated(model: HyperModel) -> dict[str, Tensor]:
    weights = model.coverage.weights
    values = model._generate(weights)
    return {w.name: value.detach() for w, value in zip(weights, values, strict=True)}


FAN_IN = {"a.1.weight": 200, "a.2.weight": 360, "a.3.weight_ih_l0": 100, "a.3.weight_hh_l0": 40}


@pytest.mark.parametrize("c", [1, 4, 16])
@pytest.mark.parametrize("mapping", [None, 40], ids=["distinct", "shared"])
def test_he_normal(c, mapping):
    """sigma = sqrt(2 / fan-in), that of the whole layer, kernel and all."""
    torch.manual_seed(0)
    model = reparameterize(
        {"a": layers()}, block=(20, 10), context=c, mapping=mapping, init="he", evolution=None
    )
    assert generated(model).keys() == FAN_IN.keys()
    for name, value in generated(model).items():
        assert value.std().item() == pytest.approx(math.sqrt(2 / FAN_IN[name]), rel=0.1), name
        assert abs(value.mean().item()) < 0.1 * value.std().item()


@pytest.mark.parametrize("c", [1, 4, 16])
@pytest.mark.parametrize("mapping", [None, 40], ids=["distinct", "shared"])
def test_the_models_own_deviation(c, mapping):
    torch.manual_seed(0)
    model = reparameterize({"a": layers(std=0.1)}, block=(20, 10), context=c, mapping=mapping, evolution=None)
    for name, value in generated(model).items():
        assert value.std().item() == pytest.approx(0.1, rel=0.08), name


@pytest.mark.parametrize(("c", "wanted"), [(1, 0.100), (4, 0.050), (16, 0.025)])
def test_as_printed_it_is_the_square_root_of_c_too_small(c, wanted):
    torch.manual_seed(0)
    fan_in = 200  # sigma = 0.1
    models = {"a": nn.Sequential(nn.Linear(2, 2), nn.Linear(fan_in, 200), nn.Linear(2, 2))}
    fixed = {"block": (20, 10), "context": c, "evolution": None}
    (printed,) = generated(reparameterize(models, init="printed", **fixed)).values()
    (corrected,) = generated(reparameterize(models, init="he", **fixed)).values()
    assert printed.std().item() == pytest.approx(wanted, rel=0.02)
    assert corrected.std().item() == pytest.approx(0.1, rel=0.02)


@pytest.mark.parametrize("c", [1, 4])
def test_it_starts_as_the_model_that_was_given(c):
    torch.manual_seed(0)
    given = layers()
    expected = {f"a.{name}": p.detach() for name, p in given.named_parameters()}
    model = reparameterize({"a": given}, block=(20, 10), context=c, evolution=None)
    for name, value in generated(model).items():
        torch.testing.assert_close(value, expected[name], atol=1e-6, rtol=1e-5)


def test_beside_what_the_blocks_fix_hypermodules_are_normal():
    """N(0, 1/c): also those that a location may get from another, far from those that fit there."""
    torch.manual_seed(0)
    model = reparameterize({"a": layers(std=0.05)}, block=(20, 10), context=4, evolution=None)
    table = model.hypermodules.table.detach()
    assert table.std().item() == pytest.approx(0.5, rel=0.01)
    assert table.mean().item() == pytest.approx(0, abs=0.01)
    standard = table.flatten() * 2
    assert (standard.abs() < 1).float().mean().item() == pytest.approx(0.6827, abs=0.01)
    assert table[0].flatten(1).corrcoef().fill_diagonal_(0).abs().max() < 0.3


def test_a_weight_of_zeros_starts_as_it_is():
    given = nn.Sequential(nn.Linear(2, 2), nn.Linear(8, 8), nn.Linear(2, 2))
    nn.init.zeros_(given[1].weight)  # type: ignore[arg-type]
    model = reparameterize({"a": given}, block=(4, 4), evolution=None)
    (value,) = generated(model).values()
    assert value.abs().max() < 1e-6
    assert model.hypermodules.contexts.abs().min() > 0.1  # and can learn


def test_contexts_are_constant_where_modules_are_distinct():
    model = reparameterize({"a": layers(std=0.1)}, block=(20, 10), context=4, evolution=None)
    for weight in model.coverage.weights:
        z = model.hypermodules.contexts[weight.locations]
        torch.testing.assert_close(z, torch.full_like(z, 0.1), atol=0.005, rtol=0)  # sigma/(sqrt(c) sigma_o)


def test_signs_where_a_module_stands_twice_in_a_layer():
    """Equal modules with equal contexts would be equal for ever; in different layers that is no harm."""
    torch.manual_seed(0)
    given = nn.Sequential(*[nn.Linear(8, 8) for _ in range(4)])
    # Two layers of four blocks between the ends: the first has one module twice, the second four modules.
    model = reparameterize({"a": given}, block=(4, 4), context=8, mapping=[5, 5, 0, 1, 0, 1, 2, 3])
    first, second = (model.hypermodules.contexts[w.locations].detach() for w in model.coverage.weights)
    assert not torch.equal(first[0], first[1])
    assert first.sign().unique().tolist() == [-1, 1]
    assert second.sign().unique().tolist() == [1]
    torch.testing.assert_close(first.abs(), first.abs()[:1, :1].expand_as(first))


def test_a_mapping_that_does_not_fit():
    given = {"a": nn.Sequential(*[nn.Linear(8, 8) for _ in range(3)])}
    with pytest.raises(InputError, match="the mapping has 3 entries for 4 locations"):
        reparameterize(given, block=(4, 4), mapping=[0, 1, 2])
    with pytest.raises(InputError, match="mapping is 0"):
        reparameterize(given, block=(4, 4), mapping=0)
