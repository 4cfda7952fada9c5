"""The command line: what a user types, sees, and gets as an exit code."""

import subprocess
import sys
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from moduli import __version__
from moduli.cli.main import app
from moduli.data import bundled

RUN_FILE = """
name: demo
tasks: [{data: sklearn/iris}, {data: sklearn/wine}]
sharing: {kind: soft, layers: 2, width: 6}
train: {steps: 20, phase: 10, batch_size: 8}
seeds: 2
"""


def moduli(*words: str | Path):
    return CliRunner().invoke(app, [str(word) for word in words], prog_name="moduli")


@pytest.fixture
def file(tmp_path):
    (tmp_path / "demo.yaml").write_text(RUN_FILE)
    return tmp_path / "demo.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a finished run."""
    file = tmp_path_factory.mktemp("demo") / "demo.yaml"
    file.write_text(RUN_FILE)
    result = moduli("run", file, "--out", file.parent / "out")
    assert result.exit_code == 0, result.output
    return file.parent / "out"


def test_run_says_what_it_understood_and_shows_the_comparison(file, tmp_path):
    result = moduli("run", file, "--out", tmp_path / "out", "--seeds", "1", "--set", "train.steps=10")
    assert result.exit_code == 0
    assert "iris: multiclass (setosa, versicolor, virginica), 150 rows" in result.stderr
    assert f"report: {tmp_path / 'out' / 'report.html'}" in result.stderr
    assert "soft" in result.stdout
    assert "vs single" in result.stdout
    assert "steps: 10" in (tmp_path / "out" / "config.yaml").read_text()


def test_the_folder_is_called_like_the_run(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert moduli("run", file, "--seeds", "1").exit_code == 0
    assert (tmp_path / "runs" / "demo" / "report.html").exists()


def test_a_finished_run_says_so(folder):
    result = moduli("resume", folder)
    assert (result.exit_code, result.stderr) == (
        0,
        f"{folder} is finished: its report is {folder}/report.html\n",
    )


def test_predict_writes_a_row_for_each_row(folder, tmp_path):
    iris = bundled.frame("iris")
    iris.to_csv(tmp_path / "iris.csv", index=False)
    words = ("predict", folder, "--task", "iris", "--table", tmp_path / "iris.csv")
    printed = moduli(*words)
    assert printed.exit_code == 0
    frame = pd.read_csv(StringIO(printed.stdout))
    assert len(frame) == len(iris)
    assert set(frame["target"]) <= set(iris["target"])
    moduli(*words, "--out", tmp_path / "p.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "p.parquet"), frame)
    other = moduli(*words, "--method", "single")
    assert other.stdout != printed.stdout


def test_report_is_written_anew(folder):
    (folder / "report.html").unlink()
    assert moduli("report", folder).exit_code == 0
    assert (folder / "report.html").exists()


def test_bad_input_is_one_line_and_exit_code_2(file, folder, tmp_path):
    missing = moduli("run", tmp_path / "dmo.yaml")
    assert (missing.exit_code, missing.stdout) == (2, "")
    assert missing.stderr == f"error: no file {tmp_path / 'dmo.yaml'}, did you mean 'demo.yaml'?\n"
    for words in (
        ("run", file, "--out", folder),
        ("run", file, "--out", tmp_path / "x", "--set", "train.stps=3"),
        ("run", file, "--out", tmp_path / "x", "--device", "gpu9"),
        ("resume", tmp_path),
        ("report", tmp_path),
        ("predict", folder, "--task", "iri", "--table", file),
        ("predict", folder, "--task", "iris", "--table", tmp_path / "no.csv"),
        ("data", "fetch", "uci/irs"),
    ):
        result = moduli(*words)
        assert (result.exit_code, result.stdout) == (2, ""), words
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1


def test_a_failed_run_has_exit_code_3_and_says_what_failed(file, tmp_path):
    sets = ("--set", "train.lr=1e30", "--set", "train.optimizer=sgd", "--set", "compare=[]")
    result = moduli("run", file, "--out", tmp_path / "out", "--seeds", "1", *sets)
    assert result.exit_code == 3
    assert "failed: soft, seed 0" in result.stderr
    assert "try a lower lr" in result.stderr


def test_ctrl_c_has_exit_code_130(file, tmp_path, monkeypatch):
    def stopped(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("moduli.runs.runner.compare", lambda *args, **kwargs: stopped())
    result = moduli("run", file, "--out", tmp_path / "out")
    assert result.exit_code == 130
    assert result.stderr.endswith(f"stopped; go on with: moduli resume {tmp_path / 'out'}\n")


def test_an_unexpected_error_keeps_its_traceback(file, tmp_path, monkeypatch):
    def broken(*args, **kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr("moduli.runs.runner.compare", broken)
    result = moduli("run", file, "--out", tmp_path / "out")
    assert isinstance(result.exception, ZeroDivisionError)


def test_lists(tmp_path, monkeypatch):
    monkeypatch.setenv("MODULI_DATA", str(tmp_path))
    names = moduli("list").stdout
    for word in ("soft", "single", "weights", "adamw", "regression"):
        assert word in names
    assert "uci/australian" in moduli("data", "list").stdout
    assert moduli("data", "path").stdout == f"{tmp_path}\n"
    assert moduli("data", "fetch", "sklearn/iris").exit_code == 0
    assert moduli("--version").stdout == f"{__version__}\n"


@pytest.mark.parametrize(
    "command",
    [
        ["run"],
        ["resume"],
        ["predict"],
        ["report"],
        ["list"],
        ["data", "list"],
        ["data", "fetch"],
        ["data", "path"],
    ],
)
def test_the_help_of_every_command_has_an_example(command):
    result = moduli(*command, "--help")
    assert result.exit_code == 0
    assert "Example: " in result.stdout
    assert f"moduli {' '.join(command)}" in " ".join(result.stdout.split())


def test_help_loads_nothing_heavy():
    heavy = {"torch", "pandas", "numpy", "sklearn", "matplotlib", "pydantic", "yaml"}
    code = f"import sys, moduli.cli.main; print(sorted({heavy!r} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_python_m_moduli_is_the_command():
    found = subprocess.run(
        [sys.executable, "-m", "moduli", "--version"], capture_output=True, text=True, check=True
    )
    assert found.stdout == f"{__version__}\n"
