"""What `reparameterize` cannot do is said in one line, with what was found."""

import pytest
import torch
from torch import nn

import moduli
from moduli import InputError, reparameterize

X = torch.randn(40, 16)
TASKS = moduli.from_arrays("other", X, (X[:, 0] > 0).long())


def models():
    return {"a": nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 3))}


def joint():
    structure = moduli.hard(["other"], lambda k: moduli.Dense(16), 2)
    return moduli.JointModel(TASKS, structure, *moduli.dense_ends(TASKS, 16))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: reparameterize({}), "no models: give one for each task"),
        (lambda: reparameterize({"a": 3}), "the model of 'a' is of type int: give a module"),
        (lambda: reparameterize(models(), TASKS), "task 'other' has no model"),
        (lambda: reparameterize(models(), block=16), "block is 16: give its inputs and outputs"),
        (lambda: reparameterize(models(), block=(0, 4)), r"block is \(0, 4\)"),
        (lambda: reparameterize(models(), context=0), "context 0"),
        (lambda: reparameterize(models(), block=(32, 32)), r"\(a.1.weight: does not divide into 32×32\)"),
        (lambda: reparameterize(models(), init="zero"), "init is 'zero': give 'model', 'he' or 'printed'"),
        (lambda: reparameterize(models(), uneven="cut"), "uneven is 'cut'"),
        (lambda: reparameterize(models(), adapters=["b.*"]), "no parameter is called 'b.*'"),
        (lambda: reparameterize({"a": nn.Sequential(nn.LazyLinear(4))}), "a.0.weight has no shape yet"),
        (lambda: reparameterize({"a": nn.Embedding(4, 4)}), "a.weight: no linear map of a known kind"),
        (lambda: reparameterize(reparameterize(models())), "a HyperModel cannot be reparameterised"),
        (lambda: reparameterize(moduli.evolve(joint())), "EvolvingModel cannot be reparameterised"),
        (lambda: moduli.fit(reparameterize(models()), TASKS, steps=2), "the model has no task 'other'"),
    ],
)
def test_one_clear_line(call, words):
    with pytest.raises(InputError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_tasks_that_read_another_input_than_in_the_model():
    tasks = moduli.from_arrays("table", X, {"a": (X[:, 0] > 0).long()})
    with pytest.raises(
        InputError, match="task 'a' reads 'table', and in the model 'a': give the model the tasks"
    ):
        moduli.fit(reparameterize(models()), tasks, steps=2)
