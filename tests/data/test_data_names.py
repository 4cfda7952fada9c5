"""Data sets by name, as run files and the command line use them."""

import subprocess
import sys

import pytest

import moduli.data
from moduli.errors import InputError


def test_names_and_rows(data_folder):
    sets = moduli.data.datasets()
    assert {"mnist", "omniglot", "sklearn/digits", "uci/iris"} <= sets.keys()
    assert {"cifar10", "ptb", "wikitext2", "crispr", "deepcrispr", "kang"} <= sets.keys()
    assert {"school", "computer_survey", "kang_mnist", "kang_usps"} <= sets.keys()
    assert len([name for name in sets if name.startswith("uci/")]) == 10
    assert all(name == dataset.name for name, dataset in sets.items())
    assert all(d.licence and d.citation and d.homepage.startswith("http") for d in sets.values())
    table = {row["name"]: row for row in moduli.data.rows()}
    assert table.keys() == sets.keys()
    assert table["sklearn/wine"]["present"]
    assert not table["uci/wine"]["present"]
    assert table["uci/wine"]["where"] == str(data_folder / "uci")
    assert (table["mnist"]["samples"], table["omniglot"]["licence"]) == (70_000, "MIT")
    assert not data_folder.exists()


def test_one_set_or_a_group():
    (wine,) = moduli.data.load("sklearn/wine", seed=3)
    assert wine.name == "wine"
    assert [task.name for task in moduli.data.load("sklearn")][1] == "wine"


def test_generated_tasks_by_name(data_folder):
    tasks = moduli.data.load("kang", noisy=False, val=3)
    assert len(tasks) == 30
    assert len(tasks[0].data.val) == 3


def test_uci_by_name_has_a_clean_test_part(real_data):
    tasks = moduli.data.load("uci")
    assert len(tasks) == 10
    assert all(task.data.test is not task.data.val for task in tasks)
    (paper,) = moduli.data.load("uci/iris", val=0.2, test="val")
    assert paper.data.test is paper.data.val


def test_images_by_name(real_data):
    (task,) = moduli.data.load("omniglot", alphabets=["Greek"], size=7)
    assert task.name == "Greek"
    (pair,) = moduli.data.load("mnist/pairs", n=1, seed=0)
    assert pair.kind.name == "binary"


@pytest.mark.parametrize("name", ["uci/irsi", "sklearn/irsi"])
def test_an_unknown_name(name):
    with pytest.raises(InputError, match=f"unknown data set '{name}', did you mean '.*/iris'"):
        moduli.data.load(name)
    with pytest.raises(InputError, match="unknown data set"):
        moduli.data.fetch(name)


def test_an_unknown_option():
    with pytest.raises(InputError, match="unknown option 'sed', did you mean 'seed'"):
        moduli.data.load("sklearn/iris", sed=1)


def test_fetching_what_is_there_downloads_and_writes_nothing(real_data, monkeypatch):
    monkeypatch.setattr("tempfile.TemporaryDirectory", None)
    before = sorted(path.stat().st_mtime_ns for path in real_data.rglob("*"))
    assert len(moduli.data.fetch("uci")) == 11
    assert moduli.data.fetch("uci/iris")[0] == real_data / "uci" / "iris.csv"
    assert len(moduli.data.fetch("mnist/pairs")) == 4
    assert moduli.data.fetch("omniglot") == [real_data / "omniglot_105.npz"]
    assert moduli.data.fetch("sklearn") == []
    assert sorted(path.stat().st_mtime_ns for path in real_data.rglob("*")) == before


def test_listing_loads_nothing_heavy():
    heavy = ("torch", "pandas", "sklearn", "pooch", "PIL", "requests")
    code = (
        "import os, sys; os.environ['MODULI_DATA'] = 'x'; import moduli.data; moduli.data.rows();"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"
