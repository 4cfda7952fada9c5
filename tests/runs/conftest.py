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


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    """The run file, in a folder of its own."""
    write_tables(tmp_path)
    (tmp_path / "clinic.yaml").write_text(RUN_FILE)
    return tmp_path / "clinic.yaml"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of the same file."""
    from moduli.runs import run_file

    folder = tmp_path_factory.mktemp("finished")
    write_tables(folder)
    (folder / "clinic.yaml").write_text(RUN_FILE)
    run_file(folder / "clinic.yaml", folder / "out")
    return folder / "out"
