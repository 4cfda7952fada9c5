import pandas as pd
import pytest
from pydantic import BaseModel, ValidationError

from moduli.errors import InputError
from moduli.tasks.tables import TableSpec


def test_defaults():
    spec = TableSpec(table="data/heart.csv", target="disease")
    assert (spec.val, spec.test, spec.scaling, spec.seed) == (0.15, 0.2, "standard", None)
    assert spec.all_targets == ("disease",)


@pytest.mark.parametrize(
    ("table", "stem"),
    [("a/heart.csv", "heart"), ("b.CSV.gz", "b"), ("v1.2.parquet", "v1.2"), ("x.pq", "x"), ("t.tsv", "t")],
)
def test_input_is_named_after_the_file(table, stem):
    assert TableSpec(table=table, target="y").stem == stem
    assert TableSpec(table=table, target="y", name="mine").stem == "mine"


def test_options_by_target_or_for_all():
    spec = TableSpec(table="a.csv", targets=["x", "y"], kind={"x": "regression"}, metric="error")
    assert [spec.kind_of(t) for t in spec.all_targets] == ["regression", None]
    assert [spec.metric_of(t) for t in spec.all_targets] == ["error", "error"]


def test_one_word_is_a_list_of_one():
    spec = TableSpec(table="a.csv", target="y", drop="id", categorical="zip", columns="age")
    assert (spec.drop, spec.categorical, spec.columns) == (("id",), ("zip",), ("age",))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tabel": "a.csv"}, "unknown key 'tabel', did you mean 'table'?"),
        ({"table": "a.csv", "taget": "y"}, "table 'a.csv': unknown key 'taget', did you mean 'target'?"),
        ({"target": "y"}, "'table' is missing"),
        ({"table": "a.csv"}, "give 'target' .* or 'targets'"),
        ({"table": "a.csv", "target": "y", "targets": ["z"]}, "give 'target' .* or 'targets'"),
        ({"table": "a.csv", "targets": ["y", "y"]}, "listed twice"),
        ({"table": 3, "target": "y"}, "path of a file, or a DataFrame"),
        ({"table": pd.DataFrame({"y": [1]}), "target": "y"}, "give 'name'"),
        ({"table": "a.csv", "target": "y", "kind": "binry"}, "unknown kind 'binry', did you mean 'binary'?"),
        ({"table": "a.csv", "target": "y", "kind": "multilabel"}, "under 'targets'"),
        ({"table": "a.csv", "target": "y", "kind": {"z": "binary"}}, "kind names 'z', not a target"),
        ({"table": "a.csv", "target": "y", "scaling": "std"}, "'standard', 'minmax' or 'none', found 'std'"),
        ({"table": "a.csv", "target": "y", "val": 0}, "'val': .* greater than 0, found 0"),
        ({"table": "a.csv", "target": "y", "val": 0.5, "test": 0.5}, "leave no training row"),
        ({"table": "a.csv", "target": "y", "test": "vla"}, "found 'vla'"),
        ({"table": "a.csv", "target": "y", "batch_size": 0}, "'batch_size': .* found 0"),
        ({"table": "a.csv", "target": "y", "columns": ["x", "y"]}, "'y' is a target .* 'columns'"),
        ({"table": "a.csv", "target": "y", "categorical": ["y"]}, "'y' is a target .* 'categorical'"),
        ({"table": "a.csv", "target": "y", "split": "y"}, "split column"),
        ({"table": "a.csv", "target": "y", "columns": ["p"], "split": "p"}, "split column"),
    ],
)
def test_wrong_values_in_one_line(values, message):
    with pytest.raises(InputError, match=message) as error:
        TableSpec(**values)
    assert "\n" not in str(error.value)


class RunFile(BaseModel):
    tasks: list[TableSpec]


def test_part_of_a_run_file():
    tasks = [{"table": "a.csv", "target": "y", "test": "val", "drop": ["id"]}]
    assert RunFile.model_validate({"tasks": tasks}).model_dump(mode="json", exclude_defaults=True) == {
        "tasks": tasks
    }
    with pytest.raises(ValidationError, match="did you mean 'table'"):
        RunFile.model_validate({"tasks": [{"tabel": "a.csv"}]})
