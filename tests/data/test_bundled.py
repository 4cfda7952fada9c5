"""scikit-learn's sets: always there, as tasks of the right kind."""

import pytest

from moduli.data import bundled
from moduli.errors import InputError
from moduli.tasks import Binary, Multiclass, Regression


def test_the_five_sets():
    tasks = {task.name: task for task in bundled.tasks()}
    assert list(tasks) == list(bundled.SETS)
    assert tasks["iris"].kind == Multiclass(3)
    assert tasks["wine"].kind == Multiclass(3)
    assert tasks["breast_cancer"].kind == Binary()
    assert tasks["digits"].kind == Multiclass(10)
    assert isinstance(tasks["diabetes"].kind, Regression)
    for name, task in tasks.items():
        rows = sum(len(task.data.split(part)) for part in ("train", "val", "test"))
        assert rows == bundled.SETS[name].samples == bundled.DATASETS[f"sklearn/{name}"].samples


def test_tables_keep_names_and_units():
    assert set(bundled.frame("iris")["target"]) == {"setosa", "versicolor", "virginica"}
    assert bundled.frame("digits").shape == (1797, 65)
    diabetes = bundled.frame("diabetes")
    assert diabetes["age"].between(18, 80).all()
    assert diabetes["target"].between(25, 346).all()


def test_nothing_is_fetched(data_folder):
    dataset = bundled.DATASETS["sklearn/wine"]
    assert dataset.present
    assert dataset.fetch() == []
    assert not data_folder.exists()


def test_unknown_set():
    with pytest.raises(InputError, match="did you mean 'diabetes'"):
        bundled.tasks(["diabets"])
