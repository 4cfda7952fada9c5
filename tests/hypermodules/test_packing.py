"""As few numbers as the generated weights need (section 8.2.5 of Meyerson 2018)."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from moduli.hypermodules import Hypermodules, MappingEvolution, pack, reparameterize
from moduli.hypermodules.packing import worth_keeping


def bank_of(uses: list[int], c: int = 4, block: tuple[int, int] = (16, 16)) -> Hypermodules:
    """Modules that are used so often, in any order."""
    torch.manual_seed(0)
    mapping = torch.tensor([k for k, times in enumerate(uses) for _ in range(times)])
    mapping = mapping[torch.randperm(len(mapping))]
    return Hypermodules(torch.randn(len(uses), c, *block), torch.randn(len(mapping), c), mapping)


def test_the_worked_example_of_the_break_even():
    """c = 4, blocks of 16 x 16: four uses cost 1,040 numbers against 1,024; five 1,044 against 1,280."""
    c, mn = 4, 256
    assert 4 * c + c * mn == 1040 > 4 * mn == 1024
    assert 5 * c + c * mn == 1044 < 5 * mn == 1280
    assert worth_keeping(torch.arange(8), c, mn).tolist() == [False] * 5 + [True] * 3
    assert pack(bank_of([4])).numel == 1024
    assert pack(bank_of([5])).numel == 1044


@pytest.mark.parametrize(("c", "mn"), [(1, 20), (2, 6), (4, 256), (16, 16), (8, 4)])
def test_a_module_is_kept_where_that_is_fewer_numbers(c, mn):
    uses = torch.arange(100)
    expected = [u * c + c * mn < u * mn for u in uses.tolist()]
    assert worth_keeping(uses, c, mn).tolist() == expected


@pytest.mark.parametrize("uses", [[1, 2, 3], [9, 1, 5, 4], [30], [7, 8]])
def test_unpacked_blocks_are_the_generated_ones(uses):
    bank = bank_of(uses)
    packed = pack(bank)
    torch.testing.assert_close(packed.unpack().flatten(1), bank().detach())
    kept = sum(times >= 5 for times in uses)
    assert packed.hypermodules.shape == (kept, 4, 16, 16)
    alone = sum(times for times in uses if times < 5)
    assert packed.blocks.shape == (alone, 16, 16)
    assert packed.numel == (sum(uses) - alone) * 4 + kept * 1024 + alone * 256  # left side of Eq. 8.7


def test_where_candidates_compete_the_mix_is_stored():
    bank = bank_of([6, 6])
    bank.compete(torch.tensor([0, 3]), torch.tensor([[0], [1]]), alpha=0.5)
    packed = pack(bank)
    torch.testing.assert_close(packed.unpack().flatten(1), bank().detach())
    assert len(packed.blocks) >= 2


@pytest.mark.parametrize("seed", range(8))
def test_inference_never_needs_more_than_the_original(seed):
    """Eq. 8.7, for any mapping: and blocks that reach beyond a weight do not count."""
    torch.manual_seed(seed)
    given = nn.Sequential(nn.Linear(6, 30), nn.ReLU(), nn.Linear(30, 33), nn.ReLU(), nn.Linear(33, 9))
    size = sum(p.numel() for p in given.parameters())
    modules = int(torch.randint(1, 20, ()))
    model = reparameterize(
        {"a": given}, block=(8, 4), context=3, mapping=modules, adapters=[], uneven="truncate",
        evolution=MappingEvolution(burn_in=0, epsilon=0.5),
    )  # fmt: skip
    model.evolution.settle(model, None)  # type: ignore[union-attr]
    counted = model.complexity()
    assert counted.original == size
    assert counted.inference <= counted.original
    assert model.count_parameters() == counted.inference
    bank = model.hypermodules
    biases = 30 + 33 + 9
    assert counted.training == bank.table.numel() + bank.contexts.numel() + biases
    assert counted.inference == min(pack(bank).numel, size - biases) + biases


def test_at_the_start_nothing_is_saved_and_all_in_one_module_saves_most():
    given = nn.Sequential(*[nn.Linear(32, 32, bias=False) for _ in range(4)])
    distinct, one = (
        reparameterize({"a": given}, context=2, evolution=None, mapping=mapping).complexity()
        for mapping in (None, 1)
    )
    assert (distinct.original, distinct.inference) == (4096, 4096)
    assert distinct.training == 8 * (2 * 256 + 2) + 2048
    assert one.training == one.inference == 2 * 256 + 8 * 2 + 2048
