"""MNIST: the idx format, the pairs protocol, and parts that do not overlap."""

import gzip
import hashlib
import struct

import numpy as np
import pytest
import torch

from moduli.data import mnist
from moduli.data.cache import Dataset
from moduli.errors import InputError
from moduli.tasks import Binary, Multiclass


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}i", 0, 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


@pytest.fixture
def small(monkeypatch) -> dict[str, np.ndarray]:
    """Ten training and four test images of each digit; every image has its own pixels."""
    rng = np.random.default_rng(0)
    files = {}
    for part, each in (("train", 10), ("t10k", 4)):
        digits = rng.permutation(np.repeat(np.arange(10, dtype=np.uint8), each))
        files[f"{part}-images-idx3-ubyte"] = rng.integers(0, 256, (len(digits), 28, 28), dtype=np.uint8)
        files[f"{part}-labels-idx1-ubyte"] = digits
    monkeypatch.setattr(Dataset, "read", lambda self, file: files[file.path[len("mnist/") : -len(".gz")]])
    return files


def rows(*sources) -> set[bytes]:
    """The images of some sources, as a set."""
    return {image.numpy().tobytes() for source in sources for image in source.inputs}


def test_idx_files_are_read_and_checked():
    images = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    content = gzip.compress(idx(images))
    md5 = hashlib.md5(idx(images)).hexdigest()
    assert np.array_equal(mnist.parse(content, md5), images)
    assert np.array_equal(mnist.parse(gzip.compress(idx(images), 1), md5), images)
    with pytest.raises(ValueError, match="MD5"):
        mnist.parse(content, "0" * 32)
    with pytest.raises(EOFError):
        mnist.parse(content[:-9], md5)


def test_a_cut_file_is_one_clear_line(real_data, data_folder):
    name = "mnist/t10k-labels-idx1-ubyte.gz"
    (data_folder / "mnist").mkdir(parents=True)
    (data_folder / name).write_bytes((real_data / name).read_bytes()[:1000])
    with pytest.raises(InputError, match=f"{name} is damaged"):
        mnist.DATASET.files[3].read()


def test_the_counts_of_the_published_files(real_data):
    images, digits, test_images, test_digits = (mnist.DATASET.read(file) for file in mnist.DATASET.files)
    assert (images.shape, test_images.shape) == ((60_000, 28, 28), (10_000, 28, 28))
    assert (digits.shape, test_digits.shape) == ((60_000,), (10_000,))
    assert sorted({*digits, *test_digits}) == list(range(10))


def test_ten_classes(small):
    (task,) = mnist.tasks(val=0.2)
    assert task.kind == Multiclass(10)
    assert task.data.shape == (784,)
    data = task.data
    assert [len(data.split(part)) for part in ("train", "val", "test")] == [80, 20, 40]
    assert torch.equal(data.val.targets["mnist"].bincount(), torch.full((10,), 2))
    assert rows(data.train).isdisjoint(rows(data.val))
    first = small["t10k-images-idx3-ubyte"][0].reshape(-1) / 255
    assert np.allclose(data.test.inputs[0], first)
    assert data.test.inputs.max() <= 1


def test_images_keep_their_shape_if_asked(small):
    (flat,), (task,) = mnist.tasks(), mnist.tasks(flat=False)
    assert task.data.shape == (1, 28, 28)
    assert torch.equal(task.data.train.inputs.flatten(1), flat.data.train.inputs)


def test_training_images_are_moved_if_asked(small):
    (task,) = mnist.tasks(flat=False, augment=True)
    data, cpu = task.data, torch.device("cpu")
    drawn = data.train.stream(20, 0, cpu).draw().inputs
    assert drawn.shape == (20, 1, 28, 28)
    known = rows(data.train)
    moved = [image for image in drawn if image.numpy().tobytes() not in known]
    assert len(moved) > 10  # one of nine places is the old one
    inner = {image[0, 1:-1, 1:-1].numpy().tobytes() for image in data.train.inputs}  # is kept by every crop
    windows = drawn.unfold(2, 26, 1).unfold(3, 26, 1)[:, 0]
    for image in windows:
        assert any(window.numpy().tobytes() in inner for window in image.reshape(-1, 26, 26))
    assert torch.equal(next(data.val.batches(5, cpu)).inputs, data.val.inputs[:5])
    assert torch.equal(next(data.train.batches(5, cpu)).inputs, data.train.inputs[:5])


def test_flat_images_cannot_be_moved():
    with pytest.raises(InputError, match="flat=False"):
        mnist.tasks(augment=True)


def test_pairs_are_restricted_to_their_digits(small):
    pair, again = mnist.tasks(pairs=[(3, 8), (3, 8)], val=0.2)
    assert (pair.name, again.name) == ("mnist_3v8", "mnist_3v8_2")
    assert pair.data.name != again.data.name
    assert pair.kind == Binary()
    data = pair.data
    assert [len(data.split(part)) for part in ("train", "val", "test")] == [16, 4, 8]
    digits = small["t10k-labels-idx1-ubyte"]
    expected = small["t10k-images-idx3-ubyte"][digits == 8].reshape(-1, 784) / 255
    assert np.allclose(data.test.inputs[data.test.targets["mnist_3v8"] == 1], expected)
    all_train = small["train-images-idx3-ubyte"][np.isin(small["train-labels-idx1-ubyte"], (3, 8))]
    assert len(rows(data.train, data.val)) == len(all_train) == 20


def test_an_image_has_one_part_in_all_pairs(small):
    one, other = (task.data for task in mnist.tasks(pairs=[(3, 8), (8, 5)], val=0.2))
    assert rows(one.val) & rows(other.val)
    assert rows(one.val).isdisjoint(rows(other.train))


def test_the_papers_protocol_validates_on_the_test_part(small):
    (task,) = mnist.tasks(pairs=[(0, 1)], val="test")
    assert len(task.data.train) == 20
    assert rows(task.data.val) == rows(task.data.test)


def test_pairs_are_drawn_without_replacement_inside_and_with_it_across_tasks():
    pairs = mnist.draw_pairs(500, seed=1)
    assert all(0 <= first < second <= 9 for first, second in pairs)
    assert len(set(pairs)) == 45
    assert mnist.draw_pairs(7, seed=1) == pairs[:7]
    assert mnist.draw_pairs(7, seed=2) != pairs[:7]


def test_pair_tasks_follow_the_drawn_pairs(small):
    tasks = mnist.pair_tasks(12, seed=3)
    assert len({task.name for task in tasks}) == 12
    for task, (first, second) in zip(tasks, mnist.draw_pairs(12, seed=3), strict=True):
        assert task.name.startswith(f"mnist_{first}v{second}")


@pytest.mark.parametrize("pair", [(3, 3), (3, 10), (1, 2, 3)])
def test_impossible_pairs(pair):
    with pytest.raises(InputError, match="not a pair of digits"):
        mnist.tasks(pairs=[pair])


@pytest.mark.parametrize("val", [0, 1.0, "train", -0.1])
def test_impossible_shares(val):
    with pytest.raises(InputError, match="val of MNIST"):
        mnist.tasks(val=val)


def test_no_pairs():
    with pytest.raises(InputError, match="at least 1"):
        mnist.draw_pairs(0)
    with pytest.raises(InputError, match="no pairs"):
        mnist.tasks(pairs=[])
