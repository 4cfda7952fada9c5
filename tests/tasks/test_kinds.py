import math

import pytest
import sklearn.metrics
import torch
import torch.nn.functional as F

from moduli.tasks import Binary, Multiclass, Multilabel, Regression

B, D = 7, 3


def _case(kind):
    """Outputs `[B, outputs]` and targets of which some are missing."""
    g = torch.Generator().manual_seed(0)
    outputs = torch.randn(B, kind.outputs, generator=g)
    if isinstance(kind, Multiclass):
        targets = torch.randint(0, kind.classes, (B,), generator=g)
        targets[2] = -1
        return outputs, targets
    shape = (B,) if isinstance(kind, Binary) or kind.outputs == 1 else (B, kind.outputs)
    targets = torch.randn(shape, generator=g)
    if not isinstance(kind, Regression):
        targets = (targets > 0).float()
    targets[2] = torch.nan
    return outputs, targets


KINDS = [
    Binary(),
    Multiclass(4),
    Multiclass(9),
    Multilabel(3),
    Regression(),
    Regression(dims=2, mean=5.0, scale=2.0),
]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=str)


# ------------------------------------------------------------------ losses are those of torch


def test_binary_loss_is_cross_entropy_with_logits():
    outputs, targets = _case(Binary())
    targets[2] = 1.0
    expected = F.binary_cross_entropy_with_logits(outputs[:, 0], targets, reduction="none")
    assert torch.equal(Binary().loss(outputs, targets), expected)


def test_binary_equals_multiclass_with_two_classes():
    outputs, targets = _case(Binary())
    targets[2] = 0.0
    two = torch.cat([torch.zeros_like(outputs), outputs], dim=1)
    torch.testing.assert_close(Binary().loss(outputs, targets), Multiclass(2).loss(two, targets.long()))


def test_multiclass_loss_is_cross_entropy():
    outputs, targets = _case(Multiclass(4))
    targets[2] = 3
    expected = F.cross_entropy(outputs, targets, reduction="none")
    assert torch.equal(Multiclass(4).loss(outputs, targets), expected)


def test_multilabel_loss_is_the_mean_over_known_labels():
    outputs, targets = _case(Multilabel(3))
    targets[2] = torch.tensor([1.0, torch.nan, 0.0])
    loss = Multilabel(3).loss(outputs, targets)
    full = F.binary_cross_entropy_with_logits(outputs[0], targets[0])
    part = F.binary_cross_entropy_with_logits(outputs[2, [0, 2]], targets[2, [0, 2]])
    torch.testing.assert_close(loss[0], full)
    torch.testing.assert_close(loss[2], part)


def test_regression_loss_is_squared_error_in_standardised_units():
    outputs, targets = _case(Regression(mean=5.0, scale=2.0))
    targets[2] = 0.0
    expected = F.mse_loss(outputs[:, 0], targets, reduction="none")
    torch.testing.assert_close(Regression(mean=5.0, scale=2.0).loss(outputs, targets), expected)


def test_vector_regression_averages_over_known_dimensions():
    kind, outputs = Regression(dims=2), torch.tensor([[1.0, 3.0], [1.0, 3.0], [1.0, 3.0]])
    targets = torch.tensor([[0.0, 0.0], [torch.nan, 0.0], [torch.nan, torch.nan]])
    torch.testing.assert_close(kind.loss(outputs, targets), torch.tensor([5.0, 9.0, 0.0]))


# ------------------------------------------------------------------ missing labels


@each_kind
def test_missing_label_has_no_loss_and_no_gradient(kind):
    outputs, targets = _case(kind)
    outputs.requires_grad_()
    loss = kind.loss(outputs, targets)
    loss.sum().backward()
    assert kind.labelled(targets).tolist() == [True, True, False, True, True, True, True]
    assert loss[2] == 0.0
    assert torch.all(outputs.grad[2] == 0.0)
    assert torch.all(outputs.grad.isfinite())
    assert torch.all(outputs.grad[kind.labelled(targets)].abs().sum(-1) > 0.0)


@each_kind
def test_gradient_is_finite_for_extreme_outputs(kind):
    outputs, targets = _case(kind)
    outputs = (outputs * 1e4).requires_grad_()
    kind.loss(outputs, targets).sum().backward()
    assert torch.all(outputs.grad.isfinite())


@each_kind
def test_missing_labels_leave_the_other_losses_alone(kind):
    outputs, targets = _case(kind)
    keep = kind.labelled(targets)
    torch.testing.assert_close(kind.loss(outputs, targets)[keep], kind.loss(outputs[keep], targets[keep]))


# ------------------------------------------------------------------ leading axes


@each_kind
def test_loss_of_several_decoders_is_that_of_each(kind):
    outputs, targets = _case(kind)
    many = torch.stack([outputs * scale for scale in (1.0, -2.0, 0.5)])
    loss = kind.loss(many, targets)
    assert loss.shape == (D, B)
    for d in range(D):
        torch.testing.assert_close(loss[d], kind.loss(many[d], targets))


@each_kind
def test_prediction_keeps_leading_axes(kind):
    outputs, _ = _case(kind)
    many = torch.stack([outputs, 2 * outputs])
    assert torch.equal(kind.predict(many)[1], kind.predict(2 * outputs))


@each_kind
def test_kinds_of_one_group_compute_one_loss(kind):
    """Outputs that are filled up with minus infinity have the loss of those that are not."""
    outputs, targets = _case(kind)
    for other in KINDS:
        if other.group == kind.group and other.outputs >= kind.outputs:
            filled = torch.nn.functional.pad(outputs, (0, other.outputs - kind.outputs), value=-math.inf)
            torch.testing.assert_close(other.loss(filled, targets), kind.loss(outputs, targets))


# ------------------------------------------------------------------ predictions


def test_predictions_are_probabilities_and_values():
    logits = torch.tensor([[0.0], [math.log(3.0)]])
    torch.testing.assert_close(Binary().predict(logits), torch.tensor([0.5, 0.75]))
    torch.testing.assert_close(Multilabel(1).predict(logits), torch.tensor([[0.5], [0.75]]))
    scores = torch.tensor([[0.0, math.log(3.0)]])
    torch.testing.assert_close(Multiclass(2).predict(scores), torch.tensor([[0.25, 0.75]]))
    assert Regression(mean=10.0, scale=2.0).predict(torch.tensor([[1.5]])).tolist() == [13.0]


# ------------------------------------------------------------------ metrics against scikit-learn


def _metrics(kind, outputs, targets):
    return {name: metric.compute(outputs, targets) for name, metric in kind.metrics().items()}


def test_binary_metrics():
    g = torch.Generator().manual_seed(1)
    y, outputs = torch.randint(0, 2, (50,), generator=g), torch.randn(50, 1, generator=g)
    found, guess = _metrics(Binary(), outputs, y.float()), (outputs[:, 0] > 0).int()
    assert found["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(y, guess))
    assert found["error"] == pytest.approx(1.0 - found["accuracy"])
    assert found["auroc"] == pytest.approx(sklearn.metrics.roc_auc_score(y, outputs[:, 0]), abs=1e-6)
    assert found["f1"] == pytest.approx(sklearn.metrics.f1_score(y, guess), abs=1e-6)
    average = sklearn.metrics.average_precision_score(y, outputs[:, 0])
    assert found["average_precision"] == pytest.approx(average, abs=1e-6)


def test_multiclass_metrics():
    g = torch.Generator().manual_seed(1)
    y, outputs = torch.randint(0, 4, (50,), generator=g), torch.randn(50, 4, generator=g)
    found, guess = _metrics(Multiclass(4), outputs, y), outputs.argmax(1)
    assert found["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(y, guess))
    assert found["error"] == pytest.approx(1.0 - found["accuracy"])
    assert found["f1"] == pytest.approx(sklearn.metrics.f1_score(y, guess, average="macro"), abs=1e-6)


def test_multilabel_metrics_skip_missing_cells():
    outputs = torch.tensor([[1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    targets = torch.tensor([[1.0, torch.nan], [0.0, 1.0], [0.0, 1.0]])
    found = _metrics(Multilabel(2), outputs, targets)
    assert found["accuracy"] == pytest.approx(4 / 5)
    assert found["f1"] == pytest.approx((2 / 3 + 1.0) / 2)


def test_regression_metrics_are_in_the_users_units():
    g = torch.Generator().manual_seed(1)
    kind = Regression(mean=100.0, scale=20.0)
    y, outputs = torch.randn(50, generator=g), torch.randn(50, 1, generator=g)
    units, guess = y * 20 + 100, outputs[:, 0] * 20 + 100
    found = _metrics(kind, outputs, y)
    assert found["mse"] == pytest.approx(sklearn.metrics.mean_squared_error(units, guess), rel=1e-5)
    assert found["rmse"] == pytest.approx(sklearn.metrics.root_mean_squared_error(units, guess), rel=1e-5)
    assert found["mae"] == pytest.approx(sklearn.metrics.mean_absolute_error(units, guess), rel=1e-5)
    assert found["r2"] == pytest.approx(sklearn.metrics.r2_score(units, guess), rel=1e-4)


def test_r2_counts_only_dimensions_that_vary():
    y = torch.tensor([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
    r2 = Regression(dims=2).metrics()["r2"].compute
    assert r2(y + torch.tensor([0.0, 0.5]), y) == pytest.approx(1.0)
    assert math.isnan(Regression().metrics()["r2"].compute(torch.zeros(3, 1), torch.ones(3)))


@each_kind
def test_direction_of_metrics(kind):
    better = {name: metric.higher_is_better for name, metric in kind.metrics().items()}
    assert kind.primary in better
    assert {name for name, higher in better.items() if not higher} <= {"error", "rmse", "mse", "mae"}
