import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from moduli.errors import InputError
from moduli.tasks.tables import TableSchema, load_tables

N = 60
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "age": np.where(np.arange(N) % 7 == 0, np.nan, RNG.normal(50, 9, N)),
        "sex": np.array(["m", "f"])[RNG.integers(0, 2, N)],
        "ward": RNG.integers(1, 4, N),
        "icu": RNG.integers(0, 2, N) == 1,
        "dose": np.array([0.5, 1.25])[RNG.integers(0, 2, N)],
        "ill": np.array(["no", "yes"])[np.arange(N) % 2],
        "stage": np.arange(N) % 3 + 1,
        "days": RNG.normal(12, 4, N),
    }
)
TARGETS = ["ill", "stage", "days"]
TASKS = load_tables(
    [{"name": "clinic", "table": FRAME, "targets": TARGETS, "categorical": ["ward", "dose"], "test": "val"}]
)
SCHEMA = TASKS[0].schema
INPUTS = SCHEMA.inputs(FRAME)


# ------------------------------------------------------------------ saving


def test_schema_survives_json_exactly():
    again = TableSchema.from_json(json.loads(json.dumps(SCHEMA.to_json(), allow_nan=False)))
    assert again == SCHEMA
    assert torch.equal(again.inputs(FRAME), INPUTS)
    types = {c.name: {type(v) for v in c.categories} for c in again.columns if hasattr(c, "categories")}
    assert types == {"sex": {str}, "ward": {int}, "icu": {bool}, "dose": {float}}


def test_another_process_predicts_from_json_and_weights(tmp_path):
    weights = torch.randn(SCHEMA.width, 3, generator=torch.Generator().manual_seed(0))
    FRAME.drop(columns=TARGETS).to_csv(tmp_path / "new.csv", index=False)
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA.to_json()))
    torch.save(weights, tmp_path / "weights.pt")
    code = (
        "import json, torch\n"
        "from moduli.tasks.tables import TableSchema\n"
        "schema = TableSchema.from_json(json.load(open('schema.json')))\n"
        "outputs = schema.inputs('new.csv') @ torch.load('weights.pt')\n"
        "schema.predictions('stage', outputs).to_parquet('out.parquet')\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    expected = SCHEMA.predictions("stage", INPUTS @ weights)
    found = pd.read_parquet(tmp_path / "out.parquet")
    pd.testing.assert_frame_equal(found, expected, rtol=1e-4)


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"schema": 99},
        [],
        {"schema": 1, "name": "x"},
        {**SCHEMA.to_json(), "columns": [{"type": "number"}]},
    ],
)
def test_foreign_records(record):
    with pytest.raises(InputError, match="table schema"):
        TableSchema.from_json(record)


# ------------------------------------------------------------------ new tables


def test_training_inputs_are_those_of_the_schema():
    source = TASKS[0].data.train
    rows = {tuple(row) for row in INPUTS.tolist()}
    assert all(tuple(row) in rows for row in source.inputs.tolist())
    assert source.inputs.shape == (51, SCHEMA.width)


def test_order_of_columns_and_extra_columns_do_not_matter():
    shuffled = FRAME[FRAME.columns[::-1]].assign(extra="x")
    assert torch.equal(SCHEMA.inputs(shuffled), INPUTS)


def test_targets_are_not_needed():
    assert torch.equal(SCHEMA.inputs(FRAME.drop(columns=TARGETS)), INPUTS)


def test_one_row_reads_as_in_the_whole_table():
    for row in (0, 1, 30):
        assert torch.equal(SCHEMA.inputs(FRAME.iloc[[row]])[0], INPUTS[row])


def test_types_that_a_file_changes_do_not_matter(tmp_path):
    FRAME.iloc[:5].to_csv(tmp_path / "new.csv", index=False)
    torch.testing.assert_close(SCHEMA.inputs(tmp_path / "new.csv"), INPUTS[:5])
    as_float = FRAME.astype({"ward": float})
    as_float.loc[3, "ward"] = np.nan
    assert torch.equal(SCHEMA.inputs(as_float)[4:], INPUTS[4:])


def test_missing_columns_are_listed():
    with pytest.raises(InputError, match=r"lacks 2 of the columns \('age', 'icu'\): add them"):
        SCHEMA.inputs(FRAME.drop(columns=["age", "icu"]))
    with pytest.raises(InputError, match=r"lacks 1 of the columns \('age'\), did you mean 'Age'\?"):
        SCHEMA.inputs(FRAME.rename(columns={"age": "Age"}))
    with pytest.raises(InputError, match="none of the columns of 'clinic'"):
        SCHEMA.inputs(pd.DataFrame({"z": [1]}), allow_missing=True)


def test_missing_columns_can_be_filled():
    empty = FRAME.assign(age=np.nan, sex=None)
    assert torch.equal(
        SCHEMA.inputs(FRAME.drop(columns=["age", "sex"]), allow_missing=True), SCHEMA.inputs(empty)
    )


def test_unseen_categories_are_counted():
    new = FRAME.assign(sex=["x", "x", *FRAME["sex"][2:]], ward=[*FRAME["ward"][:-1], 9])
    assert SCHEMA.unseen(new) == {"sex": {"x": 2}, "ward": {9: 1}}
    assert SCHEMA.unseen(FRAME) == {}
    assert torch.equal(SCHEMA.inputs(new)[0], SCHEMA.inputs(FRAME.assign(sex=None))[0])


def test_text_in_a_number_column():
    new = FRAME.astype({"age": object})
    new.loc[3, "age"] = "old"
    with pytest.raises(InputError, match="column 'age', row 4: 'old' is not a number"):
        SCHEMA.inputs(new)


# ------------------------------------------------------------------ predictions


def test_binary_predictions():
    frame = SCHEMA.predictions("ill", torch.tensor([[0.0], [2.0], [-2.0]]))
    assert list(frame) == ["ill", "p(ill=no)", "p(ill=yes)"]
    assert frame["ill"].tolist() == ["no", "yes", "no"]
    np.testing.assert_allclose(frame["p(ill=yes)"], torch.tensor([0.0, 2.0, -2.0]).sigmoid())
    np.testing.assert_allclose(frame["p(ill=no)"] + frame["p(ill=yes)"], 1.0)


def test_multiclass_predictions_keep_the_type_of_labels():
    outputs = torch.tensor([[0.0, 1.0, 2.0], [5.0, 1.0, 2.0]], requires_grad=True)
    frame = SCHEMA.predictions("stage", outputs)
    assert frame["stage"].tolist() == [3, 1]
    assert frame["stage"].dtype == np.int64
    np.testing.assert_allclose(frame.iloc[:, 1:], outputs.detach().softmax(1), rtol=1e-6)


def test_regression_predictions_are_in_units():
    mean, scale = TASKS[2].kind.mean, TASKS[2].kind.scale
    frame = SCHEMA.predictions("days", torch.tensor([[0.0], [1.0]]))
    np.testing.assert_allclose(frame["days"], [mean, mean + scale])
    assert 10 < mean < 14


def test_predictions_of_the_true_labels_are_the_labels():
    (task,) = load_tables(
        [{"name": "t", "table": FRAME, "target": "stage", "columns": ["days"], "scaling": "none"}]
    )
    source = task.data.test
    perfect = torch.nn.functional.one_hot(source.targets["t"], 3).double() * 9
    days = source.inputs[:, 0].double().numpy()
    row = [int(np.abs(FRAME["days"] - d).argmin()) for d in days]
    assert task.schema.predictions("t", perfect)["stage"].tolist() == FRAME["stage"].iloc[row].tolist()


def test_wrong_task_or_shape():
    with pytest.raises(InputError, match="no task 'stag', did you mean 'stage'"):
        SCHEMA.predictions("stag", torch.zeros(2, 3))
    with pytest.raises(InputError, match=r"shape \[2, 4\]; give \[rows, 3\]"):
        SCHEMA.predictions("stage", torch.zeros(2, 4))


# ------------------------------------------------------------------ description and fingerprint


def test_description():
    lines = SCHEMA.describe().splitlines()
    assert lines[0] == "ill: binary (no, yes), 60 rows (51/9), 5 columns"
    assert lines[1] == "stage: multiclass (1, 2, 3), 60 rows (51/9), 5 columns"
    assert lines[2].startswith("days: regression (mean 1")
    assert SCHEMA.describe("stage") == lines[1]
    many = FRAME.assign(y=[f"c{i % 8}" for i in range(N)])
    (task,) = load_tables([{"name": "t", "table": many, "target": "y", "columns": ["age"]}])
    assert task.schema.describe() == "t: multiclass (8 classes: c0, c1, c2, …), 60 rows (39/9/12), 1 column"


def fingerprint(frame, **spec):
    return load_tables([{"name": "t", "table": frame, "target": "ill", **spec}])[0].schema.fingerprint


def test_fingerprint_changes_with_the_values_that_are_used():
    first = fingerprint(FRAME)
    assert fingerprint(FRAME.copy()) == first
    assert len(first) == 64
    changed = FRAME.copy()
    changed.loc[5, "age"] = 50.0
    assert fingerprint(changed) != first
    assert fingerprint(FRAME.iloc[::-1]) != first
    assert fingerprint(FRAME.assign(ill=FRAME["ill"][::-1].to_numpy())) != first
    assert fingerprint(FRAME, drop=["age"]) != first
    assert fingerprint(FRAME.assign(extra=1), drop=["extra"]) == first


def test_fingerprint_is_the_same_in_every_process(tmp_path):
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    code = (
        "from moduli.tasks.tables import load_tables\n"
        "print(load_tables([{'table': 't.csv', 'target': 'ill'}])[0].schema.fingerprint)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    (task,) = load_tables([{"table": "t.csv", "target": "ill"}], base=tmp_path)
    assert run.stdout.strip() == task.schema.fingerprint


def test_tables_need_pandas_and_tasks_do_not():
    code = "import sys, moduli.tasks, moduli.tasks.arrays; assert 'pandas' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
