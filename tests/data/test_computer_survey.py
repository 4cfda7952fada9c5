"""The computer survey: every person rates the same computers, and the file is put there by hand."""

import io

import numpy as np
import pytest
import torch

import moduli.data
from moduli.data import computer_survey
from moduli.errors import InputError


def made_up():
    rng = np.random.default_rng(0)
    design = rng.choice([-1, 1], (20, 14)).astype(np.int8)
    design[:, 0] = 1
    return {"design": design, "rating": rng.integers(0, 11, (190, 20)).astype(np.uint8)}


def packed(**changed):
    out = io.BytesIO()
    np.savez(out, **{**made_up(), **changed})
    return out.getvalue()


@pytest.fixture
def survey(data_folder):
    place = data_folder / "mtl_classic" / "computer_survey.npz"
    place.parent.mkdir(parents=True)
    place.write_bytes(packed())
    return made_up()


def test_the_published_data(real_data):
    if not computer_survey.DATASET.present:
        pytest.skip("no computer survey in the data folder")
    data = computer_survey.arrays()
    assert (data["X"].shape, data["y"].shape) == ((3800, 13), (3800,))
    assert np.array_equal(np.bincount(data["task"]), np.full(190, 20))
    assert (data["y"].min(), data["y"].max()) == (0, 10)
    assert len(np.unique(data["X"], axis=0)) == 20
    assert np.linalg.matrix_rank(data["X"][:20] - data["X"][:20].mean(0)) == 13


def test_a_row_for_each_rating(survey):
    data = computer_survey.arrays()
    i = 20 * 7 + 3
    assert data["task"][i] == 7
    assert np.array_equal(data["X"][i], survey["design"][3, 1:])
    assert data["y"][i] == survey["rating"][7, 3]
    assert data["X"].dtype == data["y"].dtype == float


def test_a_task_for_each_person_on_the_same_computers(survey):
    tasks = moduli.data.load("computer_survey", seed=2)
    assert [task.name for task in tasks[::189]] == ["person_001", "person_190"]
    data = tasks[0].data
    assert all(task.data is data and task.metric == "rmse" for task in tasks)
    parts = [data.split(part) for part in ("train", "val", "test")]
    assert [tuple(part.inputs.shape) for part in parts] == [(12, 13), (4, 13), (4, 13)]
    x = torch.cat([part.inputs for part in parts]).tolist()
    order = [survey["design"][:, 1:].tolist().index(row) for row in x]
    assert sorted(order) == list(range(20))
    for i in (0, 189):
        points = [tasks[i].kind.predict(part.targets[tasks[i].name][:, None]) for part in parts]
        assert np.allclose(torch.cat(points), survey["rating"][i][order], atol=1e-5)
    with pytest.raises(InputError, match=r"val=0\.5 and test=0\.5"):
        computer_survey.tasks(val=0.5, test=0.5)


def test_a_missing_file_is_not_downloaded(data_folder):
    for use in (computer_survey.arrays, computer_survey.tasks, computer_survey.DATASET.fetch):
        with pytest.raises(InputError) as caught:
            use()
        line = str(caught.value)
        assert "\n" not in line
        assert "computer_survey.npz is not there and cannot be downloaded" in line
        assert "PyMTL" in line
    assert not computer_survey.DATASET.present
    assert not data_folder.exists()


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"design": np.ones((20, 13))}, "design has the shape"),
        ({"design": -np.ones((20, 14))}, "column of ones"),
        ({"design": np.tri(20, 14)}, "column of ones"),
        ({"rating": np.full((190, 20), 11)}, "rating goes from 11 to 11"),
        ({"rating": np.full((190, 20), np.nan)}, "rating goes from nan"),
    ],
)
def test_other_arrays_are_refused(changed, line):
    computer_survey.parse(packed())
    with pytest.raises(ValueError, match=line):
        computer_survey.parse(packed(**changed))
