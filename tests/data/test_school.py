"""The School data: what is known of them, tasks made of them, and the file from its published form."""

import io

import numpy as np
import pytest
import scipy.io
import torch

import moduli.data
from moduli.data import school
from moduli.errors import InputError


def made_up(seed=0):
    """Arrays of the published form: 139 schools of 22 pupils or more."""
    rng = np.random.default_rng(seed)
    task = np.sort(np.concatenate([np.repeat(np.arange(139), 22), rng.integers(0, 139, 15_362 - 139 * 22)]))
    X = rng.integers(0, 2, (15_362, 28))
    X[:, [3, 4]] = rng.integers(0, 101, (15_362, 2))
    X[:, -1] = 1
    return {"X": X, "y": rng.integers(1, 71, 15_362), "task": task}


def packed(**changed):
    out = io.BytesIO()
    np.savez(out, **{**made_up(), **changed})
    return out.getvalue()


def write_mat(path, arrays):
    """A MATLAB file with lists of one array for each school."""
    lists = {}
    for name, column in (("X", arrays["X"]), ("Y", arrays["y"][:, None])):
        lists[name] = np.empty((1, 139), object)
        for t in range(139):
            lists[name][0, t] = column[arrays["task"] == t].astype(float)
    scipy.io.savemat(path, lists)


@pytest.fixture
def published(real_data):
    if not school.DATASET.present:
        pytest.skip("no School data in the data folder")
    return school.arrays()


def test_the_published_figures(published):
    X, y, task = (published[name] for name in ("X", "y", "task"))
    assert (X.shape, y.shape, task.shape) == ((15_362, 27), (15_362,), (15_362,))
    sizes = np.bincount(task)
    assert (len(sizes), sizes.min(), sizes.max()) == (139, 22, 251)
    assert (y.min(), y.max()) == (1, 70)
    assert (y.mean(), y.std()) == pytest.approx((20.597, 12.721), abs=0.001)
    assert [j for j in range(27) if X[:, j].max() > 1] == list(school.PERCENTAGES)
    # Years, genders, bands and so on: of every feature just one value, so the columns add up.
    assert np.all(X[:, :3].sum(1) == 1)


def test_a_task_for_each_school(published):
    tasks = school.tasks(seed=1)
    assert [task.name for task in tasks[::138]] == ["school_001", "school_139"]
    assert {task.metric for task in tasks} == {"rmse"}
    assert len({task.data.name for task in tasks}) == 139
    for t, task in enumerate(tasks[:3]):
        data, own = task.data, published["task"] == t
        parts = [data.split(part) for part in ("train", "val", "test")]
        n = own.sum()
        val, test = round(0.15 * n), round(0.25 * n)
        assert [len(part) for part in parts] == [n - val - test, val, test]
        x = torch.cat([part.inputs for part in parts])
        assert (x.min(), x.max()) == (0, 1)
        # Every pupil once, and scores come back in points.
        points = torch.cat([task.kind.predict(part.targets[task.name][:, None]) for part in parts])
        assert sorted(points.round().tolist()) == sorted(published["y"][own].tolist())
        assert parts[0].targets[task.name].mean().item() == pytest.approx(0, abs=1e-6)
        weights = 2.0 ** np.arange(27) / 2**20
        X = published["X"][own].copy()
        X[:, [3, 4]] /= 100
        assert np.allclose(np.sort(x.double().numpy() @ weights), np.sort(X @ weights), atol=1e-4)


def test_by_name_and_with_impossible_shares(published):
    assert len(moduli.data.load("school", val=0.1, test=0.5, metric="r2")) == 139
    with pytest.raises(InputError, match=r"val=0\.6 and test=0\.5"):
        school.tasks(val=0.6, test=0.5)


# ------------------------------------------------------------------ the file


def test_the_published_matlab_file_becomes_ours(data_folder):
    arrays = made_up()
    (data_folder / "raw").mkdir(parents=True)
    write_mat(data_folder / "raw" / "school.mat", arrays)  # put there by hand, so nothing is downloaded
    (place,) = moduli.data.fetch("school")
    assert place == data_folder / "mtl_classic" / "school.npz"
    found = school.arrays()
    assert np.array_equal(found["X"], arrays["X"][:, :-1])
    assert np.array_equal(found["y"], arrays["y"])
    assert np.array_equal(found["task"], arrays["task"])
    assert found["X"].dtype == found["y"].dtype == float
    with np.load(place) as file:
        assert {name: file[name].dtype for name in file} == dict.fromkeys(("X", "y", "task"), np.uint8)


def test_matlab_files_of_another_form_are_refused(tmp_path):
    path = tmp_path / "school.mat"

    def build(content=None):
        if content is not None:
            path.write_bytes(content)
        return school._build([path])

    write_mat(path, made_up())
    whole = path.read_bytes()
    for damaged in (whole[:-2000], whole[:200], b"<html>no</html>" * 20, b""):
        with pytest.raises((ValueError, OSError, EOFError)):
            build(damaged)
    arrays = made_up()
    arrays["y"] = arrays["y"] + 0.5
    write_mat(path, arrays)
    with pytest.raises(ValueError, match="not whole"):
        build()
    scipy.io.savemat(path, {"X": np.zeros((3, 2))})
    with pytest.raises(ValueError, match="no variable 'Y'"):
        build()
    scipy.io.savemat(path, {"X": np.zeros((3, 2)), "Y": np.zeros(3)})
    with pytest.raises(ValueError, match="not lists of 139 schools"):
        build()


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"X": np.ones((15_362, 27))}, "X has the shape"),
        ({"X": np.zeros((15_362, 28))}, "not one of ones"),
        ({"X": np.full((15_362, 28), 2) - np.eye(1, 28, 27)}, "percentages"),
        ({"y": np.zeros(15_362)}, "y goes from 0"),
        ({"task": np.zeros(15_362)}, "numbers 0 to 138"),
    ],
)
def test_other_arrays_are_refused(changed, line):
    school.parse(packed())
    with pytest.raises(ValueError, match=line):
        school.parse(packed(**changed))


def test_a_damaged_file_is_named(data_folder):
    (file,) = school.DATASET.files
    file.place.parent.mkdir(parents=True)
    file.place.write_bytes(packed()[:-300])
    with pytest.raises(InputError, match=r"school\.npz is damaged"):
        school.arrays()
