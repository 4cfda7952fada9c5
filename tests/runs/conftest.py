"""A run file over two small tables, one of them with two targets that are partly missing."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

RUN_FILE = """
name: clinic
tasks:
  - {name: heart, table: heart.csv, target: disease}
  - {table: panel.csv, targets: [glucose, diabetic]}
sharing: {kind: soft, layers: 2, width: 8, dropout: 0.2}
compare: [single]
train: {steps: 40, batch_size: 16, phase: 20}
seeds: 2
"""


def write_tables(folder: Path) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 2))
    sex = random.choice(["f", "m"], 60)
    disease = np.where(x[:, 0] + (sex == "f") > 0, "sick", "well")
    pd.DataFrame({"age": x[:, 0], "bmi": x[:, 1], "sex": sex, "disease": disease}).to_csv(
        folder / "heart.csv", index=False
    )
    x = random.normal(size=(60, 3))
    panel = pd.DataFrame(x, columns=["a", "b", "c"])
    panel["glucose"] = np.where(random.random(60) < 0.2, np.nan, 100 + 10 * x[:, 0])
    panel["diabetic"] = pd.Series(np.where(x[:, 1] > 0, "yes", "no")).where(random.random(60) > 0.2)
    panel.to_csv(folder / "panel.csv", index=False)


def _write_clinic(folder: Path) -> Path:
    write_tables(folder)
    (folder / "clinic.yaml").write_text(RUN_FILE)
    return folder / "clinic.yaml"


@pytest.fixture(scope="session")
def write_clinic():
    """Writes the run file and its tables into a folder; the path of the file."""
    return _write_clinic


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    """The run file, in a folder of its own."""
    return _write_clinic(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of the same file."""
    from moduli.runs import run_file

    folder = tmp_path_factory.mktemp("finished")
    run_file(_write_clinic(folder), folder / "out")
    return folder / "out"


@pytest.fixture
def assert_goes_on(monkeypatch: pytest.MonkeyPatch):
    """`check(path, method, step)`: a run that is stopped there and resumed ends with the same numbers."""
    from moduli.runs import resume, run_file
    from moduli.training import Trainer

    def check(path: Path, method: str, step: int) -> None:
        whole = run_file(path, path.parent / "whole")
        one_step = Trainer.one_step

        def stops(self):
            if self.step == step and method in self.title:
                raise KeyboardInterrupt
            one_step(self)

        monkeypatch.setattr(Trainer, "one_step", stops)
        with pytest.raises(KeyboardInterrupt):
            run_file(path, path.parent / "stopped")
        monkeypatch.undo()
        resumed = resume(path.parent / "stopped")
        for one, two in zip(whole.outcomes, resumed.outcomes, strict=True):
            assert repr(one.test) == repr(two.test)  # NaN included
            assert one.extra == two.extra
        same = [(path.parent / run / "metrics.jsonl").read_text() for run in ("whole", "stopped")]
        assert same[0] == same[1]

    return check
