"""The LSTM encoder: its start, its two kinds of dropout, and that both kernels are one function."""

from __future__ import annotations

import pytest
import torch

from moduli import LSTM, InputError


def texts(samples: int = 5, length: int = 7) -> torch.Tensor:
    return torch.randint(0, 30, (samples, length))


def ungated(model: LSTM, monkeypatch) -> LSTM:
    """With masks of ones: the loop over time without any dropout."""
    monkeypatch.setattr("moduli.modules.text.dropout", lambda ones, rate: ones)
    return model


@pytest.mark.parametrize("rate", [0.0, 0.5], ids=["kernel", "loop"])
def test_gives_the_last_hidden_state(rate, monkeypatch):
    model, x = ungated(LSTM(30, 6, 4, recurrent_dropout=rate), monkeypatch), texts()
    states, _ = model.lstm(model.embedding(x).transpose(0, 1))
    assert model(x).shape == (5, 6)
    torch.testing.assert_close(model(x), states[-1])


def test_the_loop_without_dropout_has_the_gradients_of_the_kernel(monkeypatch):
    model, x = ungated(LSTM(30, 6, 4, recurrent_dropout=0.5), monkeypatch), texts()
    parameters = [p for p in model.parameters() if p.requires_grad]
    loop = torch.autograd.grad(model(x).square().sum(), parameters)
    model.recurrent_dropout = 0.0
    torch.testing.assert_close(loop, torch.autograd.grad(model(x).square().sum(), parameters))


def test_starts_as_in_keras():
    torch.manual_seed(0)
    model = LSTM(50, 8, 12)
    weight_ih, weight_hh, bias, second_bias = model.lstm.all_weights[0]
    bound = (6 / (12 + 32)) ** 0.5
    assert 0.9 * bound < weight_ih.abs().max() <= bound
    torch.testing.assert_close(weight_hh.T @ weight_hh, torch.eye(8))
    assert bias.tolist() == [0.0] * 8 + [1.0] * 8 + [0.0] * 16
    assert not second_bias.any()
    assert 0.045 < model.embedding.weight.abs().max() <= 0.05


def test_has_as_many_parameters_as_that_of_keras():
    """Embedding 20,000 × 128, and an LSTM of 131,584 numbers, with one bias."""
    trained = sum(p.numel() for p in LSTM(20_000, 128).parameters() if p.requires_grad)
    assert trained == 2_560_000 + 131_584


@pytest.mark.parametrize("options", [{"dropout": 0.5}, {"recurrent_dropout": 0.5}], ids=str)
def test_dropout_is_for_training(options):
    model, x = LSTM(30, 16, **options), texts()
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))
    plain = LSTM(30, 16)
    plain.load_state_dict(model.state_dict())
    torch.testing.assert_close(model(x), plain(x))


def test_a_mask_of_the_inputs_is_the_same_at_all_steps(monkeypatch):
    mask = torch.tensor([[2.0, 0.0, 2.0, 0.0], [0.0, 0.0, 2.0, 2.0]])
    monkeypatch.setattr("moduli.modules.text.dropout", lambda ones, rate: ones * mask)
    model, x = LSTM(30, 6, 4, dropout=0.5), texts(samples=2)
    masked = model.embedding(x) * mask[:, None]
    torch.testing.assert_close(model(x), model.lstm(masked.transpose(0, 1))[0][-1])


def test_learns_in_half_precision():
    model, x = LSTM(30, 6, dropout=0.2, recurrent_dropout=0.2), texts()
    with torch.autocast("cpu", torch.bfloat16):
        model(x).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


def test_given_vectors_are_where_the_embedding_starts():
    vectors = torch.randn(30, 5)
    model = LSTM(30, 6, vectors=vectors)
    assert model.embedding.weight.equal(vectors)
    assert model.lstm.input_size == 5
    model(texts()).sum().backward()
    assert model.embedding.weight.grad is not None
    frozen = LSTM(30, 6, vectors=vectors, freeze_vectors=True)
    frozen(texts()).sum().backward()
    assert frozen.embedding.weight.grad is None
    assert frozen.lstm.weight_ih_l0.grad is not None


def test_rows_without_a_vector_start_as_without_vectors():
    vectors = torch.randn(30, 6)
    vectors[3:7] = torch.nan
    torch.manual_seed(0)
    plain = LSTM(30, 6)
    torch.manual_seed(0)
    model = LSTM(30, 6, vectors=vectors)
    assert model.embedding.weight[3:7].equal(plain.embedding.weight[3:7])
    assert model.embedding.weight[7:].equal(vectors[7:])
    assert model.lstm.weight_hh_l0.equal(plain.lstm.weight_hh_l0)


@pytest.mark.parametrize("embedding", [None, 4])
def test_vectors_of_another_shape_are_refused(embedding):
    with pytest.raises(InputError, match=r"vectors of an LSTM are 29×5: give 30×"):
        LSTM(30, 6, embedding, vectors=torch.zeros(29, 5))
