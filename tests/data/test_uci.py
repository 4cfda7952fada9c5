"""The UCI files are converted exactly, and split as the paper does or in three parts."""

import csv
import hashlib
import json
import zipfile

import pandas as pd
import pytest
import torch

from moduli.data import uci
from moduli.data.uci_tables import TABLES, Table
from moduli.errors import InputError
from moduli.tasks import Binary, Multiclass

SMALL = Table(
    title="", raw="x/small.data", archive="", columns="a b", codes="yes no", counts=(2, 1), citation="",
    sha256="", class_at=1, ids=1, missing=(1, 1),
)  # fmt: skip


def published(name: str, text: str) -> str:
    """The text of the published file, as far as our file tells: spelling of numbers, separators, ids."""
    table = TABLES[name]
    lines = []
    for number, row in enumerate(list(csv.reader(text.splitlines()))[1:]):
        cells = [spell(name, column, cell) for column, cell in zip(table.features, row, strict=False)]
        code = table.classes[int(row[-1])]
        cells = [f"ID_{number}"] * table.ids + cells
        position = table.class_at if table.class_at >= 0 else len(cells)
        cells.insert(position, code)
        if name in ("ecoli", "yeast"):
            lines.append("  ".join(cells))
        elif name == "german_numeric":
            lines.append("".join(f"{cell:>4}" if len(cell) < 4 else f" {cell}" for cell in cells) + " ")
        else:
            lines.append((" " if name == "australian" else ",").join(cells))
    return "\n".join(lines) + ("\n\n" if name == "iris" else "\n")


def spell(name: str, column: str, cell: str) -> str:
    if cell == "":
        return "?"
    if name == "heart_cleveland":
        return repr(float(cell))
    if name == "wine":
        return cell.removesuffix(".0").removeprefix("0") or "0"
    if name in ("ecoli", "yeast") or column == "bilirubin":
        return f"{float(cell):.2f}"
    if name == "australian":
        return "0.08500" if cell == "0.085" else cell.removesuffix(".0")
    return cell


@pytest.mark.parametrize("name", TABLES)
def test_conversion_of_the_published_form_is_byte_exact(real_data, name, tmp_path):
    ours = (real_data / "uci" / f"{name}.csv").read_bytes()
    text = published(name, ours.decode())
    assert uci.convert(TABLES[name], text) == ours
    assert hashlib.sha256(ours).hexdigest() == TABLES[name].sha256
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("Index", "other files")
        archive.writestr((TABLES[name].raw or "/set.csv").split("/")[-1], text)
    if name != "pima":
        assert uci.build(TABLES[name], [tmp_path / "set.zip"]) == ours


@pytest.mark.parametrize(
    ("name", "sha256"),
    [  # of the files at UCI, as other projects that download them state
        ("iris", "6f608b71a7317216319b4d27b4d9bc84e6abd734eda7872b71a458569e2656c0"),
        ("hepatitis", "9971f9d18abb4fc9dd6749eefb0f864b36fa7bdd59f54188c0b148a5c28214bc"),
    ],
)
def test_the_published_form_here_is_that_of_uci(real_data, name, sha256):
    text = published(name, (real_data / "uci" / f"{name}.csv").read_text())
    assert hashlib.sha256(text.encode()).hexdigest() == sha256


def test_conversion_recodes_classes_drops_ids_and_spells_numbers_alike():
    text = "r1,no,1.0,.50\nr2,yes,?,2\n\nr3,yes,30,7.250\n"
    assert uci.convert(SMALL, text) == b"a,b,target\n1,0.5,1\n,2.0,0\n30,7.25,0\n"
    assert uci.convert(SMALL, text.replace(",", "   ")) == uci.convert(SMALL, text)


@pytest.mark.parametrize("text", ["r1,no,1\n", "r1,maybe,1,2\n", "<html>not found</html>"])
def test_other_content_is_refused(text):
    with pytest.raises(ValueError, match=r"cells|not in"):
        uci.convert(SMALL, text)


def test_shapes_describe_the_files(real_data):
    assert uci.shapes() == (real_data / "uci" / "shapes.json").read_bytes()
    for name, shape in json.loads(uci.shapes()).items():
        table = pd.read_csv(real_data / "uci" / shape["file"])
        assert [*shape["feature_names"], "target"] == list(table.columns)
        assert shape["instances"] == len(table) == uci.DATASETS[f"uci/{name}"].samples
        assert shape["class_counts"] == table["target"].value_counts().sort_index().tolist()
        assert shape["missing_cells"] == table.isna().sum().sum()
        assert shape["rows_with_missing"] == table.isna().any(axis=1).sum()


def test_the_protocol_of_the_paper(real_data):
    tasks = uci.tasks()
    assert [task.name for task in tasks] == list(TABLES)
    for task in tasks:
        table = TABLES[task.name]
        assert task.kind == Multiclass(len(table.classes))
        assert task.data.test is task.data.val
        rows = sum(table.counts)
        assert len(task.data.val) == pytest.approx(0.2 * rows, abs=2)
        assert len(task.data.train) + len(task.data.val) == rows
        assert task.data.train.inputs.min() >= 0
        assert task.data.train.inputs.max() <= 1
        assert sorted(task.schema.targets[0].labels) == sorted(table.classes)


def test_three_parts_by_name(real_data):
    (task,) = uci.DATASETS["uci/yeast"].tasks()
    sizes = [len(task.data.split(part)) for part in ("train", "val", "test")]
    assert sum(sizes) == 1484
    assert sizes[1] == pytest.approx(0.16 * 1484, abs=2)
    assert sizes[2] == pytest.approx(0.20 * 1484, abs=2)
    # labels are sorted by name: CYT first, in proportion 463 of 1484
    share = (task.data.test.targets["yeast"] == task.schema.targets[0].labels.index("CYT")).float().mean()
    assert share == pytest.approx(463 / 1484, abs=0.01)


def test_the_split_depends_on_the_seed_alone(real_data):
    first, again, other = (uci.tasks(seed=seed, names=["wine"])[0] for seed in (0, 0, 1))
    assert torch.equal(first.data.val.inputs, again.data.val.inputs)
    assert not torch.equal(first.data.val.inputs, other.data.val.inputs)


def test_two_classes_as_one_logit(real_data):
    wdbc, iris = uci.tasks(names=["wdbc", "iris"], kind="binary")
    assert wdbc.kind == Binary()
    assert iris.kind == Multiclass(3)


def test_bad_names_and_kinds():
    with pytest.raises(InputError, match="did you mean 'german_numeric'"):
        uci.tasks(names=["german_numerical"])
    with pytest.raises(InputError, match="unknown kind"):
        uci.tasks(names=["iris"], kind="regression")  # type: ignore[arg-type]


def test_a_set_whose_bytes_differ_is_damaged(real_data, data_folder):
    place = data_folder / "uci" / "iris.csv"
    place.parent.mkdir(parents=True)
    place.write_bytes((real_data / "uci" / "iris.csv").read_bytes().replace(b"5.1,3.5", b"5.1,3.6", 1))
    with pytest.raises(InputError, match="damaged"):
        uci.frame("iris")
