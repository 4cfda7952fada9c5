import numpy as np
import pytest

from moduli.errors import InputError
from moduli.tasks.splits import stratified_split


def codes(*counts):
    """One task with the given number of rows of each class, in blocks."""
    return np.repeat(np.arange(len(counts)), counts)[:, None]


@pytest.mark.parametrize(
    ("n", "val", "test"), [(303, 0.15, 0.2), (10, 0.1, 0.1), (1000, 0.16, 0.2), (7, 0.3, 0.3)]
)
def test_parts_divide_the_rows_at_the_wanted_sizes(n, val, test):
    splits = stratified_split(codes(n), val, test, seed=0)
    assert sorted(np.concatenate(splits)) == list(range(n))
    assert splits.sizes[1:] == (round(val * n), round(test * n))
    assert all(np.all(np.diff(rows) > 0) for rows in splits)


@pytest.mark.parametrize("seed", range(20))
def test_every_class_is_divided_in_proportion(seed):
    counts = np.array([143, 77, 52, 35, 20, 9])
    y = codes(*counts)
    splits = stratified_split(y, 0.15, 0.2, seed)
    for rows, fraction in zip(splits, (0.65, 0.15, 0.2), strict=True):
        found = np.bincount(y[rows, 0], minlength=len(counts))
        # One row because a stratum is cut at a random phase, and one because all strata share the cut.
        assert np.all(np.abs(found - fraction * counts) < 2.0)


@pytest.mark.parametrize("seed", range(50))
def test_every_class_has_a_training_row(seed):
    y = codes(100, 5, 2, 2, 1)
    splits = stratified_split(y, 0.4, 0.5, seed)
    assert set(y[splits.train, 0]) == {0, 1, 2, 3, 4}


def test_every_class_of_every_task_has_a_training_row():
    rng = np.random.default_rng(0)
    y = np.stack([rng.integers(-1, 2, 60) for _ in range(12)], axis=1)  # nearly every row is a stratum
    y[:, 0] = 0
    y[7, 0] = 1
    splits = stratified_split(y, 0.3, 0.3, seed=1)
    for column in y.T:
        assert set(column[column >= 0]) == set(column[splits.train][column[splits.train] >= 0])


def test_missing_labels_are_spread_in_proportion():
    y = codes(50, 150) - 1
    splits = stratified_split(y, 0.2, 0.2, seed=0)
    assert [int((y[rows] < 0).sum()) for rows in splits] == [30, 10, 10]


def test_rows_of_a_class_are_equally_likely_to_be_held_out():
    # 600 seeds, P(held out) = 0.4 for each of 20 rows: all within 5 standard deviations.
    times = np.zeros(20)
    for seed in range(600):
        times[stratified_split(codes(12, 8), 0.2, 0.2, seed).train] += 1
    assert np.all(np.abs(times - 600 * 0.6) < 5 * np.sqrt(600 * 0.6 * 0.4))


def test_the_seed_decides():
    first, same, other = (stratified_split(codes(60, 40), 0.2, 0.2, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, same, strict=True))
    assert not np.array_equal(first.test, other.test)


def test_one_held_out_part():
    splits = stratified_split(codes(60, 40), 0.2, "val", seed=0)
    assert splits.one_held_out
    assert splits.sizes == (80, 20, 20)
    assert not stratified_split(codes(60, 40), 0.2, 0.2, seed=0).one_held_out


@pytest.mark.parametrize(("val", "test"), [(0.5, 0.5), (0.0, 0.2), (0.2, -0.1), (0.7, 0.4), (1.0, "val")])
def test_impossible_fractions(val, test):
    with pytest.raises(InputError, match="each above 0, their sum below 1"):
        stratified_split(codes(100), val, test, seed=0)


def test_too_few_rows():
    with pytest.raises(InputError, match=r"leaves no val row \(1/0/1 rows in train/val/test\)"):
        stratified_split(codes(2), 0.2, 0.2, seed=0)
