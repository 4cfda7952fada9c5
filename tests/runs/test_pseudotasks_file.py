"""Pseudo-tasks in a run file: all variants, tables and images; what is wrong with them, in one line."""

import os
from pathlib import Path

import pandas as pd
import pytest
import yaml

from moduli.errors import InputError
from moduli.modules import LinearBank
from moduli.runs import load_predictor, read_run_file, run_file

EIGHT = ["I", "F", "P", "D", "FP", "GP", "GD", "HGD"]
DATA = Path(os.environ.get("MODULI_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def changed(path: Path, **changes) -> Path:
    """The run file of `clinic` with other values."""
    content = {**yaml.safe_load(path.read_text()), **changes}
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_eight_variants_run_and_predict(clinic):
    variants = [{"kind": "hard", "pseudotasks": {"decoders": 3, "control": c}} for c in EIGHT]
    path = changed(clinic, sharing=variants[0], compare=variants[1:], seeds=1)
    result = run_file(path, path.parent / "out")
    assert not result.failures
    assert list(result.summary["methods"]) == [f"hard+{control}" for control in EIGHT]
    heart = pd.read_csv(path.parent / "heart.csv")
    for method in result.summary["methods"]:
        predictor = load_predictor(path.parent / "out", method)
        assert isinstance(predictor.model.decoders, LinearBank), "only the chosen decoders are saved"
        assert len(predictor.predict("heart", heart)) == len(heart)


def test_a_saved_model_says_what_the_chosen_decoder_says(clinic):
    path = changed(clinic, pseudotasks={"decoders": 3, "control": "HGD"}, seeds=1)
    result = run_file(path, path.parent / "out")
    model = result.best_models["soft+HGD"]
    tasks = {task.name: task for task in read_run_file(path).load_tasks()}
    inputs = tasks["heart"].data.test.inputs
    expected = tasks["heart"].kind.predict(model({tasks["heart"].data.name: inputs}, ["heart"])["heart"])
    said = load_predictor(path.parent / "out", "soft+HGD").predict("heart", inputs)
    assert said.iloc[:, -1].to_numpy() == pytest.approx(expected.detach().numpy(), abs=1e-5)


def test_at_the_top_of_the_file_it_augments_sharing_and_compares_with_the_same_without(clinic):
    content = yaml.safe_load(clinic.read_text())
    del content["compare"]
    clinic.write_text(yaml.safe_dump({**content, "pseudotasks": "HGD"}))
    run = read_run_file(clinic)
    assert list(run.methods) == ["soft+HGD", "soft", "single"]
    assert run.methods["soft+HGD"].pseudotasks.decoders == 10
    assert run.methods["soft"].pseudotasks is None
    assert run.methods["soft"].options == run.methods["soft+HGD"].options


def test_the_explicit_file_says_the_same(clinic, tmp_path):
    path = changed(clinic, pseudotasks={"decoders": 4, "control": "pta-gp", "rates": [0.1, 0.4]})
    run = read_run_file(path)
    (tmp_path / "again.yaml").write_text(run.to_yaml())
    again = read_run_file(tmp_path / "again.yaml")
    assert again.methods == run.methods
    assert run.methods["soft+GP"].pseudotasks.rates == (0.1, 0.4)


def test_a_stopped_run_goes_on(clinic, assert_goes_on):
    path = changed(clinic, pseudotasks={"decoders": 3, "control": "HGD"}, seeds=1)
    assert_goes_on(path, "soft", step=30)


@pytest.mark.data
def test_omniglot(tmp_path, monkeypatch):
    if not (DATA / "omniglot_105.npz").exists():
        pytest.skip("needs Omniglot: set MODULI_DATA")
    monkeypatch.setenv("MODULI_DATA", str(DATA))
    variants = [{"kind": "hard", "pseudotasks": {"decoders": 3, "control": c}} for c in EIGHT]
    content = {
        "tasks": [{"data": "omniglot", "alphabets": ["Korean", "Greek"], "size": 16}],
        "sharing": {**variants[0], "width": 4, "dropout": 0.2},
        "compare": variants[1:],
        "train": {"steps": 4, "batch_size": 4, "phase": 2},
        "seeds": 1,
    }
    (tmp_path / "omniglot.yaml").write_text(yaml.safe_dump(content))
    result = run_file(tmp_path / "omniglot.yaml", tmp_path / "out")
    assert list(result.summary["methods"]) == [f"hard+{control}" for control in EIGHT]
    assert not result.failures


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"control": "HG"}, r"sharing\.pseudotasks: control 'HG': H perturbs"),
        ({"control": "Q"}, "unknown letter 'Q'"),
        ({"decoders": 0}, r"sharing\.pseudotasks\.decoders"),
        ({"control": "D", "dropout": 0}, r"sharing\.pseudotasks\.dropout is 0"),
        ({"dropout": 1}, r"sharing\.pseudotasks\.dropout"),
        ({"decoder": 3}, "did you mean 'decoders'"),
        ({"rates": [0.8, 0.2]}, "rates are"),
        (3, "pseudotasks is 3"),
    ],
)
def test_bad_values_are_one_clear_line(clinic, value, words):
    with pytest.raises(InputError, match=words) as caught:
        read_run_file(changed(clinic, pseudotasks=value))
    assert "\n" not in str(caught.value)


def test_it_stands_in_one_place_only(clinic):
    path = changed(clinic, pseudotasks="I", sharing={"kind": "hard", "pseudotasks": "F"})
    with pytest.raises(InputError, match="at the top of the file and under sharing"):
        read_run_file(path)
