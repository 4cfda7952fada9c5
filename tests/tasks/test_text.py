"""Texts to numbers: words, the vocabulary, and what is kept of long and short texts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from moduli import from_arrays
from moduli.errors import InputError
from moduli.tasks.text import count_words, words

TEXTS = ["b a b", "a b c"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A film -- NOT a movie!", ["a", "film", "not", "a", "movie"]),
        ("don't<br />stop", ["don't", "br", "stop"]),
        ("half_way\tup\n(100%)", ["half", "way", "up", "100"]),
        ("Éclair  à\u00a0la", ["éclair", "à", "la"]),
        (" ,. ", []),
    ],
)
def test_words_are_those_of_keras(text, expected):
    assert words(text) == expected


def test_words_are_numbered_by_frequency_then_by_first_appearance():
    assert dict(count_words(["c", *TEXTS, "d e"], 100).numbers) == {"b": 4, "c": 5, "a": 6, "d": 7, "e": 8}


def test_only_the_most_frequent_words_are_kept():
    vocabulary = count_words(TEXTS, 6)
    assert dict(vocabulary.numbers) == {"b": 4, "a": 5}
    assert vocabulary.size == 6
    assert vocabulary.encode(["a b c"], 4).tolist() == [[1, 5, 4, 2]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [0, 0, 0, 1]),
        ("a", [0, 0, 1, 5]),
        ("a b c", [1, 5, 4, 6]),
        ("b a b c", [4, 5, 4, 6]),  # full without the start
        ("c c b a b c", [4, 5, 4, 6]),
        ("a zebra", [0, 1, 5, 2]),
    ],
)
def test_texts_are_cut_and_filled_up_at_the_front(text, expected):
    encoded = count_words(TEXTS, 100).encode([text], 4)
    assert encoded.dtype == torch.long
    assert encoded.tolist() == [expected]


def test_tasks_share_a_vocabulary_that_was_counted_on_all_their_texts():
    vocabulary = count_words([*TEXTS, *["z y z z z", "y"]], 100)
    one, other = vocabulary.encode(TEXTS, 3), vocabulary.encode(["z y"], 3)
    assert one.tolist() == [[5, 6, 5], [6, 5, 8]]
    assert other.tolist() == [[1, 4, 7]]


def test_impossible_sizes():
    with pytest.raises(InputError, match="a vocabulary of 4: give more than 4"):
        count_words(TEXTS, 4)
    with pytest.raises(InputError, match="texts of 0 words"):
        count_words(TEXTS, 9).encode(TEXTS, 0)


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_arrays_of_token_numbers_are_tasks(make):
    X = make([[0, 4, 8], [1, 2, 4]] * 10)
    (task,) = from_arrays("note", X, np.arange(20) % 2, tokens=9)
    assert (task.data.tokens, task.data.shape) == (9, (3,))
    assert task.data.train.inputs.dtype == torch.long


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([[0.5, 1.0]] * 20, r"the texts of 'note' are float64 \[20, 2\]: give token numbers, int64"),
        ([1] * 20, r"are int64 \[20\]"),
        ([[3, 9]] * 20, "hold token 9: give 0 to 8"),
        ([[3, -1]] * 20, "hold token -1: give 0 to 8"),
    ],
)
def test_other_arrays_are_no_texts(X, message):
    with pytest.raises(InputError, match=message):
        from_arrays("note", np.asarray(X), np.arange(20) % 2, tokens=9)
