"""The networks of the papers: sizes that are printed there, how they start, and texts that are read on."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moduli.errors import InputError
from moduli.modules.networks import DeepBind, DigitConv, LSTMLanguageModel, TextConv, WideResNet
from moduli.modules.networks.wide_resnet import Block

LARGE = {"width": 256, "hidden": 256}


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def blocks(network: nn.Module) -> int:
    """Blocks of 16×16 weights of all layers whose inputs and outputs divide by 16, but the last."""
    number = 0
    for name, layer in network.named_modules():
        if not isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.LSTM) or name in ("last", "decoder"):
            continue
        for weight in (p for p in layer.parameters() if p.dim() > 1):
            if weight.shape[0] % 16 == weight.shape[1] % 16 == 0:
                number += weight.numel() // 256
    return number


@pytest.mark.parametrize(
    ("make", "n_parameters", "n_blocks"),
    [
        (DigitConv, 21_210, 49),
        (TextConv, 170_433, 40),
        (DeepBind, 6_817, 26),
        (lambda: DeepBind(**LARGE), 1_640_449, 6400),
        (lambda: LSTMLanguageModel(33_278), 9_605_118, 4096),
        (lambda: LSTMLanguageModel(33_278, tied=False), 9_605_118 + 33_278 * 256, 4096),
    ],
    ids=["digits", "text", "DNA", "DNA, large", "language", "language, untied"],
)
def test_sizes_are_those_of_the_dissertation(make, n_parameters, n_blocks):
    with torch.device("meta"):  # shapes without memory
        network = make()
    assert (parameters(network), blocks(network)) == (n_parameters, n_blocks)


@pytest.mark.parametrize(("shortcut", "number"), [(3, 2268), (1, 2188)])
def test_blocks_of_wide_residual_networks(shortcut, number):
    with torch.device("meta"):
        assert blocks(WideResNet(shortcut=shortcut)) == number


@pytest.mark.parametrize(
    ("depth", "width", "millions"), [(40, 1, 0.6), (40, 4, 8.9), (16, 8, 11.0), (28, 10, 36.5)]
)
def test_wide_residual_networks_are_as_large_as_in_their_paper(depth, width, millions):
    """Table 5 of Zagoruyko & Komodakis (2016)."""
    with torch.device("meta"):
        network = WideResNet(depth, width, shortcut=1)
    assert parameters(network) / 1e6 == pytest.approx(millions, abs=0.06)
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    shortcuts = 2 if width == 1 else 3
    assert len(convolutions) - shortcuts == depth - 3


@pytest.mark.parametrize(
    ("make", "x", "shape"),
    [
        (lambda: WideResNet(10, 2, 7, 1, dropout=0.3), torch.rand(3, 1, 20, 28), (3, 7)),
        (lambda: WideResNet(10), torch.rand(2, 3, 32, 32), (2, 10)),
        (lambda: DigitConv(26), torch.rand(3, 1, 28, 28), (3, 26)),
        (lambda: TextConv(50, outputs=2), torch.arange(27).view(3, 9), (3, 2)),
        (DeepBind, torch.arange(72).view(3, 24) % 5, (3, 1)),
        (lambda: LSTMLanguageModel(50, 8, layers=1), torch.arange(27).view(3, 9), (3, 9, 50)),
    ],
    ids=["WideResNet, gray", "WideResNet", "DigitConv", "TextConv", "DeepBind", "LSTMLanguageModel"],
)
def test_every_parameter_has_a_part_in_outputs_of_the_right_shape(make, x, shape):
    torch.manual_seed(0)
    network = make()
    y = network(x)
    assert y.shape == shape
    y.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())


@pytest.mark.parametrize(
    "make", [lambda: WideResNet(16), DigitConv, TextConv, DeepBind], ids=["images", "digits", "text", "DNA"]
)
def test_hidden_layers_start_he_normal(make):
    torch.manual_seed(0)
    network = make()
    layers = [(name, layer) for name, layer in network.named_modules() if hasattr(layer, "weight")]
    hidden = [x for name, x in layers if isinstance(x, nn.Linear | nn.Conv1d | nn.Conv2d) and name != "last"]
    assert len(hidden) >= 2
    for layer in hidden:
        std = math.sqrt(2 / layer.weight[0].numel())
        assert layer.weight.std().item() == pytest.approx(std, rel=0.15)
        assert layer.weight.abs().max() > 2 * std  # no uniform numbers
        assert layer.bias is None or not layer.bias.any()


def test_embeddings_of_texts_start_small():
    weight = TextConv().embedding.weight
    assert weight.abs().max().item() == pytest.approx(0.05, rel=0.01)
    assert weight.std().item() == pytest.approx(0.05 / math.sqrt(3), rel=0.02)


def test_signals_keep_their_size_through_a_deep_network():
    torch.manual_seed(0)
    y = WideResNet()(torch.randn(8, 3, 32, 32))
    assert 0.1 < y.std() < 3


def test_a_block_is_that_of_the_paper():
    """Pre-activation: the sum is not normalised, and a shortcut that is a convolution reads what is."""
    torch.manual_seed(0)
    network = WideResNet(10).eval()
    blocks = [layer for layer in network.modules() if isinstance(layer, Block)]
    for block in blocks:
        x = torch.randn(2, block.norm1.num_features, 8, 8)
        before = block.norm1(x).relu()
        branch = block.conv2(block.norm2(block.conv1(before)).relu())
        direct = x if block.shortcut is None else block.shortcut(before)
        torch.testing.assert_close(block(x), branch + direct)
    assert [block.shortcut is None for block in blocks] == [True, False, False]
    assert [block.conv1.stride[0] for block in blocks] == [1, 2, 2]


def test_the_greatest_value_of_a_filter_counts_wherever_it_is():
    network = TextConv(20, kernel=2).eval()
    motif, other = torch.tensor([3, 4]), torch.full((6,), 7)
    places = torch.stack([torch.cat([other[:k], motif, other[k:]]) for k in range(1, 6)])
    y = network(places)
    torch.testing.assert_close(y, y[:1].expand_as(y))
    x = network.conv(network.embedding(places).transpose(1, 2)).relu()
    torch.testing.assert_close(y, network.last(network.dense(x.amax(2)).relu()))


def dropped(network: nn.Module, x: Tensor) -> bool:
    return not network(x).equal(network(x))


@pytest.mark.parametrize(
    ("make", "x"),
    [
        (lambda rate: WideResNet(10, dropout=rate), torch.rand(2, 3, 8, 8)),
        (lambda rate: TextConv(20, dropout=rate), torch.randint(20, (2, 8))),
    ],
    ids=["images", "texts"],
)
def test_dropout_is_for_training(make: Callable[[float], nn.Module], x: Tensor):
    assert dropped(make(0.5), x)
    assert not dropped(make(0.0), x)
    assert not dropped(make(0.5).eval(), x)


# ------------------------------------------------------------------ language


def language(dropout: float = 0.0, layers: int = 2, **options) -> LSTMLanguageModel:
    torch.manual_seed(0)
    return LSTMLanguageModel(30, 8, layers, dropout, **options)


def text(length: int, texts: int = 3) -> Tensor:
    return torch.randint(30, (texts, length), generator=torch.Generator().manual_seed(length))


def test_tied_weights_are_one_tensor():
    model = language()
    assert model.decoder.weight is model.embedding.weight
    assert len(list(model.parameters())) == len(list(language(tied=False).parameters())) - 1
    y = model(text(5))
    y.sum().backward()
    hidden = model.eval().lstm(model.embedding(text(5)))[0]
    torch.testing.assert_close(y, hidden @ model.embedding.weight.T)


def test_language_models_start_uniform():
    for name, parameter in language(tied=False, init=0.02).named_parameters():
        if name == "decoder.bias":
            assert not parameter.any()
        else:
            assert parameter.abs().max() <= 0.02
            assert parameter.std().item() == pytest.approx(0.02 / math.sqrt(3), rel=0.25)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("layers", [1, 2])
def test_segments_are_read_as_one_text(training, layers):
    x = text(12)
    whole, parts = language(layers=layers).train(training), language(layers=layers).train(training)
    y = torch.cat([parts(segment) for segment in x.split([5, 3, 4], 1)], 1)
    torch.testing.assert_close(y, whole(x))
    assert not torch.allclose(y[:, 5:8], language()(x[:, 5:8]))


def test_training_and_evaluation_read_texts_of_their_own():
    x, new = text(8), text(6)
    model, alone = language(), language()
    y = [model(x[:, :4])]
    for _ in range(2):  # a new text each time
        model.eval()
        torch.testing.assert_close(
            torch.cat([model(new[:, :3]), model(new[:, 3:])], 1), language().eval()(new)
        )
    y.append(model.train()(x[:, 4:]))
    torch.testing.assert_close(torch.cat(y, 1), alone(x))


def test_another_number_of_texts_starts_at_zero():
    model = language()
    model(text(4))
    torch.testing.assert_close(model(text(4, texts=2)), language()(text(4, texts=2)))


def test_no_gradient_flows_into_the_segment_before():
    model, before, after = language(), language(), language()
    first = model(text(4))
    model(text(5)).sum().backward()
    first.sum().backward()  # would be gone if the graphs hung together
    before(text(4)).sum().backward()
    after.load_state_dict(before.state_dict())
    after(text(5)).sum().backward()
    for p, q, r in zip(model.parameters(), before.parameters(), after.parameters(), strict=True):
        assert q.grad is not None
        assert r.grad is not None
        torch.testing.assert_close(p.grad, q.grad + r.grad)


def test_a_state_that_is_loaded_goes_on_bit_for_bit(tmp_path):
    model, other = language(dropout=0.4), language(dropout=0.4)
    assert model.state_dict()["_extra_state"].shape == (0,)
    model(text(7))
    state = model.state_dict()
    assert state["_extra_state"].shape == (2, 2, 3, 8)
    kept = state["_extra_state"].clone()
    torch.save(state, tmp_path / "state")
    torch.manual_seed(1)
    y = model(text(6))
    assert state["_extra_state"].equal(kept)  # a snapshot
    other.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    torch.manual_seed(1)
    assert other(text(6)).equal(y)


def test_a_model_of_another_precision_goes_on():
    model, whole = language(), language().double()
    first = model(text(4)).double()
    y = torch.cat([first, model.double()(text(5))], 1)
    torch.testing.assert_close(y, whole(torch.cat([text(4), text(5)], 1)), atol=1e-6, rtol=1e-5)


def test_dropout_is_not_on_what_is_recurrent():
    """With all else dropped, what a layer passes on to itself is left: outputs are the decoder's bias."""
    model = language(dropout=1.0, layers=1)
    y = model(text(4))
    assert not y.any()
    assert model.state_dict()["_extra_state"].all()


def test_weights_may_be_others_in_every_call():
    """Generated weights stand in for the model's own; they get the gradients."""
    model, x = language(), text(4)
    weights = {name: torch.zeros_like(p).requires_grad_() for name, p in model.lstm.named_parameters()}
    y = torch.func.functional_call(model, {f"lstm.{name}": w for name, w in weights.items()}, (x,))
    assert not y.any()
    (y + torch.func.functional_call(model, {}, (x,))).square().sum().backward()
    assert weights["bias_ih_l1"].grad is not None
    torch.testing.assert_close(model.eval()(x), language().eval()(x))


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: WideResNet(38), "depth is 38: give 6N"),
        (lambda: WideResNet(4), "depth is 4"),
        (lambda: WideResNet(shortcut=2), "shortcut is 2: give 3, or 1"),
        (lambda: DigitConv()(torch.rand(2, 1, 32, 32)), "images are 32×32: give 28×28"),
        (lambda: DeepBind()(torch.zeros(2, 23, dtype=torch.long)), "23 tokens: give at least 24"),
    ],
)
def test_what_cannot_be(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_losses_fall():
    torch.manual_seed(0)
    x = torch.randint(5, (64, 40))
    y = (x == 2).float().mean(1, keepdim=True) * 5
    network = DeepBind(kernel=8)
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = F.mse_loss(network(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
