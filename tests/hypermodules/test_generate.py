"""Blocks as weighted sums of the slices of hypermodules (Eq. 8.2, 8.3, 8.12 of Meyerson 2018)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from moduli.functional import Sums, generate, generate_blocks


def made_up(K: int, c: int, L: int, Q: int, m: int = 2, n: int = 3, dtype=torch.float64):
    """Hypermodules, contexts, mapping with duplicates, shares; at most K different modules."""
    generator = torch.Generator().manual_seed(K + 10 * c + 100 * Q)
    H = torch.randn(K, c, m, n, generator=generator, dtype=dtype)
    z = torch.randn(L, c, generator=generator, dtype=dtype)
    mapping = torch.randint(K, (L, Q + 1), generator=generator)
    shares = torch.randn(L, Q + 1, generator=generator, dtype=dtype).softmax(-1)
    return H, z, mapping, shares


def by_loop(H: Tensor, z: Tensor, mapping: Tensor, shares: Tensor) -> list:
    """B_lij = sum_q shares_lq sum_a z_la H[mapping_lq]_aij, number by number."""
    _, c, m, n = H.shape
    h, z, shares, mapping = H.tolist(), z.tolist(), shares.tolist(), mapping.tolist()
    return [
        [
            [
                sum(s * sum(z[q][a] * h[k][a][i][j] for a in range(c)) for k, s in zip(*pair, strict=True))
                for j in range(n)
            ]
            for i in range(m)
        ]
        for q, pair in enumerate(zip(mapping, shares, strict=True))
    ]


@pytest.mark.parametrize("c", [1, 2, 3, 4])
@pytest.mark.parametrize("Q", [0, 1, 2, 3, 4])
def test_equals_a_loop(c, Q):
    H, z, mapping, shares = made_up(3, c, 7, Q)
    if Q:
        mapping[0] = mapping[0, 0]  # all candidates the same
        assert any(len(set(row)) <= Q for row in mapping.tolist())
    torch.testing.assert_close(
        generate_blocks(H, z, mapping, shares), torch.tensor(by_loop(H, z, mapping, shares)).to(H)
    )


@pytest.mark.parametrize("Q", [0, 1, 4])
def test_equals_gather_and_einsum_with_gradients(Q):
    H, z, mapping, shares = (x.requires_grad_(x.is_floating_point()) for x in made_up(5, 4, 40, Q, 16, 16))
    ours = generate_blocks(H, z, mapping, shares)
    theirs = torch.einsum("lq,lc,lqcmn->lmn", shares, z, H[mapping])
    torch.testing.assert_close(ours, theirs)
    grad = torch.randn_like(ours)
    for one, two in zip(*(torch.autograd.grad(y, (H, z, shares), grad) for y in (ours, theirs)), strict=True):
        torch.testing.assert_close(one, two)


def test_without_shares_each_location_has_one_module():
    H, z, mapping, _ = made_up(4, 3, 6, 0)
    expected = torch.einsum("lc,lcmn->lmn", z, H[mapping[:, 0]])
    torch.testing.assert_close(generate_blocks(H, z, mapping[:, 0]), expected)


@pytest.mark.parametrize("Q", [0, 2])
def test_gradients_against_finite_differences(Q):
    H, z, mapping, shares = made_up(4, 2, 5, Q)
    mapping[mapping == 3] = 0  # one module is used nowhere
    inputs = [x.requires_grad_() for x in (H, z, shares)]
    assert torch.autograd.gradcheck(lambda H, z, s: generate_blocks(H, z, mapping, s), inputs)


def test_blocks_of_different_numbers_of_rows():
    rows = torch.randn(4, 6, dtype=torch.float64).requires_grad_()
    weights = torch.randn(6, dtype=torch.float64).requires_grad_()
    sums = Sums.of(torch.tensor([1, 3, 3, 0, 1, 1]), torch.tensor([0, 1, 1, 4]), 4)  # the second has none
    entries = [[0], [], [1, 2, 3], [4, 5]]
    blocks = generate(rows, weights, sums)
    for block, some in zip(blocks, entries, strict=True):
        expected = sum((weights[e] * rows[sums.which[e]] for e in some), torch.zeros(6).double())
        torch.testing.assert_close(block, expected)
    assert torch.autograd.gradcheck(lambda r, w: generate(r, w, sums), (rows, weights))


def test_a_gradient_that_is_one_number_expanded():
    H, z, mapping, shares = (x.requires_grad_(x.is_floating_point()) for x in made_up(3, 2, 6, 1))
    gradient = torch.autograd.grad(generate_blocks(H, z, mapping, shares).sum(), H)[0]
    wanted = torch.autograd.grad(torch.einsum("lq,lc,lqcmn->lmn", shares, z, H[mapping]).sum(), H)[0]
    torch.testing.assert_close(gradient, wanted)


def test_frozen_hypermodules():
    H, z, mapping, shares = made_up(3, 2, 6, 1)
    z.requires_grad_()
    generate_blocks(H, z, mapping, shares).sum().backward()
    assert H.grad is None
    assert z.grad is not None


def test_gradients_of_several_losses_at_once():
    H, z, mapping, shares = made_up(3, 2, 6, 1)
    H.requires_grad_(), z.requires_grad_()
    blocks = generate_blocks(H, z, mapping, shares)
    grads = torch.randn(3, *blocks.shape).to(blocks)
    at_once = torch.autograd.grad(blocks, (H, z), grads, retain_graph=True, is_grads_batched=True)
    for row, grad in enumerate(grads):
        for many, one in zip(
            at_once, torch.autograd.grad(blocks, (H, z), grad, retain_graph=True), strict=True
        ):
            torch.testing.assert_close(many[row], one)
