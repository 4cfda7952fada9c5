"""The focal loss as a weighting of samples."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from losses_at_hand import a_model, from_samples
from synthetic import sharing_tasks, tiny_model, tiny_tasks

from moduli import Binary, Equal, Multiclass, Multilabel, Regression, Task
from moduli.balancing.focal import Focal
from moduli.tasks import task_losses

NAN = float("nan")


def tasks_of(**kinds) -> list[Task]:
    return [Task(name, kind, None) for name, kind in kinds.items()]  # type: ignore[arg-type]


def losses_of(tasks, outputs, targets):
    return task_losses({task.name: task for task in tasks}, outputs, targets)


def logit(p: float) -> torch.Tensor:
    return torch.tensor([[p]], dtype=torch.float64).logit()


@pytest.mark.parametrize(("y", "expected"), [(1.0, 2.634013e-4), (0.0, 1.398820)])
def test_worked_example(y, expected):
    tasks = tasks_of(a=Binary())
    losses = losses_of(tasks, {"a": logit(0.9)}, {"a": torch.tensor([y], dtype=torch.float64)})
    means = Focal(tasks, alpha=0.25).objectives(losses)
    assert means["a"].item() == pytest.approx(expected, rel=1e-6)


def test_multiclass_by_hand():
    tasks = tasks_of(a=Multiclass(3))
    outputs, targets = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 2, -1, 1, 1])
    p = outputs.softmax(-1)[torch.arange(5), targets.clamp(min=0)][targets >= 0]
    losses = losses_of(tasks, {"a": outputs}, {"a": targets})
    expected = (-((1 - p) ** 3) * p.log()).mean()
    torch.testing.assert_close(Focal(tasks, 3.0).objectives(losses)["a"], expected)
    torch.testing.assert_close(Focal(tasks, 3.0, alpha=0.1).objectives(losses)["a"], expected)


@pytest.mark.parametrize("decoders", [(), (2,)])
@pytest.mark.parametrize("alpha", [None, 0.25])
def test_labels_are_treated_one_by_one(alpha, decoders):
    """A task with several labels is the mean of binary ones, for each sample over the labels it has."""
    tasks = tasks_of(all=Multilabel(3))
    outputs = torch.randn(*decoders, 4, 3, dtype=torch.float64)
    targets = torch.tensor([[0, 1, NAN], [1, 1, 0], [NAN, NAN, NAN], [NAN, 1, NAN]], dtype=torch.float64)
    losses = losses_of(tasks, {"all": outputs}, {"all": targets})
    got = Focal(tasks, 2.0, alpha).objectives(losses)["all"]

    p = torch.where(targets == 1, outputs.sigmoid(), 1 - outputs.sigmoid())
    balance = torch.where(targets == 1, alpha, 1 - alpha).double() if alpha else torch.ones(4, 3)
    each = -balance * (1 - p) ** 2 * p.log() * ~targets.isnan()
    known = (~targets.isnan()).sum(-1)
    expected = (each.sum(-1) / known.clamp(min=1))[..., [0, 1, 3]].mean()
    torch.testing.assert_close(got, expected)


def test_regressions_are_left_alone():
    tasks = tasks_of(a=Regression())
    losses = losses_of(tasks, {"a": torch.randn(4, 1)}, {"a": torch.randn(4)})
    assert Focal(tasks).objectives(losses)["a"] is losses.mean["a"]


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_gamma_0_is_equal_weighting_to_the_bit(missing):
    tasks = sharing_tasks(missing=missing)
    gradients = []
    for combine in (Equal(), Focal(tasks, gamma=0.0)):
        model = tiny_model(tasks)
        batch = next(iter(tasks[0].data.train.batches(24, torch.device("cpu"))))
        outputs = model({"panel": batch.inputs}, ["x", "y", "z"])
        losses = task_losses({t.name: t for t in tasks}, outputs, batch.targets)
        combine.backward(losses, model)
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=0)


def test_tasks_together_are_as_tasks_alone():
    """Batches of one shape are computed together: with and without missing labels, and several decoders."""
    samples = {t: torch.rand(*shape, dtype=torch.float64) for t, shape in
               {"a": (6,), "b": (6,), "c": (6,), "d": (2, 6), "e": (2, 6), "f": (4,)}.items()}  # fmt: skip
    labelled = {"b": torch.rand(6) > 0.5, "d": torch.rand(6) > 0.5, "e": torch.rand(1, 6) > 0.5}
    tasks = tasks_of(**{t: Binary() if t in "ace" else Multiclass(3) for t in samples})
    got = Focal(tasks).objectives(from_samples(samples, labelled))
    assert list(got) == list(samples)
    for task, x in samples.items():
        changed = (1 - torch.exp(-x)) ** 2 * x
        mask = labelled.get(task, torch.ones(1, dtype=torch.bool)).expand(x.shape)
        torch.testing.assert_close(got[task], changed[mask].mean())


def test_scale_of_fp16_stays_linear():
    kinds = {"a": Binary(), "b": Multilabel(2), "c": Regression()}
    tasks = tasks_of(**kinds)
    outputs = {t: torch.randn(4, kind.outputs, dtype=torch.float64) for t, kind in kinds.items()}
    targets = {t: (torch.rand(4, n) > 0.5).double().squeeze(-1) for t, n in (("a", 1), ("b", 2), ("c", 1))}
    losses = losses_of(tasks, outputs, targets)
    scale = torch.tensor(2.0**10)
    scaled = replace(
        losses,
        mean={t: x * scale for t, x in losses.mean.items()},
        samples={t: x * scale for t, x in losses.samples.items()},
        scale=scale,
    )
    expected = Focal(tasks, alpha=0.3).objectives(losses)
    got = Focal(tasks, alpha=0.3).objectives(scaled)
    for task in kinds:
        torch.testing.assert_close(got[task], expected[task] * scale)


def test_the_gradient_is_that_of_the_focal_loss():
    tasks = tasks_of(a=Binary())
    x = torch.tensor([[0.3], [-2.0]], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([1.0, 1.0], dtype=torch.float64)
    Focal(tasks).backward(losses_of(tasks, {"a": x}, {"a": y}), a_model("a"))
    p = x.sigmoid()
    (expected,) = torch.autograd.grad((-((1 - p) ** 2) * p.log()).mean(), x)
    torch.testing.assert_close(x.grad, expected)
    assert not torch.allclose(expected, torch.autograd.grad(F.softplus(-x).mean(), x)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"gamma": -1}, "gamma is -1: give a number of at least 0"), ({"alpha": 1.0}, "alpha is 1.0: give")],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        Focal(tiny_tasks(), **options)
