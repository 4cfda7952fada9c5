import pytest
import torch

from moduli.errors import InputError
from moduli.tasks import Binary, Data, Regression, Task, TensorSource, check_tasks, inputs_of


def data(name="table"):
    source = TensorSource(torch.zeros(4, 2), {"a": torch.zeros(4), "b": torch.zeros(4)})
    return Data(name, (2,), source, source, source)


def test_metric_is_the_kinds_own_unless_named():
    assert Task("a", Binary(), data()).metric == "accuracy"
    assert Task("a", Binary(), data(), metric="auroc").metric == "auroc"


def test_direction_follows_the_metric():
    assert Task("a", Binary(), data()).higher_is_better
    assert not Task("a", Regression(), data()).higher_is_better
    assert Task("a", Regression(), data(), metric="r2").higher_is_better


def test_unknown_metric_suggests_the_nearest():
    with pytest.raises(
        InputError, match="unknown metric 'acuracy' for a binary task, did you mean 'accuracy'"
    ):
        Task("a", Binary(), data(), metric="acuracy")


def test_splits_by_name():
    table = data()
    assert [table.split(name) for name in ("train", "val", "test")] == [table.train, table.val, table.test]


def test_tasks_by_name_and_their_inputs():
    shared, other = data(), data("other")
    tasks = check_tasks(
        [Task("a", Binary(), shared), Task("b", Binary(), shared), Task("c", Binary(), other)]
    )
    assert list(tasks) == ["a", "b", "c"]
    assert inputs_of(tasks) == {"table": shared, "other": other}


def test_no_task():
    with pytest.raises(InputError, match="no tasks"):
        check_tasks([])


def test_two_tasks_of_one_name():
    with pytest.raises(InputError, match="two tasks are called 'a'"):
        check_tasks([Task("a", Binary(), data("x")), Task("a", Binary(), data("y"))])


def test_two_inputs_of_one_name():
    with pytest.raises(InputError, match="two inputs are called 'table'"):
        check_tasks([Task("a", Binary(), data()), Task("b", Binary(), data())])


def test_tasks_of_one_input_agree_on_the_batch_size():
    table = data()
    with pytest.raises(InputError, match="shared input 'table' differ in batch_size"):
        check_tasks([Task("a", Binary(), table, batch_size=8), Task("b", Binary(), table)])
