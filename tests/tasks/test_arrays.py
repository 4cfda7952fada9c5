import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits

from moduli.errors import InputError
from moduli.tasks import Binary, Multiclass, Multilabel, Regression
from moduli.tasks.arrays import from_arrays

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))


def one(y, X=X, **options):
    (task,) = from_arrays("t", X, y, **options)
    return task


def targets(task, part="train"):
    return task.data.split(part).targets[task.name]


# ------------------------------------------------------------------ kinds


@pytest.mark.parametrize(
    ("y", "kind", "dtype"),
    [
        (np.arange(40) % 2, Binary(), torch.float32),
        (np.arange(40) % 2 == 0, Binary(), torch.float32),
        (np.arange(40, dtype=np.uint8) % 3, Multiclass(3), torch.int64),
        (torch.arange(40) % 3 - 1, Binary(), torch.float32),
        ((np.arange(40) % 2)[:, None], Binary(), torch.float32),
        (np.stack([np.arange(40) % 2, np.arange(40) % 3 == 0], 1), Multilabel(2), torch.float32),
        (np.stack([np.arange(40) % 2, np.full(40, np.nan)], 1), Multilabel(2), torch.float32),
    ],
)
def test_kind_follows_from_the_targets(y, kind, dtype):
    task = one(y)
    assert task.kind == kind
    assert targets(task).dtype == dtype


def test_kind_by_word_and_by_task():
    y = {"a": np.arange(40) % 2, "b": np.arange(40) % 5}
    kinds = [t.kind for t in from_arrays("t", X, y, kind={"a": "multiclass", "b": "regression"})]
    assert kinds[0] == Multiclass(2)
    assert isinstance(kinds[1], Regression)


def test_missing_labels():
    y = np.arange(40) % 3
    y[::4] = -1
    multiclass, binary = one(y), one(np.where(y == 2, -1, y))
    assert all((targets(multiclass, part) == -1).any() for part in ("train", "val", "test"))
    assert all(targets(binary, part).isnan().any() for part in ("train", "val", "test"))
    assert multiclass.kind == Multiclass(3)
    assert binary.kind == Binary()


# ------------------------------------------------------------------ regression


def test_regression_is_standardised_with_the_training_rows():
    y = RNG.normal(50.0, 7.0, size=40)
    y[3] = np.nan
    task = one(y)
    train = targets(task)[~targets(task).isnan()]
    assert train.mean().item() == pytest.approx(0.0, abs=1e-6)
    assert train.std(correction=0).item() == pytest.approx(1.0, abs=1e-5)
    units = torch.cat([task.kind.predict(targets(task, part)[:, None]) for part in ("train", "val", "test")])
    expected = torch.tensor(y).float().sort().values
    torch.testing.assert_close(units.sort().values, expected, equal_nan=True)


def test_regression_of_vectors():
    task = one(RNG.normal(5.0, 2.0, size=(40, 4)))
    assert task.kind.outputs == 4
    assert targets(task).std(correction=0).item() == pytest.approx(1.0, abs=1e-5)


def test_regression_object_leaves_targets_alone():
    y = RNG.normal(50.0, 7.0, size=40)
    task = one(y, kind=Regression(mean=1.0, scale=2.0))
    assert task.kind == Regression(mean=1.0, scale=2.0)
    assert set(targets(task).tolist()) <= set(torch.tensor(y).float().tolist())


def test_constant_training_target_keeps_its_scale():
    y = np.full(40, 0.1)
    assert one(y).kind == Regression(mean=pytest.approx(0.1), scale=1.0)


# ------------------------------------------------------------------ inputs and parts


def test_images_keep_their_shape():
    digits = load_digits()
    task = one(digits.target, X=digits.images[:, None])
    assert task.data.shape == (1, 8, 8)
    assert task.kind == Multiclass(10)
    assert task.data.train.inputs.dtype == torch.float32
    sizes = [len(task.data.split(part)) for part in ("train", "val", "test")]
    assert sizes == [1797 - 270 - 359, 270, 359]
    counts = targets(task, "test").bincount() / targets(task).bincount()
    assert torch.all((counts - 359 / 1168).abs() < 0.03)


def test_rows_stay_together_and_are_used_once():
    x = np.arange(40.0)[:, None]
    tasks = from_arrays("t", x, {"a": np.arange(40) * 1.0, "b": np.arange(40) % 4})
    a, b = tasks
    assert a.data is b.data
    seen = []
    for part in ("train", "val", "test"):
        source = a.data.split(part)
        rows = source.inputs[:, 0]
        torch.testing.assert_close(a.kind.predict(source.targets["a"][:, None]), rows)
        assert torch.equal(source.targets["b"], rows.long() % 4)
        seen += rows.tolist()
    assert sorted(seen) == list(range(40))


def test_token_indices_stay_whole():
    tokens = torch.arange(80).reshape(40, 2)
    assert one(np.arange(40) % 2, X=tokens).data.train.inputs.dtype == torch.int64
    assert one(np.arange(40) % 2, X=tokens.numpy()).data.train.inputs.dtype == torch.float32


def test_given_parts_are_not_divided():
    y, held = np.arange(40) % 2, (RNG.normal(size=(6, 3)), np.array([0, 1, 0, 1, 0, 1]))
    both = one(y, val_data=held, test_data=held).data
    assert [len(both.split(part)) for part in ("train", "val", "test")] == [40, 6, 6]
    torch.testing.assert_close(both.val.inputs, torch.tensor(held[0]).float())
    only_test = one(y, test_data=held, val=0.25).data
    assert [len(only_test.split(part)) for part in ("train", "val", "test")] == [30, 10, 6]
    only_val = one(y, val_data=held, test=0.5).data
    assert [len(only_val.split(part)) for part in ("train", "val", "test")] == [20, 6, 20]
    same = one(y, val_data=held, test="val").data
    assert same.test is same.val
    assert len(same.train) == 40


def test_held_out_targets_use_the_training_scale():
    held = (np.zeros((2, 3)), np.array([10.0, 20.0]))
    task = one(RNG.normal(size=40), val_data=held, test_data=held)
    torch.testing.assert_close(task.kind.predict(targets(task, "val")[:, None]), torch.tensor([10.0, 20.0]))


def test_read_only_arrays():
    x, y = load_diabetes(return_X_y=True)
    x.flags.writeable = y.flags.writeable = False
    task = one(y, X=x, metric="mae", batch_size=8)
    assert (task.metric, task.batch_size) == ("mae", 8)


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        (np.arange(39), {}, r"shape \[39\]: give \[N\] or \[N, k\] for the 40 inputs"),
        (np.arange(40) % 3 + 1, {}, "numbered 0..C-1 .* found 3 from 1 to 3"),
        (np.zeros(40, dtype=int), {}, "numbered 0..C-1"),
        (np.full(40, np.nan), {}, "no label at all"),
        (np.where(np.arange(40) == 3, np.inf, 1.0), {}, "infinity"),
        (np.array(["a", "b"] * 20), {}, "of type .*load_tables"),
        (np.arange(40) % 2, {"kind": "binry"}, "unknown kind 'binry', did you mean 'binary'"),
        (np.arange(40) % 3, {"kind": Multiclass(2)}, "label 2 in a multiclass task; give 0..1"),
        (np.arange(40) / 2, {"kind": Binary()}, "label 0.5 in a binary task"),
        (np.arange(40) * 1.0, {"kind": "multilabel"}, "do not suit a multilabel"),
        (np.arange(40) * 1.0, {"kind": Regression(dims=2)}, "do not suit Regression"),
        (np.arange(40) % 2, {"kind": {"u": "binary"}}, "kind names 'u', which has no targets"),
        (np.arange(40) % 2, {"val_data": (np.zeros((2, 4)), np.array([0, 1]))}, r"shape \[4\]"),
        (
            np.arange(40) % 2,
            {"val_data": (np.zeros((2, 3)), {"u": np.array([0, 1])})},
            "held-out targets for u",
        ),
        (np.arange(40) % 2, {"val": 0.9}, "sum below 1"),
        ({}, {}, "no targets for 't'"),
    ],
)
def test_bad_targets(y, options, message):
    with pytest.raises(InputError, match=message):
        one(y, **options)


def test_bad_inputs():
    broken = X.copy()
    broken[5, 1] = np.nan
    with pytest.raises(InputError, match="not finite in row 5"):
        one(np.arange(40) % 2, X=broken)
    with pytest.raises(InputError, match="at least one row"):
        one(np.zeros(0), X=np.zeros((0, 3)))


def test_no_label_in_the_training_rows():
    held = (np.zeros((2, 3)), np.array([10.0, 20.0]))
    with pytest.raises(InputError, match="no label in the training rows"):
        one(np.full(40, np.nan), val_data=held, test_data=held)
