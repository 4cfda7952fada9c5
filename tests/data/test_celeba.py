"""CelebA on made-up folders of its layout: labels, parts, pixels, landmarks, and whatever can be wrong."""

import gc
import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import moduli
import moduli.data
from moduli.data import celeba
from moduli.errors import InputError, MissingExtra
from moduli.runs.methods import METHODS

SCRIPT = Path(__file__).resolve().parents[2] / "experiments" / "celeba.py"
CPU = torch.device("cpu")
COUNTS = (7, 3, 4)


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("celeba_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def root(script, tmp_path):
    return script.made_up(tmp_path / "faces", COUNTS)


def whole(task, part):
    """All samples of a part as one batch."""
    (batch,) = task.data.split(part).batches(100, CPU)
    return batch


def numbers(path, skip):
    """The numbers of a list, read by hand, without file names."""
    return np.array([[int(x) for x in line.split()[1:]] for line in path.read_text().splitlines()[skip:]])


def rewrite(path, change):
    lines = path.read_text().splitlines()
    path.write_text("\n".join(change(lines)) + "\n")


# ------------------------------------------------------------------ what is read


def test_labels_and_parts_are_those_of_the_lists(root):
    tasks = celeba.tasks(root, size=8)
    labels = numbers(root / celeba.ATTRIBUTES, 2)
    assert [task.name for task in tasks] == (root / celeba.ATTRIBUTES).read_text().splitlines()[1].split()
    assert {task.kind for task in tasks} == {moduli.Binary()}
    assert len({id(task.data) for task in tasks}) == 1
    assert tasks[0].data.name == "celeba"
    assert [len(tasks[0].data.split(part)) for part in celeba.SPLITS] == list(COUNTS)
    for part, rows in zip(celeba.SPLITS, np.split(labels, np.cumsum(COUNTS)[:2]), strict=True):
        targets = whole(tasks[0], part).targets
        found = torch.stack([targets[task.name] for task in tasks], dim=1)
        assert found.dtype == torch.float32
        assert torch.equal(found, torch.from_numpy((rows + 1) / 2).float())


def test_images_show_what_their_labels_say(root, script):
    size = 96
    tasks = celeba.tasks(root, size=size, normalize="unit")
    batch = whole(tasks[0], "test")
    assert batch.inputs.shape == (COUNTS[2], *tasks[0].data.shape) == (COUNTS[2], 3, size, size)
    light, dark = torch.tensor([200, 180, 160]) / 255, torch.tensor([60, 60, 60]) / 255
    for k in range(15):  # the upper cells, which no landmark covers
        column, row = k % script.COLUMNS, k // script.COLUMNS
        x = int((column + 0.5) * script.CELL[0] * size / script.WIDTH)
        y = int((row + 0.5) * script.CELL[1] * size / script.HEIGHT)
        expected = torch.where(batch.targets[tasks[k].name][:, None] == 1, light, dark)
        assert (batch.inputs[:, :, y, x] - expected).abs().max() < 0.04  # JPEG is not exact


def test_images_are_normalised_by_channel(root):
    unit, imagenet, inception = (
        whole(celeba.tasks(root, size=16, normalize=word)[0], "val").inputs
        for word in ("unit", "imagenet", "inception")
    )
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = (unit - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)
    torch.testing.assert_close(imagenet, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(inception, 2 * unit - 1, rtol=1e-5, atol=1e-5)
    assert 0 <= unit.min() < unit.max() <= 1


def test_landmarks_are_scaled_and_measured_in_pixels(root):
    *_, task = celeba.tasks(root, size=8, landmarks=True)
    positions = numbers(root / celeba.LANDMARKS, 2)
    mean = positions[: COUNTS[0]].mean(0)
    targets = whole(task, "train").targets["landmarks"]
    assert (task.name, task.kind.dims, task.metric) == ("landmarks", 10, "rmse")
    assert targets.std(correction=0).item() == pytest.approx(1)
    np.testing.assert_allclose(targets.numpy() * task.kind.scale + mean, positions[: COUNTS[0]], atol=1e-4)
    held_out = whole(task, "test").targets["landmarks"]
    rmse = task.kind.metrics()["rmse"].compute(torch.zeros_like(held_out), held_out)
    assert rmse == pytest.approx(np.sqrt(((positions[-COUNTS[2] :] - mean) ** 2).mean()), rel=1e-5)


def test_attributes_that_are_wanted_in_the_order_given(root):
    two = celeba.tasks(root, size=8, attributes=["Attribute_30", "Attribute_02"], landmarks=True)
    assert [task.name for task in two] == ["Attribute_30", "Attribute_02", "landmarks"]
    targets, every = whole(two[0], "val").targets, whole(celeba.tasks(root, size=8)[0], "val").targets
    assert torch.equal(targets["Attribute_30"], every["Attribute_30"])
    assert torch.equal(targets["Attribute_02"], every["Attribute_02"])


def test_a_limit_takes_the_first_of_each_part_in_proportion(root):
    few, every = celeba.tasks(root, size=8, limit=7)[0], celeba.tasks(root, size=8)[0]
    assert [len(few.data.split(part)) for part in celeba.SPLITS] == [4, 2, 2]
    assert torch.equal(whole(few, "train").inputs, whole(every, "train").inputs[:4])
    least = celeba.tasks(root, size=8, limit=1)[0]
    assert [len(least.data.split(part)) for part in celeba.SPLITS] == [1, 1, 1]
    all_of_them = celeba.tasks(root, size=8, limit=1000)[0]
    assert len(all_of_them.data.train) == COUNTS[0]


def test_the_partition_may_have_another_order_and_other_line_ends(root):
    before = whole(celeba.tasks(root, size=8)[0], "val")
    rewrite(root / celeba.PARTITION, lambda lines: lines[::-1])
    for name in (celeba.ATTRIBUTES, celeba.PARTITION):
        (root / name).write_bytes((root / name).read_bytes().replace(b"\n", b"\r\n"))
    after = whole(celeba.tasks(root, size=8)[0], "val")
    assert torch.equal(before.inputs, after.inputs)
    assert torch.equal(before.targets["Attribute_39"], after.targets["Attribute_39"])


def test_processes_that_read_ahead_change_nothing(root):
    streams = [
        celeba.tasks(root, size=8, landmarks=True, workers=workers)[0].data.train.stream(3, 5, CPU)
        for workers in (0, 1)
    ]
    for _ in range(4):
        here, there = (stream.draw() for stream in streams)
        assert torch.equal(here.inputs, there.inputs)
        assert all(torch.equal(target, there.targets[name]) for name, target in here.targets.items())


@pytest.mark.parametrize("word", ["single", "hard", "soft"])
def test_it_trains_with_the_methods_of_run_files(root, word):
    names = [f"Attribute_0{k}" for k in range(4)]
    tasks = moduli.data.load("celeba", root=str(root), size=16, attributes=names)
    method = METHODS[word]
    model = method.build(tasks, method.options(layers=2, width=4), 0)
    fitted = moduli.fit(model, tasks, steps=2, phase=1, batch_size=4, eval_batch_size=3, device="cpu")
    assert list(fitted.test.loss) == names
    assert all(np.isfinite(loss) for loss in fitted.test.loss.values())


# ------------------------------------------------------------------ what can be wrong


def refused(root, **options):
    """The one line that reading a folder ends with."""
    with pytest.raises(InputError) as caught:
        celeba.tasks(root, **options)
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize("name", [celeba.ATTRIBUTES, celeba.PARTITION, celeba.LANDMARKS])
def test_a_missing_list_says_where_to_get_it(root, name):
    (root / name).unlink()
    line = refused(root, landmarks=True)
    assert line.startswith(f"no {root / name}: ")
    assert celeba.HOMEPAGE in line
    if name == celeba.LANDMARKS:
        assert len(celeba.tasks(root)) == 40  # only needed where they are asked for


def test_a_missing_data_set_is_listed_and_says_so(data_folder):
    row = {row["name"]: row for row in moduli.data.rows()}["celeba"]
    assert (row["present"], row["where"]) == (False, str(data_folder / "celeba"))
    for use in (moduli.data.load, moduli.data.fetch):
        with pytest.raises(InputError, match=f"no {data_folder}.*by hand from {celeba.HOMEPAGE}"):
            use("celeba")
    assert not data_folder.exists()


def test_the_data_folder_is_looked_into(script, data_folder):
    script.made_up(data_folder / "celeba", COUNTS)
    assert moduli.data.datasets()["celeba"].present
    assert data_folder / "celeba" / celeba.IMAGES in moduli.data.fetch("celeba")
    assert len(moduli.data.load("celeba", size=8)) == 40


def test_missing_images(root):
    (root / celeba.IMAGES / "000005.jpg").unlink()
    assert "1 of 14 images are not in" in (line := refused(root))
    assert "000005.jpg" in line
    assert len(celeba.tasks(root, size=8, limit=6)) == 40  # which takes three of the seven
    (root / celeba.IMAGES).rename(root / "elsewhere")
    assert refused(root).startswith(f"no {root / celeba.IMAGES}: ")


def test_a_damaged_image_is_named_when_it_is_read(root):
    path = root / celeba.IMAGES / "000009.jpg"
    path.write_bytes(path.read_bytes()[:1500])
    task = celeba.tasks(root, size=8)[0]
    assert len(whole(task, "train").inputs) == COUNTS[0]
    with pytest.raises(InputError, match="truncated") as caught:
        whole(task, "val")
    assert str(caught.value).startswith(f"cannot read the image {path} (")
    assert "\n" not in str(caught.value)


def test_a_process_that_reads_ahead_names_a_damaged_image_in_one_line_as_well(root, monkeypatch):
    monkeypatch.setattr(
        "torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.1
    )  # torch waits for it at the end
    path = root / celeba.IMAGES / "000003.jpg"
    path.write_bytes(b"no image at all")
    (task, *_) = celeba.tasks(root, size=8, workers=1)
    line = re.escape(f"cannot read the image {path} (cannot identify image file): put it there anew")
    for read in (lambda: whole(task, "train"), task.data.train.stream(7, 0, CPU).draw):
        with pytest.raises(InputError, match=f"^{line}$"):
            read()
    gc.collect()


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        (celeba.ATTRIBUTES, lambda lines: ["15", *lines[1:]], "speaks of 15 images and has 14"),
        (celeba.ATTRIBUTES, lambda lines: lines[:-1], "speaks of 14 images and has 13"),
        (celeba.ATTRIBUTES, lambda lines: lines[1:], "invalid literal"),
        (celeba.ATTRIBUTES, lambda lines: lines[:1], "ends too early"),
        (celeba.ATTRIBUTES, lambda lines: [*lines[:-1], lines[-1][:-3]], "NA values"),
        (celeba.ATTRIBUTES, lambda lines: [*lines[:-1], lines[-1] + " 1"], "Expected 41 fields"),
        (
            celeba.ATTRIBUTES,
            lambda lines: [*lines[:2], lines[2] + " 1", *lines[3:]],
            "41 numbers, for 40",
        ),
        (celeba.ATTRIBUTES, lambda lines: [lines[0], lines[1] + " more", *lines[2:]], "40 numbers, for 41"),
        (celeba.PARTITION, lambda lines: [line + " 0" for line in lines], "2 numbers, for 1"),
        (celeba.PARTITION, lambda lines: [], "No columns"),
        (celeba.ATTRIBUTES, lambda lines: [*lines[:-1], lines[-2]], "000013.jpg twice"),
        (celeba.ATTRIBUTES, lambda lines: [*lines[:-1], lines[-1][:-2] + " 0"], "neither 1 nor -1"),
        (celeba.ATTRIBUTES, lambda lines: [*lines[:-1], lines[-1][:-2] + " x"], "x"),
        (celeba.PARTITION, lambda lines: lines[:-1], "no line for 000014.jpg"),
        (celeba.PARTITION, lambda lines: [*lines[:-1], "000014.jpg 3"], "neither 0, 1 nor 2"),
        (celeba.PARTITION, lambda lines: [line.replace(" 1", " 0") for line in lines], "part 1, val"),
        (celeba.LANDMARKS, lambda lines: ["13", *lines[1:-1]], "no line for 000014.jpg"),
    ],
)
def test_a_damaged_list_is_named_with_the_reason(root, name, change, reason):
    rewrite(root / name, change)
    line = refused(root, landmarks=True)
    assert line.startswith(f"{root / name} is damaged (")
    assert reason in line


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"size": 0}, "size is 0: give a whole number of at least 1"),
        ({"size": "224"}, "size is '224'"),
        ({"limit": 0}, "limit is 0"),
        ({"workers": -1}, "workers is -1: give a whole number of at least 0"),
        ({"normalize": "imagnet"}, "did you mean 'imagenet'"),
        ({"attributes": ["Attribute_3"]}, "unknown attribute 'Attribute_3' of CelebA, did you mean"),
        ({"attributes": []}, "give at least one"),
        ({"attributes": ["Attribute_03"] * 2}, "each once"),
    ],
)
def test_impossible_options(root, options, reason):
    assert reason in refused(root, **options)


def test_pillow_is_an_extra(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match=r"pip install 'moduli\[images\]'"):
        celeba.tasks(root)
