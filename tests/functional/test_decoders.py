"""Dropout that is drawn for each decoder by itself, and the affine maps behind it."""

import pytest
import torch

from moduli.functional import linear_apart, mask_apart

L, B, I, D, O = 2, 3, 5, 4, 2  # noqa: E741


def made(dtype=torch.float64):
    torch.manual_seed(0)
    return (
        torch.randn(L, B, I, dtype=dtype),
        torch.randn(L, I, D, O, dtype=dtype),
        torch.randn(L, D, O, dtype=dtype),
    )


def test_without_dropout_it_is_an_affine_map_for_each_decoder():
    x, weight, bias = made()
    y = linear_apart(x, weight, bias, torch.zeros(L, D))
    for task in range(L):
        for d in range(D):
            torch.testing.assert_close(y[task, d], x[task] @ weight[task, :, d] + bias[task, d])


def test_gradients_agree_with_finite_differences():
    """With the masks held fixed; the rates differ between decoders."""
    rates = torch.linspace(0, 0.8, L * D, dtype=torch.float64).view(L, D)

    def fixed(*tensors):
        torch.manual_seed(7)
        return linear_apart(*tensors, rates)

    assert torch.autograd.gradcheck(fixed, [x.requires_grad_() for x in made()])


def test_gradient_of_an_input_that_all_tasks_read():
    x, weight, bias = made()
    one = x[0].clone().requires_grad_()
    apart = [one.detach().clone().requires_grad_() for _ in range(L)]
    torch.manual_seed(1)
    linear_apart(one.expand(L, B, I), weight, bias, torch.full((L, D), 0.5)).square().sum().backward()
    torch.manual_seed(1)
    linear_apart(torch.stack(apart), weight, bias, torch.full((L, D), 0.5)).square().sum().backward()
    torch.testing.assert_close(one.grad, sum(x.grad for x in apart))


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.8])
def test_as_many_numbers_are_dropped_as_the_rate_says_and_the_mean_stays(rate):
    """Identity maps show the masked input itself."""
    torch.manual_seed(0)
    n = 400
    x = torch.full((1, n, n), 1.0)
    eye = torch.eye(n).view(1, n, 1, n).expand(1, n, 2, n)
    y = linear_apart(x, eye, torch.zeros(1, 2, n), torch.full((1, 2), rate))
    kept = (y != 0).float()
    # 160,000 draws: five standard deviations of the mean are below 0.007
    torch.testing.assert_close(kept.mean((2, 3)), torch.full((1, 2), 1 - rate), atol=0.007, rtol=0)
    torch.testing.assert_close(y[y != 0], torch.full_like(y[y != 0], 1 / (1 - rate)))
    assert not torch.equal(kept[0, 0], kept[0, 1])
    agree = (kept[0, 0] * kept[0, 1]).mean()
    torch.testing.assert_close(agree, torch.tensor((1 - rate) ** 2), atol=0.01, rtol=0)


def test_every_decoder_has_its_own_rate():
    torch.manual_seed(0)
    n = 300
    eye = torch.eye(n).view(1, n, 1, n).expand(1, n, 3, n)
    y = linear_apart(torch.ones(1, n, n), eye, torch.zeros(1, 3, n), torch.tensor([[0.0, 0.3, 0.9]]))
    dropped = (y == 0).float().mean((2, 3))
    torch.testing.assert_close(dropped, torch.tensor([[0.0, 0.3, 0.9]]), atol=0.01, rtol=0)


def test_many_tasks_are_computed_in_blocks_with_the_same_result(monkeypatch):
    from moduli.functional import decoders

    x, weight, bias = made()
    zero = torch.zeros(L, D)
    expected = linear_apart(x, weight, bias, zero)
    monkeypatch.setattr(decoders, "_CPU_BLOCK", 1)
    torch.testing.assert_close(linear_apart(x, weight, bias, zero), expected)


def test_half_precision_inputs_keep_their_type():
    x, weight, bias = made(torch.float32)
    y = linear_apart(x.bfloat16(), weight, bias, torch.full((L, D), 0.5))
    assert y.dtype == torch.bfloat16


def test_mask_apart_scales_what_it_keeps():
    torch.manual_seed(0)
    x = torch.rand(50, 40, 30) + 1
    masked = mask_apart(x, torch.tensor([0.0, 0.5]))
    assert torch.equal(masked[0], x)
    kept = masked[1] != 0
    torch.testing.assert_close(masked[1][kept], 2 * x[kept])
    assert abs(kept.float().mean().item() - 0.5) < 0.01
