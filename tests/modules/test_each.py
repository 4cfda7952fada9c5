"""`Each` applies the user's modules by name."""

from __future__ import annotations

import pytest
import torch
from synthetic import Counting
from torch import nn

from moduli import Each, InputError


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
