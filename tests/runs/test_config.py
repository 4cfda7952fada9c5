"""Run files: what they mean, and one clear line for whatever is wrong in them."""

from pathlib import Path

import pytest
import yaml

from moduli.errors import InputError
from moduli.runs import BALANCES, METHODS, SCHEDULES, read_run_file
from moduli.runs.config import DataSet, RunFile, Splits
from moduli.runs.sections import known_keys
from moduli.tasks.tables import TableSpec
from moduli.training import Train


def changed(path: Path, **sections) -> Path:
    """The run file with some sections replaced."""
    content = yaml.safe_load(path.read_text()) | sections
    path.write_text(yaml.safe_dump(content))
    return path


def test_everything_is_explicit_and_reading_it_again_changes_nothing(clinic, tmp_path):
    run = read_run_file(clinic)
    copy = tmp_path / "elsewhere" / "config.yaml"
    copy.parent.mkdir()
    copy.write_text(run.to_yaml())
    assert read_run_file(copy) == run
    resolved = yaml.safe_load(copy.read_text())
    assert resolved["tasks"][0]["table"] == str(tmp_path / "heart.csv")
    assert resolved["train"]["lr"] == 0.001
    assert resolved["seeds"] == [0, 1]


def test_compared_methods_take_the_sizes_of_the_sharing(clinic):
    shallow = {"kind": "hard", "layers": 1, "name": "shallow"}
    soft = {"kind": "soft", "layers": 3, "width": 8, "dropout": 0.2, "depth": 2}
    run = read_run_file(changed(clinic, sharing=soft, compare=["single", shallow]))
    assert list(run.methods) == ["soft", "single", "shallow"]
    common = {"balance": {"kind": "equal"}, "schedule": {"kind": "all"}}
    sizes = {"layers": 3, "width": 8, "dropout": 0.2}
    assert run.methods["single"].to_json() == {"kind": "single", **sizes, **common}
    assert run.methods["shallow"].to_json() == {"kind": "hard", **sizes, "layers": 1, **common}


def test_a_joint_model_is_compared_with_separate_ones_unless_it_says_otherwise(tmp_path):
    file = tmp_path / "short.yaml"
    file.write_text("tasks: [{data: sklearn/iris}]\n")
    run = read_run_file(file)
    assert (run.name, list(run.methods), run.tasks) == (
        "short",
        ["soft", "single"],
        (DataSet("sklearn/iris"),),
    )
    assert list(read_run_file(changed(file, sharing="single")).methods) == ["single"]
    assert list(read_run_file(changed(file, compare=[], sharing="hard")).methods) == ["hard"]


def test_seeds_count_from_the_first_or_are_listed(clinic):
    assert read_run_file(changed(clinic, seeds=3, seed=10)).seeds == (10, 11, 12)
    assert read_run_file(changed(clinic, seeds=[4, 2], seed=0)).seeds == (4, 2)
    assert read_run_file(clinic, seeds=1).seeds == (0,)


def test_splits_are_defaults_of_tables(clinic):
    tables = [{"table": "heart.csv", "target": "disease", "val": 0.3}, {"table": "panel.csv", "target": "a"}]
    run = read_run_file(changed(clinic, tasks=tables, splits={"val": 0.1, "test": "val", "seed": 7}))
    assert [(spec.val, spec.test, spec.seed) for spec in run.tasks] == [(0.3, "val", 7), (0.1, "val", 7)]


def test_changes_from_the_command_line(clinic):
    changes = ["train.steps=7", "train.lr=1e-2", "tasks.0.name=cardio", "sharing.kind=hard", "splits.seed=5"]
    run = read_run_file(clinic, [*changes, "balance={kind: weights, weights: {cardio: 2}}"])
    assert (run.train.steps, run.train.lr) == (7, 0.01)
    assert run.tasks[0].name == "cardio"
    assert run.methods["hard"].options.layers == 2
    assert all(m.balance.options.weights == {"cardio": 2.0} for m in run.methods.values())


def test_tasks_come_in_the_order_of_the_file(clinic):
    tables = [
        {"data": "sklearn/wine"},
        *yaml.safe_load(clinic.read_text())["tasks"],
        {"data": "sklearn/iris"},
    ]
    tasks = read_run_file(changed(clinic, tasks=tables)).load_tasks()
    assert [task.name for task in tasks] == ["wine", "heart", "glucose", "diabetic", "iris"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("train.stps=5", "train.stps: unknown key, did you mean 'steps'?"),
        ("train.steps=many", "train.steps: should be a valid integer, found 'many'"),
        ("train.steps=0", "train.steps is 0: give at least 1"),
        ("train.optimizer=adm", "train.optimizer is 'adm': did you mean 'adam'?"),
        ("trian={}", "trian: unknown key, did you mean 'train'?"),
        ("sharing.kind=sft", "sharing.kind is 'sft': did you mean 'soft'?"),
        ("sharing=4", "sharing is 4: give keys with values"),
        ("sharing.layers=0", "sharing.layers: should be greater than or equal to 1, found 0"),
        (
            "sharing={kind: hard, layers: -1}",
            "sharing.layers: should be greater than or equal to 0, found -1",
        ),
        (
            "sharing={kind: permuted, layers: 0}",
            "sharing.layers: should be greater than or equal to 1, found 0",
        ),
        ("sharing.encoder_dropout=1", "sharing.encoder_dropout: should be less than 1, found 1"),
        ("sharing.width=-1", "sharing.width: should be greater than or equal to 1, found -1"),
        ("sharing.dropout=1.5", "sharing.dropout: should be less than 1, found 1.5"),
        ("sharing={kind: soft, width: -1, layers: 0}", "(and 1 more)"),
        ("sharing.name=a/b", "sharing.name 'a/b' names a folder"),
        ("compare=[single, single]", "compare.1: two methods are called 'single'"),
        (
            "compare=[{layers: 2}]",
            "compare.0.kind is missing: known: cmtr, ctr, hard, linear/aso",
        ),
        ("compare=[{kind: hard, depth: 2}]", "compare.0.depth: unknown key"),
        ("tasks=[]", "tasks is empty"),
        ("tasks.0=heart.csv", "tasks.0 is 'heart.csv': give keys with values"),
        ("tasks.0.tabel=heart.csv", "tasks.0.tabel: unknown key, did you mean 'table'?"),
        ("tasks.0={target: age}", "tasks.0: give 'table'"),
        ("tasks.0.scaling=minmx", "'scaling'"),
        ("tasks.9.name=x", "there are entries 0 to 1, no entry '9'"),
        ("name.first=x", "name: should be a valid string"),
        ("train.steps.x=1", "steps is 40 and has no keys"),
        ("train.steps=[1", "the value is no YAML, line 1"),
        ("steps", "write key=value"),
        ("seeds=0", "seeds is 0: give at least 1"),
        ("seeds=[1, 1]", "list of different numbers"),
        ("balance=eqal", "balance.kind is 'eqal': did you mean 'equal'?"),
        ("balance.kind=weights", "balance.weights is missing"),
        ("device=gpu9", "device gpu9 cannot be used"),
        ("splits.val=1.5", "splits.val: should be less than 1, found 1.5"),
    ],
)
def test_a_mistake_is_one_line_that_says_where(clinic, change, message):
    with pytest.raises(InputError) as caught:
        read_run_file(clinic, [change])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tasks: [\n  a: b: c\n", "bad.yaml, line 2, column"),
        (
            "tasks: []\ntrain: {}\ntrain: {steps: 3}\n",
            "bad.yaml, line 3, column 1: the key 'train' stands twice",
        ),
        ("", "holds no keys with values"),
        ("- a\n", "holds no keys with values"),
    ],
)
def test_what_is_no_run_file_is_said_with_its_line(tmp_path, text, message):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(InputError, match=r"bad\.yaml") as caught:
        read_run_file(tmp_path / "bad.yaml")
    assert message in str(caught.value)


def test_a_missing_run_file_suggests_the_nearest(clinic):
    with pytest.raises(InputError, match=r"no file .*clinc.yaml, did you mean 'clinic.yaml'"):
        read_run_file(clinic.with_name("clinc.yaml"))


def test_every_key_is_in_the_reference():
    page = (Path(__file__).parents[2] / "docs" / "run-file.md").read_text(encoding="utf-8")
    tables = (METHODS, BALANCES, SCHEDULES)
    options = [entry.options for table in tables for entry in table.values()]
    keys = {key for section in (RunFile, Splits, TableSpec, Train, *options) for key in known_keys(section)}
    assert {key for key in keys if f"`{key}`" not in page and f"{key}:" not in page} == set()
    assert {kind for kind in [*METHODS, *BALANCES, *SCHEDULES] if f"`{kind}`" not in page} == set()
