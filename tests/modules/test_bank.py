"""A `LinearBank` is separate linear layers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from moduli import InputError, LinearBank

SIZES = {"a": (3, 4), "b": (5, 2), "c": (1, 4), "d": (5, 2)}
BIG = {"small": (2, 3), "large": (400, 300), "wide": (5, 500)}  # several stacks


def separate(bank: LinearBank) -> dict[str, nn.Linear]:
    """A linear layer for each name, with a copy of the bank's weights."""
    layers = {}
    for name, (i, o) in bank.sizes.items():
        weight, bias = (part.value for part in bank.own(name))
        layers[name] = nn.Linear(i, o, dtype=weight.dtype)
        layers[name].weight.data.copy_(weight.T)
        layers[name].bias.data.copy_(bias)
    return layers


def bank_of(sizes=SIZES, relu=False) -> LinearBank:
    bank = LinearBank(sizes, relu).double()
    for name in sizes:
        bank.own(name)[1].value.normal_()
    return bank


def batch(sizes=SIZES, rows=lambda index: 3) -> dict[str, torch.Tensor]:
    return {
        name: torch.randn(rows(i), size, dtype=torch.float64)
        for i, (name, (size, _)) in enumerate(sizes.items())
    }


def assert_padding_is_zero(bank: LinearBank) -> None:
    for names, weight, bias in zip(bank.stacks, bank.weights, bank.biases, strict=True):
        for row, name in enumerate(names):
            i, o = bank.sizes[name]
            assert not weight[row, i:].any()
            assert not weight[row, :, o:].any()
            assert not bias[row, o:].any()


def apply(layers, inputs, relu):
    return {n: layers[n](x).relu() if relu else layers[n](x) for n, x in inputs.items()}


@pytest.mark.parametrize("relu", [False, True], ids=["linear", "relu"])
@pytest.mark.parametrize("sizes", [SIZES, BIG], ids=["one stack", "stacks"])
@pytest.mark.parametrize("rows", [lambda i: 3, lambda i: i + 1], ids=["equal batches", "other batches"])
def test_outputs_and_gradients_are_those_of_separate_layers(sizes, relu, rows):
    bank = bank_of(sizes, relu)
    layers, inputs = separate(bank), batch(sizes, rows)
    got, expected = bank(inputs), apply(layers, inputs, relu)
    torch.testing.assert_close(got, expected)
    sum(y.square().sum() for y in got.values()).backward()
    sum(y.square().sum() for y in expected.values()).backward()
    for name, layer in layers.items():
        weight, bias = bank.own(name)
        torch.testing.assert_close(weight.grad, layer.weight.grad.T)
        torch.testing.assert_close(bias.grad, layer.bias.grad)


@pytest.mark.parametrize("inputs", ["separate", "shared"])
@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.Adam(p, lr=0.01),
        lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1, fused=True),
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
        lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=0.1),
        lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True),
        lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.9),
        lambda p: torch.optim.Adagrad(p, lr=0.01),
    ],
    ids=["adam", "adam-decay-fused", "adamw", "sgd-momentum-decay", "nesterov", "rmsprop", "adagrad"],
)
def test_training_is_that_of_separate_layers(make, inputs):
    sizes = dict.fromkeys(SIZES, (5, 2)) | {"c": (5, 4)} if inputs == "shared" else SIZES
    bank = bank_of(sizes)
    layers = separate(bank)
    one, many = make(bank.parameters()), make([p for layer in layers.values() for p in layer.parameters()])
    for _ in range(6):
        x = batch(sizes)
        if inputs == "shared":
            x = dict.fromkeys(sizes, x["a"])
        for optimizer, outputs in ((one, bank(x)), (many, apply(layers, x, relu=False))):
            optimizer.zero_grad()
            sum((y - 1).square().mean() for y in outputs.values()).backward()
            optimizer.step()
    assert_padding_is_zero(bank)
    for name, layer in layers.items():
        weight, bias = bank.own(name)
        torch.testing.assert_close(weight.value, layer.weight.detach().T)
        torch.testing.assert_close(bias.value, layer.bias.detach())


def test_padding_stays_zero_when_tasks_are_absent():
    bank = bank_of()
    optimizer = torch.optim.Adam(bank.parameters(), lr=0.1, weight_decay=0.1)
    for step in range(6):
        present = list(SIZES)[step % 3 :]
        optimizer.zero_grad()
        inputs = {name: x for name, x in batch().items() if name in present}
        sum((y - 1).square().mean() for y in bank(inputs).values()).backward()
        optimizer.step()
    assert_padding_is_zero(bank)


@pytest.mark.parametrize("name", SIZES)
def test_starts_glorot_uniform_with_the_sizes_of_each_layer(name):
    sizes = {n: (40 * i, 30 * o) for n, (i, o) in SIZES.items()}
    i, o = sizes[name]
    weight, bias = (part.value for part in LinearBank(sizes).own(name))
    bound = (6 / (i + o)) ** 0.5
    assert weight.shape == (i, o)
    assert 0.9 * bound < weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)
    assert not bias.any()


def test_stacks_waste_little():
    """Padding at most doubles a stack, or the stack is small; and no name is lost."""
    generator = torch.Generator().manual_seed(3)
    for _ in range(20):
        draws = (2 ** (10 * torch.rand(12, 2, generator=generator))).long().tolist()
        sizes = {f"t{n}": tuple(size) for n, size in enumerate(draws)}
        bank = LinearBank(sizes)
        assert sorted(name for names in bank.stacks for name in names) == sorted(sizes)
        for names, weight in zip(bank.stacks, bank.weights, strict=True):
            used = sum(sizes[n][0] * sizes[n][1] for n in names)
            assert weight.numel() <= max(2 * used, 1 << 14)


def test_layers_of_one_size_are_one_stack():
    sizes = {f"t{n}": (64, 32) for n in range(50)}
    assert LinearBank(sizes).stacks == [list(sizes)]
    assert len(LinearBank(BIG).stacks) > 1


def test_names_may_hold_any_character():
    bank = LinearBank({"a.b": (2, 3), "": (1, 1), "weights.0": (2, 2)})
    assert bank({"a.b": torch.ones(1, 2)})["a.b"].shape == (1, 3)
    again = copy.deepcopy(bank)
    again.load_state_dict(bank.state_dict())


def test_images_are_flattened():
    bank = LinearBank({"image": (12, 5), "vector": (12, 5)}).double()
    x = torch.randn(2, 3, 2, 2, dtype=torch.float64)
    outputs = bank({"image": x, "vector": x.flatten(1)})
    vector, image = separate(bank)["vector"], separate(bank)["image"]
    torch.testing.assert_close(outputs["image"], image(x.flatten(1)))
    torch.testing.assert_close(outputs["vector"], vector(x.flatten(1)))


@pytest.mark.parametrize("features", [2, 4, 5, 6])
def test_an_input_of_another_size_is_refused(features):
    """Also where it would fit into the padding."""
    with pytest.raises(InputError, match=f"the input of 'a' has {features} features, its layer takes 3"):
        bank_of()(batch() | {"a": torch.zeros(3, features, dtype=torch.float64)})


def test_an_unknown_name_is_refused():
    with pytest.raises(InputError, match="'e'"):
        bank_of()({"e": torch.zeros(1, 3, dtype=torch.float64)})
