"""How weights of every kind of layer are cut into blocks; a block is the linear map it is said to be."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from moduli import Dense
from moduli.hypermodules import layouts_of

GPT2Conv1D = pytest.importorskip("transformers.pytorch_utils").Conv1D

# For each layer the number of blocks of 4 inputs and 2 outputs of its weights, edges rounded up.
LAYERS = {
    "linear": (lambda: nn.Linear(8, 6), {"weight": 2 * 3}),
    "linear-uneven": (lambda: nn.Linear(7, 5), {"weight": 2 * 3}),
    "linear-small": (lambda: nn.Linear(3, 1), {"weight": 1}),
    "conv1d": (lambda: nn.Conv1d(8, 4, 3), {"weight": 2 * 2 * 3}),
    "conv2d": (lambda: nn.Conv2d(4, 6, (3, 5)), {"weight": 1 * 3 * 15}),
    "conv2d-uneven": (lambda: nn.Conv2d(5, 3, 3), {"weight": 2 * 2 * 9}),
    "conv3d": (lambda: nn.Conv3d(8, 4, 2), {"weight": 2 * 2 * 8}),
    "grouped": (lambda: nn.Conv2d(16, 8, 3, groups=2), {"weight": 2 * 2 * 2 * 9}),
    "depthwise": (lambda: nn.Conv2d(8, 8, 3, groups=8), {"weight": 8 * 1 * 1 * 9}),
    "transposed1d": (lambda: nn.ConvTranspose1d(8, 6, 3), {"weight": 2 * 3 * 3}),
    "transposed2d-grouped": (lambda: nn.ConvTranspose2d(8, 12, 3, groups=2), {"weight": 2 * 1 * 3 * 9}),
    "lstm": (
        lambda: nn.LSTM(8, 4, 2),
        {"weight_ih_l0": 4 * 4, "weight_hh_l0": 4 * 2, "weight_ih_l1": 4 * 2, "weight_hh_l1": 4 * 2},
    ),
    "lstm-uneven": (lambda: nn.LSTM(5, 3), {"weight_ih_l0": 4 * 2 * 2, "weight_hh_l0": 4 * 1 * 2}),
    "lstm-projected": (
        lambda: nn.LSTM(8, 6, proj_size=4),
        {"weight_ih_l0": 4 * 2 * 3, "weight_hh_l0": 4 * 1 * 3, "weight_hr_l0": 2 * 2},
    ),
    "lstm-both-ways": (
        lambda: nn.LSTM(4, 4, bidirectional=True),
        {f"weight_{kind}_l0{end}": 4 * 2 for end in ("", "_reverse") for kind in ("ih", "hh")},
    ),
    "gru": (lambda: nn.GRU(8, 4), {"weight_ih_l0": 3 * 4, "weight_hh_l0": 3 * 2}),
    "rnn": (lambda: nn.RNN(8, 4), {"weight_ih_l0": 4, "weight_hh_l0": 2}),
    "lstm-cell": (lambda: nn.LSTMCell(8, 4), {"weight_ih": 4 * 4, "weight_hh": 4 * 2}),
    "gru-cell": (lambda: nn.GRUCell(8, 4), {"weight_ih": 3 * 4, "weight_hh": 3 * 2}),
    "rnn-cell": (lambda: nn.RNNCell(8, 4), {"weight_ih": 4, "weight_hh": 2}),
    "attention": (lambda: nn.MultiheadAttention(8, 2), {"in_proj_weight": 3 * 2 * 4}),
    "attention-apart": (
        lambda: nn.MultiheadAttention(8, 2, kdim=4, vdim=12),
        {"q_proj_weight": 2 * 4, "k_proj_weight": 1 * 4, "v_proj_weight": 3 * 4},
    ),
    "gpt2": (lambda: GPT2Conv1D(6, 8), {"weight": 2 * 3}),  # 6 outputs of 8 inputs
}
BLOCK = (4, 2)


def _dense() -> Dense:
    layer = Dense(8)
    layer(torch.zeros(1, 8))
    return layer


LAYERS["dense"] = (_dense, {"weight": 2 * 4})


@pytest.mark.parametrize("name", LAYERS)
def test_blocks_and_back(name):
    make, counts = LAYERS[name]
    layer = make()
    layouts = layouts_of(layer)
    assert {name: layout.blocks(BLOCK) for name, layout in layouts.items()} == counts
    for attribute, layout in layouts.items():
        weight = layer.get_parameter(attribute)
        blocks = layout.unfold(weight, BLOCK)
        assert blocks.shape == (counts[attribute], 8)
        again = layout.fold(blocks, BLOCK).reshape(weight.shape)
        assert torch.equal(again, weight)
        assert again.is_contiguous()
        assert layout.divides(BLOCK) == (blocks.numel() == weight.numel())


@pytest.mark.parametrize("name", ["linear", "conv2d", "grouped", "lstm", "gpt2", "transposed2d-grouped"])
def test_what_is_outside_of_a_weight_is_filled(name):
    layer = LAYERS[name][0]()
    for attribute, layout in layouts_of(layer).items():
        weight, block = layer.get_parameter(attribute), (16, 16)
        blocks = layout.unfold(weight, block, fill=10.0)
        assert (blocks.abs() > weight.abs().max()).float().mean() > 0.3
        assert torch.equal(layout.fold(blocks, block).reshape(weight.shape), weight)


def only_block(layer: nn.Module, attribute: str, number: int) -> nn.Module:
    """A layer in double precision whose weight is zero but for one block of ones; biases are zero."""
    layer = copy.deepcopy(layer).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        weight = layer.get_parameter(attribute)
        layout = layouts_of(layer)[attribute]
        blocks = layout.unfold(weight, BLOCK)
        blocks[number] = 1.0
        weight.copy_(layout.fold(blocks, BLOCK).reshape(weight.shape))
    return layer


def reach(layer: nn.Module, x: Tensor) -> Tensor:
    """Which input entries reach which output entries: `[outputs..., inputs...]`."""
    return torch.autograd.functional.jacobian(layer, x.double()) != 0


@pytest.mark.parametrize("name", ["linear", "dense", "gpt2"])
def test_a_block_of_a_dense_layer(name):
    """The (i, j)th block goes from units 4i to 4i + 4 to units 2j to 2j + 2 (section 8.2.2)."""
    layer = LAYERS[name][0]()
    inputs, across = 8, (8 if name == "dense" else 6) // 2
    for number in range(layouts_of(layer)["weight"].blocks(BLOCK)):
        i, j = divmod(number, across)
        one = only_block(layer, "weight", number)
        linear = (lambda x, one=one: x @ one.weight.T) if name == "dense" else one
        expected = torch.zeros(2 * across, inputs, dtype=torch.bool)
        expected[2 * j : 2 * j + 2, 4 * i : 4 * i + 4] = True
        assert torch.equal(reach(linear, torch.randn(inputs)), expected)


@pytest.mark.parametrize("transposed", [False, True])
def test_a_block_of_a_grouped_convolution(transposed):
    """One group, one position of the kernel, 4 of its inputs and 2 of its outputs."""
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    layer = kind(16, 8, (2, 3), groups=2)  # 8 -> 4 channels in each group: grid of 2 x 2 blocks
    layout = layouts_of(layer)["weight"]
    grid = (2, 2, 3, 2, 2)  # groups, kernel, blocks of inputs and of outputs
    assert layout.blocks(BLOCK) == math.prod(grid)
    for number in (0, 1, 2, 5, 17, 23, 24, 38, 47):
        group, row, column, i, j = (int(x) for x in torch.unravel_index(torch.tensor(number), grid))
        x = torch.randn(16, 1, 1) if transposed else torch.randn(16, 2, 3)
        found = reach(only_block(layer, "weight", number), x)
        # Transposed, one place of the input reaches places of the output; else the other way round.
        expected = torch.zeros_like(found)
        outputs = slice(4 * group + 2 * j, 4 * group + 2 * j + 2)
        inputs = slice(8 * group + 4 * i, 8 * group + 4 * i + 4)
        if transposed:
            expected[outputs, row, column, inputs, 0, 0] = True
        else:
            expected[outputs, 0, 0, inputs, row, column] = True
        assert torch.equal(found, expected)


def test_a_block_of_a_depthwise_convolution():
    layer = nn.Conv2d(8, 8, 3, groups=8)
    found = reach(only_block(layer, "weight", 5 * 9 + 4), torch.randn(8, 3, 3))
    expected = torch.zeros_like(found)
    expected[5, 0, 0, 5, 1, 1] = True
    assert torch.equal(found, expected)


@pytest.mark.parametrize("weight", ["weight_ih", "weight_hh"])
@pytest.mark.parametrize("gate", range(4))
def test_the_gates_of_an_lstm(weight, gate):
    """Input, forget, cell, output: the blocks of one gate are its whole weight and nothing else."""
    layer = nn.LSTMCell(4, 4)
    layout = layouts_of(layer)[weight]
    made = torch.zeros(layout.blocks(BLOCK), 8)
    made.view(4, -1)[gate] = 1.0
    folded = layout.fold(made, BLOCK).reshape(layer.get_parameter(weight).shape)
    assert folded.view(4, 4, 4).sum((1, 2)).tolist() == [16.0 if g == gate else 0.0 for g in range(4)]


def test_a_block_of_an_lstm_reaches_one_gate_of_some_units():
    """With cells at zero only the forget gate does nothing; a block of it changes nothing."""
    torch.manual_seed(0)
    layer, x = nn.LSTMCell(4, 4).double(), torch.randn(1, 4).double()
    start = (torch.zeros(1, 4).double(), torch.zeros(1, 4).double())
    layout = layouts_of(layer)["weight_ih"]
    changed = {}
    for gate in range(4):
        twin = copy.deepcopy(layer)
        blocks = layout.unfold(twin.weight_ih, BLOCK)
        blocks[2 * gate + 1] += 1.0  # of two blocks of outputs the second: units 2 and 3
        twin.weight_ih.data = layout.fold(blocks, BLOCK).reshape(twin.weight_ih.shape)
        h, c = twin(x, start)
        h_before, c_before = layer(x, start)
        changed[gate] = ((h != h_before)[0].tolist(), (c != c_before)[0].tolist())
    late, never = [False, False, True, True], [False] * 4
    assert changed == {0: (late, late), 1: (never, never), 2: (late, late), 3: (late, never)}


def test_projections_of_attention():
    """In one weight stand the projections of queries, keys and values, one below the other."""
    layer = nn.MultiheadAttention(8, 2, bias=False)
    layout = layouts_of(layer)["in_proj_weight"]
    blocks = torch.zeros(layout.blocks(BLOCK), 8)
    blocks.view(3, -1)[1] = 1.0
    query, key, value = layout.fold(blocks, BLOCK).reshape(24, 8).chunk(3)
    assert query.eq(0).all()
    assert key.eq(1).all()
    assert value.eq(0).all()


@pytest.mark.parametrize(
    ("name", "attribute", "fan_in"),
    [
        ("linear", "weight", 8),
        ("gpt2", "weight", 8),
        ("conv2d", "weight", 4 * 15),
        ("grouped", "weight", 8 * 9),
        ("depthwise", "weight", 9),
        ("transposed2d-grouped", "weight", 4 * 9),
        ("lstm", "weight_ih_l0", 8),
        ("lstm", "weight_hh_l0", 4),
        ("lstm-projected", "weight_hh_l0", 4),
        ("lstm-projected", "weight_hr_l0", 6),
        ("attention", "in_proj_weight", 8),
        ("attention-apart", "v_proj_weight", 12),
    ],
)
def test_fan_in_is_that_of_the_whole_layer(name, attribute, fan_in):
    assert layouts_of(LAYERS[name][0]())[attribute].fan_in == fan_in


def test_other_layers_have_none():
    for layer in (nn.BatchNorm2d(4), nn.LayerNorm(4), nn.Embedding(4, 4), nn.Sequential(nn.Linear(4, 4))):
        assert layouts_of(layer) == {}


def test_subclasses_count_as_their_kind():
    class Mine(nn.Linear):
        pass

    assert layouts_of(Mine(8, 6)) == layouts_of(nn.Linear(8, 6))
