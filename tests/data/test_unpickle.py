"""Pickle files: arrays are read, whatever wrote them, and nothing is run."""

import io
import os
import pickle

import numpy as np
import pytest

from moduli.data.unpickle import load_arrays


def test_arrays_in_lists_and_dicts_come_back():
    kept = {"data": np.arange(6.0).reshape(2, 3), "labels": [1, 2], "name": "x", "none": None}
    for protocol in (3, 4):
        found = load_arrays(io.BytesIO(pickle.dumps(kept, protocol)))
        assert np.array_equal(found.pop("data"), kept["data"])
        assert found == {"labels": [1, 2], "name": "x", "none": None}


def test_a_file_of_python_2():
    # What Python 2 and the numpy of its day wrote for {'data': np.array([[7, 8]], np.uint8), 'labels': [3]}.
    old = (
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U"
        b"\x01b\x87Rq\x05(K\x01K\x01K\x02\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff"
        b"\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x02\x07\x08tbU\x06labelsq\x08]q\tK\x03au."
    )
    found = load_arrays(io.BytesIO(old), encoding="bytes")
    assert found[b"data"].tolist() == [[7, 8]]
    assert found[b"data"].dtype == np.uint8
    assert found[b"labels"] == [3]
    assert load_arrays(io.BytesIO(old), encoding="latin1")["data"].tolist() == [[7, 8]]


class Attack:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize(
    "hidden", [lambda x: x, lambda x: [np.zeros(2), {"a": x}], lambda x: np.array([x], object)]
)
def test_what_a_file_asks_to_be_run_is_not_run(tmp_path, hidden):
    content = pickle.dumps(hidden(Attack(str(tmp_path / "ran"))))
    with pytest.raises(ValueError, match="mkdir, which is not admitted"):
        load_arrays(io.BytesIO(content))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "call", [b"cbuiltins\neval\n(S'1'\ntR.", b"c__builtin__\nexec\n(S''\ntR.", b"cnumpy\nload\n."]
)
def test_other_functions_are_refused(call):
    with pytest.raises(ValueError, match="not admitted"):
        load_arrays(io.BytesIO(call))


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps(np.zeros(9))[:-20]])
def test_damaged_files(content):
    with pytest.raises(ValueError, match="pickle"):
        load_arrays(io.BytesIO(content))
