"""Penn Treebank and WikiText-2: the published archives to texts, the counts, and the tasks."""

import gzip
import io
import tarfile
import zipfile

import pytest
import torch

from moduli.data import ptb, wikitext2
from moduli.data.cache import CacheFile, Dataset
from moduli.errors import InputError
from moduli.tasks import LanguageModel

TEXTS = (" the cat sat \n the <unk> sat \n", " the dog sat \n", " a cat \n")


@pytest.fixture
def small(monkeypatch):
    texts = iter(TEXTS)
    monkeypatch.setattr(Dataset, "read", lambda self, file: next(texts))


@pytest.mark.parametrize("source", [ptb, wikitext2], ids=["ptb", "wikitext2"])
def test_words_of_the_training_text_are_the_vocabulary(small, source):
    (task,) = source.tasks(length=2, columns=1)
    name = source.DATASET.name
    assert (task.name, task.metric, task.batch_size) == (name, "perplexity", 1)
    assert task.kind == LanguageModel(5)  # the <eos> sat cat <unk>
    assert task.data.shape == (2,)
    assert task.data.train.tokens.tolist() == [0, 3, 1, 2, 0, 4, 1, 2]
    assert task.data.val.tokens.tolist() == [0, 4, 1, 2]  # the <unk> sat <eos>
    assert task.data.test.tokens.tolist() == [4, 3, 2]


# ------------------------------------------------------------------ Penn Treebank


def test_a_text_from_the_archive_and_as_it_is(tmp_path):
    archive = tmp_path / "simple-examples.tgz"
    with tarfile.open(archive, "w:gz") as out:
        for name, text in (("1-train/train", "no"), ("data/ptb.train.txt", TEXTS[0]), ("data/README", "no")):
            member = tarfile.TarInfo(f"./simple-examples/{name}")
            member.size = len(text)
            out.addfile(member, io.BytesIO(text.encode()))
    copy = tmp_path / "ptb.train.txt"
    copy.write_text(TEXTS[0])
    for path in (archive, copy):
        assert gzip.decompress(ptb._build([path], "ptb.train.txt")).decode() == TEXTS[0]
    with pytest.raises(ValueError, match=r"no ptb\.test\.txt in it"):
        ptb._build([archive], "ptb.test.txt")


def test_another_text_is_refused():
    with pytest.raises(ValueError, match="MD5"):
        ptb.parse(gzip.compress(b"the cat"), "0" * 32)


def test_penn_treebank_as_published(real_data):
    if not ptb.DATASET.present:
        pytest.skip("no Penn Treebank text in the data folder")
    (task,) = ptb.tasks()
    assert task.kind == LanguageModel(10_000)
    assert [len(task.data.split(s).tokens) for s in ("train", "val", "test")] == [929_589, 73_760, 82_430]
    batch = task.data.train.stream(20, 0, torch.device("cpu")).draw()
    assert batch.inputs.shape == batch.targets["ptb"].shape == (20, 35)


# ------------------------------------------------------------------ WikiText-2


def test_a_text_from_the_zip_file(tmp_path):
    path = tmp_path / "wikitext-2-v1.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("wikitext-2/wiki.valid.tokens", TEXTS[0])
    content = wikitext2._build([path], "valid")
    assert wikitext2.parse(content, 8) == TEXTS[0]
    with pytest.raises(ValueError, match="8 tokens instead of 9"):
        wikitext2.parse(content, 9)


def test_wikitext_2_as_published(real_data):
    _, *others = wikitext2.DATASET.files
    if not all(file.place.exists() for file in others):
        pytest.skip("no WikiText-2 in the data folder")
    for file, tokens in zip(others, (217_646, 245_569), strict=True):
        text = file.read()  # counts them
        assert len(text.split()) + text.count("\n") == tokens


def test_without_the_training_text_the_line_names_the_download_and_another_set(data_folder, monkeypatch):
    def refuse(self, file):
        raise InputError("no connection")

    monkeypatch.setattr(Dataset, "read", refuse)
    with pytest.raises(InputError) as caught:
        wikitext2.tasks()
    line = str(caught.value)
    assert "\n" not in line
    for part in ("wiki.train.tokens.gz is not there", "wikitext-2-v1.zip", "'ptb'", "no connection"):
        assert part in line


def test_a_damaged_text_is_called_that(data_folder):
    file: CacheFile = wikitext2.DATASET.files[0]
    file.place.parent.mkdir(parents=True)
    file.place.write_bytes(gzip.compress(b"short"))
    with pytest.raises(InputError, match="is damaged"):
        wikitext2.tasks()
