"""What the experiments on evolution compute themselves: regions, looks, and what they copy."""

# pyright: reportMissingImports=false

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from moduli import Data, Multiclass, Task, TensorSource

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "experiments"))

import cmtr_omniglot
import common
import ctr_omniglot
import ctr_uci

DATA = Path(os.environ.get("MODULI_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def drawings(name: str, images: torch.Tensor) -> Task:
    source = TensorSource(images[:, None], {name: torch.zeros(len(images), dtype=torch.long)})
    return Task(name, Multiclass(2), Data(name, (1, *images.shape[1:]), source, source, source))


def test_looks_do_not_depend_on_where_a_drawing_stands():
    image = torch.zeros(16, 16)
    image[3:9, 4] = image[8, 4:9] = 1
    other = torch.rand(16, 16)
    tasks = [
        drawings("a", image[None]),
        drawings("b", image.roll((2, 5), (0, 1))[None]),
        drawings("c", other[None]),
    ]
    looks = ctr_omniglot.looks(tasks)
    np.testing.assert_allclose(looks[0], looks[1], atol=1e-4)
    assert np.abs(looks[0] - looks[2]).max() > 0.1


def test_every_region_has_alphabets_of_its_own():
    alphabets = [name for some in ctr_omniglot.REGIONS.values() for name in some.split()]
    assert len(alphabets) == len(set(alphabets)) == 50


@pytest.mark.data
def test_the_regions_are_of_the_alphabets_there_are(monkeypatch):
    if not (DATA / "omniglot_105.npz").exists():
        pytest.skip("no Omniglot under MODULI_DATA")
    monkeypatch.setenv("MODULI_DATA", str(DATA))
    scale = ctr_omniglot.SCALES["smoke"]._replace(size=2)
    known = {task.name for task in ctr_omniglot.load(50, scale)}
    assert known == {name for some in ctr_omniglot.REGIONS.values() for name in some.split()}


def test_both_experiments_train_for_as_long():
    """The scales of CMTR are those of CTR by name."""
    assert cmtr_omniglot.SCALES.keys() == ctr_omniglot.SCALES.keys() == set(common.SCALES)
    assert ctr_uci.SCALES.keys() == set(common.SCALES)


def test_pictures_that_are_not_there_are_not_copied(tmp_path):
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "evolution.png").write_bytes(b"picture")
    (tmp_path / "into").mkdir()
    common.keep_pictures(tmp_path, tmp_path / "into", {"evolution": "growth", "other": "other"})
    assert [path.name for path in (tmp_path / "into").iterdir()] == ["growth.png"]
