"""Omniglot: PNG archives to rows and back, splits by drawing, smaller images."""

import io
import sys
import zipfile

import numpy as np
import pytest
import torch

from moduli.data import omniglot
from moduli.errors import InputError, MissingExtra
from moduli.tasks import Multiclass

ROWS = ("alphabet", "character", "character_id", "drawer", "split")


def png(ink: np.ndarray) -> bytes:
    """As published: one bit for each pixel, white paper, black ink."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(~ink).convert("1").save(out, "PNG")
    return out.getvalue()


def publish(folder, arrays, order) -> list:
    """The two published archives with the drawings of `arrays`, in any order, among other files."""
    paths = []
    for split, name in enumerate(("images_background", "images_evaluation")):
        paths.append(folder / f"{name}.zip")
        with zipfile.ZipFile(paths[-1], "w") as archive:
            archive.writestr(f"__MACOSX/{name}/._a.png", "no picture")
            archive.writestr(f"{name}/", "")
            for row in order:
                if arrays["split"][row] == split:
                    alphabet = arrays["alphabet_names"][arrays["alphabet"][row]]
                    member = (
                        f"{name}/{alphabet}/character{arrays['character'][row]:02d}/"
                        f"{arrays['character_id'][row]:04d}_{arrays['drawer'][row]:02d}.png"
                    )
                    ink = np.unpackbits(arrays["images"][row], count=105 * 105).reshape(105, 105)
                    archive.writestr(member, png(ink.astype(bool)))
    return paths


@pytest.fixture
def toy() -> dict[str, np.ndarray]:
    """Three alphabets of two characters, 20 drawings each; the evaluation alphabet is first by name."""
    rng = np.random.default_rng(0)
    alphabet, character, drawer = (a.ravel() for a in np.indices((3, 2, 20)))
    return {
        "images": np.packbits(rng.random((120, 105 * 105)) < 0.1, axis=1),
        "shape": np.array([105, 105], np.int32),
        "alphabet": alphabet.astype(np.uint8),
        "character": (character + 1).astype(np.uint8),
        "character_id": (1 + 2 * alphabet + character).astype(np.uint16),
        "drawer": (drawer + 1).astype(np.uint8),
        "split": (alphabet == 2).astype(np.uint8),
        "alphabet_names": np.array(["Greek", "Malay_(Jawi_-_Arabic)", "Angelic"]),
    }


def test_archives_are_packed_in_order_whatever_theirs(toy, tmp_path):
    order = np.random.default_rng(1).permutation(120)
    packed = omniglot.pack(publish(tmp_path, toy, order))
    assert packed.keys() == toy.keys()
    for name, expected in toy.items():
        assert packed[name].dtype.kind == expected.dtype.kind
        assert np.array_equal(packed[name], expected), name


def test_real_drawings_survive_the_way_through_archives(real_data, tmp_path):
    with np.load(real_data / "omniglot_105.npz") as file:
        arrays = {name: file[name] for name in file.files}
    rows = np.flatnonzero(np.isin(arrays["alphabet"], (3, 14, 49)) & (arrays["character"] <= 2))
    packed = omniglot.pack(publish(tmp_path, arrays, rows[::-1]))
    assert np.array_equal(packed["images"], arrays["images"][rows])
    for name in ("character", "character_id", "drawer", "split"):
        assert packed[name].dtype == arrays[name].dtype
        assert np.array_equal(packed[name], arrays[name][rows])
    assert packed["alphabet_names"].tolist() == arrays["alphabet_names"][[3, 14, 49]].tolist()


def test_archives_without_drawings_or_of_another_size(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme", "")
    with pytest.raises(ValueError, match="no drawings"):
        omniglot.pack([tmp_path / "a.zip"])
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("images_background/A/character01/0001_01.png", png(np.zeros((28, 28), bool)))
    with pytest.raises(ValueError, match="28×28"):
        omniglot.pack([tmp_path / "b.zip"])


def test_pillow_is_named_if_it_is_missing(toy, tmp_path, monkeypatch):
    archives = publish(tmp_path, toy, range(120))
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match="pillow"):
        omniglot.pack(archives)


def test_a_file_with_other_counts_is_damaged(toy, real_data, data_folder):
    out = io.BytesIO()
    np.savez_compressed(out, **toy)
    with pytest.raises(ValueError, match="50 alphabets"):
        omniglot.parse(out.getvalue())
    data_folder.mkdir()
    whole = (real_data / "omniglot_105.npz").read_bytes()
    (data_folder / "omniglot_105.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"omniglot_105\.npz is damaged"):
        omniglot.tasks()


def test_each_alphabet_is_a_task_over_its_characters(real_data):
    tasks = omniglot.tasks(50, size=1)
    kinds = {task.name: task.kind.outputs for task in tasks}
    assert len(kinds) == 50
    assert sum(kinds.values()) == 1623
    assert (kinds["Greek"], kinds["Japanese_(hiragana)"]) == (24, 52)
    assert sum(len(task.data.split(part)) for task in tasks for part in ("train", "val", "test")) == 32_460


@pytest.mark.parametrize(("split", "counts"), [("50/20/30", (10, 4, 6)), ("90/10", (18, 2, 2))])
def test_every_character_has_equally_many_drawings_in_each_part(real_data, split, counts):
    (task,) = omniglot.tasks(["Greek"], split=split)
    assert task.kind == Multiclass(24)
    for part, count in zip(("train", "val", "test"), counts, strict=True):
        characters = task.data.split(part).targets["Greek"]
        assert torch.equal(characters.bincount(), torch.full((24,), count))
    assert (task.data.val is task.data.test) == (split == "90/10")


def test_drawings_are_in_one_part_only():
    for counts in omniglot.SPLITS.values():
        train, val, test = omniglot.split_rows(30, counts, np.random.default_rng(0))
        assert sorted([*train, *val, *test]) == list(range(600))
    train = train.reshape(30, -1) % 20
    assert len({tuple(sorted(row)) for row in train.tolist()}) > 10  # not the same drawers everywhere


def test_inputs_are_the_drawings(real_data):
    (task,) = omniglot.tasks(["Latin"], split="80/20")
    assert task.data.shape == (1, 105, 105)
    assert set(task.data.test.inputs.unique().tolist()) == {0.0, 1.0}
    assert 0.01 < task.data.train.inputs.mean() < 0.2  # ink is 1
    with np.load(real_data / "omniglot_105.npz") as file:
        rows = file["alphabet"] == file["alphabet_names"].tolist().index("Latin")
        third = file["images"][rows & (file["character"] == 3)]
    ours = task.data.test.inputs[task.data.test.targets["Latin"] == 2].flatten(1).numpy().astype(np.uint8)
    packed = {row.tobytes() for row in third}
    assert {row.tobytes() for row in np.packbits(ours, axis=1)} <= packed


def test_smaller_images_are_means_over_areas(real_data):
    (task,) = omniglot.tasks(["Greek"])
    (small,) = omniglot.tasks(["Greek"], size=21)
    assert small.data.shape == (1, 21, 21)
    blocks = task.data.val.inputs.unfold(2, 5, 5).unfold(3, 5, 5).mean((-1, -2))
    assert torch.allclose(small.data.val.inputs, blocks)


def test_the_order_of_alphabets_is_fixed_by_the_seed(real_data):
    five, ten, other = (omniglot.tasks(n, seed, size=7) for n, seed in ((5, 0), (10, 0), (5, 1)))
    assert [task.name for task in ten[:5]] == [task.name for task in five]
    assert [task.name for task in other] != [task.name for task in five]
    for few, many in zip(five, ten, strict=False):
        assert torch.equal(few.data.test.inputs, many.data.test.inputs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "50/50"}, "unknown split '50/50'"),
        ({"size": 106}, "give 1 to 105"),
        ({"size": 28.0}, "give 1 to 105"),
        ({"alphabets": 51}, "give 1 to 50"),
        ({"alphabets": ["Grek"]}, "did you mean 'Greek'"),
    ],
)
def test_impossible_wishes(real_data, options, message):
    with pytest.raises(InputError, match=message):
        omniglot.tasks(**options)
