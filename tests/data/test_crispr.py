"""CRISPR: letters to numbers, and splits in which no sequence is nearly that of another part."""

import gzip

import numpy as np
import pytest
import torch

from moduli.data import crispr
from moduli.errors import InputError

XIANG = "crispr/crispron_xiang2021.csv.gz"
CHUAI = "crispr/deepcrispr_ontarget.csv.gz"


def random_dna(n, length, seed=0):
    letters = np.random.default_rng(seed).choice(list("ACGT"), (n, length))
    return ["".join(row) for row in letters]


def write(folder, name, header, rows):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("\n".join([header, *rows, ""]).encode()))


def test_letters_are_numbers():
    assert crispr.encode(["ACGTN", "NTGCA"]).tolist() == [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]]


# ------------------------------------------------------------------ groups


def groups(*contexts):
    return crispr.groups_of(crispr.encode(contexts), 10).tolist()


def test_overlapping_sites_and_guides_that_are_alike_are_one_group():
    a, b, c, d = random_dna(4, 37)
    shifted = b[:21] + a[:16]  # 16 letters of a, elsewhere
    too_short = c[:22] + a[:15]
    assert groups(a, b, c, d) == [0, 1, 2, 3]
    assert groups(a, shifted, d) == [0, 0, 1]
    assert groups(a, too_short, d) == [0, 1, 2]

    def changed(text, places):
        other = dict(zip("ACGT", "CGTA", strict=True))
        return "".join(other[x] if i in places else x for i, x in enumerate(text))

    guide = d[:3] + changed(a, {13, 19, 26})[3:34] + d[34:]
    assert groups(a, b, guide)[0] == groups(a, b, guide)[2]  # 17 of 20 letters of the guide
    four = d[:3] + changed(a, {13, 17, 22, 27})[3:34] + d[34:]
    assert groups(a, b, four)[0] != groups(a, b, four)[2]


def test_groups_are_transitive():
    gene = random_dna(1, 70)[0]
    sites = [gene[i : i + 37] for i in range(0, 34, 11)]  # neighbours overlap by 26, the first and last by 4
    assert groups(*sites, *random_dna(2, 37, seed=1)) == [0, 0, 0, 0, 1, 2]


def test_no_group_is_in_two_parts_and_shares_are_met():
    found = np.random.default_rng(0).integers(0, 400, 3000)
    parts = crispr.split_groups(found, 0.1, 0.2, seed=0)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(3000))
    members = {name: set(found[rows].tolist()) for name, rows in parts.items()}
    assert members["train"].isdisjoint(members["val"] | members["test"])
    assert members["val"].isdisjoint(members["test"])
    assert len(parts["val"]) == pytest.approx(300, abs=20)
    assert len(parts["test"]) == pytest.approx(600, abs=20)
    other = crispr.split_groups(found, 0.1, 0.2, seed=1)
    assert not np.array_equal(other["test"], parts["test"])


@pytest.mark.parametrize(("val", "test"), [(0, 0.2), (0.5, 0.5), (0.1, 1.0)])
def test_impossible_shares(val, test):
    with pytest.raises(InputError, match="shares val"):
        crispr.split_groups(np.arange(9), val, test, 0)


def test_a_part_without_rows():
    with pytest.raises(InputError, match="leave no train row of 9"):
        crispr.split_groups(np.zeros(9, int), 0.1, 0.2, 0)


# ------------------------------------------------------------------ tasks


def test_one_task_of_contexts(data_folder):
    contexts = random_dna(50, 37)
    y = np.linspace(0, 100, 50)
    rows = [f"{i},x,{context},{value}" for i, (context, value) in enumerate(zip(contexts, y, strict=True))]
    write(data_folder, XIANG, "surrogate_id,guide,context37,total_indel_eff", rows)
    (task,) = crispr.tasks()
    data = task.data
    assert (task.name, task.metric, data.shape, data.tokens) == ("crispr", "mse", (37,), 5)
    assert [len(data.split(s)) for s in ("train", "val", "test")] == [35, 5, 10]
    assert data.train.targets["crispr"].mean().item() == pytest.approx(0, abs=1e-6)
    assert data.train.targets["crispr"].std(correction=0).item() == pytest.approx(1)
    found = {}
    for split in ("train", "val", "test"):
        source = data.split(split)
        units = task.kind.predict(source.targets["crispr"][:, None])
        texts = ["".join(crispr.LETTERS[i] for i in row) for row in source.inputs.tolist()]
        found |= dict(zip(texts, units.tolist(), strict=True))
    assert found == pytest.approx(dict(zip(contexts, y, strict=True)), abs=1e-4)


def test_a_guide_is_in_one_part_in_all_cell_lines(data_folder):
    guides = random_dna(60, 23)
    cells = ("hct116", "hela")
    rows = [f"{cell},{guide},{i / 100}" for cell in cells for i, guide in enumerate(guides)]
    write(data_folder, CHUAI, "cell_line,guide,efficiency", [*rows, rows[3], rows[3]])
    one, other = crispr.cell_tasks(cells)
    assert (one.name, other.name, one.data.shape) == ("crispr_hct116", "crispr_hela", (23,))
    for split in ("train", "val", "test"):
        a, b = one.data.split(split).inputs, other.data.split(split).inputs
        assert torch.equal(a, b)
    assert sum(len(one.data.split(s)) for s in ("train", "val", "test")) == 60  # nothing twice
    with pytest.raises(InputError, match="unknown cell line 'hel', did you mean 'hela'"):
        crispr.cell_tasks(["hel"])


def test_files_that_are_not_there_are_not_downloaded(data_folder):
    for make, path, where in ((crispr.tasks, XIANG, "doi.org"), (crispr.cell_tasks, CHUAI, "DeepCRISPR")):
        with pytest.raises(InputError) as caught:
            make()
        line = str(caught.value)
        assert "\n" not in line
        assert f"{path} is not there" in line
        assert where in line
    assert not crispr.DATASET.present
    assert not data_folder.exists()


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        (["id,context37\n1," + "A" * 37], "no column 'total_indel_eff'"),
        (["context37,total_indel_eff"], "no row"),
        (["context37,total_indel_eff\nACGT,3"], "no sequence of 37 letters"),
        (["context37,total_indel_eff\n" + "X" * 37 + ",3"], "no sequence of 37 letters"),
        (["context37,total_indel_eff\n" + "A" * 37 + ",high"], "could not convert"),
    ],
)
def test_damaged_tables(data_folder, rows, line):
    write(data_folder, XIANG, *rows, [])
    with pytest.raises(InputError, match=f"is damaged .*{line}"):
        crispr.tasks()


def test_the_tables_in_the_data_folder(real_data):
    if not (crispr.DATASET.present and crispr.CELL_LINES.present):
        pytest.skip("no CRISPR tables in the data folder")
    (task,) = crispr.tasks()
    inputs = {split: task.data.split(split).inputs for split in ("train", "val", "test")}
    assert sum(map(len, inputs.values())) == 11_617
    assert int(torch.cat(list(inputs.values())).max()) == 3  # no N
    guides = [torch.nn.functional.one_hot(x[:, 10:30], 5).flatten(1).float() for x in inputs.values()]
    assert int((guides[0] @ torch.cat(guides[1:]).T).max()) < 17
    assert int((guides[1] @ guides[2].T).max()) < 17
    cells = crispr.cell_tasks()
    sizes = [sum(len(c.data.split(s)) for s in ("train", "val", "test")) for c in cells]
    assert sizes == [4239, 2333, 8101, 2076]
