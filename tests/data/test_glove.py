"""Word vectors: the published archive to a file of the most frequent words, and vectors by vocabulary."""

import gzip
import os
import zipfile
from pathlib import Path

import pytest
import torch

import moduli.data
from moduli import LSTM
from moduli.data import glove
from moduli.data.cache import Dataset
from moduli.errors import InputError
from moduli.tasks.text import count_words

LINES = "the 1 2\n, 3 4\ncafé -0.5 1e-3\nlast 7 8\n"


def test_the_first_lines_of_the_archive_are_kept(tmp_path):
    path = tmp_path / "glove.6B.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("glove.6B.50d.txt", LINES)
    packed = glove.pack(path, 50, words=3)
    assert gzip.decompress(packed).decode() == LINES.removesuffix("last 7 8\n")
    rows, values = glove.parse(packed, size=2, words=3)
    assert rows == {"the": 0, ",": 1, "café": 2}
    torch.testing.assert_close(torch.from_numpy(values), torch.tensor([[1, 2], [3, 4], [-0.5, 1e-3]]))
    with pytest.raises(KeyError):
        glove.pack(path, 100)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("the 1 2\n", "1 words in 1 lines, not 2"),
        ("the 1 2\nthe 1 2\n", "1 words in 2 lines"),
        ("the 1 2\nof 1\n", "not a word and 2 numbers"),
        ("the 1 2\nof 1 inf\n", "not finite"),
        ("the 1 2\nof 1 x\n", "could not convert"),
    ],
)
def test_damaged_vectors(lines, message):
    with pytest.raises(ValueError, match=message):
        glove.parse(gzip.compress(lines.encode()), size=2, words=2)


def test_vectors_stand_in_the_rows_of_their_words(monkeypatch, data_folder):
    rows, values = {"film": 1, "a": 0}, torch.arange(100.0).view(2, 50).numpy()
    monkeypatch.setattr(Dataset, "read", lambda self, file: glove.Vectors(rows, values))
    vocabulary = count_words(["a film unheardof", "a film", "a"], 9)
    vectors, found = glove.glove_vectors(vocabulary)
    assert vectors.shape == (9, 50)
    assert found == pytest.approx(2 / 3)
    assert vectors[[4, 5]].tolist() == values.tolist()
    assert vectors[[0, 1, 2, 3, 6, 7, 8]].isnan().all()


def test_an_embedding_starts_from_what_there_is():
    vectors = torch.full((6, 3), torch.nan)
    vectors[4] = 2.0
    weight = LSTM(6, 4, vectors=vectors).embedding.weight
    assert weight[4].tolist() == [2.0] * 3
    others = weight[[0, 1, 2, 3, 5]].abs()
    assert 0 < others.max() <= 0.05


def test_what_there_is_not():
    vocabulary = count_words(["a film"], 9)
    with pytest.raises(InputError, match="no vectors of size 64: give one of 50, 100, 200, 300"):
        glove.glove_vectors(vocabulary, 64)
    with pytest.raises(InputError, match="no tasks"):
        moduli.data.load("glove")


def test_the_published_vectors(monkeypatch):
    folder = Path(os.environ.get("MODULI_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
    if not (folder / "glove").exists():
        pytest.skip(f"no glove in {folder}: set MODULI_DATA to a folder with the data sets")
    monkeypatch.setenv("MODULI_DATA", str(folder))
    vectors, found = glove.glove_vectors(count_words(["good great poor n't zzzzq"], 9))
    assert found == 4 / 5
    good, great, poor = vectors[4:7]
    assert torch.cosine_similarity(good, great, 0) > torch.cosine_similarity(great, poor, 0)
