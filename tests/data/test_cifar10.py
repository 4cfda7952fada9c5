"""CIFAR-10: the published archive to arrays, the subset that stands in for it, and the task."""

import io
import os
import pickle
import tarfile

import numpy as np
import pytest
import torch

from moduli.data import cifar10
from moduli.data.cache import Dataset
from moduli.errors import InputError
from moduli.tasks import Multiclass

CPU = torch.device("cpu")


def part(each: int, seed: int) -> cifar10.Images:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(10, dtype=np.uint8), each))
    return cifar10.Images(rng.integers(0, 256, (len(labels), 3, 32, 32), dtype=np.uint8), labels)


@pytest.fixture
def small(monkeypatch, data_folder):
    """Twenty training and four test images of each class."""
    parts = part(20, 0), part(4, 1)
    monkeypatch.setattr(Dataset, "read", lambda self, file: parts)
    return parts


def publish(path, batches) -> None:
    """An archive of the published layout, with other files."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in {"readme.html": b"<html>", **batches}.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def batch(images: cifar10.Images) -> bytes:
    flat = images.images.reshape(len(images.labels), -1)
    return pickle.dumps({b"data": flat, b"labels": images.labels.tolist(), b"batch_label": b"x"}, 3)


def test_the_archive_becomes_one_file(tmp_path):
    train, test = part(10, 0), part(2, 1)
    names = [f"data_batch_{i}" for i in range(1, 6)]
    pieces = {
        name: batch(cifar10.Images(*(x[20 * i : 20 * (i + 1)] for x in train)))
        for i, name in enumerate(names)
    }
    path = tmp_path / "cifar-10-python.tar.gz"
    publish(path, {"test_batch": batch(test), **dict(reversed(pieces.items()))})  # in any order
    found = cifar10.parse(cifar10._build([path]), sizes=(100, 20))
    for mine, theirs in zip(found, (train, test), strict=True):
        assert np.array_equal(mine.images, theirs.images)
        assert np.array_equal(mine.labels, theirs.labels)
    with pytest.raises(ValueError, match="its images have the shape"):
        cifar10.parse(cifar10._build([path]))
    del pieces["data_batch_3"]
    publish(path, {"test_batch": batch(test), **pieces})
    with pytest.raises(ValueError, match="no data_batch_3"):
        cifar10.pack(path)


def test_an_archive_that_asks_for_more_than_arrays_is_refused(tmp_path):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    path = tmp_path / "cifar-10-python.tar.gz"
    publish(path, {"test_batch": pickle.dumps({b"data": Attack()})})
    with pytest.raises(ValueError, match="not admitted"):
        cifar10._build([path])
    assert not (tmp_path / "ran").exists()


def test_ten_classes(small):
    (task,) = cifar10.tasks()
    data = task.data
    assert (task.name, data.name, task.kind, data.shape) == (
        "cifar10",
        "cifar10",
        Multiclass(10),
        (3, 32, 32),
    )
    assert [len(data.split(split)) for split in ("train", "val", "test")] == [180, 20, 40]
    both = torch.cat([data.train.inputs, data.val.inputs])
    assert len({image.numpy().tobytes() for image in both}) == 200
    mean, scale = (torch.tensor(x).view(3, 1, 1) for x in (cifar10.MEAN, cifar10.SCALE))
    units = data.test.inputs.double() * scale + mean
    torch.testing.assert_close(units, torch.from_numpy(small[1].images).double(), rtol=0, atol=1e-3)
    assert data.test.targets["cifar10"].tolist() == small[1].labels.tolist()


def test_validation_images_by_share_number_and_seed(small):
    def val(**options):
        return cifar10.tasks(**options)[0].data.val.inputs

    assert len(val(val=50)) == len(val(val=0.25)) == 50
    assert torch.equal(val(), val())
    assert not torch.equal(val(), val(seed=302))
    for wrong in (0, 0.0, 1.0, 200, "test"):
        with pytest.raises(InputError, match="val of CIFAR-10"):
            cifar10.tasks(val=wrong)


def test_training_images_are_moved_and_mirrored_unless_unwanted(small):
    data = cifar10.tasks()[0].data
    first, again = (data.train.stream(180, 0, CPU).draw() for _ in range(2))
    assert torch.equal(first.inputs, again.inputs)
    known = {image.numpy().tobytes() for image in data.train.inputs}
    assert sum(image.numpy().tobytes() in known for image in first.inputs) < 20  # 1 of 162 stays as it is
    centre = data.train.inputs[:, :, 12:20, 12:20]  # is kept by every crop
    some = {x.numpy().tobytes() for x in torch.cat([centre, centre.flip(-1)])}
    windows = first.inputs[:5].unfold(2, 8, 1).unfold(3, 8, 1)
    for image in windows:
        assert any(w.numpy().tobytes() in some for w in image.permute(1, 2, 0, 3, 4).flatten(0, 1))
    for split in ("train", "val", "test"):
        source = data.split(split)
        assert torch.equal(next(source.batches(7, CPU)).inputs, source.inputs[:7])
    plain = cifar10.tasks(augment=False)[0].data.train.stream(180, 0, CPU).draw()
    assert all(image.numpy().tobytes() in known for image in plain.inputs)


# ------------------------------------------------------------------ the subset


def jpeg(images: cifar10.Images) -> bytes:
    from PIL import Image

    files = []
    for image in images.images:
        file = io.BytesIO()
        Image.fromarray(image.transpose(1, 2, 0)).save(file, "JPEG", quality=95)
        files.append(file.getvalue())
    out = io.BytesIO()
    offset = np.cumsum([0, *map(len, files)])
    np.savez(out, jpeg=np.frombuffer(b"".join(files), np.uint8), offset=offset, label=images.labels)
    return out.getvalue()


def test_the_subset_is_decoded():
    pytest.importorskip("PIL")
    flat = part(2, 0)
    smooth = cifar10.Images(np.broadcast_to(flat.images[:, :, :1, :1], flat.images.shape).copy(), flat.labels)
    found = cifar10.parse_jpeg(jpeg(smooth), 20)
    assert np.abs(found.images.astype(int) - smooth.images).max() <= 4
    assert np.array_equal(found.labels, smooth.labels)
    with pytest.raises(ValueError, match="shape"):
        cifar10.parse_jpeg(jpeg(smooth), 30)


def test_the_subset_stands_in_only_where_the_whole_set_is_absent(data_folder, monkeypatch):
    pytest.importorskip("PIL")
    stand_in = cifar10.DATASET.stand_in
    folder = data_folder / "cifar10"
    folder.mkdir(parents=True)
    assert not cifar10.DATASET.present
    for file, images in zip(stand_in, (part(20, 0), part(4, 1)), strict=True):
        assert not cifar10.DATASET.present
        (data_folder / file.path).write_bytes(jpeg(images))
    assert cifar10.DATASET.present
    monkeypatch.setattr(cifar10, "_check", lambda images, size: None)
    (task,) = cifar10.tasks()
    assert (task.name, task.data.name) == ("cifar10", "cifar10_jpeg_subset")
    assert len(task.data.train) == 180

    train, test = part(20, 2), part(4, 3)
    arrays = {f"train_{name}": x for name, x in train._asdict().items()}
    arrays |= {f"test_{name}": x for name, x in test._asdict().items()}
    np.savez(folder / "cifar10.npz", **arrays)
    (task,) = cifar10.tasks()
    assert task.data.name == "cifar10"
    assert torch.equal(task.data.test.targets["cifar10"], torch.from_numpy(test.labels.astype(np.int64)))


def test_the_subset_in_the_data_folder(real_data):
    if not cifar10.DATASET.present or cifar10.DATASET.files[0].place.exists():
        pytest.skip("no JPEG subset of CIFAR-10 in the data folder")
    test = cifar10.DATASET.stand_in[1].read()
    assert test.images.shape == (5000, 3, 32, 32)
    mean = test.images.mean((0, 2, 3))
    assert np.abs(mean - cifar10.MEAN).max() < 3
