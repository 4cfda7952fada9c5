"""Texts in run files: the example over made-up reviews, from training to prediction."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from moduli import load_predictor, run_file
from moduli.data import imdb
from moduli.data.cache import Dataset
from moduli.errors import InputError
from moduli.runs import resume
from moduli.tasks.text import count_words

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "imdb.yaml"
SMALL = ["tasks.0.words=40", "tasks.0.length=6", "tasks.0.val=20", "sharing.width=8",
         "train.steps=60", "train.phase=20", "train.lr=0.02"]  # fmt: skip


@pytest.fixture
def reviews(monkeypatch) -> dict[str, imdb.Reviews]:
    """A hundred reviews for training and thirty for testing; one word gives the label away."""
    parts = {}
    for part, size in (("train", 100), ("test", 30)):
        labels = np.arange(size) % 2
        texts = [f"film number {n % 7} is {'good' if y else 'bad'}" for n, y in enumerate(labels)]
        parts[f"imdb/{part}.tsv.gz"] = imdb.Reviews(labels, texts)
    monkeypatch.setattr(Dataset, "read", lambda self, file: parts[file.path])
    return parts


def test_the_example_learns_and_predicts(reviews, tmp_path):
    said = []
    comparison = run_file(EXAMPLE, tmp_path / "run", SMALL, device="cpu", say=said.append)
    assert said[0] == "imdb: binary, 130 samples (80/20/30), inputs 6"
    (score,) = comparison.summary["methods"]["single"]["tasks"]["imdb"]["values"]
    assert score > 0.9

    texts = reviews["imdb/test.tsv.gz"].texts
    inputs = count_words(reviews["imdb/train.tsv.gz"].texts, 40).encode(texts, 6)
    predictor = load_predictor(tmp_path / "run")
    predicted = predictor.predict("imdb", inputs)["imdb"]
    assert (predicted == reviews["imdb/test.tsv.gz"].labels).mean() == pytest.approx(score)
    assert predictor.predict("imdb", inputs.numpy())["imdb"].equals(predicted)
    record = json.loads((tmp_path / "run" / "models" / "single" / "model.json").read_text())
    assert record["inputs"]["imdb"]["tokens"] == 40

    for wrong, message in (
        (inputs.float(), "are float32 .*: give token numbers"),
        (torch.full((2, 6), 40), "hold token 40: give 0 to 39"),
        (inputs[:, 1:], r"inputs of shape \[30, 5\]"),
    ):
        with pytest.raises(InputError, match=message):
            predictor.predict("imdb", wrong)


def test_a_run_on_texts_goes_on_and_notices_other_texts(reviews, tmp_path):
    run_file(EXAMPLE, tmp_path / "run", [*SMALL, "train.steps=2"], device="cpu")
    resume(tmp_path / "run")
    reviews["imdb/train.tsv.gz"].texts[0] = "another film"
    with pytest.raises(InputError, match="the data of task 'imdb' have changed"):
        resume(tmp_path / "run")
