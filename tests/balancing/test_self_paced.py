"""Self-paced learning, by tasks and by samples."""

from __future__ import annotations

import pytest
import torch
from losses_at_hand import a_model, from_samples, through_a_file, weights_of
from synthetic import scores_of

from moduli.balancing.self_paced import SelfPaced
from moduli.functional import self_paced_samples

LOSSES = {"a": 1.0, "b": 2.0, "c": 4.0}
SCORES = scores_of(LOSSES)


# ------------------------------------------------------------------ tasks


def test_starts_at_the_median_and_grows():
    combine = SelfPaced(mu=2.0)
    assert weights_of(combine, LOSSES) == {"a": 0.5, "b": 0.0, "c": 0.0}  # lam = eta = 2
    combine.observe(SCORES)
    assert weights_of(combine, LOSSES) == {"a": 1.0, "b": 1.0, "c": 0.0}  # lam = 4
    combine.observe(SCORES)
    assert weights_of(combine, LOSSES) == {"a": 1.0, "b": 1.0, "c": 1.0}


def test_an_age_of_ones_own():
    combine = SelfPaced(lam=3.0, eta=0.5)
    assert weights_of(combine, LOSSES) == pytest.approx({"a": 1.0, "b": 2 / 3, "c": 0.0})


def test_one_task_is_always_active():
    combine = SelfPaced(lam=0.5)
    assert weights_of(combine, LOSSES) == {"a": 1.0, "b": 0.0, "c": 0.0}
    assert weights_of(combine, {"c": 0.9}, "abc") == {"c": 1.0}  # now the easiest
    assert weights_of(combine, {"a": 1.0}, "abc") == {"a": 0.0}


def test_with_one_task_in_a_step_the_age_waits_until_all_were_seen():
    combine = SelfPaced(mu=1.0)
    weights_of(combine, {"c": 4.0}, "abc")
    weights_of(combine, {"b": 2.0}, "abc")
    assert weights_of(combine, {"a": 1.0}, "abc") == {"a": 0.5}  # lam = 2
    assert weights_of(combine, {"a": 0.5}, "abc") == {"a": 0.75}  # still 2


def test_a_batch_without_labels_does_not_set_the_age():
    combine = SelfPaced()
    weights_of(combine, {"a": 0.0, "b": 0.0, "c": 0.0})
    weights_of(combine, LOSSES)
    assert combine.record()[0]["lam"] == 2.0


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_does_not_depend_on_the_unit_of_losses(scale):
    losses = {task: scale * loss for task, loss in LOSSES.items()}
    combine = SelfPaced(mu=1.5)
    assert weights_of(combine, losses) == pytest.approx({"a": 0.5, "b": 0.0, "c": 0.0})
    combine.observe(SCORES)
    assert weights_of(combine, losses) == pytest.approx({"a": 1.0, "b": 0.5, "c": 0.0})


# ------------------------------------------------------------------ samples


def gradients(combine, samples, labelled=None):
    """What each sample counts in the gradient, times the number of labelled samples."""
    leaves = {t: x.clone().requires_grad_() for t, x in samples.items()}
    combine.backward(from_samples(leaves, labelled), a_model(*samples))
    return {t: x.grad for t, x in leaves.items()}


def test_samples_of_the_worked_example():
    combine = SelfPaced("instance", lam=1.0, gam=1.0)
    samples = {"a": torch.tensor([0.1, 0.4, 0.9], dtype=torch.float64)}
    v = 3 * gradients(combine, samples)["a"]
    assert v.tolist() == pytest.approx([1, 0.755929, 0.125988], abs=1e-6)
    (record,) = combine.record()
    assert record["weights"]["a"] == pytest.approx(v.mean().item())
    assert record["lam"] == 1.0


def test_age_grows_and_the_demand_on_a_task_falls():
    combine = SelfPaced("instance", lam=1.0, gam=1.0, mu=1.25)
    samples = {"a": torch.tensor([0.1, 0.4, 0.9], dtype=torch.float64)}
    gradients(combine, samples)
    combine.observe(SCORES)
    expected = self_paced_samples(samples["a"], torch.tensor(1.25), torch.tensor(0.8))
    torch.testing.assert_close(3 * gradients(combine, samples)["a"], expected)


def test_unlabelled_samples_do_not_count_and_decoders_are_treated_apart():
    samples = {"a": torch.rand(2, 5, dtype=torch.float64), "b": torch.rand(5, dtype=torch.float64)}
    labelled = {"a": torch.tensor([True, False, True, True, False])}
    samples["a"][:, ~labelled["a"]] = 0.0
    got = gradients(SelfPaced("instance", lam=0.9, gam=0.5), samples, labelled)
    for d in range(2):
        v = self_paced_samples(samples["a"][d, labelled["a"]], torch.tensor(0.9), torch.tensor(0.45))
        torch.testing.assert_close(got["a"][d, labelled["a"]], v / 6)
    v = self_paced_samples(samples["b"], torch.tensor(0.9), torch.tensor(0.45))
    torch.testing.assert_close(got["b"], v / 5)


def test_the_easiest_task_counts_where_no_sample_does():
    samples = {"a": torch.tensor([2.0, 3.0]), "b": torch.tensor([1.0, 3.0])}
    combine = SelfPaced("instance", lam=0.5)
    got = gradients(combine, samples)
    assert got["a"].tolist() == [0.0, 0.0]
    assert got["b"].tolist() == [0.5, 0.5]
    assert combine.record()[0]["weights"] == {"a": 0.0, "b": 1.0}


def test_instances_start_at_the_median_task():
    combine = SelfPaced("instance", gam=0.0)
    samples = {"a": torch.tensor([0.5, 1.5]), "b": torch.tensor([1.0, 3.0]), "c": torch.tensor([1.0, 7.0])}
    got = gradients(combine, samples)  # lam = 2
    assert {t: (2 * v).tolist() for t, v in got.items()} == {"a": [1, 1], "b": [1, 0], "c": [1, 0]}


# ------------------------------------------------------------------ both


@pytest.mark.parametrize("level", ["task", "instance"])
def test_state(level):
    combine, other = SelfPaced(level), SelfPaced(level)
    for _ in range(2):
        weights_of(combine, LOSSES)
        combine.observe(SCORES)
    other.load_state_dict(through_a_file(combine.state_dict()))
    assert weights_of(other, {"b": 0.3}, "abc") == weights_of(combine, {"b": 0.3}, "abc")
    assert other.record() == combine.record()


@pytest.mark.parametrize("level", ["task", "instance"])
def test_scale_of_fp16_changes_nothing(level):
    plain, scaled = SelfPaced(level, gam=0.5), SelfPaced(level, gam=0.5)
    assert weights_of(scaled, LOSSES, scale=2.0**16) == pytest.approx(weights_of(plain, LOSSES))
    assert scaled.record()[0]["weights"] == pytest.approx(plain.record()[0]["weights"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": "sample"}, "unknown level 'sample'"),
        ({"lam": 0.0}, "lam is 0.0: give a loss above 0"),
        ({"mu": 0.9}, "mu is 0.9: give a number of at least 1"),
        ({"eta": 0.0}, "eta is 0.0: give a number above 0"),
        ({"gam": -1.0}, "gam is -1.0: give a number of at least 0"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        SelfPaced(**options)
