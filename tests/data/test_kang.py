"""Kang et al.'s thirty tasks: the measured facts, of the published arrays and of generated ones."""

import io
import pickle

import numpy as np
import pytest
import torch

from moduli.data import kang
from moduli.errors import InputError
from moduli.tasks import Regression


@pytest.fixture(params=["published", "generated"])
def arrays(request):
    if request.param == "generated":
        return kang.generate(3)
    request.getfixturevalue("real_data")
    (file,) = kang.DATASET.files
    if not file.place.exists():
        pytest.skip("no published arrays in the data folder")
    return file.read()


def test_inputs_are_uniform(arrays):
    x = np.concatenate([arrays["train_X"], arrays["test_X"]], axis=1)
    assert x.shape == (30, 65, 20)
    assert -1 <= x.min() < -0.999
    assert 0.999 < x.max() <= 1
    assert x.std() == pytest.approx(0.577, abs=0.005)
    assert ((x - x.mean()) ** 4).mean() / x.var() ** 2 == pytest.approx(1.8, abs=0.03)  # of a uniform law
    assert len({task.tobytes() for task in x}) == 30


def test_weights_of_a_group_are_parallel_and_of_one_sign(arrays):
    w = kang.weights_of(arrays)
    unit = w / np.linalg.norm(w, axis=1, keepdims=True)
    cosines = unit @ unit.T
    same = np.equal.outer(kang.groups(), kang.groups())
    assert np.allclose(cosines[same], 1)
    assert np.abs(cosines[~same]).max() < 0.8
    # No intercept and no noise: the same weights fit the training part.
    for x, y, one in zip(arrays["train_X"], arrays["train_Y"], w, strict=True):
        assert np.allclose(x @ one, y)


def test_noise_has_a_variance_of_a_tenth(arrays):
    for part in ("train", "test"):
        noise = arrays[f"noisy_{part}_Y"] - arrays[f"{part}_Y"]
        assert noise.std() == pytest.approx(np.sqrt(0.1), abs=5 * np.sqrt(0.1 / 2 / noise.size))
        assert abs(noise.mean()) < 5 * np.sqrt(0.1 / noise.size)


def test_the_published_figures(real_data):
    if not kang.DATASET.present:
        pytest.skip("no published arrays in the data folder")
    arrays = kang.DATASET.files[0].read()
    norms = np.linalg.norm(kang.weights_of(arrays), axis=1)
    assert (norms.min(), norms.max()) == pytest.approx((0.21, 8.19), abs=0.005)

    def rmse(weights, noisy=True):
        y = arrays["noisy_test_Y" if noisy else "test_Y"]
        return np.sqrt(((np.einsum("tni,ti->tn", arrays["test_X"], weights) - y) ** 2).mean(1)).mean()

    train = list(zip(arrays["train_X"], arrays["noisy_train_Y"], strict=True))
    ridge = np.stack([np.linalg.solve(x.T @ x + 0.2 * np.eye(20), x.T @ y) for x, y in train])
    assert rmse(np.zeros((30, 20))) == pytest.approx(1.719, abs=0.001)
    assert rmse(ridge) == pytest.approx(0.973, abs=0.001)
    assert rmse(kang.weights_of(arrays)) == pytest.approx(0.309, abs=0.001)
    assert rmse(np.stack([np.linalg.pinv(x) @ y for x, y in train])) == pytest.approx(1.100, abs=0.001)
    clean = zip(arrays["train_X"], arrays["train_Y"], strict=True)
    assert rmse(np.stack([np.linalg.pinv(x) @ y for x, y in clean]), False) == pytest.approx(0.734, abs=0.001)


# ------------------------------------------------------------------ tasks


def test_generated_tasks_say_so(data_folder):
    tasks = kang.tasks(seed=4)
    assert [task.name for task in tasks[:2]] == ["kang_generated_01", "kang_generated_02"]
    arrays = kang.generate(4)
    assert torch.allclose(tasks[7].data.test.inputs, torch.from_numpy(arrays["test_X"][7]).float())


def test_thirty_tasks_with_five_of_fifteen_samples_withheld(real_data):
    tasks = kang.tasks()
    if not kang.DATASET.present:
        pytest.skip("no published arrays in the data folder")
    assert [task.name for task in tasks] == [f"kang_{i:02d}" for i in range(1, 31)]
    assert len({task.data.name for task in tasks}) == 30
    arrays = kang.DATASET.files[0].read()
    for t, task in enumerate(tasks):
        data = task.data
        assert task.kind == Regression()  # not standardised
        assert data.shape == (20,)
        assert [len(data.split(s)) for s in ("train", "val", "test")] == [10, 5, 50]
        x = torch.cat([data.train.inputs, data.val.inputs])
        assert sorted(x[:, 0].tolist()) == sorted(arrays["train_X"][t, :, 0].astype(np.float32).tolist())
        y = data.test.targets[task.name]
        assert torch.equal(y, torch.from_numpy(arrays["noisy_test_Y"][t]).float())
    # The samples that the published code withholds: numpy's choice after seed 301.
    rng = np.random.RandomState(301)
    assert torch.equal(
        tasks[0].data.val.inputs,
        torch.from_numpy(arrays["train_X"][0][rng.choice(15, 5, replace=False)]).float(),
    )


def test_without_noise_and_without_validation_samples(data_folder):
    noisy, clean = kang.tasks(val=0), kang.tasks(noisy=False, val=0)
    for a, b in zip(noisy, clean, strict=True):
        assert len(a.data.train) == len(a.data.val) == 15
        assert torch.equal(a.data.train.inputs, b.data.val.inputs)
        assert not torch.equal(a.data.train.targets[a.name], b.data.train.targets[b.name])
    for wrong in (-1, 15, 0.5):
        with pytest.raises(InputError, match="val of the Kang data"):
            kang.tasks(val=wrong)


def test_true_groups():
    assert kang.groups() == [0] * 10 + [1] * 10 + [2] * 10


# ------------------------------------------------------------------ the file


def test_the_published_pickle_files_become_one(tmp_path):
    arrays = kang.generate(0)
    paths = []
    for name in ("train_X", "train_Y", "noisy_train_Y", "test_X", "test_Y", "noisy_test_Y"):
        column = arrays[name][..., None] if name.endswith("Y") else arrays[name]
        paths.append(tmp_path / f"{name}.pkl")
        paths[-1].write_bytes(pickle.dumps(list(column), 3))
    found = kang.parse(kang._build(paths))
    assert all(np.array_equal(found[name], x) for name, x in arrays.items())


def test_other_arrays_are_refused():
    def packed(**changed):
        out = io.BytesIO()
        np.savez(out, **{**kang.generate(0), **changed})
        return out.getvalue()

    kang.parse(packed())
    with pytest.raises(ValueError, match="train_X has the shape"):
        kang.parse(packed(train_X=np.zeros((30, 14, 20))))
    other = kang.generate(1)["test_Y"]
    with pytest.raises(ValueError, match="three groups"):
        kang.parse(packed(test_Y=other))
