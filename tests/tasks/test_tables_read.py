import gzip

import pandas as pd
import pytest

from moduli.errors import InputError
from moduli.tasks.tables.read import read_table

FRAME = pd.DataFrame({"age": [1.5, 2.0], "city": ["Oslo", "Bergen, west"], "y": [0, 1]})


def write(folder, name, content):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return name


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz", "t.parquet", "t.pq", "T.CSV"])
def test_formats(tmp_path, name):
    if name.endswith(("parquet", "pq")):
        FRAME.to_parquet(tmp_path / name)
    else:
        FRAME.to_csv(tmp_path / name, index=False, sep="\t" if "tsv" in name else ",")
    read = read_table(name, tmp_path)
    assert read.to_dict("list") == FRAME.to_dict("list")
    assert list(read.index) == [1, 2]


@pytest.mark.parametrize("header", ["a;b", "a\tb", '"a";"b"'])
def test_other_separators(tmp_path, header):
    mark = ";" if ";" in header else "\t"
    name = write(tmp_path, "t.csv", f"{header}\n1{mark}2\n")
    assert read_table(name, tmp_path).to_dict("list") == {"a": [1], "b": [2]}


def test_byte_order_mark_is_no_part_of_a_name(tmp_path):
    name = write(tmp_path, "t.csv", b"\xef\xbb\xbfa,b\n1,2\n")
    assert list(read_table(name, tmp_path)) == ["a", "b"]


def test_dates_stay_text_and_empty_cells_are_missing(tmp_path):
    frame = read_table(write(tmp_path, "t.csv", "d,x\n2020-01-01,\n2020-01-02,3\n"), tmp_path)
    assert frame["d"].tolist() == ["2020-01-01", "2020-01-02"]
    assert frame["x"].isna().tolist() == [True, False]


def test_frames_are_not_changed():
    frame = pd.DataFrame({1: [5, 6]}, index=["r", "s"])
    assert list(read_table(frame)) == ["1"]
    assert list(frame) == [1]
    assert list(frame.index) == ["r", "s"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "", "is empty"),
        ("t.csv", "a,b\n", "has 0 rows and 2 columns"),
        ("t.csv", "a,b\n1,2\n1,2,3\n", "cannot read .*t.csv.* line 3"),
        ("t.csv", "a,b\n1,2,3\n1,2,3\n", "cannot read .*t.csv"),
        ("t.csv", 'a,b\n1,"2\n', "cannot read .*t.csv"),
        ("t.csv", b"a,b\n\xe4,2\n", "cannot read .*UTF-8"),
        ("t.csv", "a,b,a\n1,2,3\n", "2 columns called 'a'"),
        ("t.csv.gz", "a,b\n1,2\n", "cannot read .*t.csv.gz"),
        ("t.parquet", "a,b\n1,2\n", "cannot read .*t.parquet"),
        ("t.xlsx", "a", "unknown kind of table '.xlsx'; give one of .csv"),
    ],
)
def test_unreadable_files_in_one_line(tmp_path, name, content, message):
    write(tmp_path, name, content)
    with pytest.raises(InputError, match=message) as error:
        read_table(name, tmp_path)
    assert "\n" not in str(error.value)


def test_truncated_gzip(tmp_path):
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 1000)[:-20])
    with pytest.raises(InputError, match="cannot read"):
        read_table("t.csv.gz", tmp_path)


def test_missing_file_suggests_its_neighbour(tmp_path):
    write(tmp_path, "heart.csv", "a\n1\n")
    with pytest.raises(InputError, match=r"no file .*haert.csv, did you mean 'heart.csv'\?"):
        read_table("haert.csv", tmp_path)
    with pytest.raises(InputError, match="there is no folder"):
        read_table("nowhere/heart.csv", tmp_path)
    with pytest.raises(InputError, match="is a folder"):
        read_table(".", tmp_path)


def test_two_columns_of_one_name_in_a_frame():
    with pytest.raises(InputError, match="the DataFrame has 2 columns called 'a'"):
        read_table(pd.DataFrame([[1, 2]], columns=["a", "a"]))
