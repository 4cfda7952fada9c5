"""`Each` applies the user's modules by name."""

from __future__ import annotations

import pytest
import torch
from synthetic import Counting
from torch import nn

from moduli import LSTM, Each, InputError


def test_every_name_gets_its_module():
    modules = {"a": nn.Linear(3, 2), "b": nn.Linear(4, 2)}
    inputs = {"b": torch.randn(2, 4), "a": torch.randn(1, 3)}
    outputs = Each(modules)(inputs)
    assert list(outputs) == ["b", "a"]
    for name, y in outputs.items():
        assert torch.equal(y, modules[name](inputs[name]))


def test_a_module_of_two_names_sees_one_tensor_once():
    module = Counting(nn.Linear(3, 2))
    each = Each({"a": module, "b": module})
    x = torch.randn(5, 3)
    outputs = each({"a": x, "b": x})
    assert (module.calls, module.rows) == (1, 5)
    assert torch.equal(outputs["a"], outputs["b"])
    each({"a": x, "b": x.clone()})
    assert module.calls == 3


class Joining(Counting):
    """Counts calls and rows of a module that may be called for several names at once."""

    joins = 8


def test_inputs_are_joined_where_the_module_allows_it():
    module = Joining(nn.Linear(3, 2))
    each = Each(dict.fromkeys("abcde", module))
    inputs = {name: torch.randn(rows, 3) for name, rows in zip("abcd", (3, 5, 8, 1), strict=True)}
    inputs["e"] = inputs["a"]
    outputs = each(inputs)
    assert (module.calls, module.rows) == (3, 17)  # 3 + 5, 8, 1: at most 8 together
    assert list(outputs) == list("abcde")
    for name, x in inputs.items():
        torch.testing.assert_close(outputs[name], module.module(x))


def test_unlike_inputs_are_not_joined():
    module = Joining(nn.Identity())
    each = Each(dict.fromkeys("abc", module))
    inputs = {"a": torch.randn(1, 3), "b": torch.randn(1, 4), "c": torch.zeros(1, 4, dtype=torch.long)}
    outputs = each(inputs)
    assert module.calls == 3
    assert all(outputs[name].equal(x) for name, x in inputs.items())


def test_joined_and_separate_calls_have_the_same_results_and_gradients():
    lstm = LSTM(30, 6)
    each = Each(dict.fromkeys("abc", lstm))
    inputs = {name: torch.randint(0, 30, (rows, 5)) for name, rows in zip("abc", (4, 2, 3), strict=True)}
    parameters = [p for p in lstm.parameters() if p.requires_grad]

    joined = each(inputs)
    assert joined["a"]._base is joined["b"]._base
    gradients = torch.autograd.grad(sum(y.square().sum() for y in joined.values()), parameters)
    each.keep_apart(True)
    separate = each(inputs)
    assert separate["a"]._base is not separate["b"]._base
    torch.testing.assert_close(joined, separate)
    copies = [[c.tensor for c in each.copies() if c.parameter is p] for p in parameters]
    assert [len(some) for some in copies] == [3] * len(parameters)
    total = sum(y.square().sum() for y in separate.values())
    summed = [sum(torch.autograd.grad(total, some, retain_graph=True)) for some in copies]
    torch.testing.assert_close(summed, list(gradients))


def test_kept_apart_a_name_has_copies_of_what_it_shares_while_training():
    shared, alone = nn.Linear(3, 2), nn.Linear(3, 2)
    each = Each({"a": shared, "b": shared, "c": alone})
    each.keep_apart(True)
    outputs = each({name: torch.randn(2, 3) for name in "abc"})
    assert [(c.parameter is shared.weight, c.tasks) for c in each.copies()] == [
        (True, ("a",)), (False, ("a",)), (True, ("b",)), (False, ("b",))
    ]  # fmt: skip
    weights = {c.tasks[0]: c.tensor for c in each.copies() if c.parameter is shared.weight}
    found = torch.autograd.grad(outputs["a"].sum(), [*weights.values(), shared.weight], allow_unused=True)
    assert [g is not None for g in found] == [True, False, False]
    each.eval()
    each({"a": torch.randn(2, 3)})
    assert each.copies() == []


def test_what_two_names_use_is_shared():
    module, alone = nn.Linear(3, 2), nn.Linear(3, 2)
    each = Each({"a": module, "b": module, "c": alone})
    assert each.shared_parameters() == list(module.parameters())
    assert each.own("a") == each.own("b") == []
    assert [part.tensor for part in each.own("c")] == list(alone.parameters())


def test_buffers_belong_to_tasks_too():
    norm = nn.BatchNorm1d(2)
    each = Each({"a": norm})
    assert {part.name for part in each.own("a")} == {f"members.0.{key}" for key in norm.state_dict()}


def test_inputs_may_be_nests_of_tensors():
    class Sum(nn.Module):
        def forward(self, x):
            return x["left"] + x["right"][0]

    nest = {"left": torch.ones(2, 3), "right": [torch.ones(2, 3)]}
    assert torch.equal(Each({"a": Sum()})({"a": nest})["a"], 2 * torch.ones(2, 3))


def test_names_may_hold_dots():
    each = Each({"heart.csv": nn.Linear(3, 2)})
    assert each({"heart.csv": torch.zeros(1, 3)})["heart.csv"].shape == (1, 2)
    assert each.own("heart.csv")[0].name in each.state_dict()


@pytest.mark.parametrize("call", [lambda e: e({"d": torch.zeros(1, 3)}), lambda e: e.own("d")])
def test_an_unknown_name_is_refused(call):
    with pytest.raises(InputError, match=r"no module for 'd': give one \(there are: a\)"):
        call(Each({"a": nn.Linear(3, 2)}))
