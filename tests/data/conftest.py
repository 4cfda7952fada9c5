"""Where the real data lie, and a data folder that starts empty."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _real_folder() -> Path:
    chosen = os.environ.get("MODULI_DATA")
    return Path(chosen) if chosen else ROOT.parent / "shared" / "data"


@pytest.fixture
def real_data(monkeypatch) -> Path:
    """The folder with the processed data sets, as the data folder; skips where there is none."""
    folder = _real_folder()
    for path in ("uci/iris.csv", "mnist/train-images-idx3-ubyte.gz", "omniglot_105.npz"):
        if not (folder / path).exists():
            pytest.skip(f"no {path} in {folder}: set MODULI_DATA to a folder with the data sets")
    monkeypatch.setenv("MODULI_DATA", str(folder))
    return folder


@pytest.fixture
def data_folder(tmp_path, monkeypatch) -> Path:
    """A data folder that is still to be made."""
    folder = tmp_path / "data"
    monkeypatch.setenv("MODULI_DATA", str(folder))
    return folder
