"""IMDB: the published archive to tables, the preparation of Keras, parts that do not overlap."""

import gzip
import io
import os
import tarfile
from functools import partial
from pathlib import Path

import pytest
import torch

from moduli.data import imdb
from moduli.data.cache import Dataset
from moduli.errors import InputError
from moduli.tasks import Binary

# As published: {(part, class, number, rating): text}.
REVIEWS = {
    ("train", "pos", 0, 9): "A film to love.<br />Really!",
    ("train", "neg", 10, 1): "Bad,\tbad\u2028film\u00a0\r\n",
    ("train", "neg", 9, 4): "A film é",
    ("train", "pos", 1, 7): "love love",
    ("test", "pos", 0, 10): "fine",
    ("test", "neg", 0, 2): "dull",
}


def publish(folder: Path, reviews=REVIEWS) -> Path:
    """An archive of the published layout, among other files."""
    path = folder / "aclImdb_v1.tar.gz"
    others = {
        "aclImdb/README": "read me",
        "aclImdb/train/unsup/0_0.txt": "no label",
        "aclImdb/imdb.vocab": "a",
    }
    files = {f"aclImdb/{p}/{c}/{n}_{r}.txt": text for (p, c, n, r), text in reviews.items()}
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(_directory("aclImdb/train/neg"))
        for name, text in {**others, **files}.items():
            content = text.encode()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def _directory(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = tarfile.DIRTYPE
    return member


def test_the_archive_becomes_a_table_for_each_part(tmp_path):
    table = gzip.decompress(imdb.pack(publish(tmp_path), "train")).decode()
    assert table.split("\n") == [
        "label\trating\tid\ttext",
        "0\t4\t9\tA film é",
        "0\t1\t10\tBad, bad film\u00a0 ",
        "1\t9\t0\tA film to love.<br />Really!",
        "1\t7\t1\tlove love",
        "",
    ]
    labels, texts = imdb.parse(imdb.pack(publish(tmp_path), "test"), reviews=2)
    assert (labels.tolist(), texts) == ([0, 1], ["dull", "fine"])


def test_a_damaged_archive_or_table(tmp_path):
    archive = publish(tmp_path)
    with pytest.raises(ValueError, match="2 reviews of each label"):
        imdb.parse(imdb.pack(archive, "test"), reviews=4)
    for table, message in (("text\n", "columns"), ("label\trating\tid\ttext\n1\t7\t0\n", "four columns")):
        with pytest.raises(ValueError, match=message):
            imdb.parse(gzip.compress(table.encode()))
    with pytest.raises(ValueError, match="no test reviews"):
        imdb.pack(publish(tmp_path, {("train", "pos", 0, 9): "good"}), "test")
    archive.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="gzip"):
        imdb.DATASET.files[0].build([archive])


def test_an_archive_that_was_fetched_by_hand_is_converted(tmp_path, data_folder, capsys):
    (data_folder / "raw").mkdir(parents=True)
    publish(tmp_path).rename(data_folder / "raw" / "aclImdb_v1.tar.gz")
    file = imdb.CacheFile("imdb/test.tsv.gz", imdb.DATASET.files[1].mirrors, imdb.DATASET.files[1].build,
                          partial(imdb.parse, reviews=2))  # fmt: skip
    dataset = Dataset(**{**vars(imdb.DATASET), "files": (file,)})
    assert dataset.read(file).texts == ["dull", "fine"]
    assert file.place.exists()


@pytest.fixture
def small(monkeypatch, tmp_path) -> dict[str, imdb.Reviews]:
    """Forty training reviews of five words and twenty test reviews, half of them positive."""
    parts = {}
    for part, size in (("train", 40), ("test", 20)):
        texts = [f"{part} film no {n} {'good' if n % 2 else 'bad'}" for n in range(size)]
        rows = "".join(f"{n % 2}\t1\t{n}\t{text}\n" for n, text in enumerate(texts))
        content = gzip.compress(("label\trating\tid\ttext\n" + rows).encode())
        parts[f"imdb/{part}.tsv.gz"] = imdb.parse(content, reviews=size)
    monkeypatch.setattr(Dataset, "read", lambda self, file: parts[file.path])
    return parts


def test_reviews_are_one_binary_task(small):
    (task,) = imdb.tasks(words=30, length=6, val=10)
    data = task.data
    assert (task.name, task.kind) == ("imdb", Binary())
    assert (data.shape, data.tokens) == ((6,), 30)
    assert [len(data.split(part)) for part in ("train", "val", "test")] == [30, 10, 20]
    assert data.val.targets["imdb"].sum() == 5
    assert data.test.targets["imdb"].tolist() == [0.0, 1.0] * 10
    # film, no and train occur forty times, "bad" and "good" twenty; "test" never in training.
    assert data.test.inputs[0, :4].tolist() == [1, 2, 5, 6]
    assert data.test.inputs[0, 5] == 7
    assert data.test.inputs.max() < 30


def test_the_validation_part_is_drawn_by_the_seed(small):
    def held_out(seed: int) -> set[tuple[int, ...]]:
        return {tuple(row) for row in imdb.tasks(100, 3, 10, seed)[0].data.val.inputs.tolist()}

    assert held_out(0) == held_out(0) != held_out(1)
    train = {tuple(row) for row in imdb.tasks(100, 3, 10)[0].data.train.inputs.tolist()}
    assert train.isdisjoint(held_out(0))


@pytest.mark.parametrize("val", [0, 25_000, 0.1])
def test_impossible_validation_parts(val):
    with pytest.raises(InputError, match="val of IMDB is"):
        imdb.tasks(val=val)


def test_the_published_reviews(monkeypatch):
    folder = Path(os.environ.get("MODULI_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
    if not (folder / "imdb" / "test.tsv.gz").exists():
        pytest.skip(f"no imdb/test.tsv.gz in {folder}: set MODULI_DATA to a folder with the data sets")
    monkeypatch.setenv("MODULI_DATA", str(folder))
    labels, texts = imdb.DATASET.read(imdb.DATASET.files[1])
    assert len(texts) == 25_000
    assert len(set(texts)) == 24_801
    assert texts[12_500].startswith("I went and saw this movie last night")
    assert torch.from_numpy(labels)[12_499:12_501].tolist() == [0, 1]
