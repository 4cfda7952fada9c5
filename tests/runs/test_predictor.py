"""Saved models predict what the trained model predicts, whatever table they are given."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from moduli import Multilabel, Regression, load_predictor, load_tables
from moduli.errors import InputError, RunError
from moduli.evaluation import read_summary
from moduli.runs.config import MethodChoice
from moduli.runs.methods import METHODS, Layers
from moduli.runs.predictor import save_predictor, write_frame
from moduli.tasks.arrays import from_arrays


@pytest.fixture
def heart(finished):
    return pd.read_csv(finished.parent / "heart.csv")


def test_predictions_on_the_test_rows_have_the_score_of_the_summary(finished, heart):
    summary = read_summary(finished / "summary.json")
    for method in ("soft", "single"):
        predictor = load_predictor(finished, method)
        seed = json.loads((finished / f"models/{method}/model.json").read_text())["seed"]
        predicted = predictor.predict("heart", heart)["disease"] == heart["disease"]
        split = {"table": finished.parent / "heart.csv", "target": "disease"}
        (task,) = load_tables([split])
        inputs = task.schema.inputs(heart)
        rows = [int((inputs == x).all(1).nonzero()[0, 0]) for x in task.data.test.inputs]
        value = summary["methods"][method]["tasks"]["heart"]["values"][seed]
        assert predicted.iloc[rows].mean() == pytest.approx(value)


def test_the_best_seed_on_validation_is_saved(finished):
    outcomes = [json.loads((finished / f"training/soft/seed-{s}/outcome.json").read_text()) for s in (0, 1)]
    losses = [sum(outcome["val"]["loss"].values()) for outcome in outcomes]
    saved = json.loads((finished / "models/soft/model.json").read_text())["seed"]
    assert saved == int(np.argmin(losses))


def test_columns_may_be_reordered_and_others_added(finished, heart):
    predictor = load_predictor(finished)
    expected = predictor.predict("heart", finished.parent / "heart.csv")
    shuffled = heart[heart.columns[::-1]].assign(extra="?").drop(columns="disease")
    pd.testing.assert_frame_equal(predictor.predict("heart", shuffled), expected)
    pd.testing.assert_frame_equal(
        predictor.predict("heart", heart.tail(1)), expected.tail(1).reset_index(drop=True)
    )
    assert list(expected.columns) == ["disease", "p(disease=sick)", "p(disease=well)"]


def test_regression_is_in_the_units_of_the_table(finished):
    predicted = load_predictor(finished).predict("glucose", finished.parent / "panel.csv")
    assert predicted["glucose"].between(60, 140).all()


def test_unseen_categories_are_said_and_missing_columns_refused(finished, heart):
    predictor = load_predictor(finished)
    with pytest.warns(UserWarning, match="column 'sex': 2 rows with a category that training did not have"):
        predictor.predict("heart", heart.assign(sex=["x", "x", *heart["sex"][2:]]))
    with pytest.raises(InputError, match="lacks 1 of the columns"):
        predictor.predict("heart", heart.drop(columns="bmi"))


def test_what_is_not_there_is_said_in_one_line(finished, tmp_path):
    with pytest.raises(InputError, match="no task 'hart', did you mean 'heart'"):
        load_predictor(finished).predict("hart", finished.parent / "heart.csv")
    with pytest.raises(InputError, match="holds no model of 'sofd', did you mean 'soft'"):
        load_predictor(finished, "sofd")
    with pytest.raises(InputError, match="holds no trained model"):
        load_predictor(tmp_path)


def test_the_folder_of_a_model_is_enough(finished, heart, tmp_path):
    shutil.copytree(finished / "models" / "single", tmp_path / "model")
    predictor = load_predictor(tmp_path / "model")
    assert predictor.tasks == ("heart", "glucose", "diabetic")
    pd.testing.assert_frame_equal(
        predictor.predict("heart", heart), load_predictor(finished, "single").predict("heart", heart)
    )


def test_damaged_files_are_said_in_one_line(finished, tmp_path):
    for name, content in {"model.json": b"{", "model.safetensors": b"damaged"}.items():
        folder = tmp_path / name
        shutil.copytree(finished / "models" / "soft", folder)
        (folder / name).write_bytes(content)
        with pytest.raises(RunError, match="is damaged"):
            load_predictor(folder)
    mixed = tmp_path / "mixed"
    shutil.copytree(finished / "models" / "soft", mixed)
    shutil.copy(finished / "models" / "single" / "model.safetensors", mixed)
    with pytest.raises(RunError, match="weights of another model"):
        load_predictor(mixed)


def test_tasks_without_a_table_are_predicted_from_tensors(tmp_path):
    X, y = torch.rand(40, 1, 8, 8), torch.arange(40.0)
    tasks = from_arrays(
        "photo", X, {"digit": torch.arange(40) % 3, "tags": (torch.rand(40, 2) > 0.5).float(), "age": y}
    )
    choice = MethodChoice("hard", Layers(layers=2, width=4))
    model = METHODS["hard"].build(tasks, choice.options, 0)
    save_predictor(tmp_path, model, tasks, "hard", choice, 0)
    predictor = load_predictor(tmp_path)
    outputs = {name: y.detach() for name, y in model.eval()({"photo": X}).items()}
    digits = predictor.predict("digit", X)
    assert digits["digit"].tolist() == outputs["digit"].argmax(-1).tolist()
    tags = predictor.predict("tags", X.numpy())
    np.testing.assert_allclose(tags, Multilabel(2).predict(outputs["tags"]), rtol=1e-5)
    kind = tasks[2].kind
    assert isinstance(kind, Regression)
    np.testing.assert_allclose(predictor.predict("age", X)["age"], kind.predict(outputs["age"]), rtol=1e-5)
    with pytest.raises(InputError, match=r"give \[N, 1, 8, 8\]"):
        predictor.predict("digit", X[:, 0])
    with pytest.raises(InputError, match="not learned from a table"):
        predictor.predict("digit", "photos.csv")


def test_predictions_are_written_whole_by_the_ending_of_the_name(tmp_path):
    frame = pd.DataFrame({"a": ["x", "y"], "p": [0.25, 1.0]})
    for name, read in {"a.csv": pd.read_csv, "a.parquet": pd.read_parquet}.items():
        write_frame(tmp_path / name, frame)
        pd.testing.assert_frame_equal(read(tmp_path / name), frame)
    with pytest.raises(InputError, match=r"ends in \.csv or \.parquet"):
        write_frame(tmp_path / "a.xlsx", frame)
