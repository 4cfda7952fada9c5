"""Digits one against the rest: the published splits, and the file from its published form."""

import io

import numpy as np
import pytest
import scipy.io
import torch

import moduli.data
from moduli.data import kang_digits
from moduli.errors import InputError

SIZES = {"train": 1000, "valid": 500, "test": 500}


def made_up(inputs=64):
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in SIZES.items():
        arrays[f"X_{part}"] = rng.standard_normal((n, inputs)).astype(np.float32)
        arrays[f"y_{part}"] = rng.permutation(np.arange(n) % 10 + 1).astype(np.uint8)
    return arrays


@pytest.mark.parametrize(("name", "inputs"), [("mnist", 87), ("usps", 64)])
def test_the_published_splits(real_data, name, inputs):
    if not kang_digits.DATASETS[name].present:
        pytest.skip(f"no split of {name} in the data folder")
    data = kang_digits.arrays(name)
    for part, n in SIZES.items():
        assert data[f"X_{part}"].shape == (n, inputs)
        Y = data[f"Y_{part}"]
        assert Y.shape == (n, 10)
        assert np.all(np.sort(Y, axis=1) == np.array([-1] * 9 + [1]))  # one class for each image
        assert Y.sum(0).min() > -n  # and images of each class
    # Principal components: columns of (nearly) no correlation, in order of their deviation. The three parts
    # are together what they were computed on.
    X = np.concatenate([data[f"X_{part}"] for part in SIZES])
    correlation = np.corrcoef(X.T) - np.eye(inputs)
    assert np.abs(correlation).max() < 0.2
    assert np.argmax(X.std(0)) == 0
    # Least squares tells the classes apart, far better than by chance, on images it has not seen.
    ones = {part: np.c_[data[f"X_{part}"], np.ones(n)] for part, n in SIZES.items()}
    W = np.linalg.lstsq(ones["train"], data["Y_train"], rcond=None)[0]
    right = (ones["test"] @ W).argmax(1) == data["Y_test"].argmax(1)
    assert right.mean() > 0.75


# ------------------------------------------------------------------ tasks


def test_ten_tasks_on_one_input(data_folder):
    arrays = made_up()
    file = kang_digits.DATASETS["usps"].files[0]
    file.place.parent.mkdir(parents=True)
    np.savez(file.place, **arrays)
    tasks = moduli.data.load("kang_usps")
    assert [task.name for task in tasks] == [f"usps_class_{i:02d}" for i in range(1, 11)]
    assert all(task.kind.name == "binary" and task.data is tasks[0].data for task in tasks)
    for split, part in (("train", "train"), ("val", "valid"), ("test", "test")):
        source = tasks[0].data.split(split)
        assert torch.equal(source.inputs, torch.from_numpy(arrays[f"X_{part}"]))
        for code, task in enumerate(tasks, 1):
            assert np.array_equal(source.targets[task.name].numpy(), arrays[f"y_{part}"] == code)


def test_unknown_names():
    for use in (kang_digits.arrays, kang_digits.tasks):
        with pytest.raises(InputError, match="unknown set of digits 'mnst', did you mean 'mnist'"):
            use("mnst")


# ------------------------------------------------------------------ the file


def test_the_published_matlab_file_becomes_ours(data_folder):
    arrays = made_up(87)
    columns = {
        f"digit_{name[2:]}{name[0].lower()}": x.astype(float) if x.ndim == 2 else x[:, None]
        for name, x in arrays.items()
    }
    (data_folder / "raw").mkdir(parents=True)
    scipy.io.savemat(data_folder / "raw" / "split1_mnist_1000train.mat", columns)
    (place,) = moduli.data.fetch("kang_mnist")
    with np.load(place) as file:
        assert all(
            np.array_equal(file[name], x) and file[name].dtype == x.dtype for name, x in arrays.items()
        )
    assert np.array_equal(kang_digits.arrays("mnist")["Y_test"].argmax(1) + 1, arrays["y_test"])


def test_other_arrays_are_refused():
    def parse(**changed):
        out = io.BytesIO()
        np.savez(out, **{**made_up(), **changed})
        return kang_digits.parse(out.getvalue(), 64)

    parse()
    with pytest.raises(ValueError, match="X_valid has the shape"):
        parse(X_valid=np.zeros((500, 63)))
    with pytest.raises(ValueError, match="y_test does not hold the classes 1 to 10"):
        parse(y_test=np.arange(500) % 10)
    with pytest.raises(ValueError, match="X_train is not finite"):
        parse(X_train=np.full((1000, 64), np.nan))
