"""The experiments of the Q-learning scheduler: the paper's numbers as typed in, models, weights by hand."""

# pyright: reportMissingImports=false

from __future__ import annotations

import sys
from pathlib import Path
from statistics import fmean

import pytest
import torch
from torch import nn

from moduli import Binary, Data, Task, TensorSource, fit
from moduli.scheduling import RoundRobin

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "experiments"))

import domains
import qls_domains
import qls_transfer


@pytest.fixture
def three() -> domains.Domains:
    """Three made-up domains of 40 texts; the last word says whether one is positive."""
    tasks = []
    for number, name in enumerate("abc"):
        words = torch.randint(4, 20, (40, 5), generator=torch.Generator().manual_seed(number))
        source = TensorSource(words, {name: (words[:, -1] > 11).float()})
        tasks.append(Task(name, Binary(), Data(name, (5,), source, source, source, tokens=20)))
    scale = qls_domains.SCALES["smoke"]._replace(words=20, length=5, units=4, vectors=3)
    return domains.Domains(tasks, torch.randn(20, 3), scale)


@pytest.mark.parametrize(
    ("paper", "off"), [(qls_domains.PAPER, 0.051), (qls_transfer.PAPER, 0.1)], ids=["table 2", "table 3"]
)
def test_the_tables_of_the_paper_are_typed_in_rightly(paper, off):
    """Their last row is the mean of the others, one figure of Table 3 as rounded there."""
    for values in paper.values():
        assert len(values) == 17
        assert fmean(values[:16]) == pytest.approx(values[16], abs=off)
    assert paper["QLS"][:2] in ([90.4, 92.8], [86.6, 86.3])


def test_the_shared_model_has_one_lstm_and_the_others_have_their_own(three):
    shared, apart = three.shared(0), three.apart(0)
    lstm = 20 * 3 + 4 * 4 * (3 + 4 + 1)  # one of torch's two biases is trained
    assert shared.count_parameters() == lstm + 3 * 5
    assert apart.count_parameters() == 3 * (lstm + 5)


def test_a_step_of_one_domain_leaves_the_decoders_of_others_as_they_are(three):
    model = three.shared(0)
    before = {name: x.clone() for name, x in model.decoders.state_dict().items()}
    fit(model, three.tasks, schedule=RoundRobin(), **three.settings(steps=1, select="last"))
    moved = [name for name, x in model.decoders.state_dict().items() if not x.equal(before[name])]
    assert moved == ["members.0.weight", "members.0.bias"]


def test_every_method_makes_its_parts_for_every_seed(three):
    alone = dict.fromkeys("abc", 0.8)
    policy = three.learned(alone, None, "cpu")
    methods = three.methods(alone, alone, policy)
    assert tuple(methods) == (*qls_domains.METHODS, domains.NOISY)
    assert set(qls_transfer.METHODS) < set(methods)
    for name, recipe in methods.items():
        parts = [make for make in (recipe.combine, recipe.schedule) if make is not None]
        assert parts, name
        assert all(make(0) is not make(0) for make in parts), name


def test_weights_by_hand_favour_domains_with_errors_and_have_mean_one(three):
    weights = three._weights({"a": 0.9, "b": 0.8, "c": 0.6}, power=1.0)
    assert weights == pytest.approx({"a": 3 / 7, "b": 6 / 7, "c": 12 / 7})
    assert three._weights({"a": 0.9, "b": 0.8, "c": 0.6}, power=-1.0)["a"] > 1


def test_a_new_decoder_is_tested_on_texts_that_it_was_not_fitted_to(three):
    class Last(nn.Module):
        def forward(self, tokens):
            return tokens[:, -1:] - 11.5

    class Noise(nn.Module):
        def forward(self, tokens):
            return torch.randn(len(tokens), 100, generator=torch.Generator().manual_seed(0))

    assert qls_transfer.transferred(Last(), three.tasks[0]) > 95
    source = three.tasks[0].data.train
    empty = TensorSource(source.inputs[:1], {"a": source.targets["a"][:1]})  # each text once
    task = Task("a", Binary(), Data("a", (5,), source, empty, empty, tokens=20))
    assert qls_transfer.transferred(Noise(), task) < 80
