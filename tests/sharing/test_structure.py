"""A `RoutedStructure`: merge weights, dropout, ownership, refusals."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from moduli import Apply, Conv, Dense, InputError, Merge, Route, RoutedStructure, chain, hard, single, soft

TASKS = ("a", "b")


# ------------------------------------------------------------------ merge weights

RAGGED = {
    "a": Route((Apply(0, 0), Merge((0, 1)), Apply(0, 2), Merge((0, 1, 3, 2))), 4),
    "b": Route((Apply(0, 0), Merge((0, 1, 1))), 2),
    "c": chain([0]),
}


def test_merge_weights_are_a_softmax_for_each_merge():
    structure = RoutedStructure([Dense(3)], RAGGED)
    nn.init.normal_(structure.scales)
    logits = structure.scales.detach()
    expected = {"a": [logits[:2], logits[2:6]], "b": [logits[6:9]], "c": []}
    for task, pieces in expected.items():
        weights = structure.merge_weights_of(task)
        assert [len(row) for row in weights] == [len(piece) for piece in pieces]
        for row, piece in zip(weights, pieces, strict=True):
            assert row == pytest.approx(piece.softmax(0).tolist())
            assert sum(row) == pytest.approx(1.0)


def test_every_merge_starts_as_a_mean():
    structure = RoutedStructure([Dense(3)], RAGGED)
    assert not structure.scales.any()
    assert structure.merge_weights_of("a") == [pytest.approx([1 / 2] * 2), pytest.approx([1 / 4] * 4)]


def test_scales_of_one_task_do_not_reach_another():
    structure = RoutedStructure([Dense(3)], RAGGED)
    before = structure.merge_weights_of("b")
    (part,) = structure.own("a")
    assert part.value.numel() == 6
    part.value.normal_()
    assert structure.merge_weights_of("b") == before
    assert structure.own("c") == []


def test_one_hot_scales_have_finite_gradients():
    structure = RoutedStructure([Dense(3)], RAGGED).double()
    with torch.no_grad():
        structure.scales[1:6] = float("-inf")
        structure.scales[4] = 0.0
    x = torch.randn(2, 3, dtype=torch.float64)
    structure({"a": x, "b": x})["a"].square().sum().backward()
    assert all(p.grad.isfinite().all() for p in structure.parameters() if p.grad is not None)


def test_without_merges_there_are_no_scales():
    structure = hard(TASKS, lambda k: Dense(3), 2)
    assert structure.scales is None
    assert structure.merge_weights() is None
    assert structure.merge_weights_of("a") == []
    assert not any("scales" in name for name in structure.state_dict())


# ------------------------------------------------------------------ dropout


class Ones(nn.Module):
    """Has a parameter, and passes its input on."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return x * self.gain


def chain_of(module, rate, pooling=False) -> RoutedStructure:
    return RoutedStructure([module], dict.fromkeys(TASKS, chain([0], pooling)), dropout=rate)


@pytest.mark.parametrize("rate", [0.2, 0.8])
def test_dropout_drops_at_its_rate_and_keeps_the_mean(rate):
    y = chain_of(Ones(), rate)({"a": torch.ones(400, 100)})["a"]
    assert y.unique().tolist() == pytest.approx([0.0, 1 / (1 - rate)])
    assert (y == 0).double().mean().item() == pytest.approx(rate, abs=0.01)
    assert y.mean().item() == pytest.approx(1.0, abs=0.05)


def test_dropout_follows_the_pooling():
    """The mask lies on the pooled map: dropped before it, only rate ** 4 of the values would be lost."""
    y = chain_of(Ones(), 0.5, pooling=True)({"a": torch.ones(40, 5, 20, 20)})["a"]
    assert y.shape == (40, 5, 10, 10)
    assert (y == 0).double().mean().item() == pytest.approx(0.5, abs=0.02)
    assert set(y.unique().tolist()) == {0.0, 2.0}


def test_every_application_has_its_own_mask():
    structure = RoutedStructure([Ones()], {"a": chain([0, 0, 0])}, dropout=0.5)
    y = structure({"a": torch.ones(400, 100)})["a"]
    assert (y != 0).double().mean().item() == pytest.approx(0.5**3, abs=0.01)
    assert y.max().item() == 8.0


def test_what_enters_a_merge_was_dropped_apart():
    """Eq. 7 with dropout: 2 of 2 layers survive at a quarter of the places, 1 of 2 at half of them."""
    structure = soft(["a"], lambda k: Ones(), 2, depth=1, dropout=0.5)
    y = structure({"a": torch.ones(400, 100)})["a"]
    shares = [(y == value).double().mean().item() for value in (0.0, 1.0, 2.0)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.02)


def test_tasks_have_masks_of_their_own():
    x = torch.ones(50, 100)
    outputs = chain_of(Ones(), 0.5)({"a": x, "b": x.clone()})
    assert ((outputs["a"] == 0) == (outputs["b"] == 0)).double().mean().item() == pytest.approx(0.5, abs=0.05)


def test_what_has_no_parameters_is_not_dropped():
    x = torch.ones(50, 100)
    assert torch.equal(chain_of(nn.Identity(), 0.5)({"a": x})["a"], x)
    structure = soft(["a"], lambda k: Ones(), 1, depth=1, dropout=0.5, identity=True)
    assert set(structure({"a": x})["a"].unique().tolist()) == {0.5, 1.5}


def test_no_dropout_when_evaluating():
    x = torch.ones(50, 100)
    structure = chain_of(Ones(), 0.5)
    assert not torch.equal(structure({"a": x})["a"], x)
    assert torch.equal(structure.eval()({"a": x})["a"], x)
    assert not torch.equal(structure.train()({"a": x})["a"], x)


def test_the_dropout_after_the_last_layer_can_be_left_to_the_decoders():
    x = torch.ones(400, 100)
    structure = RoutedStructure([Ones()], {"a": chain([0, 0, 0])}, dropout=0.5, drop_last=False)
    y = structure({"a": x})["a"]
    assert (y != 0).double().mean().item() == pytest.approx(0.5**2, abs=0.01)
    assert y.max().item() == 4.0
    structure.drop_last = True
    assert structure({"a": x})["a"].max().item() == 8.0


def test_in_soft_order_all_layers_of_the_last_depth_are_last():
    """Depth 1 is dropped, 1 of 2 layers at half of the places; depth 2 and the merges behind it are not."""
    structure = soft(["a"], lambda k: Ones(), 2, depth=2, dropout=0.5)
    structure.drop_last = False
    y = structure({"a": torch.ones(400, 100)})["a"]
    shares = [(y == value).double().mean().item() for value in (0.0, 1.0, 2.0)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.02)
    merges_in_a_row = Route((Apply(0, 0), Merge((1, 0)), Merge((1, 2))), 3)
    structure = RoutedStructure([Ones()], {"a": merges_in_a_row}, dropout=0.5, drop_last=False)
    assert torch.equal(structure({"a": torch.ones(9, 9)})["a"], torch.ones(9, 9))


def test_dropout_hides_gradients_where_it_hides_values():
    structure, x = chain_of(Ones(), 0.5), torch.ones(50, 100, requires_grad=True)
    y = structure({"a": x})["a"]
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_dropout_is_decided_by_the_seed():
    structure, x = soft(TASKS, lambda k: Dense(8), 2, dropout=0.5), torch.randn(4, 8)
    torch.manual_seed(1)
    one = structure({"a": x})["a"]
    assert not torch.equal(structure({"a": x})["a"], one)
    torch.manual_seed(1)
    assert torch.equal(structure({"a": x})["a"], one)


# ------------------------------------------------------------------ ownership and refusals


def test_owners_divide_the_pool():
    pool = [Dense(3), Dense(3), Dense(3)]
    routes = {"a": chain([0, 2]), "b": chain([1, 2])}
    structure = RoutedStructure(pool, routes, owners=["a", "b", None])
    assert [id(p) for p in structure.shared_parameters()] == [id(p) for p in pool[2].parameters()]
    assert {id(part.tensor) for part in structure.own("b")} == {id(p) for p in pool[1].parameters()}


def test_buffers_of_an_owned_module_belong_to_its_task():
    structure = single(TASKS, lambda k: nn.BatchNorm1d(3), 1)
    names = [part.name for part in structure.own("b")]
    assert "modules_pool.1.running_mean" in names
    assert not any(name.startswith("modules_pool.0") for name in names)


@pytest.mark.parametrize("module", [2, -1])
def test_a_module_that_is_not_in_the_pool_is_refused(module):
    with pytest.raises(InputError, match=rf"the route of 'a' applies module {module}, but the pool has 2"):
        RoutedStructure([Dense(3), Dense(3)], {"a": chain([0, module])})


def test_a_task_without_a_route_is_refused():
    with pytest.raises(InputError, match="no route for task 'z': there are a, b"):
        hard(TASKS, lambda k: Dense(3), 1)({"z": torch.zeros(1, 3)})


def test_owners_of_another_number_than_modules_are_refused():
    with pytest.raises(InputError, match="2 owners for 1 modules"):
        RoutedStructure([Dense(3)], {"a": chain([0])}, owners=["a", "b"])


def test_a_module_that_others_own_is_refused():
    with pytest.raises(InputError, match="the route of 'b' applies module 0, which belongs to 'a'"):
        RoutedStructure([Dense(3)], dict.fromkeys(TASKS, chain([0])), owners=["a"])


def test_half_precision_of_autocast_meets_single_precision():
    """Convolutions put out bf16, the identity beside them what the encoder gave."""
    structure = soft(TASKS, lambda k: Conv(3), 2, identity=True)
    x = {task: torch.randn(2, 3, 6, 6, requires_grad=True) for task in TASKS}
    expected = structure(x)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = structure(x)
    sum(y.float().square().sum() for y in outputs.values()).backward()
    for task in TASKS:
        torch.testing.assert_close(outputs[task].float(), expected[task], rtol=0.05, atol=0.05)
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in structure.parameters())
