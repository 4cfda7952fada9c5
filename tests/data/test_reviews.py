"""Reviews of 16 domains: the published files packed, one way of dividing words, one vocabulary."""

import gzip
import io
import os
import tarfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

import moduli.data
from moduli.data import reviews
from moduli.data.cache import Dataset
from moduli.errors import InputError
from moduli.tasks import Binary
from moduli.tasks.text import words

LABELLED = b"1\tfilm's fine ,\x85it did n't bore .\n0\tdull\xe9\n"


def test_published_files_are_packed_as_they_are(tmp_path):
    plain = tmp_path / "MR.task.train"
    plain.write_bytes(LABELLED)
    packed = reviews.pack(plain, "MR.task.train")
    assert gzip.decompress(packed) == LABELLED
    labels, texts = reviews.parse(packed, labelled=True)
    assert labels.tolist() == [1, 0]
    assert texts == ("film 's fine ,\x85it did n't bore .", "dullé")  # a line ends at a line feed only


def test_the_archive_of_all_files_will_do(tmp_path):
    path = tmp_path / "all.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in (
            ("mtl-dataset/MR.task.test", b"0\tno\n"),
            ("mtl-dataset/MR.task.train", LABELLED),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    assert gzip.decompress(reviews.pack(path, "MR.task.train")) == LABELLED
    with pytest.raises(ValueError, match=r"no dvd\.task\.train in it"):
        reviews.pack(path, "dvd.task.train")


def test_other_content_is_refused():
    with pytest.raises(ValueError, match="not the published one"):
        reviews.parse(gzip.compress(LABELLED), labelled=True, digest="0123")
    for line in (b"2\tmaybe\n", b"1 no tab\n"):
        with pytest.raises(ValueError, match="does not begin with a label"):
            reviews.parse(gzip.compress(line), labelled=True)
    with pytest.raises(EOFError):
        reviews.parse(gzip.compress(LABELLED)[:-9], labelled=True)


def test_a_file_that_was_fetched_by_hand_is_packed(tmp_path, data_folder):
    (data_folder / "raw").mkdir(parents=True)
    (data_folder / "raw" / "MR.task.unlabel").write_bytes(b"It's good.\n\xa0\n")
    file = replace(reviews._file("MR", "unlabel"), parse=partial(reviews.parse, labelled=False))
    dataset = replace(reviews.DATASET, files=(file,))
    labels, texts = dataset.read(file)
    assert (len(labels), texts) == (0, ("It 's good.", "\xa0"))
    assert file.place == data_folder / "fudan_mtl" / "MR.task.unlabel.gz"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I don't, it's they'd WE'RE", "i do n't it 's they 'd we 're"),
        ("do n't  it 's", "do n't it 's"),  # divided before
        ("'Great' ''dogs'' dogs' 'tis ' o'brien", "great dogs dogs tis o'brien"),
        ("can't 'superb", "ca n't superb"),
    ],
)
def test_contractions_are_divided_and_quotes_dropped(text, expected):
    assert words(reviews.divided(text)) == expected.split()


@pytest.fixture
def small(monkeypatch, data_folder):
    """Two domains of made-up reviews: 40 to train, 10 to test, 5 without labels."""

    def read(self: Dataset, file) -> reviews.Reviews:
        domain, _, part = Path(file.path).name.removesuffix(".gz").split(".")
        size = {"train": 40, "test": 10, "unlabel": 5}[part]
        lines = [f"a {domain} {part} no {n} {'good' if n % 2 else 'bad'}" for n in range(size)]
        if part != "unlabel":
            lines = [f"{n % 2}\t{line}" for n, line in enumerate(lines)]
        return reviews.parse(gzip.compress("\n".join([*lines, ""]).encode()), part != "unlabel")

    monkeypatch.setattr(Dataset, "read", read)


def test_every_domain_is_a_binary_task(small):
    tasks = reviews.tasks(["video", "MR"], words=30, length=8, val=10)
    assert [task.name for task in tasks] == ["video", "MR"]
    assert {task.kind for task in tasks} == {Binary()}
    data = tasks[1].data
    assert (data.name, data.shape, data.tokens) == ("MR", (8,), 30)
    assert [len(data.split(part)) for part in ("train", "val", "test")] == [30, 10, 10]
    assert data.val.targets["MR"].sum() == 5
    assert data.test.targets["MR"].tolist() == [0.0, 1.0] * 5


def test_all_domains_have_one_vocabulary_counted_on_training_texts(small):
    video, mr = reviews.tasks(["video", "MR"], words=30, length=7, val=10)
    known = reviews.vocabulary(["video", "MR"], 30)
    # "a", "train" and "no" are in all 80 training texts, each domain in its 40, as are "bad" and "good".
    assert [known.numbers[w] for w in ("a", "train", "no", "video", "bad", "good", "mr")] == [
        *(4, 5, 6),
        *(known.numbers[w] for w in ("video", "bad", "good", "mr")),
    ]
    assert {known.numbers[w] for w in ("video", "bad", "good", "mr")} == {7, 8, 9, 10}
    first = [1, 4, known.numbers["mr"], 2, 6]  # START, a, mr, "test" is unknown, no
    assert mr.data.test.inputs[0, :5].tolist() == first
    without = reviews.unlabelled(["video", "MR"], 30, 7)
    assert list(without) == ["video", "MR"]
    assert without["MR"].shape == (5, 7)
    assert without["MR"][0, :5].tolist() == first
    assert video.data.test.inputs[0, 2] == known.numbers["video"]
    assert "mr" not in reviews.vocabulary(["video"], 30).numbers


def test_a_domain_that_was_left_out_is_read_with_the_words_of_others(small):
    known = reviews.vocabulary(["video"], 9)
    (mr,) = reviews.tasks(["MR"], length=7, val=10, known=known)
    assert mr.data.tokens == 9
    expected = known.encode(["a mr test no 0 bad"], 7)
    assert expected[0, 3] == 2  # "mr" is unknown
    assert mr.data.test.inputs[:1].equal(expected)
    assert reviews.unlabelled(["MR"], length=7, known=known)["MR"].max() < 9


def test_words_are_counted_once(small):
    assert reviews.vocabulary(["video"], 30) is reviews.vocabulary(["video"], 30)


def test_the_validation_part_is_drawn_by_the_seed(small):
    def held_out(seed: int) -> set[tuple[int, ...]]:
        (task,) = reviews.tasks(["MR"], 100, 7, 10, seed)
        return {tuple(row) for row in task.data.val.inputs.tolist()}

    assert held_out(0) == held_out(0) != held_out(1)
    train = {tuple(row) for row in reviews.tasks(["MR"], 100, 7, 10)[0].data.train.inputs.tolist()}
    assert train.isdisjoint(held_out(0))


def test_what_makes_no_sense_is_refused():
    with pytest.raises(InputError, match="unknown domain of reviews 'book', did you mean 'books'"):
        reviews.tasks(["book"])
    for domains in ([], ["MR", "MR"]):
        with pytest.raises(InputError, match="give at least one, and none twice"):
            reviews.vocabulary(domains)
    for val in (1, 1001, 0.1):
        with pytest.raises(InputError, match="val of the reviews is"):
            reviews.tasks(val=val)


@pytest.fixture
def published(monkeypatch) -> Path:
    folder = Path(os.environ.get("MODULI_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
    if not (folder / "fudan_mtl").exists():
        pytest.skip(f"no fudan_mtl in {folder}: set MODULI_DATA to a folder with the data sets")
    monkeypatch.setenv("MODULI_DATA", str(folder))
    return folder


def test_the_published_reviews(published):
    software, mr = moduli.data.load("reviews", domains=["software", "MR"], words=5000, length=30)
    assert [len(software.data.split(part)) for part in ("train", "val", "test")] == [1315, 200, 400]
    assert mr.data.test.targets["MR"].sum() == 208
    assert (mr.data.val.targets["MR"].sum() - 200 * 778 / 1600).abs() <= 1
    texts = reviews.unlabelled(["software"], 5000, 30)["software"]
    assert texts.shape == (475, 30)
    unknown = [(x == 2).sum() / (x > 2).sum() for x in (texts, software.data.test.inputs)]
    assert max(unknown) < 0.12
    assert abs(unknown[0] - unknown[1]) < 0.02  # prepared alike
    assert torch.equal(
        software.data.val.inputs, reviews.tasks(["software", "MR"], 5000, 30)[0].data.val.inputs
    )


def test_all_published_files_are_the_known_ones(published):
    assert len(reviews.DATASET.fetch()) == 48
    labelled = [reviews.DATASET.read(file) for file in reviews.DATASET.files if "unlabel" not in file.path]
    assert sum(len(part.labels) for part in labelled) == reviews.DATASET.samples == 25_380 + 6_400
