import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn.datasets
import torch

from moduli.errors import InputError
from moduli.tasks import Binary, Multiclass, Regression
from moduli.tasks.tables import TableSpec, load_tables

N = 60
RNG = np.random.default_rng(0)
BASE = pd.DataFrame(
    {
        "age": RNG.normal(50, 9, N).round(1),
        "sex": np.array(["m", "f"])[RNG.integers(0, 2, N)],
        "y": np.arange(N) % 2,
    }
)


def load(frame=BASE, **spec):
    if "targets" not in spec:
        spec.setdefault("target", "y")
    return load_tables([{"name": "t", "table": frame, **spec}])


def with_cell(column, row, value):
    frame = BASE.copy()
    frame[column] = frame[column].astype(object)
    frame.loc[row, column] = value
    return frame


def parts(task):
    return [task.data.split(part) for part in ("train", "val", "test")]


# ------------------------------------------------------------------ kinds


@pytest.mark.parametrize(
    ("values", "kind", "labels"),
    [
        (["no", "yes"] * 30, Binary(), ("no", "yes")),
        ([True, False] * 30, Binary(), (False, True)),
        ([0, 1] * 30, Binary(), (0, 1)),
        ([0.0, 1.0] * 30, Binary(), (0.0, 1.0)),
        ([0, 1, None] * 20, Binary(), (0, 1)),
        ([3, 1, 7] * 20, Multiclass(3), (1, 3, 7)),
        ([3, 1, 7, None] * 15, Multiclass(3), (1, 3, 7)),
        (["a", "b", "c"] * 20, Multiclass(3), ("a", "b", "c")),
        (pd.Categorical(["low", "high"] * 30, ["low", "high"]), Binary(), ("low", "high")),
        (np.arange(60), Regression, None),  # many whole numbers
        (np.arange(60) % 21, Regression, None),
        ([1.0, 2.0, 3.0] * 20, Regression, None),
        ([0.5, 1.5] * 30, Regression, None),
    ],
)
def test_kind_is_inferred(values, kind, labels):
    (task,) = load(BASE.assign(y=values))
    if labels is None:
        assert isinstance(task.kind, Regression)
    else:
        assert task.kind == kind
        assert task.schema.targets[0].labels == labels


def test_kind_is_chosen():
    (task,) = load(kind="multiclass", metric="f1", batch_size=16)
    assert (task.kind, task.metric, task.batch_size) == (Multiclass(2), "f1", 16)
    (task,) = load(kind="regression")
    assert isinstance(task.kind, Regression)


def test_labels_become_class_indices():
    frame = BASE.assign(y=[f"c{i % 3}" for i in range(N)], index=np.arange(N) * 1.0)
    (task,) = load(frame, columns=["index"], scaling="none")
    for source in parts(task):
        assert torch.equal(source.targets["t"], source.inputs[:, 0].long() % 3)


def test_regression_is_standardised_with_the_training_rows():
    (task,) = load(target="age", columns=["y"])
    train = task.data.train.targets["t"]
    assert train.mean().item() == pytest.approx(0.0, abs=1e-6)
    assert train.std(correction=0).item() == pytest.approx(1.0, abs=1e-6)
    values = torch.cat([task.kind.predict(source.targets["t"][:, None]) for source in parts(task)])
    np.testing.assert_allclose(np.sort(values), np.sort(BASE["age"]), rtol=1e-6)


# ------------------------------------------------------------------ preprocessing sees training rows only


def test_statistics_are_those_of_the_training_rows():
    frame = BASE.assign(part=["train"] * 40 + ["val"] * 10 + ["test"] * 10)
    frame.loc[45, "sex"] = "x"
    frame.loc[50:, "age"] += 1000.0
    (task,) = load(frame, split="part")
    age, sex = task.schema.columns
    assert (age.shift, age.scale) == pytest.approx((frame["age"][:40].mean(), frame["age"][:40].std(ddof=0)))
    assert sex.categories == ("f", "m")
    assert task.data.val.inputs[5].tolist()[1:] == [0.0, 0.0, 1.0]


def test_values_outside_training_change_nothing_in_training():
    frame = BASE.assign(part=["train"] * 40 + ["val"] * 10 + ["test"] * 10)
    changed = frame.copy()
    changed.loc[40:, "age"] = 7.0
    changed.loc[40:, "sex"] = None
    one, other = load(frame, split="part")[0], load(changed, split="part")[0]
    assert torch.equal(one.data.train.inputs, other.data.train.inputs)


# ------------------------------------------------------------------ splits


def test_random_split_is_stratified_and_follows_the_seed():
    frame = BASE.assign(y=[0] * 40 + [1] * 20)
    (task,) = load(frame, val=0.2, test=0.2)
    assert [len(source) for source in parts(task)] == [36, 12, 12]
    assert all(abs(source.targets["t"].mean().item() - 1 / 3) < 1 / 10 for source in parts(task))
    same, other = load(frame, val=0.2, test=0.2)[0], load(frame, val=0.2, test=0.2, seed=1)[0]
    assert torch.equal(task.data.test.inputs, same.data.test.inputs)
    assert not torch.equal(task.data.test.inputs, other.data.test.inputs)


def test_seed_of_the_run_is_used_where_the_table_has_none():
    spec = {"name": "t", "table": BASE, "target": "y"}
    ages = [load_tables([{**spec, **own}], seed=run)[0].data.test.inputs for own, run in
            (({}, 3), ({"seed": 3}, 0), ({}, 0))]  # fmt: skip
    assert torch.equal(ages[0], ages[1])
    assert not torch.equal(ages[0], ages[2])


def test_one_held_out_part():
    (task,) = load(val=0.2, test="val")
    assert task.data.test is task.data.val
    assert [len(source) for source in parts(task)] == [48, 12, 12]


def test_split_column_decides():
    words = ["Train", " training "] * 20 + ["valid"] * 8 + ["TEST"] * 12
    (task,) = load(BASE.assign(part=words, i=np.arange(N)), split="part", columns=["i"], scaling="none")
    assert [source.inputs[:, 0].tolist() for source in parts(task)] == [
        list(range(40)), list(range(40, 48)), list(range(48, 60))
    ]  # fmt: skip


def test_split_column_without_validation_takes_it_from_training():
    (task,) = load(BASE.assign(part=["train"] * 40 + ["test"] * 20), split="part", val=0.25)
    assert [len(source) for source in parts(task)] == [30, 10, 20]
    assert "names no val row: 10 of the training rows validate" in task.schema.notes[0]


@pytest.mark.parametrize("word", ["val", "test"])
def test_split_column_with_one_held_out_part(word):
    (task,) = load(BASE.assign(part=["train"] * 40 + [word] * 20), split="part", test="val")
    assert task.data.test is task.data.val
    assert len(task.data.val) == 20


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train"] * 58 + ["vla", "test"], "column 'part', row 59: 'vla' is no part of a split"),
        (["train"] * 58 + [None, "test"], "row 59"),
        (["train"] * 40 + ["val"] * 20, "names no test row: add some, or say 'test: val'"),
        (["val"] * 40 + ["test"] * 20, "leaves no train row"),
    ],
)
def test_bad_split_column(words, message):
    with pytest.raises(InputError, match=message):
        load(BASE.assign(part=words), split="part")


def test_class_outside_training_is_noted():
    frame = BASE.assign(y=["a", "b"] * 29 + ["c", "c"], part=["train"] * 40 + ["val"] * 10 + ["test"] * 10)
    (task,) = load(frame, split="part")
    assert "target 'y': class 'c' is not among the training rows" in task.schema.notes


@pytest.mark.parametrize("seed", range(5))
def test_class_with_two_rows_is_trained(seed):
    frame = BASE.assign(y=["a", "a", "b", "b"] + ["c"] * 56)
    (task,) = load(frame, seed=seed)
    assert set(task.data.train.targets["t"].tolist()) == {0, 1, 2}


# ------------------------------------------------------------------ several tasks on one table


def several():
    return BASE.assign(
        a=[0.5 * i if i % 2 else None for i in range(N)],
        b=[("p", "q", None)[i % 3] for i in range(N)],
        i=np.arange(N),
    )


def test_tasks_of_one_table_share_their_data():
    tasks = load(several(), targets=["a", "b"], columns=["i"], scaling="none", metric={"a": "mae"})
    assert [task.name for task in tasks] == ["a", "b"]
    assert [task.metric for task in tasks] == ["mae", "accuracy"]
    a, b = tasks
    assert a.data is b.data
    assert a.data.name == "t"
    assert a.schema is b.schema
    for source in parts(a):
        rows = source.inputs[:, 0].long()
        expected = torch.where(rows % 2 == 1, 0.5 * rows, torch.nan)
        values = a.kind.predict(source.targets["a"][:, None])
        torch.testing.assert_close(values, expected, equal_nan=True, rtol=1e-5, atol=1e-5)
        labels = source.targets["b"]
        torch.testing.assert_close(labels, torch.tensor([0.0, 1.0, torch.nan])[rows % 3], equal_nan=True)


def test_rows_without_any_label_are_left_out():
    a, _ = load(several(), targets=["a", "b"])
    assert sum(len(source) for source in parts(a)) == 50  # every sixth row has neither
    assert a.schema.notes[-1] == "left out 10 of 60 rows: they have no label"
    assert [sum(target.rows) for target in a.schema.targets] == [30, 40]


def test_each_task_has_its_share_of_labels_in_every_part():
    tasks = load(several(), targets=["a", "b"], val=0.2, test=0.2)
    for target in tasks[0].schema.targets:
        assert sum(target.rows) in (30, 40)
        assert all(
            abs(n / sum(target.rows) - f) < 0.1 for n, f in zip(target.rows, (0.6, 0.2, 0.2), strict=True)
        )


def test_targets_are_no_features():
    tasks = load(several(), targets=["a", "b"])
    assert [column.name for column in tasks[0].schema.columns] == ["age", "sex", "y", "i"]


def test_targets_of_the_same_table_in_other_entries_are_no_features(tmp_path):
    BASE.to_csv(tmp_path / "t.csv", index=False)
    entries = [{"table": "t.csv", "target": "y"}, {"table": "./t.csv", "target": "sex"}]
    y, sex = load_tables(entries, base=tmp_path)
    assert [column.name for column in (*y.schema.columns, *sex.schema.columns)] == ["age", "age"]
    assert y.schema.notes == ["left out column 'sex': it is the target of another task"]
    entries[0]["columns"] = ["age", "sex"]
    assert len(load_tables(entries, base=tmp_path)[0].schema.columns) == 2


# ------------------------------------------------------------------ names


def test_names(tmp_path):
    for name in ("heart.csv", "panel.csv", "other.csv"):
        BASE.to_csv(tmp_path / name, index=False)
    tasks = load_tables(
        [
            {"table": "heart.csv", "target": "y"},
            TableSpec(table=tmp_path / "heart.csv", name="again", target="y"),
            {"table": "panel.csv", "targets": ["y", "age"]},
            {"table": "other.csv", "targets": ["y"]},
        ],
        base=tmp_path,
    )
    assert [task.name for task in tasks] == ["heart", "again", "panel-y", "age", "other-y"]
    assert [task.data.name for task in tasks] == ["heart", "again", "panel", "panel", "other"]


def test_two_tables_of_one_name():
    with pytest.raises(InputError, match="two tasks are called 't'"):
        load_tables([{"name": "t", "table": BASE, "target": "y"}] * 2)


# ------------------------------------------------------------------ columns


def test_columns_can_be_chosen_and_dropped():
    assert [c.name for c in load(columns=["age"])[0].schema.columns] == ["age"]
    assert [c.name for c in load(drop=["age"])[0].schema.columns] == ["sex"]


def test_saved_index_is_left_out(tmp_path):
    BASE.to_csv(tmp_path / "t.csv")
    (task,) = load_tables([{"table": "t.csv", "target": "y"}], base=tmp_path)
    assert task.schema.notes == ["left out column 'Unnamed: 0': it only numbers the rows"]
    assert len(task.schema.columns) == 2


def test_shape_counts_indicators_and_categories():
    frame = BASE.assign(age=BASE["age"].where(np.arange(N) % 3 > 0))
    (task,) = load(frame)
    assert task.data.shape == (2 + 3,)
    assert task.data.train.inputs.shape == (39, 5)


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("frame", "spec", "message"),
    [
        (BASE, {"target": "z"}, "table 't': no column 'z', known: age, sex, y"),
        (BASE, {"drop": ["agee"]}, "no column 'agee', did you mean 'age'?"),
        (BASE, {"split": "sexx"}, "no column 'sexx', did you mean 'sex'?"),
        (BASE, {"metric": "acuracy"}, "unknown metric 'acuracy'"),
        (BASE, {"drop": ["age", "sex"]}, "no column to learn from"),
        (BASE.assign(c=1), {"columns": ["c"]}, "no column to learn from: left out column 'c': constant"),
        (BASE.assign(y=None), {}, "target 'y' is missing in every row"),
        (BASE.assign(y=1), {}, "target 'y' has one class only"),
        (BASE.assign(y=2.5), {}, "target 'y' is 2.5 in every row"),
        (BASE.assign(y=[0, 1, 2] * 20), {"kind": "binary"}, r"3 classes \(0, 1, 2\), but its kind is binary"),
        (BASE.assign(y=[[1]] * N), {}, "target 'y' holds lists"),
        (
            with_cell("y", 3, 7),
            {},
            "target 'y': class 7 has one row; add rows, merge it .* 'drop_rare: true'",
        ),
        (BASE.assign(y=[f"p{i}" for i in range(N)]), {}, "60 classes .* have one row each"),
        (with_cell("age", 4, np.inf), {}, "table 't': column 'age', row 5: inf is not finite"),
        (with_cell("age", 4, -np.inf), {"target": "age"}, "column 'age', row 5: -inf is not finite"),
        (with_cell("age", 4, "old"), {}, "column 'age', row 5: 'old' is not a number; .* 'categorical'"),
        (with_cell("age", 4, "old"), {"target": "age"}, "row 5: 'old' is not a number; .*multiclass"),
        (BASE.rename(columns={"sex": "age"}), {}, "2 columns called 'age'"),
        (BASE[:0], {}, "has 0 rows"),
        (BASE[:2], {"target": "age", "kind": "regression"}, "the split leaves no val row"),
        (BASE, {"targets": ["y", "sex", "age"]}, "no column to learn from"),
    ],
)
def test_bad_tables_in_one_line(frame, spec, message):
    with pytest.raises(InputError, match=message) as error:
        load(frame, **spec)
    assert "\n" not in str(error.value)


def test_a_class_with_one_row_can_be_left_out():
    (task,) = load(with_cell("y", 3, 7), drop_rare=True)
    assert task.kind == Binary()
    assert task.schema.notes == [
        "target 'y': classes with one row are left out (1 in all)",
        "left out 1 of 60 rows: they have no label",
    ]


def test_target_without_a_label_in_training():
    frame = several().assign(part=["train"] * 40 + ["val"] * 10 + ["test"] * 10)
    frame.loc[:39, "a"] = None
    with pytest.raises(InputError, match="target 'a' has no label in the training rows"):
        load(frame, targets=["a", "b"], split="part")


def test_entry_that_is_no_mapping():
    with pytest.raises(InputError, match="described by keys and values"):
        load_tables(["heart.csv"])


# ------------------------------------------------------------------ real tables


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "digits", "diabetes"])
def test_bundled_tables(name):
    frame = getattr(sklearn.datasets, f"load_{name}")(as_frame=True).frame
    (task,) = load(frame, target="target")
    assert task.kind.name == {"diabetes": "regression", "breast_cancer": "binary"}.get(name, "multiclass")
    assert sum(len(source) for source in parts(task)) == len(frame)
    assert all(source.inputs.isfinite().all() for source in parts(task))


@pytest.mark.data
@pytest.mark.parametrize("seed", range(3))
def test_rare_classes_of_ecoli(seed):
    path = Path(os.environ.get("MODULI_DATA", "nowhere")) / "uci" / "ecoli.csv"
    if not path.exists():
        pytest.skip("needs MODULI_DATA with uci/ecoli.csv")
    (task,) = load_tables([{"table": path, "target": "target"}], seed=seed)
    assert task.kind == Multiclass(8)
    assert set(task.data.train.targets["ecoli"].tolist()) == set(range(8))
